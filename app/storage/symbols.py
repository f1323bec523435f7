"""Trading pairs: which there are, whether they are watched, and their latest market numbers."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, cast

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import Conflict, InvalidInput, NotFound
from app.storage.insert import insert_row
from app.storage.tables import symbols
from app.storage.types import Exact

_NOTED = ("funding_rate", "last_price", "volume_24h", "price_change_24h")
_CHANGEABLE = ("status", *_NOTED)
_PLENTY = Context(prec=400)  # digits of any float, so that rounding never fails


@dataclass(frozen=True, slots=True)
class Symbol:
    """One row of ``symbols``. A number that is not known yet is None."""

    id: int
    symbol: str
    status: str
    funding_rate: Decimal | None
    last_price: Decimal | None
    volume_24h: Decimal | None
    price_change_24h: Decimal | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MarketNote:
    """What a feed measured of a symbol. None: it did not, so that what is known stays."""

    symbol: str
    last_price: float | None = None
    volume_24h: float | None = None
    price_change_24h: float | None = None
    funding_rate: float | None = None


_COLUMNS = [symbols.c[field.name] for field in fields(Symbol)]


def add(db: Connection, symbol: str, *, now: datetime, status: str = "ACTIVE") -> int:
    """Add a pair; its id. Its numbers are unknown until ``change`` says them. Raises Conflict when it is there already."""
    if get(db, symbol) is not None:
        raise Conflict(f"The symbol {symbol!r} is already there.", cure="Change it instead.")
    unknown = dict.fromkeys(name for name in _CHANGEABLE if name != "status")
    moments = {"created_at": now, "updated_at": now}
    return insert_row(db, symbols, {"symbol": symbol, "status": status, **unknown, **moments})


def get(db: Connection, symbol: str) -> Symbol | None:
    """Read one pair."""
    row = db.execute(select(*_COLUMNS).where(symbols.c.symbol == symbol)).one_or_none()
    return None if row is None else Symbol(*row)


def listed(db: Connection, *, status: str | None = None) -> list[Symbol]:
    """All pairs, or those of one status, by name."""
    query = select(*_COLUMNS).order_by(symbols.c.symbol)
    if status is not None:
        query = query.where(symbols.c.status == status)
    return [Symbol(*row) for row in db.execute(query)]


def change(db: Connection, symbol: str, *, now: datetime, **values: Any) -> None:
    """Set some of status, funding_rate, last_price, volume_24h and price_change_24h. Raises NotFound."""
    if unknown := sorted(values.keys() - set(_CHANGEABLE)):
        raise InvalidInput(f"{', '.join(unknown)} of a symbol cannot be changed: use {', '.join(_CHANGEABLE)}.")
    changed = db.execute(update(symbols).where(symbols.c.symbol == symbol).values(updated_at=now, **values))
    if changed.rowcount == 0:
        raise NotFound(f"There is no symbol {symbol!r}.")


def note_market(db: Connection, rows: Iterable[MarketNote], now: datetime) -> None:
    """Keep what the market says of many symbols; those that are not listed are passed over."""
    batch: list[dict[str, Any]] = [{"the_symbol": row.symbol, "now": now, **_exact_numbers(row)} for row in rows]
    if batch:
        changes = {
            name: func.coalesce(bindparam(f"new_{name}", type_=symbols.c[name].type), symbols.c[name])
            for name in _NOTED
        }
        query = update(symbols).where(symbols.c.symbol == bindparam("the_symbol"))
        db.execute(query.values(updated_at=bindparam("now", type_=symbols.c.updated_at.type), **changes), batch)


def remove(db: Connection, symbol: str) -> bool:
    """Remove a pair, and with it its judgments, trades and statistics. False when it was not there."""
    return db.execute(delete(symbols).where(symbols.c.symbol == symbol)).rowcount == 1


@contextmanager
def must_be_listed(symbol: str) -> Iterator[None]:
    """Say which symbol is missing, when the database says no more than that a foreign key failed."""
    try:
        yield
    except IntegrityError as error:
        if "foreign key" in str(error.orig).lower():
            raise NotFound(f"There is no symbol {symbol!r}.", cure="Add the symbol first.") from error
        raise


def _exact_numbers(note: MarketNote) -> dict[str, Decimal | None]:
    return {f"new_{name}": _fitted(getattr(note, name), cast("Exact", symbols.c[name].type)) for name in _NOTED}


def _fitted(value: float | None, exact: Exact) -> Decimal | None:
    """The number as its column has it. One with more digits than fit cannot be kept there, so it is not known."""
    if value is None or not math.isfinite(value):
        return None
    number = Decimal(repr(value)).quantize(Decimal(1).scaleb(-exact.scale), context=_PLENTY)
    return number if abs(number) < 10 ** (exact.precision - exact.scale) else None
