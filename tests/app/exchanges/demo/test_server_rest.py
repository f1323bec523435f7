"""The REST of the demo exchange, read by unmodified ccxt, is the market's."""

import json
import subprocess
import sys
from typing import Any

import pytest

from app.exchanges.demo.addresses import urls_for
from app.settings import ROOT, Binance, Htx, Okx
from tests.app.exchanges.demo.served import BEGAN_MS, Served

PERPETUAL = "BTC/USDT:USDT"


@pytest.fixture(scope="module", params=["binance", "okx", "htx"])
def read(request: pytest.FixtureRequest, demo: Served) -> tuple[str, dict[str, Any]]:
    """A venue, and all that ccxt read there."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.app.exchanges.demo.ccxt_reader",
        request.param,
        str(demo.port),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


def test_ccxt_finds_every_symbol_of_the_market(demo: Served, read: tuple[str, Any]):
    venue, said = read
    traded = {item.symbol for item in demo.market.instruments(venue)}  # type: ignore[arg-type]

    assert traded <= set(said["markets"])
    assert BEGAN_MS <= said["time"] <= demo.now_ms()


@pytest.mark.parametrize("symbol", [PERPETUAL, "BTC/USDT"])
def test_ccxt_reads_the_candles_of_the_market(demo: Served, read: tuple[str, Any], symbol: str):
    venue, said = read
    for timeframe, rows in (("1m", said[symbol]["ohlcv"]), ("1h", said[symbol]["hours"])):
        closed = rows[:-1]
        true = demo.market.candles(venue, symbol, timeframe, closed[0][0], len(closed))  # type: ignore[arg-type]

        assert len(rows) in (10, 30)
        assert [row[:5] for row in closed] == [[one.open_ms, one.open, one.high, one.low, one.close] for one in true]
        sides = 2 if venue == "htx" and symbol == PERPETUAL else 1  # HTX counts both of a trade, and ccxt passes it on
        if not (venue == "okx" and symbol == PERPETUAL):  # ccxt takes contracts for coins there
            assert [row[5] for row in closed] == pytest.approx([one.volume * sides for one in true])


@pytest.mark.parametrize("symbol", [PERPETUAL, "BTC/USDT"])
def test_ccxt_reads_books_trades_and_tickers_that_belong_together(read: tuple[str, Any], symbol: str):
    _, said = read
    found = said[symbol]
    book, trades = found["book"], found["trades"]

    assert len(book["bids"]) >= 20
    assert book["bids"][0][0] < book["asks"][0][0]
    assert found["ticker"]["low"] <= book["bids"][0][0] * 1.02
    assert found["ticker"]["last"] == pytest.approx(book["bids"][0][0], rel=0.02)
    assert found["tickers"][symbol]["last"] == pytest.approx(found["ticker"]["last"], rel=0.01)
    assert len(trades) == 20
    assert {trade["side"] for trade in trades} <= {"buy", "sell"}
    assert all(BEGAN_MS - 120_000 <= trade["timestamp"] <= BEGAN_MS + 600_000 for trade in trades)


def test_ccxt_reads_funding_and_open_interest(demo: Served, read: tuple[str, Any]):
    venue, said = read
    times = [item["timestamp"] for item in said["fundings"]]
    true = demo.market.funding(venue, PERPETUAL, times[0], times[-1] + 1)  # type: ignore[arg-type]

    assert [item["fundingRate"] for item in said["fundings"]] == pytest.approx([item.rate for item in true], abs=1e-8)
    assert times == [item.time_ms for item in true]
    assert abs(said["funding"]["fundingRate"]) < 0.01
    assert said["interest"]["openInterestAmount"] > 0
    assert len(said["interests"]) == 5


def test_every_answer_says_that_it_is_simulated(demo: Served):
    for path in (
        "/binance/spot/api/v3/time",
        "/okx/api/v5/public/time",
        "/htx/spot/v1/common/timestamp",
        "/demo/status",
    ):
        assert demo.ask(path)[2]["x-flotilla-simulated"] == "true"
    assert demo.ask("/nowhere")[2]["x-flotilla-simulated"] == "true"
    assert demo.get("/demo/status")["simulated"] is True


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/binance/spot/api/v3/klines?symbol=NOSUCH&interval=1m", 400, -1121),
        ("/binance/spot/api/v3/klines?interval=1m", 400, -1102),
        ("/binance/futures/fapi/v1/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/binance/futures/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021),
        ("/binance/futures/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=soon", 400, -1100),
        ("/binance/futures/fapi/v1/nothing", 404, -5000),
        ("/okx/api/v5/market/candles?instId=NO-SUCH", 400, "51001"),
        ("/okx/api/v5/market/candles", 400, "50014"),
        ("/okx/api/v5/market/candles?instId=BTC-USDT&bar=7m", 400, "51000"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_the_venues_words(demo: Served, path: str, status: int, code: Any):
    answered, said, _ = demo.ask(path)

    assert (answered, said["code"]) == (status, code)


def test_htx_refuses_with_status_200_and_an_error_inside(demo: Served):
    status, said, _ = demo.ask("/htx/futures/linear-swap-ex/market/depth?contract_code=NO-SUCH&type=step0")

    assert (status, said["status"], said["err_code"]) == (200, "error", "1332")


def test_binance_pages_candles_forward_from_a_start(demo: Served):
    start = BEGAN_MS - 100 * 60_000 + 1
    rows = demo.get(f"/binance/futures/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={start}&limit=5")

    assert [row[0] for row in rows] == [BEGAN_MS - (99 - place) * 60_000 for place in range(5)]
    assert all(row[6] == row[0] + 59_999 for row in rows)


def test_okx_pages_candles_backward_between_two_times(demo: Served):
    before, after = BEGAN_MS - 10 * 60_000, BEGAN_MS - 5 * 60_000
    said = demo.get(f"/okx/api/v5/market/candles?instId=BTC-USDT&bar=1m&before={before}&after={after}")

    assert [int(row[0]) for row in said["data"]] == [BEGAN_MS - minutes * 60_000 for minutes in (6, 7, 8, 9)]


def test_the_truth_can_be_asked_for_but_not_of_the_future(demo: Served):
    said = demo.get(f"/demo/labels?from={BEGAN_MS - 6 * 3_600_000}&to={BEGAN_MS + 86_400_000}")

    assert said["labels"]
    assert said["to"] <= demo.now_ms()
    assert all(label["start_ms"] <= demo.now_ms() for label in said["labels"])


def test_the_addresses_are_those_of_the_settings():
    urls = urls_for(8090)
    sections = {"binance": Binance(), "okx": Okx(), "htx": Htx()}

    assert {name: set(fields) for name, fields in urls.items()} == {
        name: set(type(section).__struct_fields__) for name, section in sections.items()
    }
