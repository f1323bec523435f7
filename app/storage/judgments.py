"""What the strategies have judged."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

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


def add(
    db: Connection,
    *,
    symbol: str,
    strategy_type: str,
    timeframe: str,
    trend_direction: str,
    score: Decimal | None,
    confidence_level: str,
    indicators_data: dict[str, Any] | None,
    now: datetime,
) -> int:
    """Write a judgment down; its id. Raises NotFound for a symbol that is not listed."""
    row = {
        "symbol": symbol,
        "strategy_type": strategy_type,
        "timeframe": timeframe,
        "trend_direction": trend_direction,
        "score": score,
        "confidence_level": confidence_level,
        "indicators_data": indicators_data,
        "created_at": now,
    }
    with must_be_listed(symbol):
        return insert_row(db, judgments, row)


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
