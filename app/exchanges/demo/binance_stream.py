"""The streams of Binance, USDT-M futures or spot, over the generated market."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.exchanges.demo import frames
from app.exchanges.demo.binance_rest import INTERVALS, BinanceNames
from app.exchanges.demo.feeds import BookFeed, CandleFeed, DiffFeed, Feed, StateFeed, TopFeed, TradeFeed
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.talk import Deed, Dress, Hang, Leave, Listen, Say
from app.exchanges.demo.values import DemoCandle, DemoDiff, DemoTop, DemoTrade, Venue
from app.exchanges.demo.written import Written, plain

_PING_EVERY_S = 180.0
_UNANSWERED_PINGS = 3  # futures wait 10 minutes for a pong, spot 1: nearly the same in their order of size
_PUBLIC = ("depth", "bookTicker")
_NAME = re.compile(r"([a-z0-9]+)@([a-zA-Z]+)(\d+)?(?:_(\d+[mhd]))?(?:@(100ms|250ms|500ms|1000ms|1s|0ms))?")
_DEPTH_EVERY_S = {"100ms": 0.1, "250ms": 0.25, "500ms": 0.5, "1000ms": 1.0, "0ms": 0.1}


def combined(name: str, message: bytes) -> bytes:
    """As ``/stream`` says it: with the stream's name around."""
    return frames.text(b'{"stream":"%s","data":%s}' % (name.encode(), message))


def raw(_name: str, message: bytes) -> bytes:
    """As ``/ws`` says it."""
    return frames.text(message)


class BinanceStreams:
    """Which streams there are, and how they are written."""

    def __init__(self, scene: Scene, names: BinanceNames, *, perpetual: bool, route: str = "") -> None:
        self._scene, self._names, self.perpetual, self._route = scene, names, perpetual, route
        self._part = "futures" if perpetual else "spot"

    def listen(self, name: str) -> Listen | None:
        """To a stream by Binance's name for it; None where there is no such stream."""
        found = _NAME.fullmatch(name)
        symbol = self._names.symbol(found[1].upper()) if found else None
        if found is None or symbol is None or not _is_at(found[2], self._route):
            return None
        opener = self._opener(symbol, found[2], found[3], found[4], found[5])
        return Listen(f"binance/{self._part}/{name}", name, opener) if opener else None

    def _opener(
        self, symbol: str, kind: str, levels: str | None, interval: str | None, speed: str | None
    ) -> Callable[[], Feed] | None:
        scene, words = self._scene, _Words(self._scene, symbol, self._names.ids[symbol], perpetual=self.perpetual)
        if kind == "kline":
            if interval not in INTERVALS or levels:
                return None
            every_s = 0.25 if self.perpetual else 2.0
            return lambda: CandleFeed(
                scene, "binance", symbol, interval, words.kline(interval), running_every_s=every_s, tells_at_once=False
            )
        if kind == "depth" and speed != "1s":
            every_s = _DEPTH_EVERY_S[speed or ("250ms" if self.perpetual else "1000ms")]
            if levels is None:
                return lambda: DiffFeed(scene, "binance", symbol, words.diff, every_s)
            if levels in ("5", "10", "20"):
                return lambda: BookFeed(scene, "binance", symbol, int(levels), words.partial, None, every_s)
            return None
        return self._plain_opener(symbol, kind, speed, words) if levels is None and interval is None else None

    def _plain_opener(self, symbol: str, kind: str, speed: str | None, words: "_Words") -> Callable[[], Feed] | None:
        scene = self._scene
        if kind == "markPrice" and self.perpetual and speed in (None, "1s"):
            every_s = 1.0 if speed else 3.0
            return lambda: StateFeed(scene, "binance", symbol, "mark", every_s, words.mark, tells_at_once=False)
        if speed is not None:
            return None
        makers: dict[str, Callable[[], Feed]] = {
            "aggTrade": lambda: TradeFeed(scene, "binance", symbol, words.agg_trades),
            "trade": lambda: TradeFeed(scene, "binance", symbol, words.trades),
            "bookTicker": lambda: TopFeed(scene, "binance", symbol, words.top, tells_at_once=False),
            "ticker": lambda: StateFeed(
                scene, "binance", symbol, "ticker", 2.0 if self.perpetual else 1.0, words.ticker, tells_at_once=False
            ),
            "miniTicker": lambda: StateFeed(
                scene, "binance", symbol, "ticker", 1.0, words.mini_ticker, tells_at_once=False
            ),
        }
        return makers.get(kind)


def _is_at(kind: str, route: str) -> bool:
    """Since 2026 futures have a door for books and one for all else; at the wrong one a stream is silent."""
    return route == "" or (kind in _PUBLIC) == (route == "/public")


class BinanceTalk:
    """One connection: streams in the address, or asked for by SUBSCRIBE."""

    venue: Venue = "binance"
    beat_every_s = _PING_EVERY_S

    def __init__(self, streams: BinanceStreams, names: Sequence[str], *, wraps: bool) -> None:
        self._streams, self._asked = streams, names
        self.dress: Dress = combined if wraps else raw
        self._wraps = wraps
        self._heard: dict[str, str] = {}
        self._unanswered = 0

    def opening(self) -> Sequence[Deed]:
        """The streams of the address; a name that is none is passed over in silence, as Binance does."""
        return self._subscribe(self._asked)

    def receive(self, message: str) -> Sequence[Deed]:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY."""
        try:
            said = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_refusal(3, "Invalid JSON: expected value at line 1 column 1", None)]
        if not isinstance(said, dict) or not isinstance(said.get("method"), str):
            return [_refusal(2, "Invalid request: request method must be string", None)]
        number, names = said.get("id"), said.get("params", [])
        method = said["method"]
        if method == "LIST_SUBSCRIPTIONS":
            return [_result(list(self._heard.values()), number)]
        if method == "GET_PROPERTY":
            return [_result(self._wraps, number)]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return [_refusal(2, "Invalid request: params must be an array of strings", number)]
        if method == "SUBSCRIBE":
            return [_result(None, number), *self._subscribe(names)]
        if method == "UNSUBSCRIBE":
            return [*self._unsubscribe(names), _result(None, number)]
        return [_refusal(2, f"Invalid request: unknown variant {method}", number)]

    def beat(self) -> Sequence[Deed]:
        """A ping every three minutes; who never answers is let go."""
        if self._unanswered >= _UNANSWERED_PINGS:
            return [Hang(1008, "Pong timeout")]
        self._unanswered += 1
        return [Say(frames.ping(b"1"))]

    def pong(self) -> None:
        """It lives."""
        self._unanswered = 0

    def _subscribe(self, names: Sequence[str]) -> list[Deed]:
        deeds: list[Deed] = []
        for name in names:
            listen = self._streams.listen(name)
            if listen is not None and listen.key not in self._heard:
                self._heard[listen.key] = name
                deeds.append(listen)
        return deeds if len(self._heard) <= 1024 else [Hang(1008, "Too many streams")]

    def _unsubscribe(self, names: Sequence[str]) -> list[Deed]:
        gone = [key for key, name in self._heard.items() if name in names]
        for key in gone:
            del self._heard[key]
        return [Leave(key) for key in gone]


class _Words:
    """How the events of one symbol are written."""

    def __init__(self, scene: Scene, symbol: str, name: str, *, perpetual: bool) -> None:
        self._scene, self._symbol, self._name, self._perpetual = scene, symbol, name, perpetual
        self._written: Written = scene.written("binance", symbol)

    def _said(self, time_ms: int) -> int:
        return self._scene.said_ms("binance", time_ms)

    def kline(self, interval: str) -> Callable[[DemoCandle, int], bytes]:
        """Of one interval."""

        def write(candle: DemoCandle, now_ms: int) -> bytes:
            price, coins, name = self._written.price, self._written.coins, self._name
            return (
                f'{{"e":"kline","E":{self._said(now_ms)},"s":"{name}","k":{{"t":{candle.open_ms},"T":{candle.close_ms},'
                f'"s":"{name}","i":"{interval}","f":{candle.first_id},"L":{candle.last_id},"o":"{price(candle.open)}",'
                f'"c":"{price(candle.close)}","h":"{price(candle.high)}","l":"{price(candle.low)}",'
                f'"v":"{coins(candle.volume)}","n":{candle.trades},"x":{"true" if candle.closed else "false"},'
                f'"q":"{plain(candle.quote_volume)}","V":"{coins(candle.taker_buy_volume)}",'
                f'"Q":"{plain(candle.taker_buy_quote_volume)}","B":"0"}}}}'
            ).encode()

        return write

    def agg_trades(self, trades: list[DemoTrade], now_ms: int) -> list[bytes]:
        """One message a trade."""
        said, skew = self._said(now_ms), self._said(0)
        head = f'{{"e":"aggTrade","E":{said},"s":"{self._name}","a":'
        tail = "}" if self._perpetual else ',"M":true}'
        price, part = self._written.price, self._quantity
        return [
            (
                f'{head}{trade.id},"p":"{price(trade.price)}","q":"{part(trade.quantity)}","f":{trade.id},"l":{trade.id},'
                f'"T":{trade.time_ms + skew},"m":{"true" if trade.side == "sell" else "false"}{tail}'
            ).encode()
            for trade in trades
        ]

    def trades(self, trades: list[DemoTrade], now_ms: int) -> list[bytes]:
        """One message a trade, the unaggregated kind."""
        said, skew = self._said(now_ms), self._said(0)
        head = f'{{"e":"trade","E":{said},"s":"{self._name}","t":'
        tail = ',"X":"MARKET"}' if self._perpetual else ',"M":true}'
        price, part = self._written.price, self._quantity
        return [
            (
                f'{head}{trade.id},"p":"{price(trade.price)}","q":"{part(trade.quantity)}",'
                f'"T":{trade.time_ms + skew},"m":{"true" if trade.side == "sell" else "false"}{tail}'
            ).encode()
            for trade in trades
        ]

    def _quantity(self, quantity: float) -> str:
        return self._written.coins(quantity) if self._scene.trade_rate == 1 else self._written.part(quantity)

    def diff(self, diff: DemoDiff, now_ms: int) -> bytes:
        """A change of the book. Futures say which change it follows; spot's ids follow each other."""
        levels, said = self._written.levels, self._said(now_ms)
        times = f'"E":{said},"T":{self._said(diff.time_ms)}' if self._perpetual else f'"E":{said}'
        previous = f'"pu":{diff.previous_id},' if self._perpetual else ""
        return (
            f'{{"e":"depthUpdate",{times},"s":"{self._name}","U":{diff.first_id},"u":{diff.last_id},{previous}'
            f'"b":{levels(diff.bids)},"a":{levels(diff.asks)}}}'
        ).encode()

    def partial(self, feed: BookFeed, diff: DemoDiff, now_ms: int) -> bytes:
        """The best levels, whole."""
        bids, asks = self._written.levels(feed.bids.best()), self._written.levels(feed.asks.best())
        if not self._perpetual:
            return f'{{"lastUpdateId":{diff.last_id},"bids":{bids},"asks":{asks}}}'.encode()
        return (
            f'{{"e":"depthUpdate","E":{self._said(now_ms)},"T":{self._said(diff.time_ms)},"s":"{self._name}",'
            f'"U":{diff.first_id},"u":{diff.last_id},"pu":{diff.previous_id},"b":{bids},"a":{asks}}}'
        ).encode()

    def top(self, top: DemoTop, now_ms: int) -> bytes:
        """The best bid and ask. Spot says no times."""
        price, coins = self._written.price, self._written.coins
        numbers = (
            f'"s":"{self._name}","b":"{price(top.bid)}","B":"{coins(top.bid_quantity)}",'
            f'"a":"{price(top.ask)}","A":"{coins(top.ask_quantity)}"'
        )
        if not self._perpetual:
            return f'{{"u":{top.last_id},{numbers}}}'.encode()
        return (
            f'{{"e":"bookTicker","u":{top.last_id},{numbers},"T":{self._said(top.time_ms)},"E":{self._said(now_ms)}}}'
        ).encode()

    def mark(self, now_ms: int) -> bytes:
        """Mark price, index and funding."""
        mark = self._scene.market.mark("binance", self._symbol, now_ms)
        return (
            f'{{"e":"markPriceUpdate","E":{self._said(mark.time_ms)},"s":"{self._name}","p":"{plain(mark.mark)}",'
            f'"i":"{plain(mark.index)}","P":"{plain(mark.index)}","r":"{mark.funding_rate:.8f}","T":{mark.next_funding_ms}}}'
        ).encode()

    def ticker(self, now_ms: int) -> bytes:
        """The rolling 24 hours."""
        ticker = self._scene.market.ticker("binance", self._symbol, now_ms)
        price, coins, rate = self._written.price, self._written.coins, self._scene.trade_rate
        said: dict[str, Any] = {
            "e": "24hrTicker", "E": self._said(ticker.time_ms), "s": self._name, "p": price(ticker.change),
            "P": f"{ticker.change_percent:.3f}", "w": price(ticker.average_price), "c": price(ticker.last),
            "Q": coins(ticker.last_quantity), "o": price(ticker.open), "h": price(ticker.high), "l": price(ticker.low),
            "v": coins(ticker.volume), "q": plain(ticker.quote_volume), "O": ticker.open_ms,
            "C": self._said(ticker.time_ms), "F": ticker.first_id * rate, "L": ticker.last_id * rate, "n": ticker.trades * rate,
        }  # fmt: skip
        if not self._perpetual:
            top = ticker.top
            said |= {"x": price(ticker.open), "b": price(top.bid), "B": coins(top.bid_quantity)}
            said |= {"a": price(top.ask), "A": coins(top.ask_quantity)}
        return msgspec.json.encode(said)

    def mini_ticker(self, now_ms: int) -> bytes:
        """The rolling 24 hours in short."""
        ticker = self._scene.market.ticker("binance", self._symbol, now_ms)
        price = self._written.price
        return (
            f'{{"e":"24hrMiniTicker","E":{self._said(ticker.time_ms)},"s":"{self._name}","c":"{price(ticker.last)}",'
            f'"o":"{price(ticker.open)}","h":"{price(ticker.high)}","l":"{price(ticker.low)}",'
            f'"v":"{self._written.coins(ticker.volume)}","q":"{plain(ticker.quote_volume)}"}}'
        ).encode()


def _result(result: Any, number: Any) -> Say:
    return Say(frames.text(msgspec.json.encode({"result": result, "id": number})))


def _refusal(code: int, message: str, number: Any) -> Say:
    said = {"error": {"code": code, "msg": message}, "id": number}
    return Say(frames.text(msgspec.json.encode(said)))
