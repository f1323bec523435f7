"""A person's own hand in paper trading: an order, a moved stop or target, an exit. Change and trace are one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import Connection, Engine

from app.domain.market.market_time import MarketTime
from app.domain.market.timeframes import open_of
from app.domain.paper.desk import Desk, Move, Terms, blocked, left, moved, wanted
from app.domain.strategies.strategy import LEAST_STOP
from app.domain.trading.account import Account
from app.domain.trading.money import exact, text
from app.domain.trading.simulation import MANUAL, Direction
from app.domain.trading.sizing import MAX_LOSSES, size
from app.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.storage import accounts, symbols, trades
from app.storage.accounts import Kept
from app.storage.database import transaction
from app.storage.pairs import Pair
from app.usecases.asking import Asking
from app.usecases.judge import STEP
from app.usecases.live_settings import live_settings
from app.usecases.strategy_market import first_pairs
from app.usecases.trade import terms_of

_TRIES = 5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Wish:
    """A trade that a person wants on a strategy's account."""

    symbol: str
    strategy: str
    direction: Direction
    stop_loss: Decimal
    take_profit: Decimal
    max_loss: Decimal | None = None


def order(
    engine: Engine,
    wish: Wish,
    asking: Asking,
    *,
    exchanges: Sequence[str],
    time: MarketTime,
    price: float | None = None,
) -> Desk:
    """Put an order on an account: the next minute fills it. Raises NotFound, InvalidInput, Conflict, Unavailable.

    ``price`` is the newest one: an order whose stop or target it has passed is refused now and not in a minute.
    """
    now_ms = _now_ms(time)

    def change(db: Connection) -> Desk:
        pair = _watched(db, wish.symbol, exchanges)
        settings = live_settings(db)
        if accounts.get(db, wish.symbol, wish.strategy) is None:
            account, since_ms = Account.opened(settings.starting_equity), open_of(now_ms, STEP)
            accounts.open_all(db, [Desk(wish.symbol, wish.strategy, account, since_ms, since_ms)])
        kept = _account(db, wish.symbol, wish.strategy)
        terms = terms_of(settings, pair)
        if wish.max_loss is not None:
            if exact(wish.max_loss) not in MAX_LOSSES:
                raise InvalidInput(f"The greatest loss must be 20, 50, 100 or 200 USDT, not {wish.max_loss}.")
            terms = replace(terms, max_loss=exact(wish.max_loss))
        desk = wanted(kept.desk, wish.direction, wish.stop_loss, wish.take_profit, now_ms, terms, asking.actor)
        _not_passed(wish.direction, wish.stop_loss, wish.take_profit, price)
        _can_be_sized(wish, terms, price)
        _change(db, kept, desk)
        after = {
            "direction": wish.direction,
            "stop_loss": text(wish.stop_loss),
            "take_profit": text(wish.take_profit),
        }
        asking.record(db, "order_trade", f"{wish.strategy} {wish.symbol}", before=None, after=after)
        return desk

    return _tried(engine, change)


def close(engine: Engine, trade_id: int, asking: Asking, *, time: MarketTime) -> trades.Trade:
    """Ask for a trade's exit: the next minute fills it. Raises NotFound, Conflict, Unavailable."""
    now_ms = _now_ms(time)

    def change(db: Connection) -> trades.Trade:
        row, kept = _open(db, trade_id)
        desk = left(kept.desk, MANUAL, now_ms)
        if desk == kept.desk or (kept.desk.trade is not None and kept.desk.trade.exit_reason is not None):
            raise Conflict(f"Trade {trade_id} is being left already: the next minute fills its exit.")
        _change(db, kept, desk)
        asking.record(db, "close_trade", f"trade {trade_id}", before=None, after={"reason": MANUAL})
        return row

    return _tried(engine, change)


def move(
    engine: Engine,
    trade_id: int,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    asking: Asking,
    *,
    time: MarketTime,
    price: float | None = None,
) -> Move:
    """Move a trade's stop in its favour, or its target, from the next minute on. Raises NotFound, InvalidInput, Conflict,
    Unavailable. ``price`` is the newest one: a level that it has passed would close the trade at once.
    """
    if stop_loss is None and take_profit is None:
        raise InvalidInput("Nothing is to be moved.", cure="Give a stop_loss, a take_profit, or both.")
    now_ms = _now_ms(time)

    def change(db: Connection) -> Move:
        row, kept = _open(db, trade_id)
        desk = moved(kept.desk, stop_loss, take_profit, now_ms)
        if desk.trade is None or desk.move is None:
            raise AssertionError("a trade that is moved is there")
        _not_passed(desk.trade.direction, stop_loss, take_profit, price)
        _change(db, kept, desk)
        before = {"stop_loss": text(row.stop_loss), "take_profit": text(row.take_profit)}
        after = {"stop_loss": text(desk.move.stop_loss), "take_profit": text(desk.move.take_profit)}
        asking.record(db, "move_trade", f"trade {trade_id}", before=before, after=after)
        return desk.move

    return _tried(engine, change)


def _can_be_sized(wish: Wish, terms: Terms, price: float | None) -> None:
    """Refuse a stop so near that the costs would be more than the loss, and one so far that nothing can be bought for it."""
    if price is None:
        return
    now = exact(price)
    if abs(now - wish.stop_loss) < exact(LEAST_STOP) * now:
        raise InvalidInput(
            f"A stop of {text(wish.stop_loss)} is nearer than {LEAST_STOP:.1%} to the price, {text(now)}: fees and slippage "
            "alone would cost more than it may lose.",
            cure="Set it further away.",
        )
    steps, least = terms.quantity_step, terms.min_quantity
    size(now, wish.stop_loss, terms.max_loss, quantity_step=steps, min_quantity=least)


def _not_passed(direction: Direction, stop: Decimal | None, target: Decimal | None, price: float | None) -> None:
    """Refuse levels that the newest price has passed."""
    if price is None:
        return
    sign, now = (1 if direction == "LONG" else -1), exact(price)
    if stop is not None and sign * (now - stop) <= 0:
        raise InvalidInput(
            f"The price, {text(now)}, has passed a stop of {text(stop)} already.",
            cure="Set the stop on the other side of the price, or close the trade.",
        )
    if target is not None and sign * (target - now) <= 0:
        raise InvalidInput(
            f"The price, {text(now)}, has passed a target of {text(target)} already.",
            cure="Set the target on the other side of the price, or close the trade.",
        )


def why_not(db: Connection, symbol: str, strategy: str, *, exchanges: Sequence[str], time: MarketTime) -> str | None:
    """Why nothing may be opened on this account now; None: it may."""
    now_ms = _now_ms(time)
    try:
        _watched(db, symbol, exchanges)
    except (NotFound, Conflict, InvalidInput) as error:
        return str(error)
    kept = accounts.get(db, symbol, strategy)
    return None if kept is None else blocked(kept.desk, now_ms)


def _watched(db: Connection, symbol: str, exchanges: Sequence[str]) -> Pair:
    """The pair whose minutes would fill an order. Raises NotFound, Conflict, InvalidInput where none would."""
    listed = symbols.get(db, symbol)
    if listed is None:
        raise NotFound(f"There is no symbol {symbol!r}.", cure="POST /api/v1/symbols adds one.")
    if listed.status != "ACTIVE":
        raise Conflict(
            f"{symbol} is {listed.status}: its market is not watched, so no minute could fill an order.",
            cure="Watch it first: PUT /api/v1/symbols/SYMBOL with the status ACTIVE.",
        )
    pair = first_pairs(db, [symbol], exchanges).get(symbol)
    if pair is None or not pair.is_active:
        raise InvalidInput(f"No exchange that is watched trades {symbol}, so no minute could fill an order.")
    return pair


class _Changed(Exception):
    """Somebody else changed the account between our reading and our writing."""


def _tried(engine: Engine, change: Callable[[Connection], _T]) -> _T:
    for _ in range(_TRIES):
        try:
            with transaction(engine) as db:
                return change(db)
        except _Changed:
            continue
    raise Conflict("The account is being changed by somebody else.", cure="Ask again.")


def _change(db: Connection, kept: Kept, desk: Desk) -> None:
    if not accounts.change(db, kept, desk, kept.trade_id):
        raise _Changed


def _open(db: Connection, trade_id: int) -> tuple[trades.Trade, Kept]:
    row = _row(db, trade_id)
    kept = _account(db, row.symbol, row.strategy_type)
    if row.status != "ACTIVE" or kept.trade_id != trade_id:
        raise Conflict(
            f"Trade {trade_id} is already {row.status}." if row.status != "ACTIVE" else "It was never opened."
        )
    return row, kept


def _row(db: Connection, trade_id: int) -> trades.Trade:
    row = trades.get(db, trade_id)
    if row is None:
        raise NotFound(f"There is no trade {trade_id}.", cure="GET /api/v1/trades lists them.")
    return row


def _account(db: Connection, symbol: str, strategy: str) -> Kept:
    kept = accounts.get(db, symbol, strategy)
    if kept is None:
        raise NotFound(f"{strategy} has no account on {symbol}.", cure="Accounts come with the first judgment.")
    return kept


def _now_ms(time: MarketTime) -> int:
    if time.now_ms is None:
        raise Unavailable("Nobody knows what time it is on the market.", cure="Wait until market-feed has begun.")
    return time.now_ms
