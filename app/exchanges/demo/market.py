"""The generated market: the same for the same seed, and any moment of it can be asked for without the moments before.

There is no clock in it. Whoever asks for the present says when that is (``now_ms``), and then sees nothing of the future.
Inside, time counts from the listing (minutes, knots, blocks) and prices and quantities are whole ticks and lots; both are
turned into what an exchange says on the way out. What was made last is kept, so the present costs little.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.domain.market import timeframes
from app.errors import NotFound
from app.exchanges.demo import depth, flow, instruments, noise, plants, prices
from app.exchanges.demo.flow import (
    BUY_COST,
    BUY_LOTS,
    CLOSE,
    COST,
    HIGH,
    LOTS,
    LOW,
    MINUTE_MS,
    OPEN,
    Legs,
    MinuteTrades,
)
from app.exchanges.demo.instruments import LEGS, LISTED_MS, Coin, Listing
from app.exchanges.demo.noise import Floats, Ints
from app.exchanges.demo.orders import BUCKET_MS, Order, orders
from app.exchanges.demo.prices import BLOCK_KNOTS, BLOCK_MINUTES, Path
from app.exchanges.demo.values import (
    VENUES,
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
    Level,
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
FUNDING_MS = 8 * 3_600_000
_IDS_A_BUCKET = 64
_CHUNK_BLOCKS = 24  # whole days, and small enough for the processor's cache
_DAY_MINUTES = 1440
_SAMPLES = 48  # of the premium, in one funding interval

Name = TypeVar("Name")
Made = TypeVar("Made")


class _Kept(Generic[Name, Made]):
    """What was made last, so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[Name, Made] = OrderedDict()

    def get(self, name: Name, make: Callable[[], Made]) -> Made:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = make()
            if len(self._made) > self._most:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(name)
        return found


class BookWalk:
    """A book that moves on; what it says, put on the book where it began, is what ``Market.book`` says at any later moment."""

    def __init__(self, market: "Market", listing: Listing, time_ms: int) -> None:
        self._market = market
        self._listing = listing
        self._shape = market.shape(listing)
        self._bucket = (time_ms - LISTED_MS) // BUCKET_MS
        self._grids: list[depth.Grid | None] = [None, None]
        self._sides = self._now()
        self.last_id = _book_id(self._bucket)

    def advance(self, to_ms: int) -> DemoDiff | None:
        """All that changed since the last call, as one diff; None when nothing did (or the 100 ms are not over)."""
        bucket = (to_ms - LISTED_MS) // BUCKET_MS
        if bucket <= self._bucket:
            return None
        before, self._bucket = self._sides, bucket
        self._sides = self._now()
        bids, asks = (depth.changes(before[side], self._sides[side], is_ask=bool(side)) for side in (0, 1))
        if not len(bids[0]) and not len(asks[0]):
            return None
        previous, self.last_id = self.last_id, _book_id(bucket)
        return DemoDiff(
            previous + 1,
            self.last_id,
            previous,
            bucket * BUCKET_MS + LISTED_MS,
            _levels(self._listing, *bids),
            _levels(self._listing, *asks),
        )

    def book(self) -> DemoBook:
        """The whole book where the walk stands. Its ``last_id`` is that of the last diff."""
        bids, asks = self._sides
        return DemoBook(
            self.last_id,
            self._bucket * BUCKET_MS + LISTED_MS,
            _levels(self._listing, *bids),
            _levels(self._listing, *asks),
        )

    def top(self) -> DemoTop:
        """The best bid and ask where the walk stands."""
        (bids, bid_lots), (asks, ask_lots) = self._sides
        return DemoTop(
            self.last_id,
            self._bucket * BUCKET_MS + LISTED_MS,
            self._listing.price(int(bids[0])),
            self._listing.quantity(int(bid_lots[0])),
            self._listing.price(int(asks[0])),
            self._listing.quantity(int(ask_lots[0])),
        )

    def _now(self) -> list[tuple[Ints, Ints]]:
        touch, planted = self._market.touch(self._listing, self._bucket)
        sides = []
        for side in (0, 1):
            grid = self._grids[side]
            if grid is None or grid.touch != touch[side]:
                grid = self._grids[side] = depth.grid(self._shape, touch[side], is_ask=bool(side))
            sides.append(depth.side(self._shape, grid, self._bucket, planted[side]))
        return sides


class Market:
    """All venues and symbols. Raises NotFound for a symbol that the venue does not have."""

    def __init__(self, seed: int, symbols: int = 13) -> None:
        self.seed = seed
        self._listings = instruments.listings(seed, symbols)
        self._venues = {
            symbol: tuple(venue for venue in VENUES if symbol in self._listings[venue])
            for symbol in self._listings["binance"]
        }
        # What is large is kept for some hours or minutes of each symbol, as streams and funding read them, and not for a day:
        # at its bounds, all of it must leave room under the process's ceiling.
        listed = sum(len(listings) for listings in self._listings.values())
        self._markets: _Kept[tuple[int, int], Path] = _Kept(16)
        self._coins: _Kept[tuple[str, int], Path] = _Kept(min(1_200, 12 * len(self._venues)))
        self._legs: _Kept[tuple[Venue, str, int], Legs] = _Kept(min(2_500, 6 * listed))
        self._minutes: _Kept[tuple[Venue, str, int], MinuteTrades] = _Kept(min(4_000, 12 * listed))
        self._orders: _Kept[tuple[Venue, str, int], tuple[Order, ...]] = _Kept(500)
        self._sums: _Kept[tuple[Venue, str, int], Ints] = _Kept(20_000)
        self._days: _Kept[tuple[Venue, str, int], Ints] = _Kept(2_500)
        self._interests: _Kept[tuple[Venue, str, int], DemoOpenInterest] = _Kept(2_500)
        self._nodes: _Kept[tuple[str, int], float] = _Kept(8_000)
        self._times: _Kept[int, Ints] = _Kept(16)
        self._shapes: _Kept[tuple[Venue, str], depth.Shape] = _Kept(2_000)

    def instruments(self, venue: Venue) -> tuple[DemoInstrument, ...]:
        """What a venue trades: perpetuals first, then spot."""
        return tuple(listing.instrument for listing in self._listings[venue].values())

    def instrument(self, venue: Venue, symbol: str) -> DemoInstrument:
        """One of them."""
        return self._listing(venue, symbol).instrument

    # Candles

    def candles(
        self, venue: Venue, symbol: str, timeframe: str, start_ms: int, count: int, now_ms: int | None = None
    ) -> list[DemoCandle]:
        """Up to ``count`` candles from the one that holds ``start_ms`` on, oldest first.

        With ``now_ms`` nothing of the future is in them: the last may be the running one.
        """
        listing = self._listing(venue, symbol)
        length = timeframes.length_ms(timeframe) // MINUTE_MS
        first = max(0, (start_ms - LISTED_MS) // MINUTE_MS // length)
        stop = max(0, (start_ms - LISTED_MS) // MINUTE_MS // length + count)
        running = None if now_ms is None else (now_ms - LISTED_MS) // MINUTE_MS // length
        closed = stop if running is None else min(stop, running)
        found = []
        if closed > first:
            table = self._bars(listing, length, first, closed).T.tolist()
            trades = listing.instrument.trades_a_minute * length
            found = [
                _candle(listing, first + number, length, row, trades, closed=True) for number, row in enumerate(table)
            ]
        if now_ms is not None and running is not None and first <= running < stop:
            found.append(self.running_candle(venue, symbol, timeframe, now_ms))
        return found

    def candle_table(self, venue: Venue, symbol: str, timeframe: str, start_ms: int, count: int) -> NDArray[np.float64]:
        """Closed candles as rows of ``COLUMNS``."""
        listing = self._listing(venue, symbol)
        length = timeframes.length_ms(timeframe) // MINUTE_MS
        begin = (start_ms - LISTED_MS) // MINUTE_MS // length
        first, stop = max(0, begin), max(0, begin + count)
        table = np.empty((max(0, stop - first), len(COLUMNS)))
        for start in range(first, stop, _chunk(length)):
            end = min(stop, start + _chunk(length))
            bars = self._bars(listing, length, start, end)
            part = table[start - first : end - first]
            part[:, 0] = np.arange(start, end) * (length * MINUTE_MS) + LISTED_MS
            price, lot = 10.0**listing.instrument.price_digits, 10.0**listing.quantity_digits
            part[:, 1:5] = bars[[OPEN, HIGH, LOW, CLOSE]].T / price
            part[:, 5] = bars[LOTS] / lot
            part[:, 6] = bars[COST] / (price * lot)
            part[:, 7] = listing.instrument.trades_a_minute * length
            part[:, 8] = bars[BUY_LOTS] / lot
            part[:, 9] = bars[BUY_COST] / (price * lot)
        return table

    def running_candle(self, venue: Venue, symbol: str, timeframe: str, now_ms: int) -> DemoCandle:
        """The candle that holds ``now_ms``, of the trades before ``now_ms`` alone."""
        listing = self._listing(venue, symbol)
        length = timeframes.length_ms(timeframe) // MINUTE_MS
        at = now_ms - LISTED_MS
        minute = at // MINUTE_MS
        number = minute // length
        parts = [self._bars(listing, 1, number * length, minute)] if minute > number * length else []
        partly, trades = self._running(listing, at)
        bars = _joined(np.concatenate((*parts, partly[:, None]), axis=1))
        trades += (minute - number * length) * listing.instrument.trades_a_minute
        return _candle(listing, number, length, bars.tolist(), trades, closed=False)

    def _running(self, listing: Listing, at: int) -> tuple[Ints, int]:
        """The minute that holds ``at`` as a bar, and its trades before that."""
        trades = self._trades(listing, at // MINUTE_MS)
        count = int(np.searchsorted(trades.time_ms, at))
        ticks, lots, is_buy = trades.ticks[:count], trades.lots[:count], trades.is_buy[:count]
        bar = np.zeros(8, dtype=np.int64)
        bar[[OPEN, HIGH, LOW, CLOSE]] = trades.ticks[0]
        if count:
            cost = ticks * lots
            bar[HIGH], bar[LOW], bar[CLOSE] = ticks.max(), ticks.min(), ticks[-1]
            bar[LOTS], bar[COST] = lots.sum(), cost.sum()
            bar[BUY_LOTS], bar[BUY_COST] = lots[is_buy].sum(), cost[is_buy].sum()
        return bar, count

    def _bars(self, listing: Listing, length: int, first: int, stop: int) -> Ints:
        """Whole bars of ``length`` minutes as columns, in ticks and lots."""
        parts = []
        for start in range(first, stop, _chunk(length)):
            end = min(stop, start + _chunk(length))
            minutes = self._minute_bars(listing, start * length, end * length)
            parts.append(minutes if length == 1 else _grouped(minutes, length))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _minute_bars(self, listing: Listing, first: int, stop: int) -> Ints:
        first_block, stop_block = first // BLOCK_MINUTES, -(-stop // BLOCK_MINUTES)
        if stop_block - first_block > 2:
            found = self._make_legs(listing, first_block, stop_block - first_block)
            return flow.candles(found, first - found.first_minute, stop - found.first_minute)
        parts = []
        for block in range(first_block, stop_block):
            found = self._block(listing, block)
            begin = found.first_minute
            parts.append(flow.candles(found, max(first - begin, 0), min(stop - begin, BLOCK_MINUTES)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    # Trades

    def trades(self, venue: Venue, symbol: str, start_ms: int, end_ms: int) -> list[DemoTrade]:
        """From ``start_ms`` to before ``end_ms``."""
        listing = self._listing(venue, symbol)
        start, end = max(0, start_ms - LISTED_MS), end_ms - LISTED_MS
        found: list[DemoTrade] = []
        for minute in range(start // MINUTE_MS, -(-end // MINUTE_MS)):
            times = self._trades(listing, minute).time_ms
            low, high = np.searchsorted(times, (start, end))
            found += self._said(listing, minute, int(low), int(high))
        return found

    def trades_from(self, venue: Venue, symbol: str, from_id: int, limit: int, now_ms: int) -> list[DemoTrade]:
        """Trades from an id on that happened before ``now_ms``."""
        listing = self._listing(venue, symbol)
        each = listing.instrument.trades_a_minute
        now = now_ms - LISTED_MS
        place, found = max(0, from_id), list[DemoTrade]()
        while len(found) < limit and place // each <= now // MINUTE_MS:
            minute, low = divmod(place, each)
            before = int(np.searchsorted(self._trades(listing, minute).time_ms, now))
            high = min(each, before, low + limit - len(found))
            found += self._said(listing, minute, low, high)
            if high < each:
                break
            place = (minute + 1) * each
        return found

    def recent_trades(self, venue: Venue, symbol: str, limit: int, now_ms: int) -> list[DemoTrade]:
        """The newest trades before ``now_ms``, oldest first."""
        listing = self._listing(venue, symbol)
        minute = (now_ms - LISTED_MS) // MINUTE_MS
        before = int(np.searchsorted(self._trades(listing, minute).time_ms, now_ms - LISTED_MS))
        stop = minute * listing.instrument.trades_a_minute + before
        return self.trades_from(venue, symbol, max(0, stop - limit), min(limit, stop), now_ms)

    def _said(self, listing: Listing, minute: int, low: int, high: int) -> list[DemoTrade]:
        trades = self._trades(listing, minute)
        first = minute * listing.instrument.trades_a_minute
        part = slice(low, high)
        rows = zip(
            range(first + low, first + high),
            (trades.time_ms[part] + LISTED_MS).tolist(),
            trades.ticks[part].tolist(),
            trades.lots[part].tolist(),
            trades.is_buy[part].tolist(),
            strict=True,
        )
        return [
            DemoTrade(one, at, listing.price(ticks), listing.quantity(lots), "buy" if buys else "sell")
            for one, at, ticks, lots, buys in rows
        ]

    # The book

    def book(self, venue: Venue, symbol: str, time_ms: int) -> DemoBook:
        """The book of the 100 ms that hold ``time_ms``."""
        return self.walk(venue, symbol, time_ms).book()

    def walk(self, venue: Venue, symbol: str, time_ms: int) -> BookWalk:
        """A book that moves on from ``time_ms``."""
        return BookWalk(self, self._listing(venue, symbol), time_ms)

    def top(self, venue: Venue, symbol: str, time_ms: int) -> DemoTop:
        """The best bid and ask, without the rest of the book."""
        listing = self._listing(venue, symbol)
        bucket = (time_ms - LISTED_MS) // BUCKET_MS
        touch, planted = self.touch(listing, bucket)
        lots = [
            dict(planted[side]).get(touch[side])
            or depth.best_lots(self.shape(listing), touch[side], bucket, is_ask=bool(side))
            for side in (0, 1)
        ]
        return DemoTop(
            _book_id(bucket),
            bucket * BUCKET_MS + LISTED_MS,
            listing.price(touch[0]),
            listing.quantity(lots[0]),
            listing.price(touch[1]),
            listing.quantity(lots[1]),
        )

    def shape(self, listing: Listing) -> depth.Shape:
        """For ``BookWalk``."""
        return self._shapes.get((listing.venue, listing.symbol), lambda: depth.shape(self.seed, listing))

    def touch(self, listing: Listing, bucket: int) -> tuple[tuple[int, int], tuple[list[tuple[int, int]], ...]]:
        """For ``BookWalk``: best bid and ask in ticks as the last trade left them, and the orders planted on each side."""
        at = bucket * BUCKET_MS
        minute = at // MINUTE_MS
        trades = self._trades(listing, minute)
        count = int(np.searchsorted(trades.time_ms, at))
        if not count:
            trades = self._trades(listing, minute - 1)
        last, spread = int(trades.ticks[count - 1]), listing.coin.spread if listing.over is None else 1
        bid, ask = (last - spread, last) if trades.is_buy[count - 1] else (last, last + spread)
        planted: tuple[list[tuple[int, int]], ...] = ([], [])
        if plants.order_rate(listing, "large"):
            for order in self._planted(listing, minute // BLOCK_MINUTES):
                if order.start <= at < order.end:
                    planted[order.is_ask].append((order.ticks, order.shown(at)))
        for ticks, _ in planted[0]:
            bid = max(bid, ticks)
        for ticks, _ in planted[1]:
            ask = min(ask, ticks)
        return (bid, ask), planted

    # What is said about a perpetual

    def mark(self, venue: Venue, symbol: str, time_ms: int) -> DemoMark:
        """Of a perpetual."""
        listing = self._perpetual(venue, symbol)
        at = time_ms - LISTED_MS
        index, mark = self._index(listing, at)
        following = at // FUNDING_MS + 1
        rate = self._funding_rate(listing, following, at)
        return DemoMark(time_ms, mark, index, rate, following * FUNDING_MS + LISTED_MS)

    def funding(self, venue: Venue, symbol: str, start_ms: int, end_ms: int) -> list[DemoFunding]:
        """What was settled from ``start_ms`` to before ``end_ms``, oldest first."""
        listing = self._perpetual(venue, symbol)
        first = max(1, -(-(start_ms - LISTED_MS) // FUNDING_MS))
        found = []
        for number in range(first, -(-(end_ms - LISTED_MS) // FUNDING_MS)):
            at = number * FUNDING_MS
            rate = self._funding_rate(listing, number, at)
            found.append(DemoFunding(at + LISTED_MS, rate, self._index(listing, at)[1]))
        return found

    def _index(self, listing: Listing, at: int) -> tuple[float, float]:
        """Index and mark price: of what the path was a leg ago, so that none of the future shows."""
        minute = at // MINUTE_MS
        knots = self._times.get(minute, lambda: flow.time_knots(self.seed, minute))
        leg = int(np.searchsorted(knots, at, side="right")) - 1
        part = (at - int(knots[leg])) / int(knots[leg + 1] - knots[leg])
        knot = minute * LEGS + leg - 1
        block, place = divmod(knot, BLOCK_KNOTS)
        level = self._coin(listing.coin, block).level
        price = float(np.exp(level[place] + (level[place + 1] - level[place]) * part))
        above = float(self._premium(listing.coin, np.array([knot + part]))[0])
        digits = listing.instrument.price_digits + 2
        return round(price, digits), round(price * float(np.exp(above)), digits)

    def _funding_rate(self, listing: Listing, number: int, at: int) -> float:
        """What is settled at the end of interval ``number``, as far as it is known at ``at``."""
        step = FUNDING_MS // _SAMPLES
        known = min(_SAMPLES, (at - (number - 1) * FUNDING_MS) // step + 1)
        times = (number - 1) * FUNDING_MS + np.arange(known) * step
        mean = float(self._premium(listing.coin, times / (MINUTE_MS / LEGS)).mean())
        jitter = 0.00001 * noise.one(noise.key(self.seed, "funding", listing.venue, listing.symbol), number)
        return round(min(0.003, max(-0.003, 0.00004 + 0.7 * mean + jitter)), 8)

    def _premium(self, coin: Coin, knots: Floats) -> Floats:
        """How far the perpetual stands above spot, at knots in order."""
        first, last = int(knots[0] // BLOCK_KNOTS), int(knots[-1] // BLOCK_KNOTS)
        nodes = [self._node(coin, block) for block in range(first, last + 2)]
        return np.asarray(np.interp(knots / BLOCK_KNOTS, np.arange(first, last + 2), nodes), dtype=np.float64)

    def _node(self, coin: Coin, block: int) -> float:
        return self._nodes.get((coin.name, block), lambda: float(prices.premium_nodes(self.seed, coin, block, 1)[0]))

    def open_interest(self, venue: Venue, symbol: str, time_ms: int) -> DemoOpenInterest:
        """Of a perpetual."""
        listing = self._perpetual(venue, symbol)
        minute = (time_ms - LISTED_MS) // MINUTE_MS
        return self._interests.get((venue, symbol, minute), lambda: self._open_interest(listing, np.array([minute]))[0])

    def open_interest_history(
        self, venue: Venue, symbol: str, period: str, start_ms: int, count: int, now_ms: int | None = None
    ) -> list[DemoOpenInterest]:
        """At every boundary of the period (a timeframe) from ``start_ms`` on, oldest first."""
        listing = self._perpetual(venue, symbol)
        length = timeframes.length_ms(period) // MINUTE_MS
        first = -(-(start_ms - LISTED_MS) // (length * MINUTE_MS))
        stop = first + count
        if now_ms is not None:
            stop = min(stop, (now_ms - LISTED_MS) // (length * MINUTE_MS) + 1)
        minutes = np.arange(max(first, 1), stop) * length
        each = max(1, _CHUNK_BLOCKS * BLOCK_MINUTES // length)
        return [
            one
            for start in range(0, len(minutes), each)
            for one in self._open_interest(listing, minutes[start : start + each])
        ]

    def _open_interest(self, listing: Listing, minutes: Ints) -> list[DemoOpenInterest]:
        """It grows while the price runs away from where it was, and shrinks when a sharp turn closes positions."""
        first = max(0, (int(minutes[0]) - 960) // BLOCK_MINUTES)
        count = int(minutes[-1]) // BLOCK_MINUTES - first + 1
        if len(minutes) == 1:
            level = np.concatenate(
                [self._coin(listing.coin, block).level[:-1] for block in range(first, first + count)]
            )
        else:
            level = self._coin_path(listing.coin, first, count).level
        place = (minutes - first * BLOCK_MINUTES) * LEGS
        here = level[place]
        usual = prices.move_of(listing.coin)
        run = (here - level[np.maximum(place - 960 * LEGS, 0)]) / (usual * (960 * LEGS) ** 0.5)
        turn = (here - level[np.maximum(place - 60 * LEGS, 0)]) / (usual * (60 * LEGS) ** 0.5)
        against = np.clip(-np.sign(run) * turn - 0.8, 0, 3)
        of = noise.key(self.seed, "interest", listing.venue, listing.symbol) >> 2
        drift = np.zeros(len(minutes))
        for height, period in ((0.2, 14_400), (0.05, 2_880), (0.0006, 7)):
            drift += height * noise.wave_at(of + period, minutes, period)
        size = np.exp(drift + 0.06 * np.minimum(np.abs(run), 3) - 0.025 * against)
        lots = np.rint(0.9 * listing.day_quantity * size * 10.0**listing.quantity_digits).astype(np.int64)
        price = np.exp(here)
        return [
            DemoOpenInterest(minute * MINUTE_MS + LISTED_MS, listing.quantity(lot), listing.quantity(lot) * one)
            for minute, lot, one in zip(minutes.tolist(), lots.tolist(), price.tolist(), strict=True)
        ]

    def ticker(self, venue: Venue, symbol: str, time_ms: int) -> DemoTicker:
        """The rolling 24 hours (of whole minutes, and the running one)."""
        listing = self._listing(venue, symbol)
        at = time_ms - LISTED_MS
        minute = at // MINUTE_MS
        first = max(0, minute - _DAY_MINUTES + 1)
        whole = self._day(listing, first, minute)
        partly, count = self._running(listing, at)
        bar = _joined(np.stack((whole, partly), axis=1)).tolist()
        each = listing.instrument.trades_a_minute
        trades = self._trades(listing, minute if count else minute - 1)
        candle = _candle(listing, first, 1, bar, (minute - first) * each + count, closed=False)
        change = listing.price(bar[CLOSE] - bar[OPEN])
        return DemoTicker(
            time_ms=time_ms,
            open_ms=candle.open_ms,
            open=candle.open,
            high=candle.high,
            low=candle.low,
            last=candle.close,
            last_quantity=listing.quantity(int(trades.lots[count - 1])),
            volume=candle.volume,
            quote_volume=candle.quote_volume,
            change=change,
            change_percent=round(100 * change / candle.open, 3),
            average_price=round(candle.quote_volume / candle.volume, listing.instrument.price_digits + 2),
            trades=candle.trades,
            first_id=candle.first_id,
            last_id=candle.last_id,
            top=self.top(venue, symbol, time_ms),
        )

    def _day(self, listing: Listing, first: int, stop: int) -> Ints:
        """Minutes from ``first`` to before ``stop`` as one bar; whole blocks of it are known already."""
        name = (listing.venue, listing.symbol)

        def block_bar(block: int) -> Ints:
            begin = block * BLOCK_MINUTES
            return self._sums.get(
                (*name, block), lambda: _joined(self._minute_bars(listing, begin, begin + BLOCK_MINUTES))
            )

        def made() -> Ints:
            whole_from, whole_to = -(-first // BLOCK_MINUTES), stop // BLOCK_MINUTES
            if whole_from >= whole_to:
                return _joined(self._minute_bars(listing, first, stop))
            parts = [block_bar(block) for block in range(whole_from, whole_to)]
            if first < whole_from * BLOCK_MINUTES:
                parts.insert(0, _joined(self._minute_bars(listing, first, whole_from * BLOCK_MINUTES)))
            if whole_to * BLOCK_MINUTES < stop:
                parts.append(_joined(self._minute_bars(listing, whole_to * BLOCK_MINUTES, stop)))
            return _joined(np.stack(parts, axis=1))

        return self._days.get((*name, stop), made)

    # The truth

    def labels(self, start_ms: int, end_ms: int) -> list[Label]:
        """The truth about every plant that lives at any moment of the span, ordered by its start."""
        start, end = max(0, start_ms - LISTED_MS), end_ms - LISTED_MS
        found = []
        for venue in VENUES:
            for listing in self._listings[venue].values():
                for block in range(start // MINUTE_MS // BLOCK_MINUTES, -(-end // (MINUTE_MS * BLOCK_MINUTES))):
                    found += [
                        label
                        for label in self._labels(listing, block)
                        if label.start_ms < end_ms and label.end_ms > start_ms
                    ]
        return sorted(found, key=lambda label: (label.start_ms, label.id))

    def _labels(self, listing: Listing, block: int) -> list[Label]:
        found = []
        if plants.order_rate(listing, "large"):
            found = [self._order_label(listing, order) for order in self._planted(listing, block)]
        slots = BLOCK_MINUTES // plants.SLOT_MINUTES
        moved = plants.shifts(self.seed, listing, self._venues[listing.symbol], block * slots, slots)
        return [*found, *(self._shift_label(listing, shift) for shift in moved)]

    def _order_label(self, listing: Listing, order: Order) -> Label:
        price, quantity = listing.price(order.ticks), listing.quantity(order.lots)
        details: dict[str, float | str] = {}
        if order.slice_lots:
            details["slice_quantity"] = listing.quantity(order.slice_lots)
        if order.kind == "wall":
            details["traded_share"] = order.traded / order.lots
        return Label(
            id=f"{listing.venue}-{listing.symbol}-{order.slot}-{order.number}",
            kind=order.kind,
            venue=listing.venue,
            symbol=listing.symbol,
            side="ask" if order.is_ask else "bid",
            price=price,
            quantity=quantity,
            value_usd=price * quantity,
            start_ms=order.start + LISTED_MS,
            end_ms=order.end + LISTED_MS,
            traded_quantity=listing.quantity(order.traded),
            details=details,
        )

    def _shift_label(self, listing: Listing, shift: plants.Shift) -> Label:
        """The plateau alone: the price takes a leg to come there (from ``leaves_ms``) and a leg to go back."""
        start = flow.knot_ms(self.seed, shift.first)
        end = flow.knot_ms(self.seed, shift.first + shift.knots - 1)
        legs = self._block(listing, shift.first // BLOCK_KNOTS)
        at = shift.first % BLOCK_KNOTS
        ticks = int(legs.ticks[at])
        traded = listing.quantity(int(2 * legs.half[at : at + shift.knots - 1].astype(np.int64).sum()))
        price = listing.price(ticks)
        dollars = price
        details: dict[str, float | str] = {
            "off_percent": 100 * shift.share,
            "fair_price": price / (1 + shift.share),
            "leaves_ms": flow.knot_ms(self.seed, shift.first - 1) + LISTED_MS,
            "back_ms": flow.knot_ms(self.seed, shift.first + shift.knots) + LISTED_MS,
        }
        if listing.over is not None:
            details["over"] = f"{listing.over.name}/USDT"
            dollars *= float(np.exp(self._coin(listing.over, shift.first // BLOCK_KNOTS).level[at]))
        elif not listing.instrument.is_perpetual and listing.coin.name in {"BTC", "ETH", "BNB"}:
            details["also"] = "triangle"  # a spot price that is off opens the triangles through it
        return Label(
            id=f"{listing.venue}-{listing.symbol}-{shift.first // plants.SLOT_KNOTS}-5",
            kind="mispriced" if listing.over is None else "triangle",
            venue=listing.venue,
            symbol=listing.symbol,
            side="up" if shift.share > 0 else "down",
            price=price,
            quantity=traded,
            value_usd=dollars * traded,
            start_ms=start + LISTED_MS,
            end_ms=end + LISTED_MS,
            traded_quantity=traded,
            details=details,
        )

    # What all of that is made of

    def _listing(self, venue: Venue, symbol: str) -> Listing:
        return instruments.look_up(self._listings, venue, symbol)

    def _perpetual(self, venue: Venue, symbol: str) -> Listing:
        listing = self._listing(venue, symbol)
        if not listing.instrument.is_perpetual:
            raise NotFound(f"{symbol} is not a perpetual: it has no mark price, funding or open interest.")
        return listing

    def _trades(self, listing: Listing, minute: int) -> MinuteTrades:
        return self._minutes.get(
            (listing.venue, listing.symbol, minute),
            lambda: flow.minute_trades(self.seed, listing, self._block(listing, minute // BLOCK_MINUTES), minute),
        )

    def _planted(self, listing: Listing, block: int) -> tuple[Order, ...]:
        return self._orders.get(
            (listing.venue, listing.symbol, block),
            lambda: orders(
                self.seed, listing, self._block(listing, block), block, lambda minute: self._trades(listing, minute)
            ),
        )

    def _block(self, listing: Listing, block: int) -> Legs:
        return self._legs.get(
            (listing.venue, listing.symbol, block), lambda: self._make_legs(listing, block, 1).compact()
        )

    def _make_legs(self, listing: Listing, first: int, count: int) -> Legs:
        path = self._coin(listing.coin, first) if count == 1 else self._coin_path(listing.coin, first, count)
        if listing.over is not None:
            below = self._coin_path(listing.over, first, count)
            path = Path(path.level - below.level, (path.activity + below.activity) / 2)
        offset = prices.offset(self.seed, listing, first, count)
        return flow.legs(self.seed, listing, self._venues[listing.symbol], first, path, offset)

    def _coin(self, coin: Coin, block: int) -> Path:
        return self._coins.get((coin.name, block), lambda: self._coin_path(coin, block, 1))

    def _coin_path(self, coin: Coin, first: int, count: int) -> Path:
        market = self._markets.get((first, count), lambda: prices.walk(prices.market_key(self.seed), first, count))
        return prices.coin_path(self.seed, coin, first, count, market)


def _chunk(length: int) -> int:
    """So many bars are made at once."""
    return max(1, _CHUNK_BLOCKS * BLOCK_MINUTES // length)


def _grouped(minutes: Ints, length: int) -> Ints:
    table = minutes.reshape(8, -1, length)
    grouped = table.sum(axis=2)
    grouped[OPEN], grouped[CLOSE] = table[OPEN, :, 0], table[CLOSE, :, -1]
    grouped[HIGH], grouped[LOW] = table[HIGH].max(axis=1), table[LOW].min(axis=1)
    return np.asarray(grouped, dtype=np.int64)


def _joined(bars: Ints) -> Ints:
    """Bars that follow each other, as one."""
    return _grouped(bars, bars.shape[1])[:, 0]


def _candle(listing: Listing, number: int, length: int, row: list[int], trades: int, *, closed: bool) -> DemoCandle:
    open_ms = number * length * MINUTE_MS + LISTED_MS
    first_id = number * length * listing.instrument.trades_a_minute
    money = 10.0 ** (listing.instrument.price_digits + listing.quantity_digits)
    return DemoCandle(
        open_ms,
        open_ms + length * MINUTE_MS - 1,
        listing.price(row[OPEN]),
        listing.price(row[HIGH]),
        listing.price(row[LOW]),
        listing.price(row[CLOSE]),
        listing.quantity(row[LOTS]),
        row[COST] / money,
        trades,
        listing.quantity(row[BUY_LOTS]),
        row[BUY_COST] / money,
        first_id,
        first_id + trades - 1,
        closed,
    )


def _levels(listing: Listing, ticks: Ints, lots: Ints) -> list[Level]:
    price, quantity = 10.0**listing.instrument.price_digits, 10.0**listing.quantity_digits
    return list(zip((ticks / price).tolist(), (lots / quantity).tolist(), strict=True))


def _book_id(bucket: int) -> int:
    return bucket * _IDS_A_BUCKET
