"""What is refused and what is marked among everything that an exchange says.

``CHECKS`` is the table: to add a check is to write its line there, and to tell the quick test of its type. Every message passes
here, so each type has one quick test that says "nothing is wrong" in a microsecond; only where it does not is the table asked,
check by check, for the sentences. A property test holds the two together: the quick test is never more lenient than the table.

The documents' limits (B6.3, production configuration) stand here with their units made good. They count volume in
base coins, so that 200 is thirteen million dollars of BTC and twenty of DOGE; here volume is in quote coins and its unit is the
symbol's own median trade, so that they mean the same for both. What is refused goes no further. What is marked is kept, and said.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import msgspec

from app.domain.market.book import BookSummary
from app.domain.market.timeframes import length_ms
from app.domain.market.values import (
    BookTop,
    Candle,
    Depth,
    Event,
    Funding,
    Level,
    Mark,
    OpenInterest,
    Ticker,
    Trade,
    Value,
)

Verdict = Literal["refuse", "mark"]

FUTURE_MS = 60_000  # no exchange's clock is a minute ahead: beyond that it is not its clock
PAST_MS = (
    24 * 3_600_000
)  # seconds or microseconds taken for milliseconds, and zero; a quiet symbol may still repeat itself
BEHIND_MS = 60_000
JUMP = 0.20  # the documents' own risk rule calls a price 20 % off a failure (B6.4); futures exchanges refuse orders at 5 to 15 %
PRICE_GAP_PERCENT = 0.8
ABNORMAL_SPREAD_PERCENT = 1.5
LOW_LIQUIDITY = 200.0  # median trades
VOLUME_ANOMALY = 10 * LOW_LIQUIDITY  # median trades
ENOUGH_TRADES = 100  # before that the median is a guess
MOST_FUNDING = 0.10  # of one interval; exchanges cap it at 0.75 to 4 %
ROUNDING = 1e-9


@dataclass(slots=True)
class Known:
    """What was seen of one symbol. Mutable on purpose: every message looks at it, and most change it."""

    price: float | None = None
    """Of the last trade."""
    trade_ms: int = 0
    top_ms: int = 0
    depth_ms: int = 0
    median_quote: float = 0.0
    """About half of the trades are worth more: it goes up a little with each such trade, and down with each other one."""
    trades: int = 0
    candles_ms: dict[str, int] = field(default_factory=dict)
    """The newest closed candle's open time by timeframe."""

    def saw_trade(self, price: float, quote: float, time_ms: int) -> None:
        """Remember a trade."""
        self.price = price
        if time_ms > self.trade_ms:
            self.trade_ms = time_ms
        self.trades += 1
        median = self.median_quote
        if median == 0.0:
            self.median_quote = quote
        elif quote > median:
            self.median_quote = median * (1.02 if self.trades > ENOUGH_TRADES else 1.2)
        elif quote < median:
            self.median_quote = median / (1.02 if self.trades > ENOUGH_TRADES else 1.2)

    @property
    def unit(self) -> float | None:
        """The median trade in quote coins, once it is known."""
        return self.median_quote if self.trades >= ENOUGH_TRADES else None


@dataclass(slots=True)
class Context:
    """What the checks of one exchange's stream stand on. Set ``now_ms``, the market's time, before each batch of messages.

    History that is fetched later has a context of its own, so that it is not compared with the present.
    """

    now_ms: int = 0
    symbols: dict[str, Known] = field(default_factory=dict)
    speed: float = 1.0
    """How fast the market's time runs: a delay of ours is so much more of its time."""
    behind_ms: float = field(init=False)
    future_ms: float = field(init=False)

    def __post_init__(self) -> None:
        self.behind_ms, self.future_ms = BEHIND_MS * self.speed, FUTURE_MS * self.speed

    def of(self, symbol: str) -> Known:
        """What is known of a symbol."""
        known = self.symbols.get(symbol)
        if known is None:
            known = self.symbols[symbol] = Known()
        return known


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A check that has something to say."""

    check: str
    detail: str


class Cleaned(msgspec.Struct, frozen=True, gc=False):
    """The value, unless it was refused, with what is odd about it."""

    value: Event | BookSummary | None
    refused: Finding | None = None
    marks: tuple[Finding, ...] = ()


Find = Callable[[Any, Known, Context], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong with some kinds of values. ``find`` takes the value, what is known of its symbol and the
    context, and says what is wrong.
    """

    name: str
    verdict: Verdict
    of: tuple[type, ...]
    find: Find
    why: str


# --- what is refused ---------------------------------------------------------------------------------------------------------


def _prices(value: Any) -> list[tuple[str, float | None]]:
    match value:
        case Trade():
            return [("price", value.price)]
        case Candle():
            return [("open", value.open), ("high", value.high), ("low", value.low), ("close", value.close)]
        case BookTop():
            return [("bid", value.bid), ("ask", value.ask)]
        case Mark():
            return [("mark price", value.mark_price), ("index price", value.index_price)]
        case Funding():
            return [("mark price", value.mark_price)]
        case Ticker():
            return [("last price", value.last)]
        case Depth():
            return [("price of a level", price) for side in (value.bids, value.asks) for price, _ in side]
    return []


def _quantities(value: Any) -> list[tuple[str, float | None]]:
    match value:
        case Trade():
            return [("quantity", value.quantity)]
        case Candle():
            names = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
            return [(name, getattr(value, name)) for name in names]
        case BookTop():
            return [("bid quantity", value.bid_quantity), ("ask quantity", value.ask_quantity)]
        case OpenInterest():
            return [("open interest", value.quantity), ("value of the open interest", value.value)]
        case Ticker():
            sizes = [("bid quantity", value.bid_quantity), ("ask quantity", value.ask_quantity)]
            return [("volume", value.volume), ("quote volume", value.quote_volume), *sizes]
        case Depth():
            return [("quantity of a level", quantity) for side in (value.bids, value.asks) for _, quantity in side]
    return []


def _price(value: Value, _known: Known, _at: Context) -> str | None:
    for name, price in _prices(value):
        if price is not None and not 0.0 < price < inf:
            return f"The {name} is {price}."
    return None


def _quantity(value: Value, _known: Known, _at: Context) -> str | None:
    for name, quantity in _quantities(value):
        if quantity is not None and not 0.0 <= quantity < inf:
            return f"The {name} is {quantity}."
    return None


def _nothing_traded(value: Trade, _known: Known, _at: Context) -> str | None:
    return "A trade of nothing." if value.quantity == 0 else None


def _day(value: Ticker, _known: Known, _at: Context) -> str | None:
    """0 passes: there is no bid at times, and no low of what was not traded."""
    for name in ("open", "high", "low", "bid", "ask", "change", "change_percent"):
        number, least = getattr(value, name), -inf if name.startswith("change") else 0.0
        if number is not None and not (least <= number < inf and number != -inf):
            return f"Its {name} is {number}."
    return None


def _future(value: Value, _known: Known, at: Context) -> str | None:
    ahead_ms = value.time_ms - at.now_ms
    return f"Its time is {ahead_ms / 1000:.0f} s ahead." if ahead_ms > at.future_ms else None


def _past(value: Value, _known: Known, at: Context) -> str | None:
    behind_ms = at.now_ms - value.time_ms
    return f"Its time is {behind_ms / 3_600_000:.0f} h ago." if behind_ms > PAST_MS else None


def _candle_shape(value: Candle, _known: Known, _at: Context) -> str | None:
    if value.low <= value.open <= value.high and value.low <= value.close <= value.high:
        return None
    return f"It opens at {value.open} and closes at {value.close}, outside of {value.low} to {value.high}."


def _candle_place(value: Candle, _known: Known, at: Context) -> str | None:
    length = length_ms(value.timeframe)
    if value.time_ms % length:
        return f"A candle of {value.timeframe} cannot open at {value.time_ms}."
    if value.closed and value.time_ms + length > at.now_ms + at.future_ms:
        return "It is called closed and is not over."
    return None


def _taker_share(value: Candle, _known: Known, _at: Context) -> str | None:
    bought = value.taker_buy_volume
    if bought is not None and bought > value.volume * (1 + ROUNDING):
        return f"Takers bought {bought} of {value.volume}."
    bought = value.taker_buy_quote_volume
    if bought is not None and value.quote_volume is not None and bought > value.quote_volume * (1 + ROUNDING):
        return f"Takers bought for {bought} of {value.quote_volume}."
    return None


def _crossed(value: BookTop | Depth, _known: Known, _at: Context) -> str | None:
    if isinstance(value, Depth):
        if not value.snapshot:
            return None
        bids, asks = ([price for price, quantity in side if quantity > 0] for side in (value.bids, value.asks))
        if not bids or not asks:
            return None
        bid, ask = max(bids), min(asks)
    else:
        bid, ask = value.bid, value.ask
    return f"Bid {bid} is not below ask {ask}, and nobody trades." if bid >= ask else None


def _funding(value: Mark | Funding, _known: Known, _at: Context) -> str | None:
    rate = value.rate if isinstance(value, Funding) else value.funding_rate
    return f"The funding rate is {rate}." if rate is not None and not -MOST_FUNDING <= rate <= MOST_FUNDING else None


# --- what is marked ----------------------------------------------------------------------------------------------------------


def _jump(value: Trade, known: Known, _at: Context) -> str | None:
    last = known.price
    if last is None or 1 - JUMP <= value.price / last <= 1 + JUMP:
        return None
    return f"The price went from {last} to {value.price} in one trade."


def _big_trade(value: Trade, known: Known, _at: Context) -> str | None:
    unit = known.unit
    if unit is None or value.price * value.quantity <= VOLUME_ANOMALY * unit:
        return None
    return f"A trade worth {value.price * value.quantity:.0f}, where half of them are below {unit:.0f}."


def _behind(value: Value, _known: Known, at: Context) -> str | None:
    behind_ms = at.now_ms - value.time_ms
    return f"It is {behind_ms / 1000:.0f} s old." if behind_ms > at.behind_ms else None


def _order(value: Trade | BookTop | Depth, known: Known, _at: Context) -> str | None:
    last_ms = {Trade: known.trade_ms, BookTop: known.top_ms, Depth: known.depth_ms}[type(value)]
    return f"It is {last_ms - value.time_ms} ms older than the one before." if value.time_ms < last_ms else None


def _spread(value: BookTop | BookSummary) -> float:
    if value.bid is None or value.ask is None:
        return 0.0
    return (value.ask - value.bid) / (value.ask + value.bid) * 200


def _price_gap(value: BookTop | BookSummary, _known: Known, _at: Context) -> str | None:
    spread = _spread(value)
    return f"The spread is {spread:.2f} % of the mid." if PRICE_GAP_PERCENT < spread <= 2 * PRICE_GAP_PERCENT else None


def _critical_gap(value: BookTop | BookSummary, _known: Known, _at: Context) -> str | None:
    spread = _spread(value)
    return f"The spread is {spread:.2f} % of the mid." if spread > 2 * PRICE_GAP_PERCENT else None


def _wide(value: BookTop | BookSummary, _known: Known, _at: Context) -> str | None:
    spread = _spread(value)
    return f"The spread is {spread:.2f} % of the mid." if spread > ABNORMAL_SPREAD_PERCENT else None


def _thin(value: BookSummary, known: Known, _at: Context) -> str | None:
    unit = known.unit
    if unit is None:
        return None
    for name, quote in (("bid", value.bid_quote_50), ("ask", value.ask_quote_50)):
        if quote is not None and quote < LOW_LIQUIDITY * unit:
            return f"The {name} side's best 50 levels are worth {quote:.0f}, where half of the trades are above {unit:.0f}."
    return None


def _candle_gap(value: Candle, known: Known, _at: Context) -> str | None:
    last_ms = known.candles_ms.get(value.timeframe)
    if not value.closed or last_ms is None:
        return None
    lost = (value.time_ms - last_ms) // length_ms(value.timeframe) - 1
    return f"{lost} candles of {value.timeframe} are missing before it." if lost > 0 else None


_ALL = (Trade, Candle, Depth, BookTop, Mark, Funding, OpenInterest, Ticker)
_PRICED = (Trade, Candle, Depth, BookTop, Mark, Funding, Ticker)
_COUNTED = (Trade, Candle, Depth, BookTop, OpenInterest, Ticker)
_LIVE = (Trade, Depth, BookTop, Mark, Ticker)  # the others may be history
_TOPS = (BookTop, BookSummary)

CHECKS = (
    Check("price", "refuse", _PRICED, _price, "A price is a finite number above 0."),
    Check("quantity", "refuse", _COUNTED, _quantity, "A quantity is a finite number, and never negative."),
    Check(
        "day", "refuse", (Ticker,), _day, "What is told of a day are finite numbers, and its prices are not negative."
    ),
    Check("empty-trade", "refuse", (Trade,), _nothing_traded, "Somebody trades something."),
    Check("future", "refuse", _ALL, _future, "Nothing is known a minute before it happens: a clock is off."),
    Check("past", "refuse", _LIVE, _past, "What is live is not a day old: a clock is off, or its unit is."),
    Check("candle-shape", "refuse", (Candle,), _candle_shape, "Open and close lie between low and high."),
    Check(
        "candle-place",
        "refuse",
        (Candle,),
        _candle_place,
        "A candle begins on its own grid, and closes when it is over.",
    ),
    Check("taker-volume", "refuse", (Candle,), _taker_share, "Takers cannot buy more than was traded."),
    Check("crossed", "refuse", (BookTop, Depth), _crossed, "A bid at or above the ask would be a trade."),
    Check("funding-rate", "refuse", (Mark, Funding), _funding, "No exchange lets funding exceed a few percent."),
    Check("price-jump", "mark", (Trade,), _jump, "20 % in one trade happens in no healthy market."),
    Check("volume-anomaly", "mark", (Trade,), _big_trade, "So large a trade is an event, or an error."),
    Check("behind", "mark", (Trade, Depth, BookTop), _behind, "It is too old to act upon."),
    Check("out-of-order", "mark", (Trade, Depth, BookTop), _order, "Time runs forward."),
    Check("price-gap", "mark", _TOPS, _price_gap, "The best prices lie unusually far apart."),
    Check("price-gap-critical", "mark", _TOPS, _critical_gap, "The best prices lie far too far apart."),
    Check("abnormal-spread", "mark", _TOPS, _wide, "To trade here costs more than it can bring."),
    Check("low-liquidity", "mark", (BookSummary,), _thin, "So little rests that an ordinary order would sweep it."),
    Check("candle-gap", "mark", (Candle,), _candle_gap, "Candles follow each other without holes."),
)
_BY_TYPE = {kind: tuple(check for check in CHECKS if kind in check.of) for kind in (*_ALL, BookSummary)}


# --- the quick tests: True only where no check of the table has anything to say ----------------------------------------------


def _trade_is_fine(value: Trade, known: Known, at: Context) -> bool:
    price, quantity, time_ms, last = value.price, value.quantity, value.time_ms, known.price
    if last is None or not (0.0 < price < inf and 0.0 < quantity < inf):
        return False
    return (
        known.trade_ms <= time_ms
        and at.now_ms - at.behind_ms <= time_ms <= at.now_ms + at.future_ms
        and 1 - JUMP <= price / last <= 1 + JUMP
        and (price * quantity <= VOLUME_ANOMALY * known.median_quote or known.trades < ENOUGH_TRADES)
    )


def _top_is_fine(value: BookTop, known: Known, at: Context) -> bool:
    bid, ask, time_ms = value.bid, value.ask, value.time_ms
    return (
        0.0 < bid < ask < inf
        and 0.0 <= value.bid_quantity < inf
        and 0.0 <= value.ask_quantity < inf
        and known.top_ms <= time_ms
        and at.now_ms - at.behind_ms <= time_ms <= at.now_ms + at.future_ms
        and (ask - bid) / (ask + bid) * 200 <= PRICE_GAP_PERCENT
    )


def _levels_are_fine(levels: list[Level]) -> bool:
    for price, quantity in levels:  # noqa: SIM110 - half the time of all(), or of min() and sum(): nothing is made
        if not (0.0 < price < inf and 0.0 <= quantity < inf):
            return False
    return True


def _depth_is_fine(value: Depth, known: Known, at: Context) -> bool:
    time_ms, bids, asks = value.time_ms, value.bids, value.asks
    if not (known.depth_ms <= time_ms and at.now_ms - at.behind_ms <= time_ms <= at.now_ms + at.future_ms):
        return False
    if not (_levels_are_fine(bids) and _levels_are_fine(asks)):
        return False
    return not (value.snapshot and bids and asks) or max(bids)[0] < min(asks)[0]


def _candle_is_fine(value: Candle, known: Known, at: Context) -> bool:
    low, high = value.low, value.high
    # Closed ones are few: the table looks at each. No min() or max() here: they let NaN pass, by its place.
    if value.closed or not (low <= value.open <= high and low <= value.close <= high):
        return False
    return (
        low > 0.0
        and high < inf
        and 0.0 <= value.volume < inf
        and value.time_ms <= at.now_ms + at.future_ms
        and value.time_ms % length_ms(value.timeframe) == 0
        and _quantity(value, known, at) is None
        and _taker_share(value, known, at) is None
    )


def _never(_value: Any, _known: Known, _at: Context) -> bool:
    """Values that come once a second or less: the table looks at each."""
    return False


_QUICK: dict[type, Callable[[Any, Known, Context], bool]] = {
    Trade: _trade_is_fine,
    BookTop: _top_is_fine,
    Depth: _depth_is_fine,
    Candle: _candle_is_fine,
}


def clean(value: Event | BookSummary, context: Context) -> Cleaned:
    """One message through all checks of its kind, and into what is known when it passed."""
    known = context.symbols.get(value.symbol)
    if known is None:
        known = context.of(value.symbol)
    marks: tuple[Finding, ...] = ()
    if not _QUICK.get(type(value), _never)(value, known, context):
        refused, marks = examine(value, known, context)
        if refused is not None:
            return Cleaned(None, refused, marks)
    if isinstance(value, Trade):
        known.saw_trade(value.price, value.price * value.quantity, value.time_ms)
    elif isinstance(value, BookTop):
        known.top_ms = max(known.top_ms, value.time_ms)
    elif isinstance(value, Depth):
        known.depth_ms = max(known.depth_ms, value.time_ms)
    elif isinstance(value, Candle) and value.closed:
        known.candles_ms[value.timeframe] = max(value.time_ms, known.candles_ms.get(value.timeframe, 0))
    return Cleaned(value, None, marks)


def examine(value: Event | BookSummary, known: Known, at: Context) -> tuple[Finding | None, tuple[Finding, ...]]:
    """What the table says: the first reason to refuse, else every mark."""
    marks: list[Finding] = []
    for check in _BY_TYPE[type(value)]:
        detail = check.find(value, known, at)
        if detail is not None:
            if check.verdict == "refuse":
                return Finding(check.name, detail), ()
            marks.append(Finding(check.name, detail))
    return None, tuple(marks)
