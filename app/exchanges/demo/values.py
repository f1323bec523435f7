"""What the generated market says. Times are milliseconds of market time, quantities are in the base coin."""

from typing import Literal, TypeAlias

import msgspec

Venue = Literal["binance", "okx", "htx"]
VENUES: tuple[Venue, ...] = ("binance", "okx", "htx")
Level: TypeAlias = tuple[float, float]
"""Price and quantity. In a diff, quantity 0 removes the level."""
PlantKind = Literal["large", "spoof", "iceberg", "wall", "mispriced", "triangle"]


class DemoInstrument(msgspec.Struct, frozen=True):
    """One symbol of one venue."""

    symbol: str
    base: str
    quote: str
    settle: str | None
    price_step: float
    quantity_step: float
    """In the base coin."""
    contract_size: float
    """Base coins in one contract, where the venue counts contracts; 1.0 where it counts coins."""
    price_digits: int
    quantity_digits: int
    listed_ms: int
    """There is nothing before this moment."""
    trades_a_minute: int
    """Always so many: the ids of a minute are known without looking at the minutes before."""

    @property
    def is_perpetual(self) -> bool:
        """Whether it has funding, mark price and open interest."""
        return self.settle is not None


class DemoCandle(msgspec.Struct, frozen=True, gc=False):
    """One bar. ``first_id`` to ``last_id`` are its trades."""

    open_ms: int
    close_ms: int
    """The last millisecond of it."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int
    taker_buy_volume: float
    taker_buy_quote_volume: float
    first_id: int
    last_id: int
    closed: bool


class DemoTrade(msgspec.Struct, frozen=True, gc=False):
    """One trade; ``side`` is the taker's. Ids count up by one."""

    id: int
    time_ms: int
    price: float
    quantity: float
    side: Literal["buy", "sell"]


class DemoBook(msgspec.Struct, frozen=True):
    """A whole book, best first."""

    last_id: int
    time_ms: int
    bids: list[Level]
    asks: list[Level]


class DemoDiff(msgspec.Struct, frozen=True):
    """What changed between two moments of a book. ``previous_id`` is the ``last_id`` of the diff or book before."""

    first_id: int
    last_id: int
    previous_id: int
    time_ms: int
    bids: list[Level]
    asks: list[Level]


class DemoTop(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask, always equal to the book's of the same moment."""

    last_id: int
    time_ms: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class DemoMark(msgspec.Struct, frozen=True, gc=False):
    """Mark price and the funding rate as it would be settled at ``next_funding_ms``."""

    time_ms: int
    mark: float
    index: float
    funding_rate: float
    next_funding_ms: int


class DemoFunding(msgspec.Struct, frozen=True, gc=False):
    """A funding rate that was settled."""

    time_ms: int
    rate: float
    mark: float


class DemoOpenInterest(msgspec.Struct, frozen=True, gc=False):
    """Open contracts in the base coin, and their value in the quote coin."""

    time_ms: int
    quantity: float
    value: float


class DemoTicker(msgspec.Struct, frozen=True, gc=False):
    """The 24 hours that end at ``time_ms``. ``change_percent`` is in percent."""

    time_ms: int
    open_ms: int
    open: float
    high: float
    low: float
    last: float
    last_quantity: float
    volume: float
    quote_volume: float
    change: float
    change_percent: float
    average_price: float
    trades: int
    first_id: int
    last_id: int
    top: DemoTop


class Label(msgspec.Struct, frozen=True):
    """The truth about one plant. ``side`` is the book's side for orders (bid, ask), the direction for mispricings (up, down)."""

    id: str
    kind: PlantKind
    venue: Venue
    symbol: str
    side: Literal["bid", "ask", "up", "down"]
    price: float
    quantity: float
    value_usd: float
    start_ms: int
    end_ms: int
    """The first moment at which it is gone."""
    traded_quantity: float
    details: dict[str, float | str]
