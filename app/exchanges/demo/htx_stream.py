"""The streams of HTX, spot and USDT-M swaps, over the generated market: everything is gzip, and pings are JSON."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from app.domain.market.timeframes import length_ms, open_of
from app.exchanges.demo import frames
from app.exchanges.demo.feeds import BookFeed, CandleFeed, Feed, StateFeed, TopFeed, TradeFeed
from app.exchanges.demo.htx_rest import PERIODS, HtxNames, detail_tick, kline_row, number_rows, trade_row
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.talk import Deed, Dress, Hang, Leave, Listen, Say
from app.exchanges.demo.values import DemoCandle, DemoDiff, DemoTop, DemoTrade, Venue

_PING_EVERY_S = 5.0
_PINGS_IGNORED = 2
_CHANNEL = re.compile(r"market\.([A-Za-z0-9-]+)\.(.+)")
_FEED_BOOK = re.compile(r"mbp\.(5|20|150|400)")
_SWAP_BOOK = re.compile(r"depth\.size_(20|150)\.high_freq")
_REFRESH_BOOK = re.compile(r"mbp\.refresh\.(5|10|20)|depth\.(step0|step6)")
_TOPIC = re.compile(r"public\.([A-Za-z0-9-]+|\*)\.funding_rate")
encode = msgspec.json.encode
Address = Literal["spot", "spot_feed", "swap"]


def packed(_name: str, message: bytes) -> bytes:
    """Everything is gzip."""
    return frames.gzipped(message)


class HtxStreams:
    """Which channels an address has, and how they are written."""

    def __init__(
        self, scene: Scene, names: HtxNames, address: Address, running: Callable[[str], Feed | None] = lambda _key: None
    ) -> None:
        self.scene, self._names, self._address = scene, names, address
        self._running = running
        """The feed of a stream that somebody listens to: what is asked for whole must fit its next change."""

    def listen(self, channel: str) -> Listen | None:
        """To a channel; None where there is none of that name at this address."""
        found = _CHANNEL.fullmatch(channel)
        symbol = self._names.symbol(found[1]) if found else None
        if found is None or symbol is None:
            return None
        opener = self._opener(symbol, found[2], channel)
        return Listen(f"htx/{self._address}/{channel}", channel, opener) if opener else None

    def _opener(self, symbol: str, kind: str, channel: str) -> Callable[[], Feed] | None:
        scene, words = self.scene, _Words(self.scene, symbol, self._names.ids[symbol], channel)
        if self._address == "spot_feed" or kind.startswith(("mbp.", "depth.")):
            return self._book_opener(symbol, kind, words)
        if kind.startswith("kline.") and kind[6:] in PERIODS:
            timeframe = PERIODS[kind[6:]]
            return lambda: CandleFeed(scene, "htx", symbol, timeframe, words.kline)
        makers: dict[str, Callable[[], Feed]] = {
            "trade.detail": lambda: TradeFeed(scene, "htx", symbol, words.trades),
            "bbo": lambda: TopFeed(scene, "htx", symbol, words.top, tells_at_once=True),
            "detail": lambda: StateFeed(scene, "htx", symbol, "ticker", 1.0, words.detail),
        }
        return makers.get(kind)

    def _book_opener(self, symbol: str, kind: str, words: "_Words") -> Callable[[], Feed] | None:
        scene = self.scene
        feed, swap, refresh = _FEED_BOOK.fullmatch(kind), _SWAP_BOOK.fullmatch(kind), _REFRESH_BOOK.fullmatch(kind)
        if self._address == "spot_feed" and feed:
            depth = int(feed[1])
            return lambda: BookFeed(scene, "htx", symbol, depth, words.feed_change, None)
        if self._address == "swap" and swap:
            depth = int(swap[1])
            return lambda: BookFeed(scene, "htx", symbol, depth, words.swap_change, words.swap_snapshot)
        if self._address != "spot_feed" and refresh:
            depth = int(refresh[1]) if refresh[1] else 150 if refresh[2] == "step0" else 20
            every_s = 0.1 if refresh[1] else 1.0
            return lambda: BookFeed(scene, "htx", symbol, depth, words.whole_book, words.whole_now, every_s)
        return None

    def asked(self, channel: str, said: dict[str, Any]) -> Any:
        """The answer to a ``req``; None where there is none."""
        found = _CHANNEL.fullmatch(channel)
        symbol = self._names.symbol(found[1]) if found else None
        if found is None or symbol is None:
            return None
        words, kind = _Words(self.scene, symbol, self._names.ids[symbol], channel), found[2]
        if self._address == "spot_feed":
            book = _FEED_BOOK.fullmatch(kind)
            feed = self._running(f"htx/{self._address}/{channel}")
            return words.feed_book(int(book[1]), feed if isinstance(feed, BookFeed) else None) if book else None
        if kind.startswith("kline.") and kind[6:] in PERIODS:
            return words.klines(PERIODS[kind[6:]], said.get("from"), said.get("to"))
        if kind == "trade.detail":
            return words.newest_trades()
        return None


class HtxTalk:
    """One connection. Who leaves two pings unanswered is cut."""

    venue: Venue = "htx"
    beat_every_s = _PING_EVERY_S
    dress: Dress = staticmethod(packed)

    def __init__(self, streams: HtxStreams, now_ms: Callable[[], int]) -> None:
        self._streams, self._now_ms = streams, now_ms
        self._heard: dict[str, str] = {}
        self._unanswered = 0

    def opening(self) -> Sequence[Deed]:
        """Nothing."""
        return []

    def receive(self, message: str) -> Sequence[Deed]:
        """``ping``, ``pong``, ``sub``, ``unsub``, ``req``."""
        try:
            said = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = None
        if not isinstance(said, dict):
            return [self._refusal(None, "bad-request", "invalid json")]
        if "pong" in said:
            self._unanswered = 0
            return []
        if "ping" in said:
            return [_say({"pong": said["ping"]})]
        number = said.get("id")
        for word, do in (("sub", self._subscribe), ("unsub", self._leave), ("req", self._ask)):
            if isinstance(said.get(word), str):
                return do(said[word], number, said)
        return [self._refusal(number, "bad-request", "unknown request")]

    def beat(self) -> Sequence[Deed]:
        """Ping; let go of who does not answer."""
        if self._unanswered >= _PINGS_IGNORED:
            return [Hang(1003, "ping timeout")]
        self._unanswered += 1
        return [_say({"ping": self._now_ms()})]

    def pong(self) -> None:
        """The protocol's own pong counts for nothing here."""

    def _subscribe(self, channel: str, number: Any, said: dict[str, Any]) -> Sequence[Deed]:
        listen = self._streams.listen(channel)
        if listen is None or ("high_freq" in channel and said.get("data_type", "snapshot") != "incremental"):
            return [self._refusal(number, "bad-request", f"invalid topic {channel}")]
        told = _say({"id": number, "status": "ok", "subbed": channel, "ts": self._now_ms()})
        if listen.key in self._heard:
            return [told]
        self._heard[listen.key] = channel
        return [told, listen]

    def _leave(self, channel: str, number: Any, _said: dict[str, Any]) -> Sequence[Deed]:
        keys = [key for key, name in self._heard.items() if name == channel]
        for key in keys:
            del self._heard[key]
        told = _say({"id": number, "status": "ok", "unsubbed": channel, "ts": self._now_ms()})
        return [*(Leave(key) for key in keys), told]

    def _ask(self, channel: str, number: Any, said: dict[str, Any]) -> Sequence[Deed]:
        data = self._streams.asked(channel, said)
        if data is None:
            return [self._refusal(number, "bad-request", f"invalid topic {channel}")]
        return [_say({"id": number, "rep": channel, "status": "ok", "ts": self._now_ms(), "data": data})]

    def _refusal(self, number: Any, code: str, message: str) -> Say:
        return _say({"status": "error", "ts": self._now_ms(), "id": number, "err-code": code, "err-msg": message})


class HtxNotices:
    """One connection to the address of notices, which speaks in ``op``: the funding of swaps."""

    venue: Venue = "htx"
    beat_every_s = _PING_EVERY_S
    dress: Dress = staticmethod(packed)

    def __init__(self, scene: Scene, names: HtxNames, now_ms: Callable[[], int]) -> None:
        self._scene, self._names, self._now_ms = scene, names, now_ms
        self._unanswered = 0

    def opening(self) -> Sequence[Deed]:
        """Nothing."""
        return []

    def receive(self, message: str) -> Sequence[Deed]:
        """``ping``, ``pong``, ``sub``, ``unsub``."""
        try:
            said = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = None
        if not isinstance(said, dict):
            return [_say({"op": "error", "err-code": 2011, "err-msg": "Invalid command.", "ts": self._now_ms()})]
        operation = said.get("op")
        if operation == "pong":
            self._unanswered = 0
            return []
        if operation == "ping":
            return [_say({"op": "pong", "ts": said.get("ts")})]
        topic = said.get("topic")
        found = _TOPIC.fullmatch(topic) if isinstance(topic, str) else None
        symbols = self._symbols(found[1]) if found else []
        answer = {"op": operation, "cid": said.get("cid"), "topic": topic, "ts": self._now_ms()}
        if operation not in ("sub", "unsub") or not symbols or not isinstance(topic, str):
            return [_say({**answer, "err-code": 2012, "err-msg": "Invalid topic."})]
        told = _say({**answer, "err-code": 0})
        if operation == "unsub":
            return [*(Leave(f"htx/notices/{symbol}") for symbol in symbols), told]
        return [told, *(Listen(f"htx/notices/{symbol}", topic, self._opener(symbol)) for symbol in symbols)]

    def beat(self) -> Sequence[Deed]:
        """Ping; let go of who does not answer."""
        if self._unanswered >= _PINGS_IGNORED:
            return [Hang(1003, "ping timeout")]
        self._unanswered += 1
        return [_say({"op": "ping", "ts": str(self._now_ms())})]

    def pong(self) -> None:
        """The protocol's own pong counts for nothing here."""

    def _symbols(self, name: str) -> list[str]:
        if name == "*":
            return list(self._names.ids)
        symbol = self._names.symbol(name)
        return [symbol] if symbol else []

    def _opener(self, symbol: str) -> Callable[[], Feed]:
        scene, name = self._scene, self._names.ids[symbol]
        base, quote = name.split("-")

        def write(now_ms: int) -> bytes:
            mark = scene.market.mark("htx", symbol, now_ms)
            row = {
                "symbol": base,
                "contract_code": name,
                "fee_asset": quote,
                "funding_time": str(mark.next_funding_ms),
                "funding_rate": f"{mark.funding_rate:.12f}",
                "estimated_rate": None,
                "settlement_time": str(mark.next_funding_ms),
                "trade_partition": quote,
            }
            said = {"op": "notify", "topic": f"public.{name}.funding_rate", "ts": scene.said_ms("htx", mark.time_ms)}
            return encode({**said, "data": [row]})

        return lambda: StateFeed(scene, "htx", symbol, "mark", 60.0, write)


class _Words:
    """How the events of one channel of one symbol are written."""

    def __init__(self, scene: Scene, symbol: str, name: str, channel: str) -> None:
        self._scene, self._symbol, self._name, self._channel = scene, symbol, name, channel
        self._written = scene.written("htx", symbol)

    def _said(self, time_ms: int) -> int:
        return self._scene.said_ms("htx", time_ms)

    def _message(self, time_ms: int, tick: Any) -> bytes:
        return encode({"ch": self._channel, "ts": self._said(time_ms), "tick": tick})

    def _message_of(self, time_ms: int, tick: str) -> bytes:
        return f'{{"ch":"{self._channel}","ts":{self._said(time_ms)},"tick":{{{tick}}}}}'.encode()

    def kline(self, candle: DemoCandle, now_ms: int) -> bytes:
        """One candle; whether it is over shows when the next one comes."""
        return self._message(now_ms, kline_row(self._written, candle))

    def klines(self, timeframe: str, start_s: Any, end_s: Any) -> list[dict[str, Any]] | None:
        """Candles of a span, at most 300."""
        now = self._scene.now_ms("htx", self._symbol)
        last = open_of(min(now, end_s * 1000) if isinstance(end_s, int) else now, timeframe)
        length = length_ms(timeframe)
        first = last - 299 * length
        if isinstance(start_s, int):
            first = max(first, -(-start_s * 1000 // length) * length)
        found = self._scene.market.candles(
            "htx", self._symbol, timeframe, first, max(0, (last - first) // length + 1), now
        )
        return [kline_row(self._written, candle) for candle in found]

    def newest_trades(self) -> list[dict[str, Any]]:
        """The last 300 trades."""
        now = self._scene.now_ms("htx", self._symbol)
        found = self._scene.recent_trades("htx", self._symbol, 300, now)
        return [trade_row(self._scene, self._written, trade) for trade in found]

    def trades(self, trades: list[DemoTrade], now_ms: int) -> list[bytes]:
        """What was traded since the last message, newest first, in one message; by the hundred it is more than one."""
        out = []
        for start in range(0, len(trades), 100):
            part = trades[start : start + 100]
            rows = [trade_row(self._scene, self._written, trade) for trade in reversed(part)]
            tick = {"id": part[-1].id, "ts": self._said(part[-1].time_ms), "data": rows}
            out.append(self._message(now_ms, tick))
        return out

    def top(self, top: DemoTop, now_ms: int) -> bytes:
        """The best bid and ask."""
        number, size, said = self._written.price_number, self._written.size_number, self._said(top.time_ms)
        bid, ask = (number(top.bid), size(top.bid_quantity)), (number(top.ask), size(top.ask_quantity))
        if self._written.instrument.is_perpetual:
            return self._message_of(
                now_ms,
                f'"mrid":{top.last_id},"id":{said // 1000},"bid":[{bid[0]!r},{bid[1]!r}],"ask":[{ask[0]!r},{ask[1]!r}],'
                f'"ts":{said},"version":{top.last_id},"ch":"{self._channel}"',
            )
        return self._message_of(
            now_ms,
            f'"seqId":{top.last_id},"ask":{ask[0]!r},"askSize":{ask[1]!r},"bid":{bid[0]!r},"bidSize":{bid[1]!r},'
            f'"quoteTime":{said},"symbol":"{self._name}"',
        )

    def detail(self, now_ms: int) -> bytes:
        """The rolling 24 hours."""
        tick = detail_tick(self._scene, self._symbol)
        if self._written.instrument.is_perpetual:
            top = self._scene.market.top("htx", self._symbol, now_ms)
            number, size = self._written.price_number, self._written.size_number
            tick["bid"], tick["ask"] = (
                [number(top.bid), size(top.bid_quantity)],
                [number(top.ask), size(top.ask_quantity)],
            )
            tick["ts"] = self._said(now_ms)
        return self._message(now_ms, tick)

    def feed_change(self, _feed: BookFeed, diff: DemoDiff, now_ms: int) -> bytes:
        """Spot: a change that says which one it follows."""
        levels = self._written.number_levels
        return self._message_of(
            now_ms,
            f'"seqNum":{diff.last_id},"prevSeqNum":{diff.previous_id},"bids":{levels(diff.bids)},"asks":{levels(diff.asks)}',
        )

    def feed_book(self, depth: int, feed: BookFeed | None) -> dict[str, Any]:
        """Spot: the book, whole: as the stream left it, where there is one, else as it is now."""
        if feed is not None:
            last_id, bids, asks = feed.last_id, feed.bids.best(), feed.asks.best()
        else:
            book = self._scene.market.book("htx", self._symbol, self._scene.now_ms("htx", self._symbol))
            last_id, bids, asks = book.last_id, book.bids[:depth], book.asks[:depth]
        return {"seqNum": last_id, "bids": number_rows(self._written, bids), "asks": number_rows(self._written, asks)}

    def swap_snapshot(self, feed: BookFeed, now_ms: int) -> bytes:
        """Swaps: the book, whole, when one subscribes."""
        bids, asks = self._written.number_levels(feed.bids.best()), self._written.number_levels(feed.asks.best())
        return self._swap_book("snapshot", feed, bids, asks, now_ms)

    def swap_change(self, feed: BookFeed, diff: DemoDiff, now_ms: int) -> bytes:
        """Swaps: a change. ``version`` counts them."""
        bids, asks = self._written.number_levels(diff.bids), self._written.number_levels(diff.asks)
        return self._swap_book("update", feed, bids, asks, now_ms)

    def _swap_book(self, event: str, feed: BookFeed, bids: str, asks: str, now_ms: int) -> bytes:
        return self._message_of(
            now_ms,
            f'"asks":{asks},"bids":{bids},"ch":"{self._channel}","event":"{event}","id":{feed.last_id},'
            f'"mrid":{feed.last_id},"ts":{self._said(feed.time_ms)},"version":{feed.version}',
        )

    def whole_book(self, feed: BookFeed, _diff: DemoDiff, now_ms: int) -> bytes:
        """The best levels, whole each time."""
        return self.whole_now(feed, now_ms)

    def whole_now(self, feed: BookFeed, now_ms: int) -> bytes:
        """The best levels."""
        levels, said = self._written.number_levels, self._said(feed.time_ms)
        head = f'"seqNum":{feed.last_id},' if ".mbp." in self._channel else f'"version":{feed.last_id},"ts":{said},'
        if self._written.instrument.is_perpetual:
            head += f'"mrid":{feed.last_id},"id":{said // 1000},"ch":"{self._channel}",'
        return self._message_of(now_ms, f'{head}"bids":{levels(feed.bids.best())},"asks":{levels(feed.asks.best())}')


def _say(said: Any) -> Say:
    return Say(frames.gzipped(encode(said)))
