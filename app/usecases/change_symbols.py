"""Adding, changing and removing the pairs that are watched: the change and its trace together, then the caches are told."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import Connection, Engine

from app.errors import Conflict, NotFound
from app.storage import accounts, symbols
from app.storage.database import transaction
from app.storage.symbols import MarketNote, Symbol
from app.usecases.asking import Asking
from app.usecases.look_up import LookUp


def add_symbol(engine: Engine, look_up: LookUp, symbol: str, status: str, asking: Asking) -> Symbol:
    """Add a pair. Raises Conflict when it is there."""
    with transaction(engine) as db:
        symbols.add(db, symbol, now=asking.now, status=status)
        asking.record(db, "add_symbol", symbol, before=None, after={"status": status})
        added = symbols.get(db, symbol)
    look_up.symbol_changed(symbol)
    return _there(added, symbol)


def set_status(engine: Engine, look_up: LookUp, symbol: str, status: str, asking: Asking) -> Symbol:
    """Watch a pair or not. The same status again changes nothing and leaves no trace. Raises NotFound, and Conflict while a trade
    of a pair that is to be watched no longer is open or ordered: no minute would come that could fill, stop or close it.
    """
    with transaction(engine) as db:
        before = _there(symbols.get(db, symbol), symbol)
        if before.status == status:
            return before
        if status != "ACTIVE":
            _at_rest(db, symbol)
        symbols.change(db, symbol, now=asking.now, status=status)
        asking.record(db, "change_symbol", symbol, before={"status": before.status}, after={"status": status})
        after = symbols.get(db, symbol)
    look_up.symbol_changed(symbol)
    return _there(after, symbol)


def remove_symbol(engine: Engine, look_up: LookUp, symbol: str, asking: Asking) -> None:
    """Remove a pair, and with it its judgments, trades and statistics, which no archive keeps. Raises NotFound, and Conflict
    while a trade of it is open or ordered.
    """
    with transaction(engine) as db:
        before = _there(symbols.get(db, symbol), symbol)
        _at_rest(db, symbol)
        symbols.remove(db, symbol)
        asking.record(db, "remove_symbol", symbol, before={"status": before.status}, after=None)
    look_up.symbol_removed(symbol)


def update_numbers(engine: Engine, look_up: LookUp, notes: Sequence[MarketNote], asking: Asking) -> list[str]:
    """Take the newest numbers over into the pairs' rows; which pairs changed. What is not known leaves what was known."""
    with transaction(engine) as db:
        before = {pair.symbol: _numbers(pair) for pair in symbols.listed(db)}
        symbols.note_market(db, [note for note in notes if note.symbol in before], asking.now)
        changed = sorted(
            pair.symbol for pair in symbols.listed(db) if before.get(pair.symbol, _numbers(pair)) != _numbers(pair)
        )
        if changed:
            asking.record(db, "update_symbols", "symbols", before=None, after={"symbols": changed})
    for symbol in changed:
        look_up.symbol_changed(symbol)
    return changed


def _at_rest(db: Connection, symbol: str) -> None:
    if busy := [kept.desk.strategy for kept in accounts.listed(db, [symbol]) if kept.desk.busy]:
        raise Conflict(
            f"{symbol} has an open trade or an order of {' and '.join(busy)}, which nothing would end any more.",
            cure="Close it first (POST /api/v1/trades/ID/close), and wait a minute for its exit.",
        )


def _numbers(pair: Symbol) -> tuple[Decimal | None, ...]:
    return pair.last_price, pair.volume_24h, pair.price_change_24h, pair.funding_rate


def _there(pair: Symbol | None, symbol: str) -> Symbol:
    if pair is None:
        raise NotFound(f"There is no symbol {symbol!r}.", cure="GET /api/v1/symbols lists them; POST there adds one.")
    return pair
