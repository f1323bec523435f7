"""OKX's streams: what to subscribe to, what comes, and whether a book is still the exchange's.

A whole book comes once for each subscription, so another one is had by subscribing anew. Where the exchange sends checksums, the
session keeps the levels as they were written, and a book that does not add up leaves it only as the news that it is damaged.
"""

import zlib
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from math import inf

import msgspec

from app.domain.market.timeframes import HOUR_MS
from app.domain.market.values import Event
from app.errors import CorruptData, Unavailable
from app.exchanges.exchange import KeepAlive, Wanted
from app.exchanges.okx import mapper
from app.exchanges.okx.mapper import Market, TextLevelRow

ARGS_A_REQUEST = 200  # 64 KB is the limit, and the longest argument has 60 bytes
REQUESTS_AN_HOUR = 480  # subscribing and unsubscribing, on one connection
KEPT_FOR_OPENING = 60  # of them, so that books that break never cost the subscriptions
LEVELS_CHECKED = 25
ANSWERED_WITHIN_MS = (
    5_000  # a whole book may be lost or damaged on its way: without another one its changes are held back for ever
)
NO_SUCH_THING = "60018"  # one instrument that was delisted must not cost all others their connection
_HEAD = '{"arg":{"channel":"'
CHANNELS = {
    "trades": ("trades",),
    "depth": ("books",),
    "top": ("bbo-tbt",),
    "ticker": ("tickers",),
    "mark": ("mark-price", "funding-rate", "index-tickers"),
    "open_interest": ("open-interest",),
}
"""OKX's channels for ours; candles are named for their timeframe."""

Subscription = tuple[str, str]
"""Channel and instrument."""


class _Other(msgspec.Struct, frozen=True):
    """What is not data, or is written in another order than usual."""

    event: str = ""
    code: str = ""
    msg: str = ""
    arg: mapper.Arg = mapper.Arg()


_OTHER = msgspec.json.Decoder(_Other)


def subscriptions_of(wanted: Iterable[Wanted]) -> list[Subscription]:
    """What to subscribe to, each once. Spot has neither marks nor open interest."""
    found: dict[Subscription, None] = {}
    for one in wanted:
        inst_id = mapper.inst_id(one.symbol)
        if one.channel == "candles":
            found[(f"candle{mapper.BARS[one.timeframe or '1m']}", inst_id)] = None
        elif inst_id.endswith("-SWAP") or one.channel not in ("mark", "open_interest"):
            for channel in CHANNELS[one.channel]:
                found[(channel, inst_id.removesuffix("-SWAP") if channel == "index-tickers" else inst_id)] = None
    return list(found)


class _Side:
    """One side of a book as it was written, best first."""

    __slots__ = ("_sign", "_texts", "prices")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._texts: dict[float, str] = {}
        self.prices: list[float] = []

    def apply(self, levels: list[TextLevelRow]) -> None:
        for level in levels:
            price = self._sign * float(level.px)
            known = price in self._texts
            if float(level.sz) == 0:
                if known:
                    del self._texts[price]
                    del self.prices[bisect_left(self.prices, price)]
            else:
                if not known:
                    insort(self.prices, price)
                self._texts[price] = f"{level.px}:{level.sz}"

    def best(self, place: int) -> str | None:
        return self._texts[self.prices[place]] if place < len(self.prices) else None


class WrittenBook:
    """The levels of a book as they were written, to check it by OKX's checksum."""

    __slots__ = ("_asks", "_bids")

    def __init__(self) -> None:
        self._bids = _Side(-1)
        self._asks = _Side(1)

    def apply(self, bids: list[TextLevelRow], asks: list[TextLevelRow]) -> None:
        """Take a whole book into an empty one, or a change."""
        self._bids.apply(bids)
        self._asks.apply(asks)

    def checksum(self) -> int:
        """CRC32, signed, of the 25 best levels: bid, ask, bid, ask; a side that is shorter just ends earlier."""
        parts = [
            text for place in range(LEVELS_CHECKED) for side in (self._bids, self._asks) if (text := side.best(place))
        ]
        crc = zlib.crc32(":".join(parts).encode())
        return crc - 2**32 if crc >= 2**31 else crc


class OkxSession:
    """One connection to OKX. Contracts must be known before it is made."""

    lasts_s: float | None = None  # OKX sets no limit; it says so (64008) before it must cut
    silent_s = 30.0
    keep_alive: KeepAlive | None = KeepAlive(every_s=20.0, text="ping")

    def __init__(self, url: str, wanted: Sequence[Wanted], markets: Mapping[str, Market]) -> None:
        self.url = url
        self.wanted = wanted
        self.speed = 1.0
        self.counters: Counter[str] = Counter()
        """checksums, checksum_failures, resubscribed, held_back (changes of a book that is asked for anew), lost_trades,
        refused_subscriptions (to what does not exist)
        """
        self._markets = dict(markets)
        self._subscriptions = subscriptions_of(wanted)
        self._outbox: list[str] = []
        self._asked: dict[str, int] = {}
        self._written: dict[str, WrittenBook] = {}
        self._numbers: dict[str, int] = {}
        self._last_trades: dict[str, int] = {}
        self._requests_ms: deque[int] = deque()
        self._now_ms = 0

    def opening(self) -> list[str]:
        """Subscribe to everything, in as few requests as allowed."""
        for state in (self._outbox, self._asked, self._written, self._numbers, self._requests_ms):
            state.clear()
        return [
            _request("subscribe", self._subscriptions[start : start + ARGS_A_REQUEST])
            for start in range(0, len(self._subscriptions), ARGS_A_REQUEST)
        ]

    def to_send(self) -> list[str]:
        """Books that are asked for anew."""
        out, self._outbox = self._outbox, []
        return out

    def ask_snapshot(self, symbol: str) -> bool:
        """Subscribe anew; changes are held back until the whole book comes. A book that does not come is asked for again. False
        when that would cost too many requests.
        """
        inst_id = mapper.inst_id(symbol)
        if ("books", inst_id) not in self._subscriptions:
            return False
        return self._resubscribe(inst_id)

    def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
        """What it says; pongs and acknowledgements say nothing."""
        self._now_ms = received_ms
        text = message if isinstance(message, str) else _decoded(message)
        if text == "pong":
            return []
        channel = text[len(_HEAD) : text.find('"', len(_HEAD))] if text.startswith(_HEAD) else ""
        try:
            return self._read(channel, text, received_ms)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise CorruptData(f"OKX sent what cannot be read: {error}") from error

    def _read(self, channel: str, text: str, received_ms: int) -> list[Event]:
        if channel == "books":
            return self._book(text, received_ms)
        if channel in mapper.CHANNELS:
            decoder, read = mapper.CHANNELS[channel]
            push = decoder.decode(text)
            events = read(push.data, self._market(push.arg), received_ms)
            if channel == "trades":
                self._count_trades(push)
            return events
        if channel in mapper.TIMEFRAMES:
            candles = mapper.CANDLE.decode(text)
            return mapper.candles(candles.data, self._market(candles.arg), mapper.TIMEFRAMES[channel], received_ms)
        return self._other(text, received_ms)

    def _other(self, text: str, received_ms: int) -> list[Event]:
        said = _OTHER.decode(text)
        if said.event == "error" and said.code == NO_SUCH_THING:
            self.counters["refused_subscriptions"] += 1
            raise CorruptData(f"OKX refused one subscription: {said.msg[:200]}")
        if said.event == "error":
            raise Unavailable(f"OKX refused: {said.code} {said.msg[:200]}")
        if said.event == "notice":
            raise Unavailable(f"OKX will close this connection: {said.code} {said.msg[:200]}")
        if said.event:  # subscribe, unsubscribe, channel-conn-count
            if said.event == "channel-conn-count-error":
                raise Unavailable(f"OKX allows no more connections to {said.arg.channel}.")
            return []
        channel = said.arg.channel
        if channel == "books" or channel in mapper.CHANNELS or channel in mapper.TIMEFRAMES:
            return self._read(channel, text, received_ms)
        raise CorruptData(f"OKX sent a message of the channel {channel[:40]!r}, which nobody asked for.")

    def _market(self, arg: mapper.Arg) -> Market:
        inst_id = f"{arg.inst_id}-SWAP" if arg.channel == "index-tickers" else arg.inst_id
        market = self._markets.get(inst_id)
        if market is None:
            raise CorruptData(f"OKX sent {arg.channel} of {arg.inst_id[:40]!r}, which nobody asked for.")
        return market

    def _count_trades(self, push: mapper.Push[mapper.TradeRow]) -> None:
        """Ids count up by one in every recording, but OKX does not promise it; so holes are counted and judge nothing."""
        inst_id = push.arg.inst_id
        for row in push.data:
            last = self._last_trades.get(inst_id)
            if last is not None and row.trade_id - row.count > last:
                self.counters["lost_trades"] += row.trade_id - row.count - last
            self._last_trades[inst_id] = row.trade_id if last is None else max(last, row.trade_id)

    def _book(self, text: str, received_ms: int) -> list[Event]:
        push = mapper.BOOK.decode(text)
        inst_id, snapshot = push.arg.inst_id, push.action == "snapshot"
        market = self._market(push.arg)
        if snapshot:
            self._asked.pop(inst_id, None)
            self._written.pop(inst_id, None)
        elif inst_id in self._asked:
            self.counters["held_back"] += 1
            return []
        if not self._adds_up(push, text, inst_id, snapshot=snapshot):
            self.counters["checksum_failures"] += 1
            if not self._resubscribe(inst_id):
                raise Unavailable("OKX's books break so often that its limit of requests is reached.")
            return [mapper.damage(market, row.seq_id or 0, row.ts, received_ms) for row in push.data[-1:]]
        events: list[Event] = []
        for row in push.data:
            number = self._numbers[inst_id] = self._numbers.get(inst_id, 0) + 1
            events.append(mapper.depth(row, market, received_ms, snapshot=snapshot, number=number))
        return events

    def _adds_up(self, push: mapper.BookPush, text: str, inst_id: str, *, snapshot: bool) -> bool:
        """Whether the book after this message is the exchange's, as far as it says a checksum."""
        written = self._written.get(inst_id)
        if written is None:
            if not snapshot or not any(row.checksum for row in push.data):
                return True
            written = self._written[inst_id] = WrittenBook()
        for row, words in zip(push.data, mapper.TEXTS.decode(text).data, strict=True):
            written.apply(words.bids, words.asks)
            if row.checksum:
                self.counters["checksums"] += 1
                if written.checksum() != row.checksum:
                    return False
        return True

    def _resubscribe(self, inst_id: str) -> bool:
        if self._now_ms - self._asked.get(inst_id, -inf) < ANSWERED_WITHIN_MS * self.speed:
            return True
        spent = self._requests_ms
        while spent and spent[0] <= self._now_ms - HOUR_MS * self.speed:
            spent.popleft()
        if len(spent) + 2 > REQUESTS_AN_HOUR - KEPT_FOR_OPENING:
            return False
        spent.extend((self._now_ms, self._now_ms))
        self.counters["resubscribed"] += 1
        self._asked[inst_id] = self._now_ms
        self._written.pop(inst_id, None)
        self._outbox += [_request(op, [("books", inst_id)]) for op in ("unsubscribe", "subscribe")]
        return True


def _request(op: str, subscriptions: Sequence[Subscription]) -> str:
    args = [{"channel": channel, "instId": inst_id} for channel, inst_id in subscriptions]
    return msgspec.json.encode({"op": op, "args": args}).decode()


def _decoded(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError as error:
        raise CorruptData("OKX sent what is not text.") from error
