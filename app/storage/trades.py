"""Simulated trades: opened, followed, closed once."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import TypeVarTuple

from sqlalchemy import Connection, Select, func, select, update

from app.errors import Conflict, InvalidInput, NotFound
from app.storage.insert import insert_row
from app.storage.symbols import must_be_listed
from app.storage.tables import simulation_trades as trades


@dataclass(frozen=True, slots=True)
class Trade:
    """One row of ``simulation_trades``."""

    id: int
    symbol: str
    strategy_type: str
    direction: str
    entry_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    leverage: int
    margin_required: Decimal
    risk_amount: Decimal
    position_size: Decimal
    status: str
    exit_price: Decimal | None
    exit_reason: str | None
    pnl: Decimal | None
    pnl_percentage: Decimal | None
    created_at: datetime
    closed_at: datetime | None


_Row = TypeVarTuple("_Row")
_COLUMNS = [trades.c[field.name] for field in fields(Trade)]


def add(
    db: Connection,
    *,
    symbol: str,
    strategy_type: str,
    direction: str,
    entry_price: Decimal,
    stop_loss: Decimal,
    take_profit: Decimal,
    leverage: int,
    margin_required: Decimal,
    risk_amount: Decimal,
    position_size: Decimal,
    now: datetime,
) -> int:
    """Open a trade; its id. Raises NotFound for a symbol that is not listed."""
    row = {
        "symbol": symbol,
        "strategy_type": strategy_type,
        "direction": direction,
        "entry_price": entry_price,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "leverage": leverage,
        "margin_required": margin_required,
        "risk_amount": risk_amount,
        "position_size": position_size,
        "status": "ACTIVE",
        "created_at": now,
    }
    with must_be_listed(symbol):
        return insert_row(db, trades, row)


def get(db: Connection, trade_id: int) -> Trade | None:
    """Read one trade."""
    row = db.execute(select(*_COLUMNS).where(trades.c.id == trade_id)).one_or_none()
    return None if row is None else Trade(*row)


def active(db: Connection, *, symbol: str | None = None, strategy_type: str | None = None) -> list[Trade]:
    """What is open, the oldest first."""
    query = _of(select(*_COLUMNS), symbol, strategy_type).where(trades.c.status == "ACTIVE").order_by(trades.c.id)
    return [Trade(*row) for row in db.execute(query)]


def recent(
    db: Connection,
    *,
    limit: int,
    symbol: str | None = None,
    strategy_type: str | None = None,
    before_id: int | None = None,
) -> list[Trade]:
    """The newest first. For the next page, pass the last id as ``before_id``."""
    query = _of(select(*_COLUMNS), symbol, strategy_type).order_by(trades.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(trades.c.id < before_id)
    return [Trade(*row) for row in db.execute(query)]


def close(
    db: Connection,
    trade_id: int,
    *,
    status: str,
    exit_price: Decimal,
    exit_reason: str,
    pnl: Decimal,
    pnl_percentage: Decimal,
    now: datetime,
) -> None:
    """Close an open trade, exactly once. Raises NotFound, or Conflict when somebody else has closed it."""
    if status == "ACTIVE":
        raise InvalidInput("A trade is not closed by making it ACTIVE: use CLOSED or STOPPED.")
    closed = db.execute(
        update(trades)
        .where(trades.c.id == trade_id, trades.c.status == "ACTIVE")
        .values(
            status=status,
            exit_price=exit_price,
            exit_reason=exit_reason,
            pnl=pnl,
            pnl_percentage=pnl_percentage,
            closed_at=now,
        )
    )
    if closed.rowcount == 1:
        return
    trade = get(db, trade_id)
    if trade is None:
        raise NotFound(f"There is no trade {trade_id}.")
    raise Conflict(f"Trade {trade_id} is already {trade.status}.")


def realised_pnl(db: Connection, *, symbol: str | None = None, strategy_type: str | None = None) -> Decimal:
    """The exact profit and loss of all trades that are over."""
    query = _of(select(func.sum(trades.c.pnl)), symbol, strategy_type).where(trades.c.status != "ACTIVE")
    return db.execute(query).scalar() or Decimal(0)


def _of(query: Select[*_Row], symbol: str | None, strategy_type: str | None) -> Select[*_Row]:
    if symbol is not None:
        query = query.where(trades.c.symbol == symbol)
    if strategy_type is not None:
        query = query.where(trades.c.strategy_type == strategy_type)
    return query
