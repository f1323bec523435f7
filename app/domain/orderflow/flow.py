"""Taker flow: trades as one bucket a minute, and the cumulative volume delta over them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from app.domain.market.readings import WARMING, Reading
from app.domain.market.timeframes import MINUTE_MS, open_of
from app.domain.market.values import Candle, Trade

_T = TypeVar("_T")

FlowStatus = Literal["ok", "gap", "repaired"]
CVD_WINDOW_MS = 4 * 60 * MINUTE_MS  # B4.1, CVD_WINDOW_MS
ROUNDING = 1e-6  # a minute's volume summed trade by trade may differ so much from its candle's
STALE_MS = 3 * MINUTE_MS  # the running minute and one that is being repaired may be missing, no more


class Flow(msgspec.Struct, frozen=True, gc=False):
    """The trades of one minute of one symbol: one row of ``trade_flow``. Volumes are the takers', in base and in quote coins."""

    exchange: str
    symbol: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    buy_volume: float
    sell_volume: float
    buy_quote: float
    sell_quote: float
    trades: int
    largest_quote: float | None
    """Of one trade, in quote coins; None where not every trade was seen."""
    first_id: int | None
    last_id: int | None
    status: FlowStatus
    timeframe: str = "1m"

    @property
    def delta(self) -> float:
        """What takers bought more than they sold, in base coins."""
        return self.buy_volume - self.sell_volume


@dataclass(slots=True)
class Hole:
    """Trades that did not come. They may yet; more than can be remembered stay lost."""

    ids: set[int]
    lost: bool

    @property
    def open(self) -> bool:
        """Whether something is still missing."""
        return self.lost or bool(self.ids)


@dataclass(slots=True)
class FlowBucket:
    """A minute that is being filled. Mutable on purpose: it takes every trade of the feed."""

    exchange: str
    symbol: str
    open_time: int
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    buy_volume: float = 0.0
    sell_volume: float = 0.0
    buy_quote: float = 0.0
    sell_quote: float = 0.0
    trades: int = 0
    largest_quote: float = 0.0
    first_id: int | None = None
    last_id: int | None = None
    partial: bool = False
    """It was joined in its middle, or the connection was cut."""
    contradicted: bool = False
    """Its closed candle counts another volume."""
    holes: list[Hole] = field(default_factory=list)
    settled: bool = False
    """Its closed candle said all of it: what comes late is in there already."""

    @property
    def gap(self) -> bool:
        """Whether trades of this minute are, or may be, missing."""
        return self.partial or self.contradicted or any(hole.open for hole in self.holes)

    @property
    def volume(self) -> float:
        """Of all its trades, in base coins."""
        return self.buy_volume + self.sell_volume

    def add(self, trade: Trade) -> None:
        """Take one trade of this minute."""
        price, number = trade.price, trade.id
        quote = price * trade.quantity
        if self.first_id is None or self.last_id is None:
            self.first_id = self.last_id = number
            self.open = self.high = self.low = self.close = price
        else:
            if number >= self.last_id or not trade.counted:
                self.last_id = number
                self.close = price
            elif number < self.first_id:
                self.first_id = number
                self.open = price
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
        if trade.side == "buy":
            self.buy_volume += trade.quantity
            self.buy_quote += quote
        else:
            self.sell_volume += trade.quantity
            self.sell_quote += quote
        if quote > self.largest_quote:
            self.largest_quote = quote
        self.trades += 1

    def frozen(self) -> Flow:
        """The minute as it stands now."""
        return Flow(**{name: getattr(self, name) for name in _SHARED}, status="gap" if self.gap else "ok")

    @classmethod
    def resumed(cls, flow: Flow) -> "FlowBucket":
        """A stored minute, to be filled on after a restart."""
        return cls(
            **{name: getattr(flow, name) for name in _SHARED},
            partial=flow.status == "gap",
            settled=flow.status == "repaired",
        )


_SHARED = tuple(name for name in Flow.__struct_fields__ if name not in {"status", "timeframe"})


@dataclass(slots=True)
class FlowKeeper:
    """The minutes of one symbol as its trades come: each trade once, and lost ones noticed.

    Hand it every trade and every closed candle, tell it when the connection was new, and take what ``changed`` to store it. Where
    ids are counted a hole is seen by them, and is healed when the missing trades come after all; elsewhere every cut leaves its
    minutes marked, and a trade that comes twice is known by its id for a while. Whatever the ids say, a minute that is over must
    have the volume of its closed candle.
    """

    exchange: str
    symbol: str
    duplicate: int = 0
    late: int = 0
    """Trades of minutes that are no longer kept: they are lost, and their minute is marked."""
    lost: int = 0
    """Trades that are missing by their ids, as far as they have not come after all."""
    out_of_order: int = 0
    contradicted: int = 0
    """Minutes whose closed candle counts another volume than their trades."""
    _buckets: list[FlowBucket] = field(default_factory=list)
    _last_id: int | None = None
    _last_ms: int = 0
    _recent: dict[int, None] = field(default_factory=dict)
    """The newest ids, in the order of their coming, where ids are not counted: two connections overlap, and so do polls."""
    _holes: list[Hole] = field(default_factory=list)
    _changed: dict[int, FlowBucket] = field(default_factory=dict)
    _closed: dict[int, Candle] = field(default_factory=dict)
    """The newest closed candles: that trades of a minute were lost may be seen only by the next trade."""
    _said: dict[int, None] = field(default_factory=dict)
    """The newest minutes that their candles said: trades of them may come long after, and then tell less than what is known."""
    _cut: bool = True

    def resume(self, flow: Flow, now_ms: int) -> None:
        """Go on with the newest stored minute. One that is over ended while nobody listened, so nobody knows its last trades."""
        bucket = FlowBucket.resumed(flow)
        if self._buckets and self._buckets[0].open_time <= flow.open_time:
            return  # it is being filled already, and is marked: what was stored of it came to light too late
        if not bucket.settled and (self._buckets or flow.open_time < open_of(now_ms, "1m")):
            bucket.partial = True
            self._changed[bucket.open_time] = bucket
        if not self._buckets:
            self._last_id, self._last_ms = flow.last_id, flow.open_time + MINUTE_MS
        self._buckets.insert(0, bucket)

    def reconnected(self) -> None:
        """The connection was cut: without counted ids nobody knows what was missed."""
        self._cut = True

    def add(self, trade: Trade) -> None:
        """Take one trade."""
        hole = None
        if not trade.counted:
            if self._came_before(trade.id):
                self.duplicate += 1
                return
            unsure = self._cut
        else:
            if self._last_id is not None and trade.time_ms - self._last_ms > _ANEW_MS and trade.id <= self._last_id:
                self._cut, self._last_id, self._holes = True, None, []  # it counts anew: else all would pass for old
            unsure = self._cut and self._last_id is None
            if self._last_id is not None and trade.id <= self._last_id:
                if not self._fill(trade.id):
                    self.duplicate += 1
                    return
            else:
                if self._last_id is not None and trade.id > self._last_id + 1:
                    hole = self._open_hole(self._last_id + 1, trade.id)
                self._last_id, self._last_ms = trade.id, trade.time_ms
        bucket = self._bucket(open_of(trade.time_ms, "1m"), hole, unsure=unsure)
        if bucket is None:
            self.late += 1
            return
        bucket.add(trade)
        self._changed[bucket.open_time] = bucket

    def changed(self) -> list[Flow]:
        """The minutes that are not as they were when this was asked last, oldest first."""
        self._compare()
        if not self._changed:
            return []
        changed, self._changed = self._changed, {}
        return [self._mended(changed[open_time]) for open_time in sorted(changed) if not changed[open_time].settled]

    def _compare(self) -> None:
        """Hold the minutes that are over against their candles. One is over when what came is younger: trades and candles may
        come by two connections, and the last trades of a minute after its candle.
        """
        if not self._closed or not self._buckets:
            return
        newest_ms = max(self._buckets[-1].open_time, *self._closed)
        for bucket in self._buckets:
            candle = self._closed.get(bucket.open_time)
            if candle is None or bucket.settled or bucket.partial or bucket.open_time >= newest_ms:
                continue
            apart = abs(candle.volume - bucket.volume) > ROUNDING * max(candle.volume, bucket.volume)
            if apart is not bucket.contradicted:
                bucket.contradicted = apart
                self.contradicted += 1 if apart else -1
                self._changed[bucket.open_time] = bucket

    def _mended(self, bucket: FlowBucket) -> Flow:
        flow, candle = bucket.frozen(), self._closed.get(bucket.open_time)
        whole = repaired(candle, flow) if candle is not None and flow.status == "gap" else None
        bucket.settled = whole is not None
        return whole or flow

    def settle(self, candle: Candle) -> Flow | None:
        """The minute of a closed candle, where it is needed and can be had from it: trades of it were lost, or nobody listened."""
        if candle.timeframe == "1m" and candle.closed:
            _remember(self._closed, candle.time_ms, candle, _KEPT)
            self._compare()
        bucket = next((each for each in self._buckets if each.open_time == candle.time_ms), None)
        if bucket is None:  # it is no longer filled, and may wait to be told all the same
            bucket = self._changed.get(candle.time_ms)
        if bucket is not None:
            untold = self._cut and bucket is self._buckets[-1]  # no trade has shown yet whether the cut lost any
            if bucket.settled or not (bucket.gap or untold):
                return None
        flow = repaired(candle, bucket.frozen() if bucket is not None and bucket.trades else None)
        if flow is not None:
            _remember(self._said, flow.open_time, None, _SAID)
            if bucket is not None:
                bucket.settled = True
        return flow

    def _came_before(self, number: int) -> bool:
        recent = self._recent
        if number in recent:
            return True
        recent[number] = None
        if len(recent) > _RECENT:
            del recent[next(iter(recent))]
        return False

    def _bucket(self, open_time: int, hole: Hole | None, *, unsure: bool) -> FlowBucket | None:
        buckets = self._buckets
        newest = buckets[-1] if buckets else None
        if newest is None or open_time > newest.open_time:
            bucket = FlowBucket(self.exchange, self.symbol, open_time)
            # The very first minute was joined in its middle: what came before in it is unknown.
            bucket.partial = newest is None or unsure
            bucket.settled = open_time in self._said and open_time not in self._closed
            buckets.append(bucket)
            if len(buckets) > _KEPT:
                del buckets[0]
        else:
            found = next((each for each in reversed(buckets) if each.open_time == open_time), None)
            if found is None:
                return None
            bucket = found
            if unsure:
                bucket.partial = True
        if unsure and newest is not None:
            newest.partial = True
            self._changed[newest.open_time] = newest
        self._cut = False
        if hole is not None:
            for each in {id(each): each for each in (newest, bucket) if each is not None}.values():
                each.holes.append(hole)
                self._changed[each.open_time] = each
        return bucket

    def _open_hole(self, first_id: int, end_id: int) -> Hole:
        missing = end_id - first_id
        self.lost += missing
        remembered = missing <= _REMEMBERED
        hole = Hole(set(range(first_id, end_id)) if remembered else set(), lost=not remembered)
        if remembered:
            self._holes = [*(each for each in self._holes if each.open), hole][-_HOLES:]
        return hole

    def _fill(self, number: int) -> bool:
        for hole in self._holes:
            if number in hole.ids:
                hole.ids.discard(number)
                self.lost -= 1
                self.out_of_order += 1
                if not hole.open:
                    self._changed.update(
                        {each.open_time: each for each in self._buckets if any(one is hole for one in each.holes)}
                    )
                return True
        return False


_KEPT = 3  # minutes: a trade may come late, and a hole may reach into the minute before
_SAID = 30
_REMEMBERED = 1_000
_HOLES = 100
_RECENT = 1_000  # as many as one answer has at most; a planned successor overlaps for seconds
_ANEW_MS = MINUTE_MS  # a trade that is so much younger than the newest id and has an older one is no straggler


def _remember(newest: dict[int, _T], time_ms: int, what: _T, most: int) -> None:
    newest[time_ms] = what
    if len(newest) > most:
        del newest[min(newest)]


def repaired(candle: Candle, gap: Flow | None) -> Flow | None:
    """A minute whose trades were lost, from its closed candle; None where the exchange does not say what takers bought.

    What the candle cannot know comes from the trades that were seen.
    """
    bought, quote = candle.taker_buy_volume, candle.quote_volume
    if bought is None or quote is None or candle.timeframe != "1m" or not candle.closed:
        return None
    bought_quote = candle.taker_buy_quote_volume
    if bought_quote is None:
        bought_quote = quote * bought / candle.volume if candle.volume > 0 else 0.0
    return Flow(
        exchange=candle.exchange,
        symbol=candle.symbol,
        open_time=candle.time_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        buy_volume=bought,
        sell_volume=max(0.0, candle.volume - bought),
        buy_quote=bought_quote,
        sell_quote=max(0.0, quote - bought_quote),
        trades=candle.trades if candle.trades is not None else (gap.trades if gap else 0),
        largest_quote=None,  # the largest that was seen need not be the largest that was
        first_id=gap.first_id if gap else None,
        last_id=gap.last_id if gap else None,
        status="repaired",
    )


def cvd(flows: Sequence[Flow], window_ms: int, now_ms: int, *, quiet: Iterable[int] = ()) -> Reading:
    """Taker buys less taker sells of the minutes inside the window, in base coins. Minutes oldest first, one each at most.

    ``quiet``: open times of minutes that are known to have had no trade (a stored candle without volume). ``warming``: the first
    minute is younger than the window. ``gap``: a minute in between is missing or lost trades. ``stale``: the newest is too old.
    The value of anything but ``warming`` without a minute is the sum of what is there, for showing.
    """
    begin_ms = open_of(now_ms - window_ms, "1m") + MINUTE_MS  # whole minutes only
    inside = [flow for flow in flows if flow.open_time >= begin_ms]
    if not inside:
        return Reading(None, "stale") if flows else WARMING
    total = sum(flow.delta for flow in inside)
    if now_ms - inside[-1].open_time > STALE_MS + MINUTE_MS:
        return Reading(total, "stale")
    known = {flow.open_time for flow in flows if flow.status != "gap"} | set(quiet)
    first_ms = min(flows[0].open_time, inside[0].open_time, *known)
    lost = any(minute not in known for minute in range(max(begin_ms, first_ms), inside[-1].open_time, MINUTE_MS))
    if lost or inside[-1].status == "gap":
        return Reading(total, "gap")
    return Reading(total, "warming" if first_ms > begin_ms else "ok")
