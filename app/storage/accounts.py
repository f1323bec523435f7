"""The accounts of paper trading: one for each symbol and strategy, whole in one row, so that a change is whole or not there.

Whoever changes one says which revision was read: of two that change the same one, the second finds that it has changed, and
looks again.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, func, select, update

from app.domain.paper.desk import Basis, Desk, Move
from app.domain.trading.account import Account
from app.domain.trading.simulation import Order, Trade
from app.errors import CorruptData, FlotillaError
from app.storage.bulk import Upsert, upsert_rows
from app.storage.tables import paper_accounts as accounts


@dataclass(frozen=True, slots=True)
class Kept:
    """A desk as it is stored. ``trade_id`` is the row of its open trade."""

    desk: Desk
    trade_id: int | None = None
    revision: int = 0


class _State(msgspec.Struct, frozen=True):
    order: Order | None
    trade: Trade | None
    basis: Basis | None
    trade_id: int | None
    move: Move | None = None


_MONEY = ("starting_equity", "cash", "margin", "realised", "fees", "funding")
_TIMES = ("acted_until", "settled_until", "cooldown_until")
_COLUMNS = ("symbol", "strategy_type", *_MONEY, *_TIMES, "state", "revision")
_UNREADABLE = (FlotillaError, ValueError, TypeError, ArithmeticError)  # such as of text where a number should be
_ONCE = Upsert(accounts, _COLUMNS, key=("symbol", "strategy_type"), once=True)


def open_all(db: Connection, desks: Iterable[Desk]) -> None:
    """Open accounts. One that is there stays as it is."""
    rows = [_values(Kept(desk)) for desk in desks]
    upsert_rows(db, _ONCE, [tuple(row[name] for name in _COLUMNS) for row in rows])


def get(db: Connection, symbol: str, strategy_type: str) -> Kept | None:
    """Read one."""
    mine = accounts.c
    query = select(*_selected()).where(mine.symbol == symbol, mine.strategy_type == strategy_type)
    row = db.execute(query).one_or_none()
    return None if row is None else _kept(row)


def listed(db: Connection, symbols: Collection[str] | None = None, *, busy: bool = False) -> list[Kept]:
    """All of them, or these symbols', by symbol; with ``busy``, those with an order or a trade."""
    query = select(*_selected()).order_by(accounts.c.symbol, accounts.c.strategy_type)
    if symbols is not None:
        query = query.where(accounts.c.symbol.in_(symbols))
    if busy:
        query = query.where(accounts.c.state.is_not(None))
    return [_kept(row) for row in db.execute(query)]


def each(db: Connection) -> Iterator[tuple[str, str, Kept | None]]:
    """The symbol and strategy of each with the account, or None in place of one that cannot be read."""
    try:
        yield from [(kept.desk.symbol, kept.desk.strategy, kept) for kept in listed(db)]
    except _UNREADABLE:
        yield from _one_by_one(db)


def _one_by_one(db: Connection) -> Iterator[tuple[str, str, Kept | None]]:
    for symbol, strategy_type in sorted(keys(db)):
        try:
            kept = get(db, symbol, strategy_type)
        except _UNREADABLE:
            kept = None
        yield symbol, strategy_type, kept


def keys(db: Connection) -> set[tuple[str, str]]:
    """The symbol and strategy of each."""
    return {(row.symbol, row.strategy_type) for row in db.execute(select(accounts.c.symbol, accounts.c.strategy_type))}


def waiting(db: Connection, close_ms: int) -> list[tuple[str, str]]:
    """Those that minutes can change, or that have not answered this close."""
    mine = accounts.c
    query = select(mine.symbol, mine.strategy_type).where(mine.state.is_not(None) | (mine.acted_until < close_ms))
    return [(row.symbol, row.strategy_type) for row in db.execute(query)]


def cooling(db: Connection, now_ms: int) -> list[tuple[str, str, int]]:
    """Those whose cooldown is not over, each with its end."""
    mine = accounts.c
    query = select(mine.symbol, mine.strategy_type, mine.cooldown_until).where(mine.cooldown_until > now_ms)
    return [(row.symbol, row.strategy_type, row.cooldown_until) for row in db.execute(query.order_by(mine.symbol))]


def most_behind(db: Connection, now_ms: int) -> int:
    """How long ago the oldest moment is at which an order or a trade stands; nought without any."""
    mine = accounts.c
    oldest = db.execute(select(func.min(mine.settled_until)).where(mine.state.is_not(None))).scalar()
    return 0 if oldest is None else max(0, now_ms - int(oldest))


def change(db: Connection, kept: Kept, desk: Desk, trade_id: int | None) -> bool:
    """Write a desk in place of the one that was read. False: it has changed meanwhile, and nothing was written."""
    values = _values(replace(kept, desk=desk, trade_id=trade_id, revision=kept.revision + 1))
    mine = accounts.c
    done = db.execute(
        update(accounts)
        .where(mine.symbol == desk.symbol, mine.strategy_type == desk.strategy, mine.revision == kept.revision)
        .values({name: values[name] for name in (*_MONEY[1:], *_TIMES, "state", "revision")})
    )
    return done.rowcount == 1


def pass_by(db: Connection, idle: Iterable[Desk]) -> None:
    """Closes went by these idle accounts, and asked nothing of them. One that has an order by now is left alone."""
    mine = accounts.c
    rows = [{"of": desk.symbol, "by": desk.strategy, "acted": desk.acted_until_ms} for desk in idle]
    if rows:
        those = (mine.symbol == bindparam("of"), mine.strategy_type == bindparam("by"), mine.state.is_(None))
        until: dict[str, Any] = {"acted_until": bindparam("acted"), "settled_until": bindparam("acted")}
        db.execute(update(accounts).where(*those).values(until), rows)


def _selected() -> list[Any]:
    return [accounts.c[name] for name in _COLUMNS]


def _values(kept: Kept) -> dict[str, Any]:
    desk = kept.desk
    state = _State(desk.order, desk.trade, desk.basis, kept.trade_id, desk.move)
    return {
        "symbol": desk.symbol,
        "strategy_type": desk.strategy,
        **{name: getattr(desk.account, name) for name in _MONEY},
        "acted_until": desk.acted_until_ms,
        "settled_until": desk.settled_until_ms,
        "cooldown_until": desk.cooldown_until_ms,
        "state": msgspec.to_builtins(state) if desk.busy else None,
        "revision": kept.revision,
    }


def _kept(row: Row[Any]) -> Kept:
    account = Account(*(getattr(row, name) for name in _MONEY))
    try:
        state = msgspec.convert(row.state or dict.fromkeys(_State.__struct_fields__), _State)
    except msgspec.ValidationError as error:
        raise CorruptData(f"The account of {row.strategy_type} on {row.symbol} cannot be read: {error}.") from error
    times = row.acted_until, row.settled_until, row.cooldown_until
    desk = Desk(row.symbol, row.strategy_type, account, *times, state.order, state.trade, state.basis, state.move)
    return Kept(desk, state.trade_id, row.revision)
