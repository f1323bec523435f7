"""The desk of one (symbol, strategy): its account, and the one order or trade that it may have.

Two things happen to it, in the order of the market's time: minutes pass, and the strategy's candles close. A close asks for an
entry or an exit; the minutes after it fill what was asked. So the same judgments and the same minutes make the same trades,
whether they come as they happen or all at once after a night.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from app.domain.market.timeframes import MINUTE_MS
from app.domain.strategies.strategy import Direction as Trend
from app.domain.strategies.strategy import Held, Inputs, Strategy, Verdict
from app.domain.trading.account import Account, caught_up
from app.domain.trading.fills import Book, Costs
from app.domain.trading.money import exact
from app.domain.trading.simulation import (
    Direction,
    Funding,
    Minute,
    Order,
    Refusal,
    Trade,
    advance,
    aim,
    open_trade,
    protect,
)
from app.domain.trading.simulation import request_exit as asked_to_leave
from app.errors import Conflict, InvalidInput

REACTION_MS = MINUTE_MS
"""From a candle's close to the first minute in which what it says can be filled: nobody acts on a candle at its close."""
PATIENCE_MS = 15 * MINUTE_MS
"""An order that nothing filled by then is forgotten: its reason is old."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a trade may be, and what it costs."""

    costs: Costs
    max_loss: Decimal
    cooldown_ms: int
    quantity_step: Decimal | None = None
    min_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Basis:
    """Why there is an order or a trade: the judgment of this close, or a person. Scores are those of the timeframes."""

    close_ms: int | None
    trend: Trend
    scores: dict[str, float]
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Where a person wants stop and target of the open trade, from the first minute on that opens at ``at_ms`` or later."""

    at_ms: int
    stop_loss: Decimal
    take_profit: Decimal


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything about it before ``settled_until_ms`` has happened; closes up to ``acted_until_ms`` were answered."""

    symbol: str
    strategy: str
    account: Account
    acted_until_ms: int
    settled_until_ms: int
    cooldown_until_ms: int = 0
    order: Order | None = None
    trade: Trade | None = None
    basis: Basis | None = None
    move: Move | None = None

    @property
    def busy(self) -> bool:
        """Whether minutes can change it."""
        return self.order is not None or self.trade is not None


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an order or a trade: the trade as it is now with its new bookings counted from ``known``, or a refusal."""

    trade: Trade | None
    known: int
    basis: Basis | None
    refusal: Refusal | None = None


def settled(
    desk: Desk,
    minutes: Iterable[Minute],
    fundings: Sequence[Funding],
    terms: Terms,
    book_before: Callable[[int], Book | None],
) -> tuple[Desk, Told | None]:
    """Let closed minutes pass, in order, until the trade is over. ``book_before`` gives the depth recorded before a minute."""
    told: Refusal | None = None
    before = desk.trade
    for minute in minutes:
        if minute.open_ms < desk.settled_until_ms or not desk.busy:
            continue
        if desk.order is not None and minute.open_ms >= desk.order.not_before_ms:
            desk, told = _entered(desk, desk.order, minute, terms, book_before)
        if desk.trade is not None and desk.move is not None and minute.open_ms >= desk.move.at_ms:
            stop, target = desk.move.stop_loss, desk.move.take_profit
            desk = replace(desk, trade=replace(desk.trade, stop_loss=stop, take_profit=target), move=None)
        if desk.trade is not None:
            trade = advance(desk.trade, minute, fundings, terms.costs, book_before(minute.open_ms))
            account = caught_up(desk.account, desk.trade, trade)
            desk = replace(desk, trade=trade, account=account)
        desk = replace(desk, settled_until_ms=minute.end_ms)
        if told is not None or (desk.trade is not None and not desk.trade.active):
            break
    known = len(before.bookings) if before is not None else 0
    if told is not None:
        return replace(desk, basis=None), Told(None, 0, desk.basis, told)
    if desk.trade is None or desk.trade == before:
        return desk, None
    news = Told(desk.trade, known, desk.basis)
    if not desk.trade.active:
        desk = replace(desk, trade=None, basis=None, move=None)
    return desk, news


def answered(
    desk: Desk,
    strategy: Strategy,
    judged: tuple[Inputs, Verdict] | None,
    close_ms: int,
    terms: Terms,
    *,
    fresh: bool,
) -> Desk:
    """Do what the judgment of this close asks for; None: it was not judged. Only a ``fresh`` one opens anything.

    Raises InvalidInput where minutes before the close have not passed, or it was answered before.
    """
    if close_ms <= desk.acted_until_ms:
        raise InvalidInput(f"{desk.symbol} has answered up to {desk.acted_until_ms}, and {close_ms} was before.")
    if desk.busy and desk.settled_until_ms < close_ms:
        raise InvalidInput(
            f"{desk.symbol} is settled up to {desk.settled_until_ms} only, and {close_ms} is to be answered."
        )
    desk = replace(desk, acted_until_ms=close_ms, settled_until_ms=max(desk.settled_until_ms, close_ms))
    if desk.order is not None and close_ms >= desk.order.not_before_ms + PATIENCE_MS:
        desk = replace(desk, order=None, basis=None)
    if judged is None:
        return desk
    inputs, verdict = judged
    if desk.trade is not None:
        if desk.basis is None or desk.basis.actor is not None:  # a person's trade is left by the person
            return desk
        held = Held(1 if desk.trade.direction == "LONG" else -1, desk.basis.trend, close_ms)
        reason = strategy.leave(inputs, held)
        return desk if reason is None else left(desk, reason, close_ms + REACTION_MS)
    if verdict.levels is None or not fresh or desk.busy or close_ms < desk.cooldown_until_ms:
        return desk
    basis = Basis(close_ms, verdict.trend, dict(verdict.scores))
    direction: Direction = "LONG" if verdict.signal == "BUY" else "SHORT"
    levels = verdict.levels
    try:
        order = Order(
            desk.symbol,
            desk.strategy,
            direction,
            close_ms,
            close_ms + REACTION_MS,
            exact(levels.stop),
            exact(levels.target),
            desk.account.equity,
            **_limits(terms),
            time_stop_ms=close_ms + REACTION_MS + strategy.longest_ms,
        )
    except InvalidInput:  # a price so low that eight decimals cannot tell stop and target apart
        return desk
    return replace(desk, order=order, basis=basis)


def wanted(
    desk: Desk,
    direction: Direction,
    stop: Decimal,
    target: Decimal,
    now_ms: int,
    terms: Terms,
    actor: str,
) -> Desk:
    """A person's own order, for the next minute; it has no time stop. Raises Conflict while there is a trade, an order or a
    cooldown.
    """
    if (why := blocked(desk, now_ms)) is not None:
        raise Conflict(why)
    order = Order(
        desk.symbol,
        desk.strategy,
        direction,
        now_ms,
        now_ms,
        stop,
        target,
        desk.account.equity,
        **_limits(terms),
    )
    trend: Trend = "UP" if direction == "LONG" else "DOWN"
    since = now_ms // MINUTE_MS * MINUTE_MS
    return replace(
        desk, order=order, basis=Basis(None, trend, {}, actor), settled_until_ms=max(desk.settled_until_ms, since)
    )


def left(desk: Desk, reason: str, at_ms: int) -> Desk:
    """Ask for the open trade's exit. Raises Conflict when there is none."""
    if desk.trade is None:
        raise Conflict(f"{desk.symbol} has no open {desk.strategy} trade.")
    return replace(desk, trade=asked_to_leave(desk.trade, reason, at_ms))


def moved(desk: Desk, stop: Decimal | None, target: Decimal | None, at_ms: int) -> Desk:
    """Move the open trade's stop in its favour, or its target, from ``at_ms`` on: never for minutes that were over before, however
    late they are settled. Raises Conflict without a trade or with one that is being left, InvalidInput for a stop that would be
    worse or a target on its wrong side.
    """
    if desk.trade is None:
        raise Conflict(f"{desk.symbol} has no open {desk.strategy} trade.")
    trade = desk.trade
    if reason := trade.exit_reason or trade.asked_reason:
        raise Conflict(f"The {desk.strategy} trade of {desk.symbol} is being left already: {reason}.")
    if desk.move is not None:  # a second wish before the first one took effect
        trade = replace(trade, stop_loss=desk.move.stop_loss, take_profit=desk.move.take_profit)
    if stop is not None:
        trade = protect(trade, stop)
        if trade.stop_loss != exact(stop):
            raise InvalidInput(
                f"A stop is only moved in the trade's favour: it is at {trade.stop_loss}, and {stop} would be worse."
            )
    trade = aim(trade, trade.take_profit if target is None else target)
    return replace(desk, move=Move(at_ms, trade.stop_loss, trade.take_profit))


def blocked(desk: Desk, now_ms: int) -> str | None:
    """Why nothing new may be opened now; None: it may."""
    if desk.trade is not None:
        return f"{desk.symbol} has an open {desk.strategy} trade already: one at a time."
    if desk.order is not None:
        return f"{desk.symbol} has an order of {desk.strategy} already, which the next minute fills."
    if now_ms < desk.cooldown_until_ms:
        left_s = (desk.cooldown_until_ms - now_ms + 999) // 1000
        return f"{desk.symbol} cools down after its last {desk.strategy} trade for {left_s} s more."
    return None


def _entered(
    desk: Desk, order: Order, minute: Minute, terms: Terms, book_before: Callable[[int], Book | None]
) -> tuple[Desk, Refusal | None]:
    order = replace(order, equity=desk.account.equity)
    found = open_trade(order, minute, terms.costs, book_before(minute.open_ms))
    if isinstance(found, Refusal):
        return replace(desk, order=None), found
    account = caught_up(desk.account, None, found)
    cooldown = found.opened_ms + terms.cooldown_ms
    return replace(desk, order=None, trade=found, account=account, cooldown_until_ms=cooldown), None


def _limits(terms: Terms) -> dict[str, Any]:
    return {
        "max_loss": terms.max_loss,
        "quantity_step": terms.quantity_step,
        "min_quantity": terms.min_quantity,
    }
