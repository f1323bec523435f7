"""What a market says, in one form whatever exchange said it. A value that is not known is None, never a default.

Times are milliseconds of UTC by the exchange's clock; ``received_ms`` is when the message reached us, by ours. Prices and
quantities are floats in the units of the symbol: quantity in the base coin (contracts are converted by the mapper), price in
the quote coin.
"""

from typing import Literal, TypeAlias

import msgspec

Side = Literal["buy", "sell"]
Level: TypeAlias = tuple[float, float]
"""Price and quantity. In a change of a book, quantity 0 removes the level."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """What all of them say: where, of what, and when."""

    exchange: str
    symbol: str
    time_ms: int
    received_ms: int


class Trade(Value, frozen=True, gc=False, kw_only=True, tag="trade"):
    """One trade, or several of one taker at one price. ``side`` is the taker's. ``id`` counts up by one where ``counted``."""

    price: float
    quantity: float
    side: Side
    id: int
    counted: bool = False
    """Whether ids of this feed follow each other without holes, so that a missing one is a lost trade."""


class Candle(Value, frozen=True, gc=False, kw_only=True, tag="candle"):
    """One bar; ``time_ms`` is its open time. Only a ``closed`` one is stored or judged."""

    timeframe: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trades: int | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    closed: bool = True


class Depth(Value, frozen=True, gc=False, kw_only=True, tag="depth"):
    """A whole book (``snapshot``) or a change of one. Which ids must follow which is the business of ``depth_sync``."""

    last_id: int
    bids: list[Level]
    asks: list[Level]
    first_id: int | None = None
    previous_id: int | None = None
    """The ``last_id`` that this change follows, where the exchange says it."""
    snapshot: bool = False


class BookTop(Value, frozen=True, gc=False, kw_only=True, tag="top"):
    """The best bid and ask."""

    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class Mark(Value, frozen=True, gc=False, kw_only=True, tag="mark"):
    """Mark price and funding of a perpetual. ``funding_rate`` is for the whole interval that ends at ``next_funding_ms``."""

    mark_price: float | None = None
    index_price: float | None = None
    funding_rate: float | None = None
    next_funding_ms: int | None = None


class Funding(Value, frozen=True, gc=False, kw_only=True, tag="funding"):
    """A funding rate that was settled at ``time_ms``."""

    rate: float
    mark_price: float | None = None


class OpenInterest(Value, frozen=True, gc=False, kw_only=True, tag="open_interest"):
    """Open contracts, in the base coin; in the quote coin where it is said or can be computed."""

    quantity: float
    value: float | None = None


class Ticker(Value, frozen=True, gc=False, kw_only=True, tag="ticker"):
    """The rolling 24 hours. ``change_percent`` is in percent."""

    last: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    quote_volume: float | None = None
    change: float | None = None
    change_percent: float | None = None
    bid: float | None = None
    bid_quantity: float | None = None
    ask: float | None = None
    ask_quantity: float | None = None
    trades: int | None = None


Event: TypeAlias = Trade | Candle | Depth | BookTop | Mark | Funding | OpenInterest | Ticker
