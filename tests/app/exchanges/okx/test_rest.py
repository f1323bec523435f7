"""What OKX's REST API is asked, and what its answers mean."""

import json
import subprocess
import sys

import pytest

from app.domain.market.values import BookTop, Depth, Mark, OpenInterest, Ticker
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import Instrument, RestCall
from app.exchanges.okx.rest import Okx, Urls

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000

SWAP_ROW = {
    "instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT", "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT",
    "ctType": "linear", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC", "tickSz": "0.1", "lotSz": "0.01",
    "minSz": "0.01", "state": "live",
}  # fmt: skip
SPOT_ROW = {
    "instId": "BTC-USDT", "instType": "SPOT", "uly": "", "baseCcy": "BTC", "quoteCcy": "USDT", "settleCcy": "",
    "ctType": "", "ctVal": "", "ctMult": "", "ctValCcy": "", "tickSz": "0.1", "lotSz": "0.00000001",
    "minSz": "0.00001", "state": "suspend",
}  # fmt: skip


def okx() -> Okx:
    made = Okx("okx", Urls("https://rest", "wss://public", "wss://business"))
    made.learn([Instrument(symbol=PERPETUAL, base="BTC", quote="USDT", settle="USDT", contract_size=0.01)])
    return made


def read(call: RestCall | None, *rows: object) -> list[object]:
    assert call is not None
    return call.read({"code": "0", "msg": "", "data": list(rows)}, NOW_MS)


def all_calls(exchange: Okx) -> list[RestCall]:
    calls = [
        *exchange.instruments(),
        exchange.server_time(),
        exchange.candles(PERPETUAL, "1m", 0, 100),
        exchange.book(PERPETUAL),
        exchange.trades(PERPETUAL),
        *(exchange.poll(channel, PERPETUAL) for channel in ("open_interest", "mark", "ticker", "top")),
        exchange.funding(PERPETUAL, 0, 100),
        exchange.open_interest_history(PERPETUAL, 0, 100),
    ]
    return [call for call in calls if call is not None]


def test_every_method_is_one_of_ccxts_class_and_every_bucket_has_a_limit():
    calls = all_calls(okx())
    script = "import ccxt, json, sys; print(json.dumps([hasattr(ccxt.okx, name) for name in json.loads(sys.argv[1])]))"
    names = json.dumps([call.method for call in calls])
    answer = subprocess.run([sys.executable, "-c", script, names], capture_output=True, check=True, text=True)

    assert all(json.loads(answer.stdout))
    assert {call.bucket for call in calls} == {limit.bucket for limit in okx().limits}


def test_reading_the_instruments_teaches_what_contracts_are_worth():
    exchange = Okx("okx", Urls("https://rest", "wss://public", "wss://business"))
    with pytest.raises(Unavailable):
        exchange.book(PERPETUAL)
    spot, swap = exchange.instruments()

    assert read(swap, SWAP_ROW | {"ctMult": "10"}) == [
        Instrument(
            symbol=PERPETUAL, base="BTC", quote="USDT", settle="USDT", price_step=0.1,
            quantity_step=0.001, contract_size=0.1, min_quantity=0.001, active=True,
        )
    ]  # fmt: skip
    assert read(spot, SPOT_ROW) == [
        Instrument(
            symbol=SPOT, base="BTC", quote="USDT", price_step=0.1,
            quantity_step=1e-8, min_quantity=1e-5, active=False,
        )
    ]  # fmt: skip
    assert exchange.book(PERPETUAL).arguments == ({"instId": "BTC-USDT-SWAP", "sz": "400"},)
    assert exchange.contracts == {PERPETUAL: 0.1}


@pytest.mark.parametrize(
    "odd",
    [
        {"instId": "BTC-USD-SWAP", "uly": "BTC-USD", "ctType": "inverse", "settleCcy": "BTC", "ctValCcy": "USD"},
        {"instId": "BTC-USD_UM-SWAP", "uly": "BTC-USD"},
        {"ctVal": ""},
        {"ctValCcy": "USDT"},
        {"uly": ""},
    ],
)
def test_an_instrument_without_a_form_here_is_left_out(odd):
    assert read(okx().instruments()[1], SWAP_ROW | odd) == []


def test_candles_are_asked_for_by_bounds_that_are_exclusive_and_come_oldest_first():
    call = okx().candles(PERPETUAL, "4h", 1_000_000, 500)
    rows = [
        [str(open_ms), "1", "3", "0.5", "2", "300", "3", "6", confirm] for open_ms, confirm in ((60, "0"), (0, "1"))
    ]

    candles = read(call, *rows)

    assert call.arguments == (
        {"instId": "BTC-USDT-SWAP", "bar": "4H", "before": "999999", "after": str(1_000_000 + 100 * 240 * MINUTE_MS),
         "limit": "100"},
    )  # fmt: skip
    assert [(candle.time_ms, candle.closed, candle.volume, candle.timeframe) for candle in candles] == [
        (0, True, 3, "4h"), (60, False, 3, "4h"),
    ]  # fmt: skip


def test_days_begin_at_midnight_utc():
    assert okx().candles(SPOT, "1d", 0, 10).arguments[0]["bar"] == "1Dutc"
    with pytest.raises(InvalidInput):
        okx().candles(SPOT, "1w", 0, 10)


def test_a_whole_book_by_rest():
    row = {"asks": [["101", "3", "0", "1"]], "bids": [["100", "2", "0", "1"]], "ts": "5", "seqId": 77}

    [book] = read(okx().book(PERPETUAL), row)
    with pytest.raises(CorruptData, match="sequence id"):
        read(okx().book(PERPETUAL), {key: row[key] for key in ("asks", "bids", "ts")})

    assert book == Depth(
        exchange="okx", symbol=PERPETUAL, time_ms=5, received_ms=NOW_MS, last_id=77,
        bids=[(100, 0.02)], asks=[(101, 0.03)], snapshot=True,
    )  # fmt: skip


def test_trades_come_oldest_first():
    rows = [{"instId": "", "tradeId": str(n), "px": "1", "sz": "2", "side": "buy", "ts": "1"} for n in (9, 7, 8)]

    assert [(trade.id, trade.quantity) for trade in read(okx().trades(PERPETUAL), *rows)] == [
        (7, 0.02), (8, 0.02), (9, 0.02),
    ]  # fmt: skip


def test_what_can_be_polled():
    level = [["100", "2", "0", "1"]]

    [value] = read(okx().poll("open_interest", PERPETUAL), {"oi": "1", "oiCcy": "5", "oiUsd": "", "ts": "1"})
    [mark] = read(okx().poll("mark", PERPETUAL), {"markPx": "9", "ts": "1"})
    [ticker] = read(okx().poll("ticker", SPOT), {"last": "9", "ts": "1", "vol24h": "5", "volCcy24h": "45"})
    [top] = read(okx().poll("top", SPOT), {"asks": level, "bids": level, "ts": "1"})

    assert isinstance(value, OpenInterest)
    assert (value.quantity, value.value) == (5, None)
    assert isinstance(mark, Mark)
    assert mark.mark_price == 9
    assert isinstance(ticker, Ticker)
    assert (ticker.last, ticker.volume, ticker.quote_volume, ticker.open) == (9, 5, 45, None)
    assert isinstance(top, BookTop)
    with pytest.raises(InvalidInput):
        okx().poll("mark", SPOT)


def test_funding_that_was_settled_comes_oldest_first():
    rows = [
        {"fundingTime": str(time), "fundingRate": "0.0002", "realizedRate": rate}
        for time, rate in ((8, "0.0001"), (0, ""))
    ]

    settled = read(okx().funding(PERPETUAL, 5, 100), *rows)

    assert [(one.time_ms, one.rate) for one in settled] == [(0, 0.0002), (8, 0.0001)]
    asked = okx().funding(PERPETUAL, 5, 100).arguments[0]
    assert (asked["before"], asked["after"]) == ("4", str(5 + 400 * 3_600_000)), "the oldest that fit, not the newest"
    assert okx().funding(SPOT, 5, 100) is None


def test_open_interest_of_the_past():
    call = okx().open_interest_history(PERPETUAL, 300_000, 100)

    values = read(call, ["600000", "10", "0.1", "9"], ["300000", "20", "0.2", ""])

    assert [(one.time_ms, one.quantity, one.value) for one in values] == [(300_000, 0.2, None), (600_000, 0.1, 9)]
    assert call.arguments[0] | {"instId": ""} == {
        "instId": "", "period": "5m", "begin": "299999", "end": "30300000", "limit": "100",
    }  # fmt: skip
    assert okx().open_interest_history(SPOT, 0, 100) is None


def test_the_clock():
    assert read(okx().server_time(), {"ts": "1790000000123"}) == [1_790_000_000_123]


@pytest.mark.parametrize("answer", [None, [], {}, {"data": None}, {"data": [{}]}, {"data": [["x"]]}, {"data": "x"}])
def test_an_answer_that_is_something_else_is_corrupt(answer):
    with pytest.raises(CorruptData):
        okx().book(PERPETUAL).read(answer, NOW_MS)


def test_recorded_instruments_are_read(recorded):
    lines = (recorded / "raw_messages" / "OKX.0").read_text().splitlines()
    exchange = Okx("okx", Urls("https://rest", "wss://public", "wss://business"))
    spot, swap = (
        call.read(json.loads(line[line.index("{") :]), NOW_MS)
        for call, line in zip(exchange.instruments(), lines[:2], strict=True)
    )

    assert (len(spot), len(swap)) == (513, 126)
    assert exchange.contracts["BTC/USDT:USDT"] == 0.01
    assert exchange.contracts["SHIB/USDT:USDT"] == 1_000_000
