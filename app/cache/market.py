"""The newest of the market in Redis, in the documents' structures: tickers, candles, books, and the news of all of them.

market-feed writes, many at a time in one round trip; whoever reads finds a miss while Redis is away. A list of candles is
made by its first reader and only lengthened by the feed, so that what nobody reads costs nothing.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import redis

from app.cache import keys
from app.cache.cache import READS, Count, uncounted
from app.cache.keys import Key
from app.cache.link import Link
from app.domain.market.values import Candle, Level

MOST_CANDLES = 100
MOST_LEVELS = 100


class CachedTicker(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a symbol costs and the last 24 hours of it. Unknown is None, and then the field is not there in Redis.

    ``timestamp`` is the market's time in ms; the 24 h ``change_24h_percent`` is in percent.
    """

    exchange: str
    symbol: str
    timestamp: int
    price: float | None = None
    volume: float | None = None
    quote_volume: float | None = None
    change_24h: float | None = None
    change_24h_percent: float | None = None
    high_24h: float | None = None
    low_24h: float | None = None
    bid: float | None = None
    ask: float | None = None
    bid_volume: float | None = None
    ask_volume: float | None = None
    trades: int | None = None
    mark_price: float | None = None
    index_price: float | None = None
    funding_rate: float | None = None
    next_funding_time: int | None = None


class CachedCandle(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One closed candle of a list; ``timestamp`` is its open time."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trades: int | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None


class CachedBook(msgspec.Struct, frozen=True, kw_only=True):
    """The best levels of a book: highest bid first, lowest ask first. ``status`` says whether it can be trusted."""

    exchange: str
    symbol: str
    timestamp: int
    status: str
    bids: Sequence[Level]
    asks: Sequence[Level]


class CandleNews(CachedCandle, frozen=True, omit_defaults=True, kw_only=True):
    """A candle as it is told on its channel; one that still runs is not ``closed``."""

    exchange: str
    symbol: str
    timeframe: str
    closed: bool


class DepthNews(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The top of a book as it is told on its channel."""

    exchange: str
    symbol: str
    timestamp: int
    status: str
    bid: float | None = None
    bid_volume: float | None = None
    ask: float | None = None
    ask_volume: float | None = None
    spread_percent: float | None = None
    imbalance: float | None = None


class CollectorNews(msgspec.Struct, frozen=True, kw_only=True):
    """What a collector does, told when that changes."""

    exchange: str
    symbol: None = None
    timestamp: int
    name: str
    state: str
    note: str = ""


class JudgmentNews(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy made of a candle that closed at ``timestamp``. ``total`` is of all its timeframes, 0 to 100."""

    symbol: str
    strategy: str
    timeframe: str
    timestamp: int
    id: int
    trend: str
    score: str | None
    confidence: str
    total: int | None
    signal: str | None
    strength: str | None


class LiveVerdict(msgspec.Struct, frozen=True):
    """What a strategy would say at ``as_of_ms``. ``blocked_by`` is the gate that is closed."""

    symbol: str
    strategy: str
    as_of_ms: int
    trend: str
    total: int
    signal: str
    strength: str | None
    confidence: str
    scores: dict[str, float]
    blocked_by: str | None


class TradeNews(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a paper trade, or of an order for one. Decimals are text."""

    what: Literal["opened", "changed", "closed", "refused"]
    symbol: str
    strategy: str
    timestamp: int
    id: int | None = None
    direction: str | None = None
    entry_price: str | None = None
    stop_loss: str | None = None
    take_profit: str | None = None
    quantity: str | None = None
    exit_price: str | None = None
    exit_reason: str | None = None
    pnl: str | None = None
    note: str | None = None


News = CachedTicker | CandleNews | DepthNews | CollectorNews | JudgmentNews | TradeNews
_FIELDS = tuple(field for field in CachedTicker.__struct_fields__ if field not in {"exchange", "symbol"})


def channel_of(news: News) -> str:
    """Where it is told."""
    match news:
        case CachedTicker():
            return _name(keys.TICKER_NEWS, symbol=news.symbol)
        case CandleNews():
            return _name(keys.CANDLE_NEWS, symbol=news.symbol, timeframe=news.timeframe)
        case DepthNews():
            return _name(keys.DEPTH_NEWS, symbol=news.symbol)
        case CollectorNews():
            return _name(keys.COLLECTOR_NEWS, exchange=news.exchange)
        case JudgmentNews():
            return _name(keys.JUDGMENT_NEWS, symbol=news.symbol, strategy_type=news.strategy)
        case TradeNews():
            return _name(keys.TRADE_NEWS, symbol=news.symbol, strategy_type=news.strategy)


class MarketCache:
    """Writers say whether it went well; readers get None for what is not there, or while Redis is away."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic, count: Count = uncounted) -> None:
        self._link = Link(url, meanwhile="market data are read from the database", monotonic=monotonic)
        self._count = count

    def put_tickers(self, tickers: Iterable[CachedTicker]) -> bool:
        """Replace these tickers."""

        def put(pipe: Any) -> None:
            for ticker in tickers:
                name = _name(keys.TICKER, exchange=ticker.exchange, symbol=ticker.symbol)
                values = {field: getattr(ticker, field) for field in _FIELDS}
                pipe.hset(name, mapping={field: repr(value) for field, value in values.items() if value is not None})
                if unknown := [field for field, value in values.items() if value is None]:
                    pipe.hdel(name, *unknown)  # what was known once is not known now
                pipe.expire(name, keys.TICKER.ttl_s)

        return self._write(put)

    def push_candles(self, candles: Iterable[Candle]) -> bool:
        """Lengthen the lists that somebody reads by these closed candles, given oldest first."""

        def push(pipe: Any) -> None:
            for candle in candles:
                name = _name(keys.CANDLES, exchange=candle.exchange, symbol=candle.symbol, timeframe=candle.timeframe)
                pipe.lpushx(name, msgspec.json.encode(cached(candle)))
                pipe.ltrim(name, 0, MOST_CANDLES - 1)
                pipe.expire(name, keys.CANDLES.ttl_s)

        return self._write(push)

    def fill_candles(self, exchange: str, symbol: str, timeframe: str, newest_first: Sequence[CachedCandle]) -> bool:
        """Make a list of what was read from the database; it replaces a list that was there."""
        name = _name(keys.CANDLES, exchange=exchange, symbol=symbol, timeframe=timeframe)
        texts = [msgspec.json.encode(candle) for candle in newest_first[:MOST_CANDLES]]

        def fill(pipe: Any) -> None:
            pipe.delete(name)
            if texts:
                pipe.rpush(name, *texts)
                pipe.expire(name, keys.CANDLES.ttl_s)

        return self._write(fill, whole=True)

    def put_books(self, books: Iterable[CachedBook]) -> bool:
        """Replace these books; of more levels the best are kept."""

        def put(pipe: Any) -> None:
            for book in books:
                if max(len(book.bids), len(book.asks)) > MOST_LEVELS:
                    book = msgspec.structs.replace(book, bids=book.bids[:MOST_LEVELS], asks=book.asks[:MOST_LEVELS])  # noqa: PLW2901 - the same book, shortened
                name = _name(keys.BOOK, exchange=book.exchange, symbol=book.symbol)
                pipe.set(name, msgspec.json.encode(book), ex=keys.BOOK.ttl_s)

        return self._write(put)

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> bool:
        """Tell these, each a channel and its JSON, to whoever listens."""

        def tell(pipe: Any) -> None:
            for channel, payload in messages:
                pipe.publish(channel, payload)

        return self._write(tell)

    def tell(self, news: Iterable[News]) -> bool:
        """Publish each of these on its channel."""
        return self.publish([(channel_of(one), msgspec.json.encode(one)) for one in news])

    def ticker(self, exchange: str, symbol: str) -> CachedTicker | None:
        """The newest ticker."""
        return self.tickers([(exchange, symbol)])[0]

    def tickers(self, wanted: Sequence[tuple[str, str]]) -> list[CachedTicker | None]:
        """The newest tickers of these (exchange, symbol), in one round trip."""
        names = [_name(keys.TICKER, exchange=exchange, symbol=symbol) for exchange, symbol in wanted]
        found = self._read(lambda pipe: [pipe.hgetall(name) for name in names]) or [None] * len(names)
        return [
            self._value(_with_place(fields, exchange, symbol), CachedTicker)
            for fields, (exchange, symbol) in zip(found, wanted, strict=True)
        ]

    def candles(self, exchange: str, symbol: str, timeframe: str) -> list[CachedCandle] | None:
        """The list of candles, newest first; the reader judges whether it is whole and new."""
        name = _name(keys.CANDLES, exchange=exchange, symbol=symbol, timeframe=timeframe)
        found = self._read(lambda pipe: pipe.lrange(name, 0, -1))
        texts = found[0] if found else None
        raw = b"[" + b",".join(texts) + b"]" if texts and isinstance(texts, list) else texts
        candles: list[CachedCandle] | None = self._value(raw, list[CachedCandle])
        return candles

    def book(self, exchange: str, symbol: str) -> CachedBook | None:
        """The newest book."""
        name = _name(keys.BOOK, exchange=exchange, symbol=symbol)
        found = self._read(lambda pipe: pipe.get(name))
        book: CachedBook | None = self._value(found[0] if found else None, CachedBook)
        return book

    def close(self) -> None:
        """Let go of the connections; the next use opens another one."""
        self._link.close()

    def _write(self, fill: Callable[[Any], object], *, whole: bool = False) -> bool:
        """Send what ``fill`` writes into a pipeline. ``whole``: nobody sees a part of it."""

        def send(client: redis.Redis) -> None:
            with client.pipeline(transaction=whole) as pipe:
                fill(pipe)
                pipe.execute()

        return self._link.attempt(send)[0]

    def _read(self, ask: Callable[[Any], object]) -> list[Any] | None:
        """What Redis answers to what ``ask`` wrote into a pipeline; None while it is away."""

        def receive(client: redis.Redis) -> list[Any]:
            with client.pipeline(transaction=False) as pipe:
                ask(pipe)
                answers: list[Any] = pipe.execute(raise_on_error=False)
                return answers

        well, answers = self._link.attempt(receive)
        if not well:
            self._count(READS, layer="redis", result="trouble")
        return answers

    def _value(self, raw: Any, kind: Any) -> Any:
        """What was read, as a value; what another version of Flotilla wrote in another shape is a miss."""
        if not raw:
            self._count(READS, layer="redis", result="miss")
            return None
        try:
            text = isinstance(raw, bytes)
            value = msgspec.json.decode(raw, type=kind) if text else msgspec.convert(raw, kind, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._count(READS, layer="redis", result="trouble")
            return None
        self._count(READS, layer="redis", result="hit")
        return value


def cached(candle: Candle) -> CachedCandle:
    """A candle as it stands in its list."""
    return CachedCandle(
        timestamp=candle.time_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        trades=candle.trades,
        taker_buy_volume=candle.taker_buy_volume,
        taker_buy_quote_volume=candle.taker_buy_quote_volume,
    )


def _with_place(fields: Any, exchange: str, symbol: str) -> Any:
    if not isinstance(fields, dict) or not fields:
        return fields
    known = {name.decode(errors="replace"): text.decode(errors="replace") for name, text in fields.items()}
    return {**known, "exchange": exchange, "symbol": symbol}


@lru_cache(maxsize=20_000)
def _name(kind: Key | keys.Channel, **parts: str) -> str:
    return kind.name(**parts)
