"""Binance's streams: which connections are needed for what is wanted, and what each of them says."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from app.domain.market.values import Event
from app.errors import CorruptData, Unavailable
from app.exchanges.binance import mapper
from app.exchanges.binance.places import Market, Urls, place
from app.exchanges.exchange import Channel, KeepAlive, Wanted

MOST_STREAMS = 200
"""On one connection. Spot allows 1,024 and futures 200; fewer on each means that less is lost with one."""
LONGEST_URL = 4_000
"""Servers and proxies cut at 8,000 characters; a longer list is subscribed to after connecting."""
MOST_NAMES = 100
"""In one subscription; five of them a second are allowed, and a very long one fails without a word."""
LASTS_S = 23 * 3600.0
"""Binance cuts after 24 hours."""
SILENT_S = 60.0
"""Every connection carries something that speaks each second; a stream that is asked for at the wrong door is just silent."""
_HEAD = b'{"stream":"'
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
T = TypeVar("T")


class Kind(NamedTuple):
    """One kind of stream: the name's end, the door on the host, who reads it."""

    suffix: str
    route: str
    read: mapper.Reader


KINDS: Mapping[Market, Mapping[Channel, Kind]] = {
    "futures": {
        "candles": Kind("kline_{}", "/market", mapper.candle),
        "trades": Kind("aggTrade", "/market", mapper.trade),
        "depth": Kind("depth@100ms", "/public", mapper.futures_depth),
        "top": Kind("bookTicker", "/public", mapper.futures_top),
        "mark": Kind("markPrice@1s", "/market", mapper.mark),
        "ticker": Kind("ticker", "/market", mapper.ticker),
    },
    "spot": {
        "candles": Kind("kline_{}", "", mapper.candle),
        "trades": Kind("aggTrade", "", mapper.trade),
        "depth": Kind("depth@100ms", "", mapper.spot_depth),
        "top": Kind("bookTicker", "", mapper.spot_top),
        "ticker": Kind("ticker", "", mapper.ticker),
    },
}
"""Spot has no mark, and nobody streams open interest."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One wanted thing as Binance streams it."""

    name: str
    read: mapper.Reader
    wanted: Wanted


class Aside(msgspec.Struct, frozen=True):
    """What a connection says beside its streams, or in another order than Binance writes today."""

    stream: str | None = None
    data: Any = None
    e: str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Any = None
    code: int | None = None
    msg: str | None = None


_ASIDE = msgspec.json.Decoder(Aside)


class BinanceSession:
    """One connection to combined streams. Whoever sends the list in the URL needs no subscription, and none can fail."""

    lasts_s: float | None = LASTS_S
    silent_s = SILENT_S
    keep_alive: KeepAlive | None = None  # Binance pings, and the WebSocket library answers

    def __init__(self, exchange: str, address: str, streams: Sequence[Stream]) -> None:
        self.speed = 1.0  # nothing is waited for
        self.counters: Counter[str] = Counter()
        self._exchange = exchange
        self._names = [stream.name for stream in streams]
        self._readers = {stream.name.encode(): (stream.read, stream.wanted.symbol) for stream in streams}
        self.wanted: Sequence[Wanted] = [stream.wanted for stream in streams]
        whole = f"{address}/stream?streams={'/'.join(self._names)}"
        self._subscribes = len(whole) > LONGEST_URL
        self.url = f"{address}/stream" if self._subscribes else whole

    def opening(self) -> list[str]:
        """Subscriptions, when the list is too long for the URL."""
        if not self._subscribes:
            return []
        return [
            msgspec.json.encode({"method": "SUBSCRIBE", "params": names, "id": number}).decode()
            for number, names in enumerate(_slices(self._names, MOST_NAMES), start=1)
        ]

    def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
        """The name of the stream stands first, so one look at the raw bytes tells which decoder to use."""
        raw = message.encode(errors="replace") if isinstance(message, str) else message
        if raw.startswith(_HEAD):
            known = self._readers.get(raw[11 : raw.find(b'"', 11)])
            if known is not None:
                return _read(known, raw, self._exchange, received_ms)
        return self._aside(raw, received_ms)

    def to_send(self) -> list[str]:
        """Nothing, ever."""
        return []

    def ask_snapshot(self, symbol: str) -> bool:  # noqa: ARG002 - no symbol's book comes through a stream
        """Books are fetched by REST."""
        return False

    def _aside(self, raw: bytes, received_ms: int) -> list[Event]:
        try:
            said = _ASIDE.decode(raw)
        except _UNREADABLE as error:
            raise CorruptData(f"Binance said what is no message: {error}") from error
        if said.e == "serverShutdown" or (isinstance(said.data, dict) and said.data.get("e") == "serverShutdown"):
            raise Unavailable("Binance's server is about to shut down.", cure="Connect again.")
        if said.stream is not None:
            known = self._readers.get(said.stream.encode())
            if known is None:
                raise CorruptData(f"Nobody asked for the stream {said.stream[:60]!r}.")
            return _read(known, raw, self._exchange, received_ms)
        if said.error is not None or said.code is not None:
            raise Unavailable(f"Binance refused the subscription: {str(said.error or said.msg)[:200]}")
        if said.result is msgspec.UNSET:
            raise CorruptData("Binance said something that is neither a stream nor an answer.")
        return []


def _read(known: tuple[mapper.Reader, str], raw: bytes, exchange: str, received_ms: int) -> list[Event]:
    read, symbol = known
    try:
        return [read(raw, exchange, symbol, received_ms)]
    except _UNREADABLE as error:
        raise CorruptData(f"Binance said something else of {symbol} than {read.__name__} can read: {error}") from error


def sessions(exchange: str, urls: Urls, wanted: Sequence[Wanted]) -> list[BinanceSession]:
    """One for each door and 200 streams. What has no stream is in none of them: open interest, and the mark of a spot pair."""
    doors: dict[str, dict[str, Stream]] = {}
    for one in wanted:
        market, native = place(one.symbol)
        kind = KINDS[market].get(one.channel)
        if kind is None:
            continue
        host = urls.futures_stream if market == "futures" else urls.spot_stream
        name = f"{native.lower()}@{kind.suffix.format(one.timeframe)}"
        doors.setdefault(host.rstrip("/") + kind.route, {})[name] = Stream(name, kind.read, one)
    return [
        BinanceSession(exchange, address, streams)
        for address, named in doors.items()
        for streams in _slices(list(named.values()), MOST_STREAMS)
    ]


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
