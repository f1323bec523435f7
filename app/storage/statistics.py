"""How well a strategy has done on a symbol: one row for each of the two, computed anew and put in place of the last."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, select

from app.storage.insert import insert_or_update
from app.storage.symbols import must_be_listed
from app.storage.tables import symbol_statistics as statistics


@dataclass(frozen=True, slots=True)
class Statistics:
    """One row of ``symbol_statistics``. What cannot be said yet, such as the win rate of no trades, is None."""

    symbol: str
    strategy_type: str
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    total_pnl: Decimal | None
    avg_pnl_per_trade: Decimal | None
    max_drawdown: Decimal | None
    profit_factor: Decimal | None
    best_trade: Decimal | None
    worst_trade: Decimal | None
    avg_holding_time: int | None
    last_updated: datetime


_COLUMNS = [statistics.c[field.name] for field in fields(Statistics)]
_KEY = ["symbol", "strategy_type"]


def put(db: Connection, figures: Statistics) -> None:
    """Put these figures in place of the last ones. Raises NotFound for a symbol that is not listed."""
    row = asdict(figures)
    with must_be_listed(figures.symbol):
        insert_or_update(db, statistics, row, key=_KEY, change=[name for name in row if name not in _KEY])


def get(db: Connection, symbol: str, strategy_type: str) -> Statistics | None:
    """Read the figures of one strategy on one symbol."""
    query = select(*_COLUMNS).where(statistics.c.symbol == symbol, statistics.c.strategy_type == strategy_type)
    row = db.execute(query).one_or_none()
    return None if row is None else Statistics(*row)


def listed(db: Connection, *, strategy_type: str | None = None) -> list[Statistics]:
    """All figures, the greatest profit first; where it is unknown comes last."""
    pnl = statistics.c.total_pnl
    query = select(*_COLUMNS).order_by(pnl.is_(None), pnl.desc(), statistics.c.symbol)
    if strategy_type is not None:
        query = query.where(statistics.c.strategy_type == strategy_type)
    return [Statistics(*row) for row in db.execute(query)]
