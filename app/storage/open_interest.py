"""Open interest. The next change is computed against what is stored, so that a restart never reports a change of nought."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from app.storage.spans import MOST, Spans
from app.storage.tables import open_interest, trading_pairs


@dataclass(frozen=True, slots=True)
class OpenInterestRow:
    """One row of ``open_interest``. ``change_percent`` is None when there was nothing to compare with."""

    pair_id: int
    timeframe: str
    open_time: int
    quantity: float
    value: float | None = None
    change_percent: float | None = None


_SPANS = Spans(open_interest, OpenInterestRow)


def store(db: Connection, rows: Iterable[OpenInterestRow]) -> None:
    """Write rows, in place of those of the same pair and span."""
    _SPANS.store(db, rows)


def read(
    db: Connection,
    pair_id: int,
    timeframe: str,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = MOST,
) -> list[OpenInterestRow]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    return _SPANS.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)


def newest(db: Connection, pair_id: int, timeframe: str = "1m") -> OpenInterestRow | None:
    """The last one."""
    return _SPANS.newest(db, pair_id, timeframe)


def latest(db: Connection, timeframe: str = "1m") -> dict[int, OpenInterestRow]:
    """The last one of each pair: what the next change is computed against."""
    return _SPANS.latest(db, timeframe)


def between(
    db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
) -> Iterator[tuple[int, list[OpenInterestRow]]]:
    """All pairs' rows of a stretch of time, or these pairs', one pair after the other."""
    return _SPANS.between(db, timeframe, start_ms, end_ms, pair_ids)


def unchanged(db: Connection, since_ms: int, until_ms: int) -> list[str]:
    """The symbols that were measured again and again over this time and came to the same each time, by name."""
    mine = open_interest.c
    span = func.max(mine.open_time) - func.min(mine.open_time)
    query = (
        select(trading_pairs.c.symbol)
        .join(open_interest, mine.pair_id == trading_pairs.c.id)
        .where(mine.timeframe == "1m", mine.open_time >= since_ms, mine.open_time < until_ms)
        .group_by(trading_pairs.c.id, trading_pairs.c.symbol)
        .having(func.min(mine.quantity) == func.max(mine.quantity), span >= (until_ms - since_ms) * 9 // 10)
    )
    return sorted(set(db.execute(query).scalars()))
