"""The life of one simulated trade, minute by minute: it opens, is carried, and is closed. State goes in, state comes out.

What is known of a minute is its candle, so each minute is taken in this order:

1. Funding that fell due up to its open.
2. Its open: a price beyond the liquidation price liquidates; one beyond the stop stops, at the open; a remainder goes on, an exit
   that was asked for and a time stop are filled. All of these are market orders.
3. Funding that falls due within it.
4. Its range: the stop, or the liquidation where that comes first; then the target. A candle that spans stop and target counts as
   the stop, always: nobody knows which came first.

So a trade pays the funding of every moment t with opened_ms < t <= the moment of its last exit, once each: an exit at an open is
over at that open, and one within a minute counts as later than the minute's funding, which falls due in its first milliseconds.

Liquidation is that of an isolated margin. The exchange takes the trade over at ``liquidation_price``, where what is left of the
margin is the maintenance margin (0.5 % of the entry), and all of the margin is lost: a little more than an exchange may take, but
never less. It reads the traded price, since there is no candle of the mark price.

Signs: ``realised`` is profit (+) or loss (-) of price alone; ``fees`` and ``funding`` are what was paid, so received funding is
negative. pnl = realised - fees - funding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Literal, Self, TypeAlias

from app.domain.market.timeframes import MINUTE_MS
from app.domain.trading.fills import Book, Costs, Fill, Liquidity, Side, limit_fill, market_fill
from app.domain.trading.money import (
    UNIT,
    ZERO,
    Number,
    decimal_of,
    exact,
    in_full,
    number,
    part,
    positive,
    product,
    quotient,
    rounded,
    text,
)
from app.domain.trading.sizing import MAINTENANCE, MAX_LOSS, MOST_LEVERAGE, Size, size
from app.errors import Conflict, CorruptData, InvalidInput

STOP_LOSS: Final = "STOP_LOSS"
TAKE_PROFIT: Final = "TAKE_PROFIT"
LIQUIDATION: Final = "LIQUIDATION"
TREND_FLIP: Final = "TREND_FLIP"
FACTOR_STOP: Final = "FACTOR_STOP"
TIME_STOP: Final = "TIME_STOP"
MANUAL: Final = "MANUAL"
EMERGENCY: Final = "EMERGENCY"
ASKED: Final = (TREND_FLIP, FACTOR_STOP, TIME_STOP, MANUAL, EMERGENCY)
"""The reasons for which an exit may be asked for; the others happen."""

PASSED_STOP: Final = "PASSED_STOP"
PASSED_TARGET: Final = "PASSED_TARGET"
TOO_SMALL: Final = "TOO_SMALL"
TOO_LITTLE_EQUITY: Final = "TOO_LITTLE_EQUITY"
NOTHING_FILLED: Final = "NOTHING_FILLED"
EXPIRED: Final = "EXPIRED"

Direction: TypeAlias = Literal["LONG", "SHORT"]
Status: TypeAlias = Literal["ACTIVE", "CLOSED", "STOPPED"]

_PERCENT: Final = Decimal("0.0001")  # the decimals of a percentage in the columns


@dataclass(frozen=True, slots=True)
class Minute:
    """One closed candle of a minute. Build it with ``of``."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @classmethod
    def of(cls, open_ms: int, open_: Number, high: Number, low: Number, close: Number) -> Self:
        """A candle of whatever numbers. Raises CorruptData when they contradict each other."""
        if open_ms % MINUTE_MS:
            raise CorruptData(f"No minute opens at {open_ms}.")
        minute = cls(open_ms, exact(open_), exact(high), exact(low), exact(close))
        if not 0 < minute.low <= min(minute.open, minute.close) <= max(minute.open, minute.close) <= minute.high:
            raise CorruptData(f"The candle of {open_ms} contradicts itself: {open_}, {high}, {low}, {close}.")
        return minute

    @property
    def end_ms(self) -> int:
        """Its last millisecond is the one before."""
        return self.open_ms + MINUTE_MS


@dataclass(frozen=True, slots=True)
class Funding:
    """A rate that fell due at ``time_ms``: a LONG pays a positive one. Without a mark price, the minute's open stands for it."""

    time_ms: int
    rate: Decimal
    mark_price: Decimal | None = None

    @classmethod
    def of(cls, time_ms: int, rate: Number, mark_price: Number | None = None) -> Self:
        """A settlement of whatever numbers; the rate keeps all of its digits."""
        return cls(time_ms, number(rate), None if mark_price is None else positive(mark_price, "mark price"))


@dataclass(frozen=True, slots=True)
class Order:
    """What a strategy wants. ``equity`` is what its account holds; ``not_before_ms`` is when the signal was known."""

    symbol: str
    strategy: str
    direction: Direction
    signal_ms: int
    not_before_ms: int
    stop_loss: Decimal
    take_profit: Decimal
    equity: Decimal
    max_loss: Decimal = MAX_LOSS
    most_leverage: int = MOST_LEVERAGE
    quantity_step: Decimal | None = None
    min_quantity: Decimal | None = None
    time_stop_ms: int | None = None
    """The moment from which on the trade is given up."""

    def __post_init__(self) -> None:
        """Refuse an order that means nothing, and book its prices."""
        stop, target = positive(self.stop_loss, "stop"), positive(self.take_profit, "target")
        if self.direction not in ("LONG", "SHORT"):
            raise InvalidInput(f"{self.direction!r} is not a direction: use LONG or SHORT.")
        if _sign(self.direction) * (target - stop) <= 0:
            raise InvalidInput(
                f"The stop of a {self.direction} ({stop}) must lie on the other side of its target ({target})."
            )
        object.__setattr__(self, "stop_loss", stop)
        object.__setattr__(self, "take_profit", target)
        object.__setattr__(self, "equity", exact(self.equity))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order was not opened: a ``reason`` to count by, and a sentence to read."""

    reason: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Booking:
    """One thing that moved money. ``margin`` is what was set aside (+) or came back (-); ``fee`` and ``funding`` were paid."""

    kind: Literal["entry", "exit", "funding"]
    at_ms: int
    price: Decimal
    quantity: Decimal
    margin: Decimal = ZERO
    realised: Decimal = ZERO
    fee: Decimal = ZERO
    funding: Decimal = ZERO
    liquidity: Liquidity | None = None
    reason: str | None = None
    assumed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade, whole: nothing about it is kept elsewhere. Everything before ``settled_until_ms`` has happened to it."""

    symbol: str
    strategy: str
    direction: Direction
    signal_ms: int
    opened_ms: int
    quantity: Decimal
    entry_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    leverage: int
    margin: Decimal
    risk_amount: Decimal
    liquidation_price: Decimal
    bankruptcy_price: Decimal
    """Where the margin is used up: no exit is worse."""
    settled_until_ms: int
    remaining: Decimal
    held_margin: Decimal
    time_stop_ms: int | None = None
    asked_reason: str | None = None
    asked_ms: int | None = None
    exit_reason: str | None = None
    """Why it is left. While ACTIVE: a part, or nothing yet, was filled, and the rest follows at the next open."""
    status: Status = "ACTIVE"
    exit_price: Decimal | None = None
    """The average of what was filled so far, by quantity."""
    closed_ms: int | None = None
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    missing: int = 0
    """Minutes of which no candle came: what happened in them is not known."""
    bookings: tuple[Booking, ...] = ()

    @property
    def active(self) -> bool:
        """Whether anything is left of it."""
        return self.status == "ACTIVE"

    @property
    def fills(self) -> tuple[Booking, ...]:
        """Its entry and its exits."""
        return tuple(booking for booking in self.bookings if booking.kind != "funding")

    @property
    def pnl(self) -> Decimal:
        """What it brought so far, all costs paid."""
        return self.realised - self.fees - self.funding

    @property
    def pnl_percentage(self) -> Decimal:
        """The same in percent of the value at entry, not of the margin."""
        return quotient(100 * self.pnl, product(self.entry_price, self.quantity) or UNIT, _PERCENT)

    def floating(self, price: Number) -> Decimal:
        """What the open part would bring at a price, before costs."""
        return _profit(self, exact(price), self.remaining)


def open_trade(order: Order, minute: Minute, costs: Costs, book: Book | None = None) -> Trade | Refusal:
    """Open at the open of ``minute``: the first that opens at or after ``not_before_ms``, never the signal's own candle.

    Stop and target stay where the strategy set them. The quantity is that which loses ``max_loss`` between stop and real entry:
    the price paid is first found for the quantity at the open, which is the larger one, so the loss is never more. Where only
    a part is filled, margin and risk shrink with it. The minute itself has yet to be advanced: its range comes after its open.
    """
    at_ms = minute.open_ms
    if at_ms < order.not_before_ms:
        raise InvalidInput(f"The candle of {at_ms} opened before this order may be filled: {order.not_before_ms}.")
    if refusal := _passed(order, minute.open, at_ms):
        return refusal
    side: Side = "buy" if order.direction == "LONG" else "sell"
    try:
        wanted = _size(order, minute.open)
        wanted = _size(order, market_fill(side, wanted.quantity, minute.open, costs, book).price)
    except InvalidInput as error:
        return Refusal(TOO_SMALL, str(error), at_ms)
    fill = market_fill(side, wanted.quantity, minute.open, costs, book)
    if not fill.quantity:
        return Refusal(NOTHING_FILLED, f"The recorded book holds none of {wanted.quantity} coins.", at_ms)
    if fill.quantity < (order.min_quantity or 0):
        return Refusal(TOO_SMALL, f"The recorded book holds {fill.quantity} coins, too few to trade.", at_ms)
    if refusal := _passed(order, fill.price, at_ms):
        return refusal
    plan = _size(order, fill.price)
    margin = part(plan.margin, fill.quantity, plan.quantity)
    if margin + fill.fee > order.equity:
        short = f"The margin of {margin} and the fee of {fill.fee} are more than the account's {order.equity}."
        return Refusal(TOO_LITTLE_EQUITY, short, at_ms)
    return _opened(order, fill, margin, plan.leverage, at_ms)


def advance(trade: Trade, minute: Minute, fundings: Iterable[Funding], costs: Costs, book: Book | None = None) -> Trade:
    """Let one closed minute happen to a trade, in the order that the module tells.

    Minutes come in order; one that was settled before changes nothing, so a minute may come twice. Where minutes are missing, they
    are counted, and the next one takes over with its open. ``fundings`` may hold more than this minute's: each is paid once.
    Advance only by minutes whose fundings are known, for one that comes after its minute is not paid. ``book`` is the depth of the
    minute before.
    """
    if not trade.active or minute.open_ms < trade.settled_until_ms:
        return trade
    due = {each.time_ms: each for each in fundings if trade.settled_until_ms <= each.time_ms < minute.end_ms}
    rates = [due[time_ms] for time_ms in sorted(due) if time_ms > trade.opened_ms]
    missing = (minute.open_ms - trade.settled_until_ms) // MINUTE_MS
    trade = replace(trade, missing=trade.missing + missing, settled_until_ms=minute.end_ms)
    for funding in rates:
        if funding.time_ms <= minute.open_ms:
            trade = _funded(trade, funding, minute.open)
    trade = _at_the_open(trade, minute, costs, book)
    if not trade.active:
        return trade
    for funding in rates:
        if funding.time_ms > minute.open_ms:
            trade = _funded(trade, funding, minute.open)
    return _within(trade, minute, costs, book)


def request_exit(trade: Trade, reason: str, at_ms: int) -> Trade:
    """Ask for an exit at the open of the first minute that opens at or after ``at_ms``. What was asked for earlier stays.

    Raises InvalidInput for a reason that nobody may ask for, Conflict when the trade is closed.
    """
    if reason not in ASKED:
        raise InvalidInput(f"{reason!r} is not a reason to ask for an exit: use {', '.join(ASKED)}.")
    if not trade.active:
        raise Conflict(f"This trade is {trade.status} already.")
    if trade.asked_ms is not None and trade.asked_ms <= at_ms:
        return trade
    return replace(trade, asked_reason=reason, asked_ms=at_ms)


def protect(trade: Trade, stop: Number) -> Trade:
    """Move the stop in the trade's favour; a stop that would be worse changes nothing. The risk told is that of the entry."""
    if not trade.active:
        raise Conflict(f"This trade is {trade.status} already.")
    moved = positive(stop, "stop")
    return replace(trade, stop_loss=moved) if _sign(trade.direction) * (moved - trade.stop_loss) > 0 else trade


def aim(trade: Trade, target: Number) -> Trade:
    """Move the target, to whichever price lies on the other side of the stop."""
    if not trade.active:
        raise Conflict(f"This trade is {trade.status} already.")
    aimed = positive(target, "target")
    if _sign(trade.direction) * (aimed - trade.stop_loss) <= 0:
        raise InvalidInput(
            f"The target of a {trade.direction} must lie beyond its stop, {trade.stop_loss}, not at {aimed}."
        )
    return replace(trade, take_profit=aimed)


def _sign(direction: Direction) -> int:
    return 1 if direction == "LONG" else -1


def _beyond(trade: Trade, price: Decimal, level: Decimal) -> bool:
    """Whether a price is worse for the trade than a level."""
    return _sign(trade.direction) * (price - level) < 0


def _passed(order: Order, price: Decimal, at_ms: int) -> Refusal | None:
    sign = _sign(order.direction)
    if sign * (price - order.stop_loss) <= 0:
        return Refusal(PASSED_STOP, f"The price, {price}, has passed the stop, {order.stop_loss}.", at_ms)
    if sign * (order.take_profit - price) <= 0:
        return Refusal(PASSED_TARGET, f"The price, {price}, has passed the target, {order.take_profit}.", at_ms)
    return None


def _size(order: Order, entry: Decimal) -> Size:
    return size(
        entry,
        order.stop_loss,
        order.max_loss,
        most=order.most_leverage,
        quantity_step=order.quantity_step,
        min_quantity=order.min_quantity,
    )


def _opened(order: Order, fill: Fill, margin: Decimal, leverage: int, at_ms: int) -> Trade:
    sign = _sign(order.direction)
    with in_full():
        bankruptcy = fill.price - sign * margin / fill.quantity
        takeover = bankruptcy + sign * fill.price * decimal_of(MAINTENANCE)
    away = ROUND_CEILING if sign > 0 else ROUND_FLOOR  # towards the entry: the loss is never more than the margin
    booking = Booking(
        "entry",
        at_ms,
        fill.price,
        fill.quantity,
        margin=margin,
        fee=fill.fee,
        liquidity=fill.liquidity,
        assumed=fill.assumed,
    )
    return Trade(
        symbol=order.symbol,
        strategy=order.strategy,
        direction=order.direction,
        signal_ms=order.signal_ms,
        opened_ms=at_ms,
        quantity=fill.quantity,
        entry_price=fill.price,
        stop_loss=order.stop_loss,
        take_profit=order.take_profit,
        leverage=leverage,
        margin=margin,
        risk_amount=product(abs(fill.price - order.stop_loss), fill.quantity),
        liquidation_price=max(ZERO, rounded(takeover, UNIT, away)),
        bankruptcy_price=max(ZERO, rounded(bankruptcy, UNIT, away)),
        settled_until_ms=at_ms,
        remaining=fill.quantity,
        held_margin=margin,
        time_stop_ms=order.time_stop_ms,
        fees=fill.fee,
        bookings=(booking,),
    )


def _funded(trade: Trade, funding: Funding, open_: Decimal) -> Trade:
    price = open_ if funding.mark_price is None else funding.mark_price
    paid = _sign(trade.direction) * product(funding.rate, price, trade.remaining)
    booking = Booking(
        "funding", funding.time_ms, price, trade.remaining, funding=paid, assumed={"rate": str(funding.rate)}
    )
    return replace(trade, funding=trade.funding + paid, bookings=(*trade.bookings, booking))


def _at_the_open(trade: Trade, minute: Minute, costs: Costs, book: Book | None) -> Trade:
    if _beyond(trade, minute.open, trade.liquidation_price):
        return _liquidated(trade, minute.open_ms, costs)
    reason = _reason_at_the_open(trade, minute)
    if reason is None:
        return trade
    return _market_exit(trade, reason, minute.open, minute.open_ms, costs, book)


def _reason_at_the_open(trade: Trade, minute: Minute) -> str | None:
    if trade.exit_reason is not None:
        return trade.exit_reason
    if not _beyond(trade, trade.stop_loss, minute.open):
        return STOP_LOSS
    if trade.asked_ms is not None and minute.open_ms >= trade.asked_ms:
        return trade.asked_reason
    if trade.time_stop_ms is not None and minute.open_ms >= trade.time_stop_ms:
        return TIME_STOP
    return None


def _within(trade: Trade, minute: Minute, costs: Costs, book: Book | None) -> Trade:
    """The range. A trade that is being left has no stop and no target any more; the liquidation still threatens it."""
    worst, best = (minute.low, minute.high) if trade.direction == "LONG" else (minute.high, minute.low)
    at_ms = minute.end_ms - 1  # when in the minute is not known, and by its end it had happened
    stop_comes_first = not _beyond(trade, trade.stop_loss, trade.liquidation_price)
    if trade.exit_reason is None and stop_comes_first and not _beyond(trade, trade.stop_loss, worst):
        trade = _market_exit(trade, STOP_LOSS, trade.stop_loss, at_ms, costs, book)
    if trade.active and not _beyond(trade, trade.liquidation_price, worst):
        return _liquidated(trade, at_ms, costs)
    if trade.exit_reason is None and not _beyond(trade, best, trade.take_profit):
        fill = limit_fill(_exit_side(trade), trade.remaining, trade.take_profit, costs)
        return _left(trade, TAKE_PROFIT, fill, at_ms)
    return trade


def _market_exit(trade: Trade, reason: str, price: Decimal, at_ms: int, costs: Costs, book: Book | None) -> Trade:
    fill = market_fill(_exit_side(trade), trade.remaining, price, costs, book)
    if _beyond(trade, fill.price, trade.bankruptcy_price):
        return _liquidated(trade, at_ms, costs)
    return _left(trade, reason, fill, at_ms)


def _liquidated(trade: Trade, at_ms: int, costs: Costs) -> Trade:
    price = trade.bankruptcy_price
    fee = product(price, trade.remaining, costs.taker_fee)
    assumed = {"source": "liquidation", "reference": text(trade.liquidation_price), "wanted": text(trade.remaining)}
    return _left(trade, LIQUIDATION, Fill(_exit_side(trade), trade.remaining, price, fee, "taker", assumed), at_ms)


def _left(trade: Trade, reason: str, fill: Fill, at_ms: int) -> Trade:
    """The trade after an exit of all or a part of it. No exit loses more than the margin that it sets free."""
    if not fill.quantity:
        return replace(trade, exit_reason=reason)
    remaining = trade.remaining - fill.quantity
    freed = part(trade.margin, fill.quantity, trade.quantity) if remaining else trade.held_margin
    realised = max(_profit(trade, fill.price, fill.quantity), -freed)
    booking = Booking(
        "exit", at_ms, fill.price, fill.quantity, -freed, realised, fill.fee, ZERO, fill.liquidity, reason, fill.assumed
    )
    bookings = (*trade.bookings, booking)
    status: Status = "ACTIVE"
    if not remaining:
        status = "STOPPED" if reason in (STOP_LOSS, LIQUIDATION) else "CLOSED"
    return replace(
        trade,
        remaining=remaining,
        held_margin=trade.held_margin - freed,
        exit_reason=reason,
        exit_price=_average(booking for booking in bookings if booking.kind == "exit"),
        status=status,
        closed_ms=None if remaining else at_ms,
        realised=trade.realised + realised,
        fees=trade.fees + fill.fee,
        bookings=bookings,
    )


def _average(bookings: Iterable[Booking]) -> Decimal:
    value = quantity = ZERO
    with in_full():
        for booking in bookings:
            value += booking.price * booking.quantity
            quantity += booking.quantity
    return quotient(value, quantity)


def _profit(trade: Trade, price: Decimal, quantity: Decimal) -> Decimal:
    return product(_sign(trade.direction) * (price - trade.entry_price), quantity)


def _exit_side(trade: Trade) -> Side:
    return "sell" if trade.direction == "LONG" else "buy"
