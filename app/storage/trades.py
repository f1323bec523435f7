"""Simulated trades: opened, followed, closed once."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import Connection, Select, insert, select, update

from app.errors import Conflict, InvalidInput, NotFound
from app.storage.insert import insert_row
from app.storage.symbols import must_be_listed
from app.storage.tables import simulation_trades as trades
from app.storage.tables import trade_fills

MOST_CLOSED = 20_000
MOST_ENTRIES = 10_000
"""They are read at every close, for every hundred symbols: more would cost seconds and more memory than a worker has."""


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


class FillRow(NamedTuple):
    """One row of ``trade_fills``: what moved money. ``fee`` and ``funding`` were paid; ``margin`` was set aside or came back."""

    trade_id: int
    number: int
    kind: str
    time_ms: int
    price: Decimal
    quantity: Decimal
    margin: Decimal
    realised: Decimal
    fee: Decimal
    funding: Decimal
    reason: str | None
    assumed: dict[str, Any]


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
    status: str | None = None,
    before_id: int | None = None,
) -> list[Trade]:
    """The newest first. For the next page, pass the last id as ``before_id``."""
    query = _of(select(*_COLUMNS), symbol, strategy_type).order_by(trades.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(trades.c.status == status)
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


def move_levels(db: Connection, trade_id: int, *, stop_loss: Decimal, take_profit: Decimal) -> None:
    """Write down that an open trade's stop or target was moved."""
    moved = {"stop_loss": stop_loss, "take_profit": take_profit}
    db.execute(update(trades).where(trades.c.id == trade_id, trades.c.status == "ACTIVE").values(moved))


def add_fills(db: Connection, rows: Iterable[FillRow]) -> None:
    """Write down what moved money. The same number of a trade cannot be written twice."""
    values = [row._asdict() for row in rows]
    if values:
        db.execute(insert(trade_fills), values)


def fills(db: Connection, trade_id: int) -> list[FillRow]:
    """What moved money in a trade, in its order."""
    mine = trade_fills.c
    query = select(*(mine[name] for name in FillRow._fields)).where(mine.trade_id == trade_id).order_by(mine.number)
    return [FillRow(*row) for row in db.execute(query)]


def entries(
    db: Connection, strategy_type: str, since: datetime, until: datetime, *, limit: int = MOST_ENTRIES
) -> list[tuple[str, Decimal, dict[str, Any]]]:
    """The trades that were closed from one moment on and before another: symbol, profit or loss, and what the entry assumed. Of
    too many, the newest.
    """
    mine = trades.c
    over = (
        mine.strategy_type == strategy_type,
        mine.status != "ACTIVE",
        mine.closed_at >= since,
        mine.closed_at < until,
    )
    newest = (
        select(mine.id, mine.symbol, mine.pnl, mine.closed_at)
        .where(*over)
        .order_by(mine.closed_at.desc(), mine.id.desc())
        .limit(limit)
        .subquery()
    )
    query = (
        select(newest.c.symbol, newest.c.pnl, trade_fills.c.assumed)
        .join(trade_fills, (trade_fills.c.trade_id == newest.c.id) & (trade_fills.c.number == 0))
        .order_by(newest.c.closed_at, newest.c.id)
    )
    return [(symbol, pnl, assumed) for symbol, pnl, assumed in db.execute(query)]


class Closing(NamedTuple):
    """What statistics want of a trade that is over."""

    opened_at: datetime
    closed_at: datetime
    pnl: Decimal


def closings(
    db: Connection, *, symbol: str | None = None, strategy_type: str | None = None, limit: int = MOST_CLOSED
) -> list[Closing]:
    """What is over, in the order of closing; of too many, the newest."""
    mine = trades.c
    query = _of(select(mine.created_at, mine.closed_at, mine.pnl), symbol, strategy_type).where(mine.status != "ACTIVE")
    newest = query.order_by(mine.closed_at.desc(), mine.id.desc()).limit(limit)
    return [Closing(*row) for row in db.execute(newest)][::-1]


def _of(query: Select[*_Row], symbol: str | None, strategy_type: str | None) -> Select[*_Row]:
    if symbol is not None:
        query = query.where(trades.c.symbol == symbol)
    if strategy_type is not None:
        query = query.where(trades.c.strategy_type == strategy_type)
    return query
