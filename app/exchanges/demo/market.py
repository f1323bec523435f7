"""The generated market: the same for the same seed, and any moment of it can be asked for without the moments before.

There is no clock in it. Whoever asks for the present says when that is (``now_ms``), and then sees nothing of the future.
"""

import numpy as np
from numpy.typing import NDArray

from app.exchanges.demo.values import (
    DemoBook,
    DemoCandle,
    DemoDiff,
    DemoFunding,
    DemoInstrument,
    DemoMark,
    DemoOpenInterest,
    DemoTicker,
    DemoTop,
    DemoTrade,
    Label,
    Venue,
)

COLUMNS = (
    "open_ms",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""Of ``candle_table``."""


class BookWalk:
    """A book that moves on; what it says, put on the book where it began, is what ``Market.book`` says at any later moment."""

    last_id: int

    def advance(self, to_ms: int) -> DemoDiff | None:
        """All that changed since the last call, as one diff; None when nothing did (or the 100 ms are not over)."""
        raise NotImplementedError

    def top(self) -> DemoTop:
        """The best bid and ask where the walk stands."""
        raise NotImplementedError


class Market:
    """All venues and symbols. Raises NotFound for a symbol that the venue does not have."""

    def __init__(self, seed: int, symbols: int = 13) -> None:
        self.seed = seed
        self.symbols = symbols

    def instruments(self, venue: Venue) -> tuple[DemoInstrument, ...]:
        """What a venue trades: perpetuals first, then spot."""
        raise NotImplementedError

    def instrument(self, venue: Venue, symbol: str) -> DemoInstrument:
        """One of them."""
        raise NotImplementedError

    def candles(
        self, venue: Venue, symbol: str, timeframe: str, start_ms: int, count: int, now_ms: int | None = None
    ) -> list[DemoCandle]:
        """Up to ``count`` candles from the one that holds ``start_ms`` on, oldest first.

        With ``now_ms`` nothing of the future is in them: the last may be the running one.
        """
        raise NotImplementedError

    def candle_table(self, venue: Venue, symbol: str, timeframe: str, start_ms: int, count: int) -> NDArray[np.float64]:
        """Closed candles as rows of ``COLUMNS``."""
        raise NotImplementedError

    def running_candle(self, venue: Venue, symbol: str, timeframe: str, now_ms: int) -> DemoCandle:
        """The candle that holds ``now_ms``, of the trades before ``now_ms`` alone."""
        raise NotImplementedError

    def trades(self, venue: Venue, symbol: str, start_ms: int, end_ms: int) -> list[DemoTrade]:
        """From ``start_ms`` to before ``end_ms``."""
        raise NotImplementedError

    def trades_from(self, venue: Venue, symbol: str, from_id: int, limit: int, now_ms: int) -> list[DemoTrade]:
        """Trades from an id on that happened before ``now_ms``."""
        raise NotImplementedError

    def recent_trades(self, venue: Venue, symbol: str, limit: int, now_ms: int) -> list[DemoTrade]:
        """The newest trades before ``now_ms``, oldest first."""
        raise NotImplementedError

    def book(self, venue: Venue, symbol: str, time_ms: int) -> DemoBook:
        """The book of the 100 ms that hold ``time_ms``."""
        raise NotImplementedError

    def walk(self, venue: Venue, symbol: str, time_ms: int) -> BookWalk:
        """A book that moves on from ``time_ms``."""
        raise NotImplementedError

    def top(self, venue: Venue, symbol: str, time_ms: int) -> DemoTop:
        """The best bid and ask, without the rest of the book."""
        raise NotImplementedError

    def mark(self, venue: Venue, symbol: str, time_ms: int) -> DemoMark:
        """Of a perpetual."""
        raise NotImplementedError

    def funding(self, venue: Venue, symbol: str, start_ms: int, end_ms: int) -> list[DemoFunding]:
        """What was settled from ``start_ms`` to before ``end_ms``, oldest first."""
        raise NotImplementedError

    def open_interest(self, venue: Venue, symbol: str, time_ms: int) -> DemoOpenInterest:
        """Of a perpetual."""
        raise NotImplementedError

    def open_interest_history(
        self, venue: Venue, symbol: str, period: str, start_ms: int, count: int, now_ms: int | None = None
    ) -> list[DemoOpenInterest]:
        """At every boundary of the period (a timeframe) from ``start_ms`` on, oldest first."""
        raise NotImplementedError

    def ticker(self, venue: Venue, symbol: str, time_ms: int) -> DemoTicker:
        """The rolling 24 hours (of whole minutes, and the running one)."""
        raise NotImplementedError

    def labels(self, start_ms: int, end_ms: int) -> list[Label]:
        """The truth about every plant that lives at any moment of the span, ordered by its start."""
        raise NotImplementedError
