"""The one fill engine: paper trading, replay and backtest all fill here, so the same recorded data give the same fills.

A market order walks the recorded book of the minute before. That book's prices are a minute old, so what is taken from it is not
its price but its cost: half the spread and the walk, as a share of its mid, applied to the price of the moment. Where no book was
recorded, the cost is a stated number of basis points. Each fill says in ``assumed`` which of the two it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Literal, Self, TypeAlias

from app.domain.trading.money import UNIT, ZERO, Number, in_full, number, positive, product, ratio, rounded, text
from app.errors import CorruptData, InvalidInput

Side: TypeAlias = Literal["buy", "sell"]
Liquidity: TypeAlias = Literal["taker", "maker"]
Level: TypeAlias = tuple[Number, Number]
"""Price in the quote coin, quantity in the base coin."""

_STEPS: Final = 10  # so many levels stand for what a summary knows of one side
_STEP: Final = Decimal("0.001")
_BASIS_POINT: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs. Fees are fractions of the traded value; ``slippage_bps`` counts where no book was recorded."""

    taker_fee: Decimal = Decimal("0.0005")
    maker_fee: Decimal = Decimal("0.0002")
    slippage_bps: Decimal = Decimal(5)

    def __post_init__(self) -> None:
        """Refuse costs that would pay the trader for trading badly."""
        if not (0 <= self.taker_fee < 1 and -1 < self.maker_fee < 1 and 0 <= self.slippage_bps < 10_000):
            raise InvalidInput(
                f"These are no costs of trading: {self}.", cure="Fees are fractions; slippage is in basis points."
            )


@dataclass(frozen=True, slots=True)
class Book:
    """The recorded depth of a pair at one moment, best levels first. Where one side is unknown there is no book: use None."""

    bids: Sequence[Level]
    asks: Sequence[Level]
    recorded: Literal["levels", "summary"] = "levels"

    def __post_init__(self) -> None:
        """Refuse a book that cannot be one."""
        if not self.bids or not self.asks:
            raise InvalidInput("A book needs bids and asks.", cure="Pass no book where a side is unknown.")
        if not 0 < self.bids[0][0] < self.asks[0][0]:
            raise CorruptData(f"The book is crossed: bid {self.bids[0][0]}, ask {self.asks[0][0]}.")

    @classmethod
    def of_summary(
        cls, bid: float | None, ask: float | None, bid_quote_1pct: float | None, ask_quote_1pct: float | None
    ) -> Self | None:
        """The book that a row of ``depth_summaries`` stands for; None where the row does not know enough."""
        if not (bid and ask and bid_quote_1pct and ask_quote_1pct) or bid >= ask:
            return None
        return cls(
            levels_of_summary(bid, bid_quote_1pct, "sell"), levels_of_summary(ask, ask_quote_1pct, "buy"), "summary"
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """What was filled. ``price`` is the average, ``fee`` is in the quote coin; ``quantity`` may be less than was wanted."""

    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    liquidity: Liquidity
    assumed: dict[str, Any]
    """What was assumed, in JSON's words: ``source`` (book or bps), ``bps`` paid, ``reference`` price, ``wanted`` quantity, and
    of a book ``best``, ``levels`` walked, and whether these were ``recorded`` as levels or as a summary."""


def levels_of_summary(best: Number, quote_within_1pct: Number, side: Side) -> tuple[Level, ...]:
    """One side as ten equal steps of 0.1 %, from the best price on: what a ``buy`` walks goes up, what a ``sell`` walks down.

    ``depth_summaries`` is the form in which depth is recorded for good: ``bid`` and ``ask``, and in ``bid_quote_1pct`` and
    ``ask_quote_1pct`` what the levels within 1 % are worth in the quote coin. Nothing is known of what lies beyond, so an order
    that needs more is filled in part.
    """
    start, value = number(best), ratio(number(quote_within_1pct), Decimal(_STEPS))
    sign = _sign(side)
    with in_full():
        prices = [start * (1 + sign * _STEP * step) for step in range(_STEPS)]
    return tuple((price, ratio(value, price)) for price in prices)


def market_fill(side: Side, quantity: Number, reference_price: Number, costs: Costs, book: Book | None = None) -> Fill:
    """Fill at once, as taker, at the reference price made worse by what the market costs; never better than it.

    The quantity is less than wanted where the recorded depth does not hold it all.
    """
    wanted, reference = positive(quantity, "quantity"), positive(reference_price, "price")
    assumed: dict[str, Any] = {"reference": text(reference), "wanted": text(wanted)}
    with in_full():
        if book is None:
            filled, impact = wanted, costs.slippage_bps * _BASIS_POINT
            assumed |= {"source": "bps"}
        else:
            filled, impact, told = _walk(side, wanted, book)
            assumed |= {"source": "book", "recorded": book.recorded} | told
        assumed["bps"] = text(rounded(impact / _BASIS_POINT, UNIT))
        # Against the trader: of a price of few digits, half to even would leave nothing of the cost.
        price = rounded(reference * (1 + _sign(side) * impact), UNIT, ROUND_CEILING if side == "buy" else ROUND_FLOOR)
    return Fill(side, filled, price, product(price, filled, costs.taker_fee), "taker", assumed)


def limit_fill(side: Side, quantity: Number, price: Number, costs: Costs) -> Fill:
    """Fill a resting order: all of it, as maker, at exactly its price. Whether the market came there is the caller's to know."""
    filled, at = positive(quantity, "quantity"), positive(price, "price")
    assumed = {"source": "limit", "reference": text(at), "wanted": text(filled), "bps": "0"}
    return Fill(side, filled, at, product(at, filled, costs.maker_fee), "maker", assumed)


def _walk(side: Side, wanted: Decimal, book: Book) -> tuple[Decimal, Decimal, dict[str, Any]]:
    """How much the book holds of what is wanted, what taking it costs as a share of the mid, and how that was found."""
    levels = book.asks if side == "buy" else book.bids
    left, value, walked = wanted, ZERO, 0
    for price, resting in levels:
        taken = min(left, rounded(number(resting), UNIT, ROUND_FLOOR))
        if taken <= 0:
            continue
        value += taken * number(price)
        left -= taken
        walked += 1
        if not left:
            break
    filled = wanted - left
    mid = (number(book.bids[0][0]) + number(book.asks[0][0])) / 2
    impact = max(ZERO, _sign(side) * (value / filled / mid - 1)) if filled else ZERO
    return filled, impact, {"best": text(number(levels[0][0])), "levels": walked}


def _sign(side: Side) -> int:
    return 1 if side == "buy" else -1
