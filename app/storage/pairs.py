"""Exchanges and what they trade. A pair's id stands in every row of the market, and never changes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, insert, select, update

from app.domain.market.venue import is_simulated
from app.errors import NotFound
from app.storage.insert import insert_or_update
from app.storage.tables import exchanges as exchanges_table
from app.storage.tables import trading_pairs


class Instrument(Protocol):
    """What an exchange says of a pair: ``app.exchanges.exchange.Instrument``."""

    @property
    def symbol(self) -> str: ...
    @property
    def base(self) -> str: ...
    @property
    def quote(self) -> str: ...
    @property
    def settle(self) -> str | None: ...
    @property
    def price_step(self) -> float | None: ...
    @property
    def quantity_step(self) -> float | None: ...
    @property
    def contract_size(self) -> float | None: ...
    @property
    def min_quantity(self) -> float | None: ...
    @property
    def active(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One row of ``exchanges``."""

    id: int
    name: str
    display_name: str
    api_endpoint: str | None
    websocket_endpoint: str | None
    rate_limit_per_minute: int | None
    supported_timeframes: list[str] | None
    features: dict[str, Any] | None
    status: str
    simulated: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of ``trading_pairs``, with the name of its exchange."""

    id: int
    exchange: str
    symbol: str
    base_currency: str
    quote_currency: str
    settle_currency: str | None
    min_amount: float | None
    price_step: float | None
    quantity_step: float | None
    contract_size: float | None
    maker_fee: float | None
    taker_fee: float | None
    is_active: bool


_EXCHANGE = [exchanges_table.c[field.name] for field in fields(Exchange)]
_PAIR = [exchanges_table.c.name if field.name == "exchange" else trading_pairs.c[field.name] for field in fields(Pair)]
_JOINED = trading_pairs.join(exchanges_table)


def ensure_exchange(db: Connection, name: str, *, now: datetime) -> int:
    """Make sure that an exchange is there; its id. Its name says whether it is simulated."""
    there = exchange(db, name)
    if there is None:
        row = {
            "name": name,
            "display_name": name,
            "simulated": is_simulated(name),
            "status": "active",
            "created_at": now,
            "updated_at": now,
        }
        insert_or_update(db, exchanges_table, row, key=["name"], change=[])
        there = exchange(db, name)
    if there is None:
        raise AssertionError(f"the exchange {name} is gone within its own transaction")
    return there.id


def exchange(db: Connection, name: str) -> Exchange | None:
    """Read one exchange."""
    row = db.execute(select(*_EXCHANGE).where(exchanges_table.c.name == name)).one_or_none()
    return None if row is None else Exchange(*row)


def exchanges(db: Connection) -> list[Exchange]:
    """All exchanges, by name."""
    return [Exchange(*row) for row in db.execute(select(*_EXCHANGE).order_by(exchanges_table.c.name))]


def ensure_pairs(db: Connection, exchange: str, instruments: Iterable[Instrument], now: datetime) -> dict[str, int]:
    """Make sure that these pairs are there as the exchange says; the ids of all its pairs, by symbol.

    What an exchange does not say (None) does not take away what is known. The exchange itself is made where it is missing.
    """
    exchange_id = ensure_exchange(db, exchange, now=now)
    there = {pair.symbol: pair for pair in listed(db, exchange=exchange)}
    new: list[dict[str, Any]] = []
    for instrument in instruments:
        row = _row(instrument)
        known = there.get(instrument.symbol)
        if known is None:
            new.append({"exchange_id": exchange_id, **row, "created_at": now, "updated_at": now})
        elif changes := {k: v for k, v in row.items() if v is not None and getattr(known, k) != v}:
            _change(db, known.id, now, changes)
    if new:
        db.execute(insert(trading_pairs), new)
    ids = select(trading_pairs.c.symbol, trading_pairs.c.id).where(trading_pairs.c.exchange_id == exchange_id)
    return {symbol: int(pair_id) for symbol, pair_id in db.execute(ids)}


def note_traded(db: Connection, exchange: str, symbols: Collection[str], now: datetime) -> list[str]:
    """These are all that an exchange trades, so that others are no longer active; those of which that is new."""
    other = [known for known in listed(db, exchange=exchange) if known.is_active != (known.symbol in symbols)]
    for active in (False, True):
        some = [known for known in other if known.is_active != active]
        if some:
            these = trading_pairs.c.id.in_([one.id for one in some])
            db.execute(update(trading_pairs).where(these).values(updated_at=now, is_active=active))
    return [one.symbol for one in other]


def pair(db: Connection, exchange: str, symbol: str) -> Pair | None:
    """Read one pair of an exchange."""
    query = select(*_PAIR).select_from(_JOINED)
    row = db.execute(query.where(exchanges_table.c.name == exchange, trading_pairs.c.symbol == symbol)).one_or_none()
    return None if row is None else Pair(*row)


def pair_id(db: Connection, exchange: str, symbol: str) -> int:
    """The id of a pair. Raises NotFound."""
    found = pair(db, exchange, symbol)
    if found is None:
        raise NotFound(
            f"{exchange} has no pair {symbol!r} here.", cure="Check the name; the feed lists what it watches."
        )
    return found.id


def listed(
    db: Connection, *, exchange: str | None = None, symbol: str | None = None, active: bool | None = None
) -> list[Pair]:
    """All pairs, or those of one exchange or symbol, by exchange and symbol."""
    query = select(*_PAIR).select_from(_JOINED).order_by(exchanges_table.c.name, trading_pairs.c.symbol)
    if exchange is not None:
        query = query.where(exchanges_table.c.name == exchange)
    if symbol is not None:
        query = query.where(trading_pairs.c.symbol == symbol)
    if active is not None:
        query = query.where(trading_pairs.c.is_active == active)
    return [Pair(*row) for row in db.execute(query)]


def _row(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "settle_currency": instrument.settle,
        "min_amount": instrument.min_quantity,
        "price_step": instrument.price_step,
        "quantity_step": instrument.quantity_step,
        "contract_size": instrument.contract_size,
        "is_active": instrument.active,
    }


def _change(db: Connection, pair_id: int, now: datetime, changes: dict[str, Any]) -> None:
    db.execute(update(trading_pairs).where(trading_pairs.c.id == pair_id).values(updated_at=now, **changes))
