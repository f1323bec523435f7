"""What HTX's REST APIs are asked, and what their answers mean."""

import json
import subprocess
import sys
from typing import Any

import pytest

from app.domain.market.values import BookTop, Depth, Mark, OpenInterest, Ticker
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import Instrument, RestCall
from app.exchanges.htx.rest import Htx, Urls

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
URLS = Urls("https://spot", "wss://spot", "wss://feed", "https://swap", "wss://swap", "wss://notification")
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
NOW_MS = 20_000 * DAY_MS + 10 * HOUR_MS


def htx() -> Htx:
    made = Htx("htx", URLS)
    made.learn([Instrument(symbol=PERPETUAL, base="BTC", quote="USDT", settle="USDT", contract_size=0.001)])
    return made


def read(call: RestCall | None, **answer: object) -> list[Any]:
    assert call is not None
    return call.read({"status": "ok", "ts": NOW_MS} | answer, NOW_MS + 77)


def kline(open_ms: int, **more: object) -> dict[str, object]:
    return {
        "id": open_ms // 1000,
        "open": 2,
        "close": 3,
        "high": 4,
        "low": 1,
        "amount": 5,
        "vol": 50,
        "count": 6,
    } | more


def all_calls(exchange: Htx) -> list[RestCall]:
    calls: list[RestCall | None] = [*exchange.instruments(), exchange.server_time()]
    for symbol in (PERPETUAL, SPOT):
        calls += [exchange.candles(symbol, "1m", 0, 100), exchange.book(symbol), exchange.trades(symbol)]
        calls += [exchange.poll(channel, symbol) for channel in ("ticker", "top")]
        calls += [exchange.funding(symbol, 0, 100), exchange.open_interest_history(symbol, 0, 100)]
    calls += [exchange.poll(channel, PERPETUAL) for channel in ("open_interest", "mark")]
    return [call for call in calls if call is not None]


def test_every_method_is_one_of_ccxts_class_and_every_bucket_has_a_limit():
    calls = all_calls(htx())
    script = "import ccxt, json, sys; print(json.dumps([hasattr(ccxt.htx, name) for name in json.loads(sys.argv[1])]))"
    names = json.dumps([call.method for call in calls])
    answer = subprocess.run([sys.executable, "-c", script, names], capture_output=True, check=True, text=True)

    assert all(json.loads(answer.stdout))
    assert {call.bucket for call in calls} == {limit.bucket for limit in htx().limits}


def test_both_hosts_are_replaced():
    assert htx().ccxt_urls["contract"] == "https://swap"
    assert htx().ccxt_urls["spot"] == "https://spot"


def test_reading_the_instruments_teaches_what_contracts_are_worth():
    exchange = Htx("htx", URLS)
    with pytest.raises(Unavailable):
        exchange.book(PERPETUAL)
    spot, perpetuals = exchange.instruments()
    contract = {"contract_code": "BTC-USDT", "contract_size": 0.001, "price_tick": 0.1, "contract_status": 1,
                "business_type": "swap"}  # fmt: skip
    pair = {"base-currency": "btc", "quote-currency": "usdt", "price-precision": 2, "amount-precision": 6,
            "min-order-amt": 0.0001, "state": "offline"}  # fmt: skip

    assert read(perpetuals, data=[contract, contract | {"contract_code": "BTC-USDT-261225", "business_type": "futures"}]) == [
        Instrument(
            symbol=PERPETUAL, base="BTC", quote="USDT", settle="USDT", price_step=0.1,
            quantity_step=0.001, contract_size=0.001, min_quantity=0.001, active=True,
        )
    ]  # fmt: skip
    assert read(spot, data=[pair, pair | {"base-currency": "b-t"}]) == [
        Instrument(
            symbol=SPOT, base="BTC", quote="USDT", price_step=0.01,
            quantity_step=1e-6, min_quantity=0.0001, active=False,
        )
    ]  # fmt: skip
    assert exchange.contracts == {PERPETUAL: 0.001}


def test_candles_of_a_perpetual_are_asked_for_from_second_to_second():
    call = htx().candles(PERPETUAL, "1h", NOW_MS - HOUR_MS, 3)

    running, closed = kline(NOW_MS, trade_turnover="9.5"), kline(NOW_MS - HOUR_MS)
    candles = read(call, data=[running, closed])

    start_s = (NOW_MS - HOUR_MS) // 1000
    assert call.arguments == ({"contract_code": "BTC-USDT", "period": "60min", "from": start_s, "to": start_s + 7200},)
    assert [(one.time_ms, one.closed, one.quote_volume) for one in candles] == [
        (NOW_MS - HOUR_MS, True, None), (NOW_MS, False, 4.75),
    ]  # fmt: skip


def test_of_spot_only_the_newest_candles_can_be_had():
    call = htx().candles(SPOT, "1h", NOW_MS - 2 * HOUR_MS, 2)

    candles = read(call, data=[kline(NOW_MS - hours * HOUR_MS) for hours in (0, 1, 2, 3)])

    assert call.arguments == ({"symbol": "btcusdt", "period": "60min", "size": 2000},)
    assert [one.time_ms for one in candles] == [NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS]
    assert candles[0].quote_volume == 50


def test_days_are_put_together_from_four_hours_because_htx_begins_them_at_16():
    today = NOW_MS - NOW_MS % DAY_MS
    call = htx().candles(PERPETUAL, "1d", today - 2 * DAY_MS, 5)
    of_today = [kline(today + part * 4 * HOUR_MS, high=10 + part) for part in range(3)]
    of_yesterday = [kline(today - DAY_MS + part * 4 * HOUR_MS, low=0.5 if part == 2 else 1) for part in range(6)]
    torn = [kline(today - 2 * DAY_MS + part * 4 * HOUR_MS) for part in (0, 1, 3, 4, 5)]

    yesterday, running = read(call, data=[*of_today, *of_yesterday, *torn])

    assert call.arguments[0]["period"] == "4hour"
    assert call.arguments[0]["to"] - call.arguments[0]["from"] == (5 * 6 - 1) * 4 * 3600
    assert (yesterday.time_ms, yesterday.timeframe, yesterday.closed) == (today - DAY_MS, "1d", True)
    assert (yesterday.open, yesterday.high, yesterday.low, yesterday.close) == (2, 4, 0.5, 3)
    assert (yesterday.volume, yesterday.quote_volume, yesterday.trades) == (15, None, 36)
    assert (running.time_ms, running.high, running.closed) == (today, 12, False)


def test_htx_has_no_candles_of_two_hours():
    with pytest.raises(InvalidInput):
        htx().candles(SPOT, "2h", 0, 10)


def test_a_whole_book_by_rest():
    tick = {"bids": [[100, 2]], "asks": [["101", "3"]], "version": 9, "ts": 5}

    assert read(htx().book(PERPETUAL), tick=tick) == [
        Depth(
            exchange="htx", symbol=PERPETUAL, time_ms=5, received_ms=NOW_MS + 77, last_id=9,
            bids=[(100, 0.002)], asks=[(101, 0.003)], snapshot=True,
        )
    ]  # fmt: skip
    assert htx().book(SPOT).arguments == ({"symbol": "btcusdt", "type": "step0"},)


def test_trades_come_oldest_first():
    spot = [
        {"id": 10**27, "trade-id": number, "ts": 1, "amount": 2, "price": 3, "direction": "buy"} for number in (9, 8, 7)
    ]
    swap = {"id": 5, "ts": 1, "amount": 2, "quantity": 0.5, "price": 3, "direction": "sell"}

    trades = read(htx().trades(SPOT), data=[{"id": 2, "data": spot[:2]}, {"id": 1, "data": spot[2:]}])

    assert [(one.id, one.quantity) for one in trades] == [(7, 2), (8, 2), (9, 2)]
    assert [(one.id, one.quantity, one.side) for one in read(htx().trades(PERPETUAL), data=[{"data": [swap]}])] == [
        (5, 0.25, "sell")
    ]


def test_what_is_polled():
    tick = {"close": "9", "open": 8, "amount": 5, "vol": 45, "bid": [8.5, 2], "ask": [9.5, 3]}
    v5 = {"amount": "32476.092", "volume": "32476092", "value": "2063137924.9668", "contract_code": "BTC-USDT"}

    [value] = read(htx().poll("open_interest", PERPETUAL), data=v5)
    [mark] = read(htx().poll("mark", PERPETUAL), data=[kline(0, close="123.5")])
    [ticker] = read(htx().poll("ticker", SPOT), tick=tick)
    [top] = read(htx().poll("top", PERPETUAL), tick=tick)

    assert isinstance(value, OpenInterest)
    assert (value.quantity, value.value, value.time_ms) == (32476.092, 2063137924.9668, NOW_MS)
    assert isinstance(mark, Mark)
    assert (mark.mark_price, mark.funding_rate) == (123.5, None)
    assert isinstance(ticker, Ticker)
    assert (ticker.last, ticker.quote_volume, ticker.bid, ticker.ask_quantity) == (9, 45, 8.5, 3)
    assert isinstance(top, BookTop)
    assert (top.bid_quantity, top.time_ms) == (0.002, NOW_MS)
    assert htx().polled == {"open_interest", "mark"}
    with pytest.raises(InvalidInput):
        htx().poll("mark", SPOT)


def test_funding_that_was_settled_comes_oldest_first_from_when_it_was_asked():
    rows = [
        {"id": "1", "contract_code": "BTC-USDT", "funding_rate": "0.0001", "funding_time": str(time)}
        for time in (9, 7, 3)
    ]

    settled = read(htx().funding(PERPETUAL, 5, 100), data=rows)

    assert [(one.time_ms, one.rate) for one in settled] == [(7, 0.0001), (9, 0.0001)]
    assert htx().funding(SPOT, 5, 100) is None


def test_open_interest_of_the_past_is_in_coins():
    ticks = [{"volume": "2.5", "amount_type": 2, "ts": time, "value": "9"} for time in (9, 7, 3)]
    call = htx().open_interest_history(PERPETUAL, 5, 100)

    assert [(one.time_ms, one.quantity, one.value) for one in read(call, data={"tick": ticks})] == [
        (7, 2.5, 9),
        (9, 2.5, 9),
    ]
    assert call is not None
    assert call.arguments[0]["amount_type"] == 2
    assert htx().open_interest_history(SPOT, 5, 100) is None


def test_the_clock():
    assert read(htx().server_time()) == [NOW_MS]


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"data": None, "tick": None}, {"data": [{}], "tick": []}, {"data": "x", "tick": "x"}]
)
def test_an_answer_that_is_something_else_is_corrupt(answer):
    for call in (htx().book(SPOT), htx().candles(SPOT, "1m", 0, 1), htx().trades(PERPETUAL), htx().poll("top", SPOT)):
        with pytest.raises(CorruptData):
            call.read(answer, NOW_MS)


def test_recorded_instruments_are_read(recorded):
    def answer(name: str, line: int) -> Any:
        text = (recorded / "raw_messages" / name).read_text().splitlines()[line]
        return json.loads(text[text.index("{") :])

    exchange = Htx("htx", URLS)
    spot, perpetuals = exchange.instruments()

    pairs = spot.read(answer("HUOBI.0", 0), NOW_MS)
    contracts = perpetuals.read(answer("HUOBI_SWAP.0", 1), NOW_MS)

    assert len(pairs) > 900
    assert len(contracts) == len(exchange.contracts) > 100
    assert exchange.contracts["BTC/USDT:USDT"] == 0.001


def test_funding_is_asked_for_with_an_end_so_that_nothing_is_left_out_in_between():
    [asked] = htx().funding(PERPETUAL, 5, 100).arguments

    assert (asked["start_time"], asked["end_time"]) == (5, 5 + 100 * 3_600_000)
