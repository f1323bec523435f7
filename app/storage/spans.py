"""Rows of the market: one for each pair and span of time (``timeframe``, from ``open_time`` on).

Candles, flow, tickers, depth and open interest are kept alike, so this is said once; each has a module that gives it its names.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Table, select
from sqlalchemy.sql.elements import ColumnElement

from app.storage.bulk import Upsert, upsert_rows
from app.storage.tables import trading_pairs

R = TypeVar("R")
KEY = ("pair_id", "timeframe", "open_time")
MOST = 10_000
"""Rows of one answer."""


@dataclass(frozen=True, slots=True)
class Spans(Generic[R]):
    """A table and the frozen dataclass of its rows, whose fields are columns and begin with ``KEY``."""

    table: Table
    row: type[R]
    yields: tuple[str, str] | None = None
    sources: tuple[str, ...] = ()
    """Where the index of ages has a column ``source`` before the time: all that may stand in it."""

    keeps: bool = False
    """What a later row does not know does not take away what is known of the same span."""

    @property
    def columns(self) -> list[ColumnElement[Any]]:
        """The columns of a row, in its order."""
        return [self.table.c[field.name] for field in fields(self.row)]  # type: ignore[arg-type]

    def store(self, db: Connection, rows: Iterable[R]) -> None:
        """Write rows, over those of the same pair and span."""
        names = tuple(field.name for field in fields(self.row))  # type: ignore[arg-type]
        values = attrgetter(*names)
        upsert_rows(db, Upsert(self.table, names, KEY, self.yields, self.keeps), [values(row) for row in rows])

    def read(
        self,
        db: Connection,
        pair_id: int,
        timeframe: str,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = MOST,
    ) -> list[R]:
        """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
        opened = self.table.c.open_time
        query = select(*self.columns).where(*self._of(pair_id, timeframe)).limit(limit)
        if until_ms is not None:
            query = query.where(opened < until_ms)
        if since_ms is not None:
            return [self.row(*row) for row in db.execute(query.where(opened >= since_ms).order_by(opened))]
        return [self.row(*row) for row in db.execute(query.order_by(opened.desc()))][::-1]

    def newest(self, db: Connection, pair_id: int, timeframe: str) -> R | None:
        """The last one."""
        found = self.read(db, pair_id, timeframe, limit=1)
        return found[0] if found else None

    def latest(self, db: Connection, timeframe: str, pair_ids: Collection[int] | None = None) -> dict[int, R]:
        """The last one of each pair, or of each of these: one look along the index for each."""
        mine, other = self.table, self.table.alias()
        last = (
            select(other.c.id)
            .where(other.c.pair_id == trading_pairs.c.id, other.c.timeframe == timeframe)
            .order_by(other.c.open_time.desc())
            .limit(1)
            .correlate(trading_pairs)
            .scalar_subquery()
        )
        # By the id, so that no database reads all rows of a pair to compare their times.
        query = select(trading_pairs.c.id, *self.columns).select_from(trading_pairs.join(mine, mine.c.id == last))
        if pair_ids is not None:
            query = query.where(trading_pairs.c.id.in_(pair_ids))
        return {pair_id: self.row(*row) for pair_id, *row in db.execute(query)}

    def between(
        self, db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
    ) -> Iterator[tuple[int, list[R]]]:
        """All pairs' rows of a stretch of time, or these pairs', one pair after the other, each one's oldest first.

        An hour's minutes of a thousand pairs are more than a small process can hold at once.
        """
        mine = self.table.c
        # The index of pairs serves those that are named, the index of ages all of them.
        those = self._of_all(timeframe) if pair_ids is None else self._of_some(timeframe, pair_ids)
        query = select(mine.pair_id, *self.columns).where(*those, mine.open_time >= start_ms, mine.open_time < end_ms)
        rows = db.execute(query.order_by(mine.pair_id, mine.open_time))
        for pair_id, some in groupby(rows, itemgetter(0)):
            yield pair_id, [self.row(*row) for _, *row in some]

    def _of_all(self, timeframe: str) -> list[ColumnElement[bool]]:
        """Every pair's, in words that let the index of ages be used."""
        those = [self.table.c.timeframe == timeframe]
        return [*those, self.table.c.source.in_(self.sources)] if self.sources else those

    def _of_some(self, timeframe: str, pair_ids: Collection[int]) -> list[ColumnElement[bool]]:
        return [self.table.c.pair_id.in_(pair_ids), self.table.c.timeframe == timeframe]

    def _of(self, pair_id: int, timeframe: str) -> tuple[ColumnElement[bool], ...]:
        return self.table.c.pair_id == pair_id, self.table.c.timeframe == timeframe
