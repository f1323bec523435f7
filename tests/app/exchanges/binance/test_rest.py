"""Binance's REST calls: what they ask, what they cost, what the answers mean."""

import json
import subprocess
import sys
from typing import Any

import pytest

from app.domain.market.values import BookTop, Candle, Depth, Funding, Mark, OpenInterest, Ticker, Trade
from app.errors import CorruptData, InvalidInput
from app.exchanges.exchange import Instrument
from app.settings import ROOT
from tests.app.exchanges.binance.wire import PERPETUAL, SPOT, binance, every_call

NOW = 1700000000123
MINUTE = 60_000
SINCE = 1699999980000


def row(open_ms: int) -> list[Any]:
    return [open_ms, "1", "3", "0.5", "2", "10", open_ms + MINUTE - 1, "15", 9, "4", "6", "0"]


@pytest.mark.parametrize(("later_ms", "closed"), [(0, False), (2_000, False), (2_001, True)])
def test_a_candle_that_ended_just_now_may_still_change(later_ms: int, closed: bool):
    [candle] = binance().candles(PERPETUAL, "1m", SINCE, 500).read([row(SINCE)], SINCE + MINUTE - 1 + later_ms)

    assert candle.closed is closed


def test_a_candle_is_closed_when_it_had_ended_before_the_answer_came():
    call = binance().candles(PERPETUAL, "1m", SINCE - MINUTE, 2)
    closed, running = call.read([row(SINCE - MINUTE), row(SINCE)], NOW)
    assert closed == Candle(
        "binance",
        PERPETUAL,
        SINCE - MINUTE,
        NOW,
        timeframe="1m",
        open=1,
        high=3,
        low=0.5,
        close=2,
        volume=10,
        quote_volume=15,
        trades=9,
        taker_buy_volume=4,
        taker_buy_quote_volume=6,
        closed=True,
    )
    assert not running.closed
    assert call.arguments == ({"symbol": "BTCUSDT", "interval": "1m", "startTime": SINCE - MINUTE, "limit": 2},)


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (5000, 5)])
def test_many_candles_of_a_future_cost_more(limit: int, weight: int):
    call = binance().candles(PERPETUAL, "1m", SINCE, limit)
    assert (call.bucket, call.weight, call.arguments[0]["limit"]) == ("futures", weight, min(limit, 1000))
    assert (binance().candles(SPOT, "1m", SINCE, limit).bucket, binance().candles(SPOT, "1m", SINCE, limit).weight) == (
        "spot",
        2,
    )


def test_a_whole_book_is_a_snapshot_and_spots_has_our_time():
    said = {"lastUpdateId": 15, "bids": [["99.5", "1"]], "asks": [["100", "2"]]}
    levels: dict[str, Any] = {"bids": [(99.5, 1.0)], "asks": [(100.0, 2.0)], "last_id": 15, "snapshot": True}
    assert binance().book(SPOT).read(said, NOW) == [Depth("binance", SPOT, NOW, NOW, **levels)]
    futures = said | {"E": 1700000000005, "T": 1700000000000}
    assert binance().book(PERPETUAL).read(futures, NOW) == [Depth("binance", PERPETUAL, 1700000000000, NOW, **levels)]


def test_trades_by_rest_are_those_of_the_stream():
    call = binance().trades(PERPETUAL)
    assert call.arguments == ({"symbol": "BTCUSDT", "limit": 1000},)
    said = {"a": 7, "p": "100.5", "q": "0.25", "f": 1, "l": 2, "T": 1700000000000, "m": True}
    assert call.read([said], NOW) == [
        Trade("binance", PERPETUAL, 1700000000000, NOW, price=100.5, quantity=0.25, side="sell", id=7, counted=True)
    ]


def test_open_interest_is_in_coins_and_has_no_value_now():
    said = {"symbol": "BTCUSDT", "openInterest": "10659.509", "time": 1700000000000}
    assert binance().poll("open_interest", PERPETUAL).read(said, NOW) == [
        OpenInterest("binance", PERPETUAL, 1700000000000, NOW, quantity=10659.509)
    ]


def test_past_open_interest_has_a_value_and_is_asked_for_with_an_end():
    call = binance().open_interest_history(PERPETUAL, SINCE, 12)
    assert call is not None
    assert (call.bucket, call.arguments[0]["endTime"] - SINCE) == ("futures-data", 12 * 5 * MINUTE - 1)
    said = {
        "symbol": "BTCUSDT",
        "sumOpenInterest": "20403.6",
        "sumOpenInterestValue": "150570784.0",
        "timestamp": SINCE,
    }
    assert call.read([said], NOW) == [
        OpenInterest("binance", PERPETUAL, SINCE, NOW, quantity=20403.6, value=150570784.0)
    ]


def test_an_old_funding_has_no_mark_price():
    call = binance().funding(PERPETUAL, SINCE, 5000)
    assert call is not None
    assert (call.bucket, call.arguments[0]["limit"]) == ("futures-funding", 1000)
    said = {"symbol": "BTCUSDT", "fundingRate": "-0.0003", "fundingTime": SINCE}
    old, new = call.read([said | {"markPrice": ""}, said | {"markPrice": "34287.5"}], NOW)
    assert old == Funding("binance", PERPETUAL, SINCE, NOW, rate=-0.0003)
    assert new.mark_price == 34287.5


def test_a_funding_has_the_time_of_its_minute_as_in_files():
    call = binance().funding(PERPETUAL, SINCE, 5)
    assert call is not None
    [paid] = call.read([{"fundingRate": "0.0001", "fundingTime": SINCE + 7}], NOW)
    assert paid.time_ms == SINCE


def test_mark_ticker_and_top_say_what_their_streams_say():
    mark = {"markPrice": "100.1", "indexPrice": "100.2", "lastFundingRate": "0.0001", "nextFundingTime": 5, "time": 4}
    assert binance().poll("mark", PERPETUAL).read(mark, NOW) == [
        Mark("binance", PERPETUAL, 4, NOW, mark_price=100.1, index_price=100.2, funding_rate=0.0001, next_funding_ms=5)
    ]
    day = {
        "lastPrice": "100",
        "openPrice": "105",
        "highPrice": "106",
        "lowPrice": "99",
        "volume": "7",
        "quoteVolume": "8",
    }
    day |= {"priceChange": "-5", "priceChangePercent": "-4.762", "closeTime": 4, "count": 9}
    (ticker,) = binance().poll("ticker", PERPETUAL).read(day, NOW)
    assert isinstance(ticker, Ticker)
    assert (ticker.time_ms, ticker.last, ticker.change_percent, ticker.bid) == (4, 100.0, -4.762, None)
    top = {"symbol": "BTCUSDT", "bidPrice": "99.5", "bidQty": "1", "askPrice": "100", "askQty": "2"}
    best = {"bid": 99.5, "bid_quantity": 1.0, "ask": 100.0, "ask_quantity": 2.0}
    assert binance().poll("top", SPOT).read(top, NOW) == [BookTop("binance", SPOT, NOW, NOW, **best)]
    futures = binance().poll("top", PERPETUAL).read(top | {"time": 4}, NOW)
    assert futures == [BookTop("binance", PERPETUAL, 4, NOW, **best)]


def listed(symbol: str, base: str, quote: str, **changed: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.1", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.002", "maxQty": "1000"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
    ]
    whole = {"symbol": symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "filters": filters}
    return whole | changed


def test_instruments_are_perpetuals_and_spot_pairs_that_have_a_name():
    futures, spot = binance().instruments()
    perpetual = {"contractType": "PERPETUAL", "marginAsset": "USDT"}
    said = [
        listed("BTCUSDT", "BTC", "USDT", **perpetual),
        listed("ETHUSDT", "ETH", "USDT", **perpetual, status="SETTLING"),
        listed("BTCUSDT_260925", "BTC", "USDT", **perpetual | {"contractType": "CURRENT_QUARTER"}),
        listed("币安人生USDT", "币安人生", "USDT", **perpetual),
        listed("ODDUSDT", "ODD", "USDT", **perpetual | {"marginAsset": "USDC"}),
    ]
    btc, eth = futures.read({"symbols": said}, NOW)
    assert btc == Instrument(
        "BTC/USDT:USDT", "BTC", "USDT", "USDT", price_step=0.1, quantity_step=0.001, min_quantity=0.002, active=True
    )
    assert (eth.symbol, eth.active) == ("ETH/USDT:USDT", False)
    (pair,) = spot.read({"symbols": [listed("ETHBTC", "ETH", "BTC", permissions=[])]}, NOW)
    assert (pair.symbol, pair.settle) == ("ETH/BTC", None)


def test_the_clock_is_one_number():
    assert binance().server_time().read({"serverTime": 1700000000000}, NOW) == [1700000000000]


def test_spot_has_no_funding_no_open_interest_and_no_mark():
    exchange = binance()
    assert exchange.funding(SPOT, 0, 10) is None
    assert exchange.open_interest_history(SPOT, 0, 10) is None
    for channel in ("mark", "open_interest"):
        with pytest.raises(InvalidInput):
            exchange.poll(channel, SPOT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer", [None, "x", 5, [["x"]], [[1, "nan"]], {"code": -1121}, [{"a": "NaN"}], {"symbols": [{}]}]
)
def test_an_answer_that_cannot_be_understood_is_corrupt(answer: Any):
    for call in every_call():
        with pytest.raises(CorruptData):
            call.read(answer, NOW)


def test_not_a_number_is_corrupt_wherever_it_stands():
    with pytest.raises(CorruptData):
        binance().candles(PERPETUAL, "1m", SINCE, 1).read([[*row(SINCE)[:4], "NaN", *row(SINCE)[5:]]], NOW)
    funding = binance().funding(PERPETUAL, SINCE, 1)
    assert funding is not None
    with pytest.raises(CorruptData):
        funding.read([{"fundingRate": "0", "fundingTime": 1, "markPrice": "inf"}], NOW)


def test_every_call_is_counted_in_a_bucket_that_has_a_limit():
    buckets = {limit.bucket for limit in binance().limits}
    assert all(call.bucket in buckets and call.weight >= 1 for call in every_call())


ADDRESSES = """
import json, sys
import ccxt
calls, urls = json.loads(sys.argv[1])
exchange = ccxt.binance()
exchange.urls["api"] = {**exchange.urls["api"], **urls}
exchange.throttle = lambda cost=None: None
exchange.fetch = lambda url, *rest: url
print(json.dumps([getattr(exchange, method)(*arguments) for method, arguments in calls]))
"""


def test_every_method_is_one_of_ccxts_and_leads_to_the_addresses_of_the_settings():
    calls = every_call()
    asked = json.dumps([[(call.method, call.arguments) for call in calls], dict(binance().ccxt_urls)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ADDRESSES, asked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reached = {url.partition("?")[0] for url in json.loads(done.stdout)}
    assert reached == {
        *(
            f"https://futures.test/fapi/v1/{path}"
            for path in ("time", "exchangeInfo", "klines", "depth", "aggTrades", "ticker/24hr", "ticker/bookTicker")
        ),
        *(f"https://futures.test/fapi/v1/{path}" for path in ("premiumIndex", "openInterest", "fundingRate")),
        "https://futures.test/futures/data/openInterestHist",
        *(
            f"https://spot.test/api/v3/{path}"
            for path in ("exchangeInfo", "klines", "depth", "aggTrades", "ticker/24hr", "ticker/bookTicker")
        ),
    }
