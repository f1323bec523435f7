"""One order book: price to quantity a side, bounded, fast; and its keeper, which knows whether the book may be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from math import inf

import msgspec

from app.domain.market.depth_sync import DepthSync, SyncCounts, SyncRule
from app.domain.market.readings import Status
from app.domain.market.values import BookTop, Depth, Level

MOST_LEVELS = 1_000
SHALLOW = (
    100  # fewer known levels than this and large orders or percentages are no longer seen: time for a new snapshot
)
ASK_AGAIN_MS = 5_000  # an answer may be lost
CHECK_DEPTH_MS = 1_000
IMBALANCE_LEVELS = 10
_SLACK = 2  # so many times the bound may lie in memory between two trims: trimming costs a sort


class Side:
    """One side of a book. ``sign`` is 1.0 for asks and -1.0 for bids, so that the best is always the least key.

    A change is one ``dict.update`` in C. Removed prices stay with quantity 0 until they are the best or the side is trimmed; each
    price of the dict stands once in the heap, because a dict keeps new keys at its end, where they are found without looking at
    the others. So only a price that comes costs more, and only one that was best and goes.
    """

    __slots__ = ("_ends", "_heap", "_horizon", "_most", "_ordered", "_sign", "_windowed", "quantities")

    def __init__(self, sign: float, most: int, *, windowed: bool, ends: bool) -> None:
        self._sign = sign
        self._most = most
        self._windowed = windowed  # what comes back into the bound will be told
        self._ends = ends  # what is shorter than the bound is all there is
        self.quantities: dict[float, float] = {}
        self._heap: list[float] = []
        self._horizon = inf  # beyond this key levels were forgotten, or never told: those that are there are not all
        self._ordered: list[Level] | None = None

    def replace(self, levels: Sequence[Level]) -> None:
        """Take a new side. Exchanges answer with the best so many: at most one that is shorter than the bound is all there is."""
        self.quantities = dict(levels)
        self._horizon = inf
        self._trim()
        if self._heap and not self._windowed and (len(levels) >= self._most or not self._ends):
            self._horizon = self._heap[-1]

    def apply(self, changes: list[Level]) -> None:
        """Set quantities; 0 removes a level."""
        quantities, heap, sign = self.quantities, self._heap, self._sign
        before = len(quantities)
        quantities.update(changes)
        fresh = len(quantities) - before
        if fresh:
            for price in islice(reversed(quantities), fresh):
                heappush(heap, sign * price)
            if before + fresh > _SLACK * self._most:
                self._trim()
                heap, quantities = self._heap, self.quantities
        self._ordered = None
        try:
            while not quantities[sign * heap[0]]:
                del quantities[sign * heappop(heap)]
        except IndexError:
            return  # nobody offers anything: a one-sided book is a book

    def _trim(self) -> None:
        """Keep the best levels, in order."""
        quantities, falling = self.quantities, self._sign < 0
        prices = sorted([price for price, quantity in quantities.items() if quantity > 0], reverse=falling)
        if len(prices) > self._most:
            del prices[self._most :]
            if not self._windowed:
                self._horizon = min(self._horizon, self._sign * prices[-1])
        self.quantities = {price: quantities[price] for price in prices}
        self._heap = [-price for price in prices] if falling else prices  # what is sorted is a heap
        self._ordered = None

    @property
    def best(self) -> float | None:
        """The best price."""
        return self._sign * self._heap[0] if self._heap else None

    @property
    def complete(self) -> bool:
        """Whether every level is known, however far away."""
        return self._end() == inf

    def _end(self) -> float:
        """The key as far as which every level is known. Behind a window that is full there may be more."""
        if not self._windowed:
            return self._horizon
        best = self.levels(self._most)
        return self._sign * best[-1][0] if len(best) >= self._most else inf

    def levels(self, most: int = MOST_LEVELS) -> list[Level]:
        """The best levels, best first."""
        ordered = self._ordered
        if ordered is None or len(ordered) < most:
            ordered = self._ordered = self._order(most)
        return ordered[:most]

    def _order(self, most: int) -> list[Level]:
        quantities = self.quantities
        most = min(most, self._most)
        found: list[Level] = []
        for price in sorted(quantities, reverse=self._sign < 0):
            quantity = quantities[price]
            if quantity > 0:
                found.append((price, quantity))
                if len(found) == most:
                    break
        return found

    def known(self) -> int:
        """How many levels there are up to where all of them are known."""
        sign, horizon = self._sign, self._end()
        live = sum([quantity > 0 and sign * price <= horizon for price, quantity in self.quantities.items()])
        return min(live, self._most)

    def reaches(self, price: float) -> bool:
        """Whether every level as far as this price is known."""
        return self._sign * price <= self._end()


class Book:
    """Both sides. ``windowed``: the exchange keeps the best ``most`` levels up to date, and says nothing of those behind them.
    ``ends``: a side that is shorter than ``most`` is all there is, because the exchange would have said more.
    """

    __slots__ = ("_most", "asks", "bids")

    def __init__(self, most: int = MOST_LEVELS, *, windowed: bool = False, ends: bool = True) -> None:
        self._most = most
        self.bids = Side(-1.0, most, windowed=windowed, ends=ends)
        self.asks = Side(1.0, most, windowed=windowed, ends=ends)

    def replace(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take a new book."""
        self.bids.replace(bids)
        self.asks.replace(asks)

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        """Set quantities; 0 removes a level."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

    @property
    def best_bid(self) -> float | None:
        """The highest price that somebody pays."""
        return self.bids.best

    @property
    def best_ask(self) -> float | None:
        """The lowest price that somebody takes."""
        return self.asks.best

    @property
    def crossed(self) -> bool:
        """Whether somebody pays what somebody takes, and yet nobody trades: such a book is not the exchange's."""
        bid, ask = self.bids.best, self.asks.best
        return bid is not None and ask is not None and bid >= ask

    @property
    def mid(self) -> float | None:
        """Half way between the best prices."""
        bid, ask = self.bids.best, self.asks.best
        return None if bid is None or ask is None else (bid + ask) / 2

    @property
    def spread_percent(self) -> float | None:
        """The distance of the best prices, in percent of the mid."""
        bid, ask = self.bids.best, self.asks.best
        return None if bid is None or ask is None else (ask - bid) / (ask + bid) * 200

    def known(self) -> float:
        """How many levels of the poorer side are known without a hole; endless where nothing was ever forgotten."""
        return min(inf if side.complete else side.known() for side in (self.bids, self.asks))

    def imbalance(self, levels: int = IMBALANCE_LEVELS) -> float | None:
        """Share of resting quantity on the bid side of the best levels, from -1 (all asks) to +1 (all bids)."""
        bids = sum([quantity for _, quantity in self.bids.levels(levels)])
        asks = sum([quantity for _, quantity in self.asks.levels(levels)])
        return (bids - asks) / (bids + asks) if bids + asks > 0 else None


def quote_within_levels(side: Side, levels: int) -> float | None:
    """What the best levels are worth. None when fewer are known and there are more behind them."""
    best = side.levels(levels)
    if not side.complete and (len(best) < levels or not side.reaches(best[-1][0])):
        return None
    return sum([price * quantity for price, quantity in best])


def quote_within_percent(side: Side, mid: float, percent: float) -> float | None:
    """What the levels are worth that are no further than so many percent from the mid. None when not all of them are known."""
    if side.best is None:
        return 0.0 if side.complete else None
    farthest = mid * (1 + percent / 100) if side.best >= mid else mid * (1 - percent / 100)
    if not side.reaches(farthest):
        return None
    return sum([price * quantity for price, quantity in side.levels() if abs(price - mid) <= abs(farthest - mid)])


class BookSummary(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a book once it is gone: one row of ``depth_summaries``. None is unknown, never nothing."""

    exchange: str
    symbol: str
    time_ms: int
    status: Status
    bid: float | None
    ask: float | None
    mid: float | None
    spread_percent: float | None
    bid_levels: int
    ask_levels: int
    bid_quote_10: float | None
    ask_quote_10: float | None
    bid_quote_50: float | None
    ask_quote_50: float | None
    bid_quote_1pct: float | None
    ask_quote_1pct: float | None
    imbalance: float | None


@dataclass(slots=True)
class BookKeeper:
    """A book, its stream's order, and whether it may be trusted.

    Hand it every ``Depth`` of one symbol with the market's time; when ``ask`` says so, get a whole book and hand that over too.
    """

    exchange: str
    symbol: str
    rule: SyncRule
    speed: float = 1.0
    """How fast market time runs: what may be quiet for seconds of ours may be so for longer of its."""
    book: Book = field(init=False)
    sync: DepthSync = field(init=False)
    updated_ms: int | None = None
    """The newest of the book's changes, by the exchange's clock or ours, whichever is behind."""
    crossed: int = 0
    _asked_ms: int | None = None
    _depth_checked_ms: int = 0
    _was_ok: bool = False
    _adrift: bool = False
    """The price left the levels that the snapshot told of: the top may be wrong until the next one."""

    def __post_init__(self) -> None:
        rule = self.rule
        self.book = Book(rule.window or MOST_LEVELS, windowed=rule.window is not None, ends=rule.ends)
        self.sync = DepthSync(self.rule)

    @property
    def counts(self) -> SyncCounts:
        """What was wrong with the stream."""
        return self.sync.counts

    def receive(self, depth: Depth, now_ms: int) -> bool:
        """Take what the exchange says. True: the book changed and is right, as far as can be known."""
        changes = self.sync.receive(depth)
        if not changes:
            return False
        book = self.book
        for change in changes:
            if change.snapshot:
                book.replace(change.bids, change.asks)
                self._adrift = False
            else:
                book.apply(change.bids, change.asks)
        self.updated_ms = min(changes[-1].time_ms, now_ms)
        if book.crossed:
            self.crossed += 1
            self.sync.distrust()
            return False
        if now_ms - self._depth_checked_ms >= CHECK_DEPTH_MS:
            self._depth_checked_ms = now_ms
            known = book.known() if self.rule.asked else inf
            self._adrift = known == 0
            if known < SHALLOW:
                self.sync.renew()
        self._was_ok = self._was_ok or self.sync.trusted
        return self.sync.trusted and not self._adrift

    def restart(self) -> None:
        """The connection is new: nothing that was built on the one before can be trusted."""
        self.sync.restart()
        self._asked_ms = None

    def ask(self, now_ms: int) -> bool:
        """Whether a whole book must be asked for now. It is said once, and again when no answer came for some seconds: of our own
        time, because an answer takes as long on a market that runs a thousand times as fast.
        """
        if not self.sync.wants_snapshot:
            self._asked_ms = None
            return False
        if self._asked_ms is not None and 0 <= now_ms - self._asked_ms < ASK_AGAIN_MS:
            return False
        self._asked_ms = now_ms
        return True

    def status(self, now_ms: int) -> Status:
        """Whether the book may feed anything: only an ``ok`` one may."""
        if self._adrift or not self.sync.trusted:
            return "gap" if self._was_ok else "warming"
        if self.updated_ms is None or now_ms - self.updated_ms > self.rule.quiet_ms * self.speed:
            return "stale"
        return "ok"

    def top(self, now_ms: int) -> BookTop | None:
        """The best prices, while the book is right and has two sides."""
        book = self.book
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None or self.status(now_ms) != "ok":
            return None
        return BookTop(
            exchange=self.exchange,
            symbol=self.symbol,
            time_ms=self.updated_ms or now_ms,
            received_ms=now_ms,
            bid=bid,
            bid_quantity=book.bids.quantities[bid],
            ask=ask,
            ask_quantity=book.asks.quantities[ask],
        )

    def summary(self, time_ms: int, now_ms: int) -> BookSummary:
        """The book in a few numbers, as the row of ``time_ms``. All unknown unless it may be trusted."""
        status = self.status(now_ms)
        book, mid = self.book, self.book.mid
        if status != "ok" or mid is None:
            return BookSummary(self.exchange, self.symbol, time_ms, status, *(None,) * 4, 0, 0, *(None,) * 7)
        return BookSummary(
            exchange=self.exchange,
            symbol=self.symbol,
            time_ms=time_ms,
            status=status,
            bid=book.best_bid,
            ask=book.best_ask,
            mid=mid,
            spread_percent=book.spread_percent,
            bid_levels=book.bids.known(),
            ask_levels=book.asks.known(),
            bid_quote_10=quote_within_levels(book.bids, 10),
            ask_quote_10=quote_within_levels(book.asks, 10),
            bid_quote_50=quote_within_levels(book.bids, 50),
            ask_quote_50=quote_within_levels(book.asks, 50),
            bid_quote_1pct=quote_within_percent(book.bids, mid, 1.0),
            ask_quote_1pct=quote_within_percent(book.asks, mid, 1.0),
            imbalance=book.imbalance(),
        )
