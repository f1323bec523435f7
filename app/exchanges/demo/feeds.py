"""Streams of the demo exchange, before they are written in anybody's words: one producer for all who listen.

``advance`` is called every ``every_s`` by our clock, at whatever speed the market's runs, and says all that happened since: every
trade and every candle that closed, but only one change of a book.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Protocol

from app.domain.market.timeframes import length_ms, open_of
from app.exchanges.demo.faults import FeedKind
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.values import DemoCandle, DemoDiff, DemoTop, DemoTrade, Level, Venue

TICK_S = 0.1
_MOST_CLOSED = 1_000


class Feed(Protocol):
    """One stream."""

    venue: Venue
    symbol: str
    channel: FeedKind
    every_s: float

    def opening(self) -> list[bytes]:
        """What a new listener is told at once."""

    def advance(self) -> list[bytes]:
        """What everybody is told now."""


class TradeFeed:
    """Every trade."""

    channel: FeedKind = "trades"
    every_s = TICK_S

    def __init__(
        self, scene: Scene, venue: Venue, symbol: str, write: Callable[[list[DemoTrade], int], list[bytes]]
    ) -> None:
        self.venue, self.symbol = venue, symbol
        self._scene, self._write = scene, write
        self._until_ms = scene.now_ms(venue, symbol)

    def opening(self) -> list[bytes]:
        """Nothing: trades are told once."""
        return []

    def advance(self) -> list[bytes]:
        """Those since the last time."""
        now = self._scene.now_ms(self.venue, self.symbol)
        start, self._until_ms = self._until_ms, max(now, self._until_ms)
        if start >= now:
            return []
        trades = self._scene.trades(self.venue, self.symbol, start, now)
        return self._write(trades, now) if trades else []


class CandleFeed:
    """The running candle now and then, and every closed one once."""

    channel: FeedKind = "candles"
    every_s = TICK_S

    def __init__(
        self,
        scene: Scene,
        venue: Venue,
        symbol: str,
        timeframe: str,
        write: Callable[[DemoCandle, int], bytes],
        *,
        running_every_s: float = 1.0,
        tells_at_once: bool = True,
    ) -> None:
        self.venue, self.symbol = venue, symbol
        self._scene, self._write, self._timeframe = scene, write, timeframe
        self._open_ms = open_of(scene.now_ms(venue, symbol), timeframe)
        self._turns, self._turn = max(1, round(running_every_s / TICK_S)), 0
        self._tells_at_once = tells_at_once

    def opening(self) -> list[bytes]:
        """The running one, where the venue does so."""
        if not self._tells_at_once:
            return []
        now = self._scene.now_ms(self.venue, self.symbol)
        return [self._running(now)]

    def advance(self) -> list[bytes]:
        """What closed, then the running one when it is its turn."""
        scene = self._scene
        now = scene.now_ms(self.venue, self.symbol)
        out = []
        if now >= self._open_ms + length_ms(self._timeframe):
            present = open_of(now, self._timeframe)
            count = min(_MOST_CLOSED, (present - self._open_ms) // length_ms(self._timeframe))
            start = present - count * length_ms(self._timeframe)
            closed = scene.market.candles(self.venue, self.symbol, self._timeframe, start, count, now)
            out = [self._write(scene.multiplied(candle), now) for candle in closed]
            self._open_ms = present
            self._turn = self._turns  # the new one is told at once: where nothing says "closed", that does
        self._turn += 1
        if self._turn >= self._turns:
            self._turn = 0
            out.append(self._running(now))
        return out

    def _running(self, now_ms: int) -> bytes:
        candle = self._scene.market.running_candle(self.venue, self.symbol, self._timeframe, now_ms)
        return self._write(self._scene.multiplied(candle), now_ms)


class StateFeed:
    """What has one present value: told every so often, or when it changed. A stale one goes on being told, unchanged."""

    def __init__(
        self,
        scene: Scene,
        venue: Venue,
        symbol: str,
        channel: FeedKind,
        every_s: float,
        write: Callable[[int], bytes],
        *,
        tells_at_once: bool = True,
    ) -> None:
        self.venue, self.symbol, self.channel, self.every_s = venue, symbol, channel, every_s
        self._scene, self._write, self._tells_at_once = scene, write, tells_at_once

    def opening(self) -> list[bytes]:
        """The present value, where the venue does so."""
        return self.advance() if self._tells_at_once else []

    def advance(self) -> list[bytes]:
        """The present value."""
        return [self._write(self._scene.now_ms(self.venue, self.symbol))]


class TopFeed:
    """The best bid and ask, when they changed."""

    channel: FeedKind = "top"
    every_s = TICK_S

    def __init__(
        self, scene: Scene, venue: Venue, symbol: str, write: Callable[[DemoTop, int], bytes], *, tells_at_once: bool
    ) -> None:
        self.venue, self.symbol = venue, symbol
        self._scene, self._write, self._tells_at_once = scene, write, tells_at_once
        self._last: tuple[float, float, float, float] | None = None

    def opening(self) -> list[bytes]:
        """The present ones, where the venue does so."""
        if not self._tells_at_once:
            return []
        now = self._scene.now_ms(self.venue, self.symbol)
        return [self._write(self._scene.market.top(self.venue, self.symbol, now), now)]

    def advance(self) -> list[bytes]:
        """The present ones, if they are others than before."""
        now = self._scene.now_ms(self.venue, self.symbol)
        top = self._scene.market.top(self.venue, self.symbol, now)
        seen = (top.bid, top.bid_quantity, top.ask, top.ask_quantity)
        if seen == self._last and self._scene.faults.frozen_ms(self.venue, self.symbol) is None:
            return []
        self._last = seen
        return [self._write(top, now)]


class DiffFeed:
    """Changes of the whole book."""

    channel: FeedKind = "depth"

    def __init__(
        self,
        scene: Scene,
        venue: Venue,
        symbol: str,
        write: Callable[[DemoDiff, int], bytes],
        every_s: float = TICK_S,
    ) -> None:
        self.venue, self.symbol, self.every_s = venue, symbol, every_s
        self._scene, self._write = scene, write
        self._walk = scene.market.walk(venue, symbol, scene.now_ms(venue, symbol))
        scene.follow(venue, symbol, self._walk)

    def opening(self) -> list[bytes]:
        """Nothing: the book is asked for elsewhere."""
        return []

    def advance(self) -> list[bytes]:
        """One change, if there was one."""
        now = self._scene.now_ms(self.venue, self.symbol)
        diff = self._walk.advance(now)
        return [] if diff is None else [self._write(diff, now)]


class BookSide:
    """The best ``depth`` levels of one side, kept while the whole side changes."""

    def __init__(self, levels: list[Level], depth: int, *, bids: bool) -> None:
        self._sign = -1.0 if bids else 1.0
        self._quantities = {self._sign * price: quantity for price, quantity in levels}
        self._keys = sorted(self._quantities)
        self._depth = depth

    def best(self, count: int | None = None) -> list[Level]:
        """The best levels, best first."""
        count = self._depth if count is None else min(count, self._depth)
        return [(self._sign * key, self._quantities[key]) for key in self._keys[:count]]

    def change(self, levels: list[Level]) -> list[Level]:
        """Take a change of the whole side; what changed among the best, also because others came or went."""
        before = self._worst()
        keys, quantities, seen = self._keys, self._quantities, {}
        for price, quantity in levels:
            key = self._sign * price
            if quantity == 0:
                if key not in quantities:
                    continue
                del quantities[key]
                del keys[bisect_left(keys, key)]
            else:
                if key not in quantities:
                    insort(keys, key)
                quantities[key] = quantity
            seen[key] = quantity
        after = self._worst()
        out = {key: quantity if key <= after else 0.0 for key, quantity in seen.items() if key <= max(before, after)}
        if after > before:
            for key in keys[bisect_right(keys, before) : bisect_right(keys, after)]:
                out[key] = quantities[key]
        elif after < before:
            for key in keys[bisect_right(keys, after) : bisect_right(keys, before)]:
                out[key] = 0.0
        return [(self._sign * key, quantity) for key, quantity in out.items()]

    def _worst(self) -> float:
        return self._keys[self._depth - 1] if len(self._keys) >= self._depth else float("inf")


class BookFeed:
    """The best levels of a book: a snapshot for each new listener, then changes."""

    channel: FeedKind = "depth"

    def __init__(
        self,
        scene: Scene,
        venue: Venue,
        symbol: str,
        depth: int,
        write_change: Callable[["BookFeed", DemoDiff, int], bytes],
        write_snapshot: Callable[["BookFeed", int], bytes] | None,
        every_s: float = TICK_S,
    ) -> None:
        self.venue, self.symbol, self.every_s = venue, symbol, every_s
        self._scene, self._write_change, self._write_snapshot = scene, write_change, write_snapshot
        now = scene.now_ms(venue, symbol)
        self._walk = scene.market.walk(venue, symbol, now)
        book = scene.market.book(venue, symbol, now)
        self.bids = BookSide(book.bids, depth, bids=True)
        self.asks = BookSide(book.asks, depth, bids=False)
        self.time_ms = book.time_ms
        self.last_id = self.version = book.last_id
        """``version`` counts messages, where the venue does so."""

    def opening(self) -> list[bytes]:
        """The book as the stream left it, so that the next change fits."""
        if self._write_snapshot is None:
            return []
        return [self._write_snapshot(self, self._scene.now_ms(self.venue, self.symbol))]

    def advance(self) -> list[bytes]:
        """One change, if there was one."""
        now = self._scene.now_ms(self.venue, self.symbol)
        diff = self._walk.advance(now)
        if diff is None:
            return []
        previous = self.last_id
        bids, asks = self.bids.change(diff.bids), self.asks.change(diff.asks)
        self.last_id, self.time_ms = diff.last_id, diff.time_ms
        self.version += 1
        seen = DemoDiff(diff.first_id, diff.last_id, previous, diff.time_ms, bids, asks)
        return [self._write_change(self, seen, now)]
