"""What a venue of the demo exchange shows at this moment: the market at market time, bent by the faults that were asked for."""

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import msgspec

from app.exchanges.demo.faults import Faults
from app.exchanges.demo.market import BookWalk, Market
from app.exchanges.demo.values import DemoBook, DemoCandle, DemoTrade, Venue
from app.exchanges.demo.written import Written


class Scene:
    """The market, when it is, and how it is written. Doors and feeds read nothing else."""

    def __init__(self, market: Market, now_ms: Callable[[], int], faults: Faults) -> None:
        self.market = market
        self.faults = faults
        self.trade_rate = 1
        """Each trade of the market is told as so many, for benches: ids stay whole, volumes stay true."""
        self._now_ms = now_ms
        self._written: dict[tuple[Venue, str], Written] = {}
        self._walks: WeakValueDictionary[tuple[Venue, str], BookWalk] = WeakValueDictionary()

    def market_ms(self) -> int:
        """Market time, whatever faults say."""
        return self._now_ms()

    def now_ms(self, venue: Venue, symbol: str | None = None) -> int:
        """The newest moment that is shown: while a symbol is stale, the one at which that began."""
        return self.faults.frozen_ms(venue, symbol) or self._now_ms()

    def said_ms(self, venue: Venue, time_ms: int) -> int:
        """A moment as the venue's clock names it."""
        return time_ms + self.faults.skew_ms(venue)

    def written(self, venue: Venue, symbol: str) -> Written:
        """How the numbers of a symbol are written there."""
        found = self._written.get((venue, symbol))
        if found is None:
            found = self._written[venue, symbol] = Written(self.market.instrument(venue, symbol), venue)
        return found

    def follow(self, venue: Venue, symbol: str, walk: BookWalk) -> None:
        """A stream tells the changes of this book, for as long as anybody holds the walk."""
        self._walks[venue, symbol] = walk

    def book(self, venue: Venue, symbol: str) -> DemoBook:
        """The whole book: where its stream stands, if there is one. On a fast market much changes within one of its changes, and a
        book from the middle of one could not be continued by it.
        """
        walk = self._walks.get((venue, symbol))
        return walk.book() if walk is not None else self.market.book(venue, symbol, self.now_ms(venue, symbol))

    def trades(self, venue: Venue, symbol: str, start_ms: int, end_ms: int) -> list[DemoTrade]:
        """From ``start_ms`` to before ``end_ms``."""
        return self._multiplied(self.market.trades(venue, symbol, start_ms, end_ms))

    def trades_from(self, venue: Venue, symbol: str, from_id: int, limit: int, now_ms: int) -> list[DemoTrade]:
        """Trades from an id on."""
        rate = self.trade_rate
        found = self._multiplied(self.market.trades_from(venue, symbol, from_id // rate, limit // rate + 2, now_ms))
        return [trade for trade in found if trade.id >= from_id][:limit]

    def recent_trades(self, venue: Venue, symbol: str, limit: int, now_ms: int) -> list[DemoTrade]:
        """The newest, oldest first."""
        return self._multiplied(self.market.recent_trades(venue, symbol, limit // self.trade_rate + 2, now_ms))[-limit:]

    def multiplied(self, candle: DemoCandle) -> DemoCandle:
        """A candle whose counts agree with the trades."""
        rate = self.trade_rate
        if rate == 1:
            return candle
        return msgspec.structs.replace(
            candle,
            trades=candle.trades * rate,
            first_id=candle.first_id * rate,
            last_id=candle.last_id * rate + rate - 1,
        )

    def _multiplied(self, trades: Sequence[DemoTrade]) -> list[DemoTrade]:
        rate = self.trade_rate
        if rate == 1:
            return list(trades)
        return [
            DemoTrade(trade.id * rate + part, trade.time_ms, trade.price, trade.quantity / rate, trade.side)
            for trade in trades
            for part in range(rate)
        ]
