"""The streams of OKX, as far as they are public, over the generated market."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.exchanges.demo import frames
from app.exchanges.demo.feeds import BookFeed, CandleFeed, Feed, StateFeed, TopFeed, TradeFeed
from app.exchanges.demo.okx_rest import (
    BARS,
    OkxNames,
    candle_row,
    funding_row,
    index_row,
    mark_row,
    open_interest_row,
    ticker_row,
)
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.talk import Deed, Dress, Hang, Leave, Listen, Say
from app.exchanges.demo.values import DemoCandle, DemoDiff, DemoTop, DemoTrade, Level, Venue

_SILENT_S = 30.0
_BOOK_LEVELS = 400
_CHECKED_LEVELS = 25


def plain_text(_name: str, message: bytes) -> bytes:
    """OKX wraps nothing."""
    return frames.text(message)


class OkxStreams:
    """Which channels there are, and how they are written."""

    def __init__(self, scene: Scene, names: OkxNames, *, business: bool) -> None:
        self._scene, self._names, self._business = scene, names, business

    def listen(self, channel: str, name: str) -> Listen | None:
        """To a channel of an instrument; None where there is none at this address."""
        index = channel == "index-tickers"
        symbol = self._names.symbol(f"{name}-SWAP" if index else name)
        if symbol is None:
            return None
        opener = self._opener(channel, name, symbol)
        return Listen(f"okx/{channel}/{name}", channel, opener) if opener else None

    def _opener(self, channel: str, name: str, symbol: str) -> Callable[[], Feed] | None:
        scene = self._scene
        words = _Words(scene, self._names, channel, name, symbol)
        timeframe = BARS.get(channel.removeprefix("candle")) if channel.startswith("candle") else None
        if timeframe is not None or self._business:
            if timeframe is None or not self._business:
                return None
            found: str = timeframe
            return lambda: CandleFeed(scene, "okx", symbol, found, words.candle)
        if channel in ("funding-rate", "open-interest", "index-tickers") and not name_is_perpetual(scene, symbol):
            return None
        makers: dict[str, Callable[[], Feed]] = {
            "trades": lambda: TradeFeed(scene, "okx", symbol, words.trades),
            "books": lambda: BookFeed(scene, "okx", symbol, _BOOK_LEVELS, words.change, words.snapshot),
            "books5": lambda: BookFeed(scene, "okx", symbol, 5, words.five, words.five_now),
            "bbo-tbt": lambda: TopFeed(scene, "okx", symbol, words.top, tells_at_once=True),
            "tickers": lambda: StateFeed(scene, "okx", symbol, "ticker", 1.0, words.row(ticker_row)),
            "mark-price": lambda: StateFeed(scene, "okx", symbol, "mark", 1.0, words.row(mark_row)),
            "funding-rate": lambda: StateFeed(scene, "okx", symbol, "mark", 30.0, words.row(funding_row)),
            "index-tickers": lambda: StateFeed(scene, "okx", symbol, "mark", 1.0, words.row(index_row)),
            "open-interest": lambda: StateFeed(
                scene, "okx", symbol, "open_interest", 3.0, words.row(open_interest_row)
            ),
        }
        return makers.get(channel)


def name_is_perpetual(scene: Scene, symbol: str) -> bool:
    """Whether it has funding and open interest."""
    return scene.market.instrument("okx", symbol).is_perpetual


class OkxTalk:
    """One connection. Who says nothing for half a minute, and listens to nothing, is let go."""

    venue: Venue = "okx"
    beat_every_s = _SILENT_S
    dress: Dress = staticmethod(plain_text)

    def __init__(self, streams: OkxStreams, number: int) -> None:
        self._streams = streams
        self._connection = f"{number:08x}"
        self._heard: set[str] = set()
        self._spoke = True

    def opening(self) -> Sequence[Deed]:
        """Nothing: OKX waits to be spoken to."""
        return []

    def receive(self, message: str) -> Sequence[Deed]:
        """``ping``, subscribe and unsubscribe."""
        self._spoke = True
        if message == "ping":
            return [Say(frames.text(b"pong"))]
        try:
            said = msgspec.json.decode(message)
            operation, args, number = said["op"], said["args"], said.get("id")
            asked = [(str(arg["channel"]), str(arg.get("instId", ""))) for arg in args]
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
            return [self._refusal("60012", f"Invalid request: {message[:200]}", None)]
        if operation not in ("subscribe", "unsubscribe"):
            return [self._refusal("60012", f"Invalid request: {message[:200]}", number)]
        deeds: list[Deed] = []
        for arg, (channel, name) in zip(args, asked, strict=True):
            deeds += (
                self._subscribe(arg, channel, name, number)
                if operation == "subscribe"
                else self._leave(arg, channel, name)
            )
        return deeds

    def beat(self) -> Sequence[Deed]:
        """Let go of who is silent."""
        if not self._spoke and not self._heard:
            return [Hang(4004, "No data received in 30s.")]
        self._spoke = False
        return []

    def pong(self) -> None:
        """It lives."""
        self._spoke = True

    def _subscribe(self, arg: Any, channel: str, name: str, number: Any) -> list[Deed]:
        listen = self._streams.listen(channel, name)
        if listen is None:
            text = (
                f"Wrong URL or channel:{channel},instId:{name} doesn't exist. "
                "Please use the correct URL, channel and parameters referring to API document."
            )
            return [self._refusal("60018", text, number)]
        told = self._event("subscribe", arg, number)
        if listen.key in self._heard:
            return [told]
        self._heard.add(listen.key)
        return [told, listen]

    def _leave(self, arg: Any, channel: str, name: str) -> list[Deed]:
        key = f"okx/{channel}/{name}"
        self._heard.discard(key)
        return [Leave(key), self._event("unsubscribe", arg, None)]

    def _event(self, event: str, arg: Any, number: Any) -> Say:
        said = {"event": event, "arg": arg, "connId": self._connection}
        return Say(frames.text(msgspec.json.encode({"id": number, **said} if number is not None else said)))

    def _refusal(self, code: str, message: str, number: Any) -> Say:
        said = {"event": "error", "code": code, "msg": message, "connId": self._connection}
        return Say(frames.text(msgspec.json.encode({"id": number, **said} if number is not None else said)))


class _Words:
    """How the events of one channel of one instrument are written."""

    def __init__(self, scene: Scene, names: OkxNames, channel: str, name: str, symbol: str) -> None:
        self._scene, self._names, self._symbol, self._name = scene, names, symbol, name
        self._written = scene.written("okx", symbol)
        self._head = f'{{"arg":{{"channel":"{channel}","instId":"{name}"}},'

    def _said(self, time_ms: int) -> int:
        return self._scene.said_ms("okx", time_ms)

    def row(self, make: Callable[[Scene, OkxNames, str], dict[str, str]]) -> Callable[[int], bytes]:
        """What REST would say, as a message."""
        head = self._head.encode()
        return lambda _now: (
            b'%s"data":[%s]}' % (head, msgspec.json.encode(make(self._scene, self._names, self._symbol)))
        )

    def candle(self, candle: DemoCandle, _now_ms: int) -> bytes:
        """One candle."""
        return f'{self._head}"data":['.encode() + msgspec.json.encode(candle_row(self._written, candle)) + b"]}"

    def trades(self, trades: list[DemoTrade], _now_ms: int) -> list[bytes]:
        """One message a trade."""
        head = f'{self._head}"data":[{{"instId":"{self._name}","tradeId":"'
        price, skew = self._written.price, self._said(0)
        size = self._written.size if self._scene.trade_rate == 1 else self._written.part
        return [
            (
                f'{head}{trade.id}","px":"{price(trade.price)}","sz":"{size(trade.quantity)}","side":"{trade.side}",'
                f'"ts":"{trade.time_ms + skew}","count":"1","source":"0","seqId":{trade.id}}}]}}'
            ).encode()
            for trade in trades
        ]

    def snapshot(self, feed: BookFeed, _now_ms: int) -> bytes:
        """The book, whole."""
        bids, asks = feed.bids.best(), feed.asks.best()
        return self._book("snapshot", feed, bids, asks, -1)

    def change(self, feed: BookFeed, diff: DemoDiff, _now_ms: int) -> bytes:
        """A change of it."""
        return self._book("update", feed, diff.bids, diff.asks, diff.previous_id)

    def _book(self, action: str, feed: BookFeed, bids: list[Level], asks: list[Level], previous: int) -> bytes:
        return (
            f'{self._head}"action":"{action}","data":[{{"asks":{self._levels(asks)},"bids":{self._levels(bids)},'
            f'"ts":"{self._said(feed.time_ms)}","checksum":{self.checksum(feed)},"seqId":{feed.last_id},"prevSeqId":{previous}}}]}}'
        ).encode()

    def checksum(self, feed: BookFeed) -> int:
        """CRC32, signed, over the best 25 levels of both sides, written as they are sent."""
        price, size = self._written.price, self._written.size
        bids, asks = feed.bids.best(_CHECKED_LEVELS), feed.asks.best(_CHECKED_LEVELS)
        parts: list[str] = []
        for place in range(max(len(bids), len(asks))):
            for side in (bids, asks):
                if place < len(side):
                    parts += (price(side[place][0]), size(side[place][1]))
        unsigned = zlib.crc32(":".join(parts).encode())
        return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned

    def five(self, feed: BookFeed, _diff: DemoDiff, now_ms: int) -> bytes:
        """The best five levels, whole each time."""
        return self.five_now(feed, now_ms)

    def five_now(self, feed: BookFeed, _now_ms: int) -> bytes:
        """The best five levels."""
        asks, bids = self._levels(feed.asks.best()), self._levels(feed.bids.best())
        return (
            f'{self._head}"data":[{{"asks":{asks},"bids":{bids},"instId":"{self._name}",'
            f'"ts":"{self._said(feed.time_ms)}","seqId":{feed.last_id}}}]}}'
        ).encode()

    def top(self, top: DemoTop, _now_ms: int) -> bytes:
        """The best bid and ask."""
        asks, bids = self._levels([(top.ask, top.ask_quantity)]), self._levels([(top.bid, top.bid_quantity)])
        ts = self._said(top.time_ms)
        return f'{self._head}"data":[{{"asks":{asks},"bids":{bids},"ts":"{ts}","seqId":{top.last_id}}}]}}'.encode()

    def _levels(self, levels: list[Level]) -> str:
        price, size = self._written.price, self._written.size
        rows = [f'["{price(at)}","{size(quantity)}","0","{1 if quantity else 0}"]' for at, quantity in levels]
        return "[" + ",".join(rows) + "]"
