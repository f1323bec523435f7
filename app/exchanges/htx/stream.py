"""HTX's streams: what to subscribe to, what comes, pongs, and when a candle is over.

Every message is compressed. The notification socket (funding) speaks another dialect than the market sockets. A whole book of a
perpetual comes once for each subscription, one of spot is asked for. HTX does not say when a candle is over, and tells the trades
of a candle twice a second; so when the next one begins, the one before is asked for once more, and is closed as it is answered.
"""

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from app.domain.market.values import Candle, Event
from app.errors import CorruptData, Unavailable
from app.exchanges.exchange import KeepAlive, Wanted
from app.exchanges.htx import mapper
from app.exchanges.htx.mapper import Market

DEPTH_OF_SWAPS = "depth.size_150.high_freq"
DEPTH_OF_SPOT = "mbp.150"  # 400 levels exist, but a whole book can be asked for up to 150
LARGEST = 16 * 1024 * 1024
AT_ONCE = 3
CONFIRMED_WITHIN_MS = 2_000  # or a candle is closed as it was seen
ANSWERED_WITHIN_MS = (
    5_000  # a whole book may be lost or damaged on its way: without another one its changes are held back for ever
)
NO_SUCH_THING = ("bad-request", 2011)
NO_SUCH_WORDS = ("invalid symbol", "invalid topic", "Contract doesn")
"""One instrument that was delisted must not cost all others their connection."""
_HEAD = b'{"ch":"'


def topics_of(wanted: Wanted) -> list[str]:
    """What to subscribe to. Nothing for what has no stream."""
    name = mapper.code(wanted.symbol)
    spot = name.islower()
    match wanted.channel:
        case "candles":
            return [f"market.{name}.kline.{mapper.PERIODS[wanted.timeframe or '1m']}"]
        case "trades":
            return [f"market.{name}.trade.detail"]
        case "depth":
            return [f"market.{name}.{DEPTH_OF_SPOT if spot else DEPTH_OF_SWAPS}"]
        case "top":
            return [f"market.{name}.bbo"]
        case "ticker":
            return [f"market.{name}.detail"]
        case "mark" if not spot:
            return [f"public.{name}.funding_rate"]
        case _:
            return []


class _Other(msgspec.Struct, frozen=True, rename=lambda name: name.replace("_", "-")):
    """What is not data of a topic, or is written in another order than usual."""

    ch: str = ""
    ping: int | None = None
    op: str = ""
    topic: str = ""
    rep: str = ""
    status: str = ""
    subbed: str | list[str] = ""
    unsubbed: str | list[str] = ""
    id: int | str | None = None
    ts: int | str | None = None
    err_code: int | str | None = None
    err_msg: str = ""


_OTHER = msgspec.json.Decoder(_Other)
_KLINE = msgspec.json.Decoder(mapper.Push[mapper.KlineRow], strict=False)
_SPOT_TRADES = msgspec.json.Decoder(mapper.Push[mapper.SpotTrades], strict=False)
_SWAP_TRADES = msgspec.json.Decoder(mapper.Push[mapper.SwapTrades], strict=False)
_DEPTH = msgspec.json.Decoder(mapper.TimedPush[mapper.DepthRow], strict=False)
_KLINE_REPLY = msgspec.json.Decoder(mapper.KlineReply, strict=False)
_DEPTH_REPLY = msgspec.json.Decoder(mapper.DepthReply, strict=False)
_SPOT_TOP = msgspec.json.Decoder(mapper.Push[mapper.SpotTopRow], strict=False)
_SWAP_TOP = msgspec.json.Decoder(mapper.Push[mapper.SwapTopRow], strict=False)
_DETAIL = msgspec.json.Decoder(mapper.TimedPush[mapper.DetailRow], strict=False)
_FUNDING = msgspec.json.Decoder(mapper.FundingPush, strict=False)


class _Queue:
    """What may only be sent so often."""

    __slots__ = ("_began_ms", "_left", "_most", "_per_ms", "waiting")

    def __init__(self, most: int, per_ms: int) -> None:
        self._most, self._per_ms = most, per_ms
        self.waiting: deque[str] = deque()
        self.clear()

    def clear(self) -> None:
        self.waiting.clear()
        self._began_ms: int | None = None
        self._left = self._most

    def first(self, count: int) -> list[str]:
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]

    def due(self, now_ms: int) -> list[str]:
        if self._began_ms is None or not 0 <= now_ms - self._began_ms < self._per_ms:
            self._began_ms, self._left = now_ms, self._most
        due = self.first(self._left)
        self._left -= len(due)
        return due


class _Route:
    """How the messages of one topic are read."""

    __slots__ = ("_read", "_timeframe", "market", "wanted")

    def __init__(self, wanted: Wanted, market: Market) -> None:
        self.wanted, self.market = wanted, market
        self._read = _READERS[wanted.channel, market.spot]
        self._timeframe = wanted.timeframe or "1m"

    def read(self, plain: bytes, received_ms: int) -> Any:
        """What a message means: of candles one, which still runs, else all that it says."""
        return self._read(plain, self.market, received_ms, self._timeframe)


class HtxSession:
    """One connection to one of HTX's sockets. Contracts must be known before it is made."""

    lasts_s: float | None = None  # HTX sets no limit
    silent_s = 20.0  # it pings every 5 s
    keep_alive: KeepAlive | None = None

    def __init__(self, url: str, wanted: Sequence[Wanted], markets: Mapping[str, Market]) -> None:
        self.url = url
        self.wanted = wanted
        self.speed = 1.0
        self.counters: Counter[str] = Counter()
        """resubscribed, held_back (changes of a book that is asked for anew), late_candles, unconfirmed_candles (closed as they
        were seen), lost_trades (of spot), refused_subscriptions (to what does not exist)
        """
        self._routes = {topic: _Route(one, markets[one.symbol]) for one in wanted for topic in topics_of(one)}
        self._markets = {mapper.code(market.symbol): market for market in markets.values()}
        self._pongs: list[str] = []
        self._subscriptions = _Queue(30, 1_000)
        self._questions = _Queue(1, 100)
        self._asked: dict[str, int] = {}
        self._running: dict[str, Candle] = {}
        self._ending: dict[str, tuple[Candle, int | None]] = {}
        """Candles that are over, and since when they have been asked for; None: their question still waits for its turn."""
        self._asking: dict[str, str] = {}
        """By question: whose candle it asks for."""
        self._last_trades: dict[str, int] = {}
        self._now_ms = 0

    def opening(self) -> list[str]:
        """Subscribe; HTX takes 40 a second, so most follow by ``to_send`` as the first ones are acknowledged."""
        self._pongs.clear()
        self._asked.clear()
        self._running.clear()
        self._ending.clear()
        self._asking.clear()
        self._questions.clear()
        self._subscriptions.clear()
        self._subscriptions.waiting.extend(_subscription("sub", topic) for topic in self._routes)
        return self._subscriptions.first(AT_ONCE)

    def to_send(self) -> list[str]:
        """Pongs, and what may be asked now."""
        out, self._pongs = self._pongs, []
        questions = self._questions.due(self._now_ms)
        for question in questions:
            topic = self._asking.pop(question, "")
            if topic in self._ending:
                self._ending[topic] = (self._ending[topic][0], self._now_ms)
        return out + self._subscriptions.due(self._now_ms) + questions

    def ask_snapshot(self, symbol: str) -> bool:
        """Spot is asked; a perpetual is subscribed to anew, and its changes are held back until the whole book comes. One that does
        not come is asked for again.
        """
        [topic] = topics_of(Wanted("depth", symbol))
        if topic not in self._routes:
            return False
        if topic.endswith(DEPTH_OF_SPOT):
            question = _text({"req": topic, "id": topic})
            if question not in self._questions.waiting:
                self._questions.waiting.append(question)
        elif self._now_ms - self._asked.get(topic, -inf) >= ANSWERED_WITHIN_MS * self.speed:
            self._asked[topic] = self._now_ms
            self.counters["resubscribed"] += 1
            self._subscriptions.waiting.extend(_subscription(verb, topic) for verb in ("unsub", "sub"))
        return True

    def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
        """What it says; pings are answered by ``to_send``."""
        self._now_ms = received_ms
        plain = _decompressed(message) if isinstance(message, bytes) else message.encode()
        try:
            if plain.startswith(_HEAD):
                events = self._data(plain[len(_HEAD) : plain.find(b'"', len(_HEAD))].decode(), plain, received_ms)
            else:
                events = self._other(plain, received_ms)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise CorruptData(f"HTX sent what cannot be read: {error}") from error
        return self._overdue(received_ms) + events if self._ending else events

    def _data(self, topic: str, plain: bytes, received_ms: int) -> list[Event]:
        route = self._routes.get(topic)
        if route is None:
            return self._unasked(topic, plain, received_ms)
        if route.wanted.channel == "candles":
            return self._candle(topic, route.read(plain, received_ms), received_ms)
        events: list[Event] = route.read(plain, received_ms)
        if route.wanted.channel == "trades" and route.market.spot:
            self._count_trades(topic, events)
        if topic in self._asked:
            if not events[0].snapshot:  # type: ignore[union-attr]  # only books are asked for anew
                self.counters["held_back"] += 1
                return []
            del self._asked[topic]
        return events

    def _unasked(self, topic: str, plain: bytes, received_ms: int) -> list[Event]:
        """Whole books every second are not subscribed to, but recordings have them."""
        _, _, rest = topic.partition(".")
        name, _, channel = rest.partition(".")
        if channel == "depth.step0" and name in self._markets:
            push = _DEPTH.decode(plain)
            return [mapper.whole_depth(push.tick, self._markets[name], received_ms, push.ts)]
        raise CorruptData(f"HTX sent a message of {topic[:60]!r}, which nobody asked for.")

    def _other(self, plain: bytes, received_ms: int) -> list[Event]:
        said = _OTHER.decode(plain)
        if said.ping is not None:
            self._pongs.append(_text({"pong": said.ping}))
        elif said.op == "ping":
            self._pongs.append(_text({"op": "pong", "ts": said.ts}))
        elif said.status == "error" and said.id in self._ending:
            return self._as_seen(str(said.id), received_ms)
        elif said.status == "error" or said.err_code not in (None, 0, "0") or said.op in ("close", "error"):
            raise self._refusal(said)
        elif said.op == "notify":
            return self._data(said.topic, plain, received_ms)
        elif said.rep:
            return self._reply(said.rep, plain, received_ms)
        elif said.ch:
            return self._data(said.ch, plain, received_ms)
        elif not (said.subbed or said.unsubbed or said.op in ("sub", "unsub")):
            raise CorruptData("HTX sent a message that says nothing we know.")
        return []

    def _refusal(self, said: _Other) -> CorruptData | Unavailable:
        if said.err_code in NO_SUCH_THING and said.err_msg.startswith(NO_SUCH_WORDS):
            self.counters["refused_subscriptions"] += 1
            return CorruptData(f"HTX refused one subscription: {said.id or said.topic} {said.err_msg[:200]}")
        return Unavailable(f"HTX said {said.op or said.status}: {said.err_code} {said.err_msg[:200]}")

    def _reply(self, topic: str, plain: bytes, received_ms: int) -> list[Event]:
        route = self._routes.get(topic)
        if route is not None and route.wanted.channel == "candles":
            return self._confirmed(topic, route, _KLINE_REPLY.decode(plain).data, received_ms)
        if route is None or route.wanted.channel != "depth":
            raise CorruptData(f"HTX answered about {topic[:60]!r}, which nobody asked.")
        reply = _DEPTH_REPLY.decode(plain)
        said_ms = received_ms if reply.ts is None else reply.ts
        return [mapper.spot_depth(reply.data, route.market, received_ms, said_ms, snapshot=True)]

    def _candle(self, topic: str, candle: Candle, received_ms: int) -> list[Event]:
        """The one that runs. When it is another than before, the one before is over: it is asked for as it ended, and the new one
        waits behind it, so that candles come in the order of time.
        """
        before = self._running.get(topic)
        if before is not None and candle.time_ms < before.time_ms:
            if topic in self._ending and self._ending[topic][0].time_ms == candle.time_ms:
                self._ending[topic] = (candle, self._ending[topic][1])
            else:
                self.counters["late_candles"] += 1
            return []
        over = before is not None and candle.time_ms > before.time_ms
        found = self._as_seen(topic, received_ms)[:1] if over and topic in self._ending else []
        self._running[topic] = candle
        if over and before is not None:
            question = _question_of(topic, before)
            self._ending[topic] = (before, None)
            self._asking[question] = topic
            self._questions.waiting.append(question)
        return found if topic in self._ending else [*found, candle]

    def _confirmed(self, topic: str, route: _Route, rows: list[mapper.KlineRow], received_ms: int) -> list[Event]:
        ending = self._ending.get(topic)
        if ending is None:
            return []  # it came too late
        for row in rows:
            if row.id * 1000 == ending[0].time_ms:
                del self._ending[topic]
                closed = mapper.candle(row, route.market, ending[0].timeframe, received_ms, closed=True)
                return [closed, self._running[topic]]
        return [] if rows else self._as_seen(topic, received_ms)  # an answer about another minute came too late

    def _as_seen(self, topic: str, received_ms: int) -> list[Event]:
        """The candle that is over, and the one that waited behind it."""
        self.counters["unconfirmed_candles"] += 1
        ended, _ = self._ending.pop(topic)
        question = _question_of(topic, ended)
        if self._asking.pop(question, None):  # it was never asked
            self._questions.waiting.remove(question)
        return [msgspec.structs.replace(ended, closed=True, received_ms=received_ms), self._running[topic]]

    def _overdue(self, received_ms: int) -> list[Event]:
        """Candles whose confirmation did not come; the longest asked for stand first. They are asked for one by one, so with many
        symbols it takes a while until it is the turn of the last ones.
        """
        found: list[Event] = []
        while self._ending:
            topic, (_, asked_ms) = next(iter(self._ending.items()))
            if asked_ms is None or received_ms - asked_ms < CONFIRMED_WITHIN_MS * self.speed:
                break
            found += self._as_seen(topic, received_ms)
        return found

    def _count_trades(self, topic: str, events: Iterable[Any]) -> None:
        """Ids of spot count up by one in every recording, but HTX does not promise it; so holes are counted and judge nothing."""
        for trade in events:
            last = self._last_trades.get(topic)
            if last is not None and trade.id > last + 1:
                self.counters["lost_trades"] += trade.id - last - 1
            self._last_trades[topic] = trade.id if last is None else max(last, trade.id)


def _read_candle(plain: bytes, market: Market, received_ms: int, timeframe: str) -> Candle:
    return mapper.candle(_KLINE.decode(plain).tick, market, timeframe, received_ms, closed=False)


def _read_spot_trades(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    return mapper.spot_trades(_SPOT_TRADES.decode(plain).tick.data, market, received_ms)


def _read_swap_trades(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    return mapper.swap_trades(_SWAP_TRADES.decode(plain).tick.data, market, received_ms)


def _read_spot_depth(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    push = _DEPTH.decode(plain)
    return [mapper.spot_depth(push.tick, market, received_ms, push.ts, snapshot=False)]


def _read_swap_depth(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    push = _DEPTH.decode(plain)
    return [mapper.swap_depth(push.tick, market, received_ms, push.ts)]


def _read_spot_top(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    return mapper.spot_top(_SPOT_TOP.decode(plain).tick, market, received_ms)


def _read_swap_top(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    row = _SWAP_TOP.decode(plain).tick
    return mapper.top(row.bid, row.ask, market, row.ts, received_ms)


def _read_ticker(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    push = _DETAIL.decode(plain)
    return mapper.ticker(push.tick, market, push.ts, received_ms)


def _read_funding(plain: bytes, market: Market, received_ms: int, _: str) -> list[Event]:
    push = _FUNDING.decode(plain)
    return [mapper.funding_rate(row, market, push.ts, received_ms) for row in push.data]


_Read = Callable[[bytes, Market, int, str], Any]
_READERS: dict[tuple[str, bool], _Read] = {
    ("candles", True): _read_candle,
    ("candles", False): _read_candle,
    ("trades", True): _read_spot_trades,
    ("trades", False): _read_swap_trades,
    ("depth", True): _read_spot_depth,
    ("depth", False): _read_swap_depth,
    ("top", True): _read_spot_top,
    ("top", False): _read_swap_top,
    ("ticker", True): _read_ticker,
    ("ticker", False): _read_ticker,
    ("mark", False): _read_funding,
}
"""By channel, and whether it is spot."""


def _subscription(verb: str, topic: str) -> str:
    if topic.startswith("public."):
        return _text({"op": verb, "cid": topic, "topic": topic})
    more = {"data_type": "incremental"} if topic.endswith(DEPTH_OF_SWAPS) else {}
    return _text({verb: topic, "id": topic, **more})


def _question_of(topic: str, candle: Candle) -> str:
    at_s = candle.time_ms // 1000
    return _text({"req": topic, "id": topic, "from": at_s, "to": at_s})


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def _decompressed(message: bytes) -> bytes:
    """Raises CorruptData for what is not compressed as HTX does it, is cut off, or would fill the memory."""
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(message, LARGEST)
    except zlib.error as error:
        raise CorruptData(f"HTX sent what cannot be decompressed: {error}") from error
    if not stream.eof:
        raise CorruptData("HTX sent a message that is cut off or too large.")
    return plain
