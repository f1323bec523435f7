"""The newest of the market in a real Valkey: in the documents' structures, and a miss whenever that is away."""

from collections.abc import Iterator

import msgspec
import pytest
import redis

from app.cache.market import (
    CachedBook,
    CachedTicker,
    CandleNews,
    CollectorNews,
    DepthNews,
    MarketCache,
    cached,
    channel_of,
)
from app.domain.market.values import Candle
from tests.builders import Valkey

BTC = "BTC/USDT:USDT"
MINUTE_MS = 60_000


class Counted:
    def __init__(self) -> None:
        self.results: list[str] = []

    def __call__(self, _name: str, _value: float = 1, /, **labels: str) -> None:
        self.results.append(labels["result"])


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def cache(valkey_url: str, counted: Counted) -> Iterator[MarketCache]:
    cache = MarketCache(valkey_url, count=counted)
    yield cache
    cache.close()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def candle(minute: int, *, close: float = 2.0) -> Candle:
    return Candle(
        "binance", BTC, minute * MINUTE_MS, 0, timeframe="1m", open=1, high=3, low=0.5, close=close, volume=10
    )


def ticker(symbol: str = BTC, **values: float) -> CachedTicker:
    return CachedTicker(exchange="binance", symbol=symbol, timestamp=1_700_000_000_123, **values)  # type: ignore[arg-type]


def test_a_ticker_is_a_hash_that_lives_a_minute(cache: MarketCache, client: redis.Redis):
    assert cache.put_tickers([ticker(price=43250.5, bid=43249.5, high_24h=1e-08)])

    assert client.hgetall("ticker:binance:BTC/USDT%3AUSDT") == {
        b"price": b"43250.5",
        b"bid": b"43249.5",
        b"high_24h": b"1e-08",
        b"timestamp": b"1700000000123",
    }
    assert 50 < client.ttl("ticker:binance:BTC/USDT%3AUSDT") <= 60
    assert cache.ticker("binance", BTC) == ticker(price=43250.5, bid=43249.5, high_24h=1e-08)


def test_what_is_no_longer_known_of_a_ticker_is_gone_from_it(cache: MarketCache):
    cache.put_tickers([ticker(price=1.0, funding_rate=0.0001)])
    cache.put_tickers([ticker(price=2.0)])

    assert cache.ticker("binance", BTC) == ticker(price=2.0)


def test_many_tickers_are_read_in_the_order_they_were_asked_for(cache: MarketCache):
    cache.put_tickers([ticker("A/USDT", price=1.0), ticker("C/USDT", price=3.0)])

    found = cache.tickers([("binance", "C/USDT"), ("binance", "B/USDT"), ("binance", "A/USDT")])

    assert found == [ticker("C/USDT", price=3.0), None, ticker("A/USDT", price=1.0)]


def test_a_list_of_candles_begins_with_its_first_reader(cache: MarketCache, client: redis.Redis):
    cache.push_candles([candle(1)])
    assert cache.candles("binance", BTC, "1m") is None

    cache.fill_candles("binance", BTC, "1m", [cached(candle(2)), cached(candle(1))])
    cache.push_candles([candle(3), candle(4)])

    found = cache.candles("binance", BTC, "1m")
    assert [one.timestamp // MINUTE_MS for one in found or []] == [4, 3, 2, 1]
    assert 290 < client.ttl("klines:binance:BTC/USDT%3AUSDT:1m") <= 300


def test_a_list_holds_the_newest_hundred(cache: MarketCache):
    cache.fill_candles("binance", BTC, "1m", [cached(candle(minute)) for minute in range(150, 0, -1)])
    cache.push_candles([candle(151), candle(152)])

    found = cache.candles("binance", BTC, "1m") or []

    assert (len(found), found[0].timestamp, found[-1].timestamp) == (100, 152 * MINUTE_MS, 53 * MINUTE_MS)


def test_a_candle_stands_in_its_list_as_the_documents_write_it(cache: MarketCache, client: redis.Redis):
    cache.fill_candles("binance", BTC, "1m", [cached(candle(1))])

    text = client.lindex("klines:binance:BTC/USDT%3AUSDT:1m", 0)

    assert text is not None
    assert msgspec.json.decode(text) == {
        "timestamp": MINUTE_MS, "open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": 10.0,
    }  # fmt: skip


def test_a_book_keeps_its_best_hundred_levels_for_ten_seconds(cache: MarketCache, client: redis.Redis):
    bids = [(100.0 - step, 1.0) for step in range(150)]
    cache.put_books([CachedBook(exchange="binance", symbol=BTC, timestamp=5, status="ok", bids=bids, asks=[])])

    found = cache.book("binance", BTC)

    assert found is not None
    assert (len(found.bids), found.bids[0], found.bids[-1]) == (100, (100.0, 1.0), (1.0, 1.0))
    assert 0 < client.ttl("orderbook:binance:BTC/USDT%3AUSDT") <= 10


def test_news_are_told_on_the_channel_of_their_kind(cache: MarketCache, client: redis.Redis):
    news = [
        ticker(price=1.0),
        CandleNews(
            **msgspec.structs.asdict(cached(candle(1))), exchange="binance", symbol=BTC, timeframe="1m", closed=True
        ),
        DepthNews(exchange="binance", symbol=BTC, timestamp=1, status="ok", bid=1.0),
        CollectorNews(exchange="binance", timestamp=1, name="binance", state="running"),
    ]
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe("market_data:*")
        listener.get_message(timeout=5)
        assert cache.tell(news)
        heard = [message for _ in range(8) if (message := listener.get_message(timeout=1))]

    assert [message["channel"].decode() for message in heard] == [
        "market_data:ticker:BTC/USDT%3AUSDT",
        "market_data:kline:BTC/USDT%3AUSDT:1m",
        "market_data:depth:BTC/USDT%3AUSDT",
        "market_data:collector:binance",
    ]
    assert [message["channel"].decode() for message in heard] == [channel_of(one) for one in news]
    assert all({"exchange", "timestamp"} <= msgspec.json.decode(message["data"]).keys() for message in heard)
    assert msgspec.json.decode(heard[1]["data"])["closed"] is True


@pytest.mark.parametrize("rubbish", [b"{", b"\xff", b'{"timestamp":"x"}', b"[]"])
def test_rubbish_in_redis_is_a_miss(cache: MarketCache, client: redis.Redis, counted: Counted, rubbish: bytes):
    client.set("orderbook:binance:BTC/USDT%3AUSDT", rubbish)
    client.rpush("klines:binance:BTC/USDT%3AUSDT:1m", rubbish)
    client.hset("ticker:binance:BTC/USDT%3AUSDT", mapping={"price": rubbish})

    assert cache.book("binance", BTC) is None
    assert cache.candles("binance", BTC, "1m") is None
    assert cache.ticker("binance", BTC) is None
    assert counted.results == ["trouble"] * 3


def test_a_key_of_another_type_is_a_miss(cache: MarketCache, client: redis.Redis):
    for name in ("orderbook:binance:A/USDT", "klines:binance:A/USDT:1m", "ticker:binance:A/USDT"):
        client.zadd(name, {"x": 1})

    assert cache.book("binance", "A/USDT") is None
    assert cache.candles("binance", "A/USDT", "1m") is None
    assert cache.ticker("binance", "A/USDT") is None


def test_while_redis_is_away_writers_are_told_and_readers_miss_and_nobody_waits(own_valkey: Valkey, counted: Counted):
    now = [1_000.0]
    cache = MarketCache(own_valkey.url, monotonic=lambda: now[0], count=counted)
    assert cache.put_tickers([ticker(price=1.0)])
    own_valkey.kill()

    assert not cache.put_tickers([ticker(price=2.0)])
    assert cache.ticker("binance", BTC) is None
    assert not cache.publish([("market_data:ticker:x", b"{}")])
    own_valkey.start()
    assert cache.candles("binance", BTC, "1m") is None  # still the quiet second
    now[0] += 1.1

    assert cache.put_tickers([ticker(price=3.0)])
    assert cache.ticker("binance", BTC) == ticker(price=3.0)
    cache.close()
