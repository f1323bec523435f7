"""What the strategies have judged: one row for each candle, written once, whose ``created_at`` is when its candle closed.

That moment is the market's, which a sped-up demo makes run ahead of ours.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from app.storage.bulk import Upsert, upsert_rows
from app.storage.insert import insert_row
from app.storage.symbols import must_be_listed
from app.storage.tables import strategy_judgments as judgments


@dataclass(frozen=True, slots=True)
class Judgment:
    """One row of ``strategy_judgments``."""

    id: int
    symbol: str
    strategy_type: str
    timeframe: str
    trend_direction: str
    score: Decimal | None
    confidence_level: str
    indicators_data: dict[str, Any] | None
    created_at: datetime


_COLUMNS = [judgments.c[field.name] for field in fields(Judgment)]


class NewJudgment(NamedTuple):
    """A judgment that is to be written."""

    symbol: str
    strategy_type: str
    timeframe: str
    trend_direction: str
    score: Decimal | None
    confidence_level: str
    indicators_data: dict[str, Any] | None
    created_at: datetime


def add(db: Connection, new: NewJudgment) -> int:
    """Write a judgment down; its id. Raises NotFound for a symbol that is not listed."""
    with must_be_listed(new.symbol):
        return insert_row(db, judgments, new._asdict())


_ONCE = Upsert(judgments, NewJudgment._fields, key=("symbol", "strategy_type", "timeframe", "created_at"), once=True)


def keep(db: Connection, rows: Iterable[NewJudgment]) -> None:
    """Write many down. One whose candle was judged before stays as it was."""
    upsert_rows(db, _ONCE, list(rows))


def get(db: Connection, judgment_id: int) -> Judgment | None:
    """Read one judgment."""
    row = db.execute(select(*_COLUMNS).where(judgments.c.id == judgment_id)).one_or_none()
    return None if row is None else Judgment(*row)


def judged(db: Connection, strategy_type: str, timeframe: str, close: datetime) -> set[str]:
    """The symbols whose candle that closed then is judged."""
    mine = judgments.c
    query = select(mine.symbol).where(
        mine.created_at == close, mine.strategy_type == strategy_type, mine.timeframe == timeframe
    )
    return set(db.execute(query).scalars())


def of_close(db: Connection, symbols: Collection[str], close: datetime) -> list[Judgment]:
    """What was judged of the candles that closed then, of every timeframe."""
    query = select(*_COLUMNS).where(judgments.c.created_at == close, judgments.c.symbol.in_(symbols))
    return [Judgment(*row) for row in db.execute(query.order_by(judgments.c.id))]


def of_closes(
    db: Connection, symbols: Collection[str], timeframe: str, after: datetime, until: datetime
) -> list[Judgment]:
    """What was judged of candles that closed after one moment and up to another, in the order of the closes."""
    mine = judgments.c
    query = select(*_COLUMNS).where(
        mine.symbol.in_(symbols), mine.timeframe == timeframe, mine.created_at > after, mine.created_at <= until
    )
    return [Judgment(*row) for row in db.execute(query.order_by(mine.created_at, mine.id))]


def last_close(db: Connection, strategy_type: str, timeframe: str) -> datetime | None:
    """When the newest candle closed that this strategy has judged; None before the first."""
    mine = judgments.c
    query = select(mine.created_at).where(mine.strategy_type == strategy_type, mine.timeframe == timeframe)
    return db.execute(query.order_by(mine.created_at.desc()).limit(1)).scalar_one_or_none()


def last_closes(db: Connection, symbols: Collection[str], timeframe: str) -> dict[tuple[str, str], datetime]:
    """By symbol and strategy, when the newest candle closed that was judged."""
    mine = judgments.c
    query = (
        select(mine.symbol, mine.strategy_type, func.max(mine.created_at).label("last"))
        .where(mine.symbol.in_(symbols), mine.timeframe == timeframe)
        .group_by(mine.symbol, mine.strategy_type)
    )
    return {(row.symbol, row.strategy_type): row.last for row in db.execute(query)}


def latest(db: Connection, symbol: str, strategy_type: str, timeframe: str) -> Judgment | None:
    """The newest judgment of this strategy on this symbol and timeframe."""
    found = recent(db, limit=1, symbol=symbol, strategy_type=strategy_type, timeframe=timeframe)
    return found[0] if found else None


def recent(
    db: Connection,
    *,
    limit: int,
    symbol: str | None = None,
    strategy_type: str | None = None,
    timeframe: str | None = None,
    before_id: int | None = None,
) -> list[Judgment]:
    """The newest first. For the next page, pass the last id as ``before_id``."""
    query = select(*_COLUMNS).order_by(judgments.c.id.desc()).limit(limit)
    wanted = (
        (judgments.c.symbol, symbol),
        (judgments.c.strategy_type, strategy_type),
        (judgments.c.timeframe, timeframe),
    )
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    if before_id is not None:
        query = query.where(judgments.c.id < before_id)
    return [Judgment(*row) for row in db.execute(query)]
