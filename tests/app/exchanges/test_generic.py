import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.market.values import Candle
from app.errors import CorruptData, InvalidInput, Misconfigured, NotFound
from app.exchanges.exchange import Exchange, Wanted
from app.exchanges.generic import Generic, known_ids
from app.exchanges.rest import Rest, load
from app.exchanges.throttle import Throttle
from tests.app.exchanges.doors import PlayedRest, played_rest

MINUTE_MS = 60_000
AT_MS = 1_700_000_130_000
CONTRACT = {"symbol": "BTC/USDT:USDT", "contract": True, "contractSize": 0.01}
INVERSE = {"symbol": "BTC/USD:BTC", "contract": True, "contractSize": 100, "inverse": True}
PAIR = {
    "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT", "aclass_quote": "currency",
    "quote": "ZUSD", "pair_decimals": 1, "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [],
    "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]], "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1",
    "status": "online",
}  # fmt: skip


def kraken(url: str = "http://127.0.0.1:9") -> Generic:
    return Generic("kraken", urls={"public": url})


def swaps(*markets: dict[str, Any]) -> Generic:
    """An exchange of perpetuals, with its markets known."""
    made = Generic("bybit")

    class Client:
        markets = None
        market = None

        def __init__(self) -> None:
            self.has: dict[str, Any] = {}

        def fetch_markets(self, _params: Any) -> list[Any]:
            return list(markets)

    client = Client()
    made.prepare(client)
    client.fetch_markets({})
    return made


@pytest.fixture
def played():
    with played_rest() as exchange:
        ether = {**PAIR, "altname": "ETHUSD", "wsname": "ETH/USD", "base": "XETH"}
        exchange.by_path = {
            "/0/public/AssetPairs": {"error": [], "result": {"XXBTZUSD": PAIR, "XETHZUSD": ether}},
            "/0/public/Time": {"error": [], "result": {"unixtime": 1_700_000_000}},
        }
        yield exchange


def play(exchange: Generic, folder: Path, scene: Callable[[Rest], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        door: Exchange = exchange
        throttle = Throttle(door.name, _wide(door), folder, lambda: AT_MS)
        rest = Rest(door, throttle, now_ms=lambda: AT_MS)
        try:
            return await scene(rest)
        finally:
            await rest.close()

    return asyncio.run(run())


def _wide(exchange: Exchange) -> list[Any]:
    """The same bucket, wide enough for a test in a hurry."""
    [limit] = exchange.limits
    return [type(limit)(limit.bucket, 100, 1)]


def test_an_unknown_exchange_is_refused_with_those_that_are_near():
    with pytest.raises(Misconfigured) as told:
        Generic("krakn")

    assert "kraken" in told.value.cure
    with pytest.raises(Misconfigured, match=r"no exchange '\.\./x'"):
        Generic("../x")


def test_the_known_ones_are_known_without_loading_them():
    known = known_ids()

    assert {"binance", "kraken", "bybit"} < set(known)
    assert len(known) > 90


def test_it_polls_what_the_exchange_has_and_streams_nothing():
    assert kraken().polled == {"candles", "trades", "depth", "top", "ticker"}
    assert "mark" in Generic("bybit").polled
    assert kraken().sessions([Wanted("trades", "BTC/USD")]) == []
    with pytest.raises(InvalidInput, match="does not tell mark"):
        kraken().poll("mark", "BTC/USD")
    with pytest.raises(InvalidInput, match="no candles of '3m'"):
        kraken().candles("BTC/USD", "3m", 0, 10)


def test_it_calls_no_faster_than_ccxt_says():
    [limit] = kraken().limits

    assert (limit.weight, limit.per_s) == (1, 1.0)


def test_candles_come_through_ccxt_and_the_running_one_is_not_closed(played: PlayedRest, tmp_path: Path):
    begin_s = AT_MS // 60_000 * 60 - 120
    rows = [[begin_s + 60 * number, "1.0", "3", "0.5", "2", "1.5", "10.5", 7] for number in range(3)]
    played.by_path["/0/public/OHLC"] = {"error": [], "result": {"XXBTZUSD": rows, "last": 0}}
    exchange = kraken(played.url)

    candles = play(exchange, tmp_path, lambda rest: rest.call(exchange.candles("BTC/USD", "1m", begin_s * 1_000, 10)))

    assert candles[0] == Candle(
        "kraken", "BTC/USD", begin_s * 1_000, AT_MS,
        timeframe="1m", open=1, high=3, low=0.5, close=2, volume=10.5, closed=True,
    )  # fmt: skip
    assert candles[0].quote_volume is None
    assert [one.closed for one in candles] == [True, True, False]


def test_instruments_and_clock_come_through_ccxt(played: PlayedRest, tmp_path: Path):
    exchange = kraken(played.url)

    async def scene(rest: Rest) -> None:
        [call] = exchange.instruments()
        instruments = await rest.call(call)
        assert [one.symbol for one in instruments] == ["BTC/USD", "ETH/USD"]
        assert (instruments[0].price_step, instruments[0].quantity_step) == (0.1, 1e-08)
        assert instruments[0].contract_size is None
        assert await rest.call(exchange.server_time()) == [1_700_000_000_000]

    play(exchange, tmp_path, scene)


def test_only_what_is_watched_is_kept_and_what_is_watched_later_is_found(played: PlayedRest, tmp_path: Path):
    played.by_path["/0/public/Depth"] = {
        "error": [],
        "result": {"XXBTZUSD": {"bids": [["10", "2", 1]], "asks": [["11", "3", 1]]}},
    }
    exchange = kraken(played.url)

    async def scene(rest: Rest) -> None:
        [book] = await rest.call(exchange.book("BTC/USD"))
        assert (book.bids, book.asks, book.snapshot) == ([(10, 2)], [(11, 3)], True)
        assert list(rest._door._client.markets) == ["BTC/USD"]
        played.by_path["/0/public/Depth"]["result"] = {"XETHZUSD": {"bids": [], "asks": []}}
        await rest.call(exchange.book("ETH/USD"))
        assert list(rest._door._client.markets) == ["BTC/USD", "ETH/USD"]
        with pytest.raises(NotFound):
            await rest.call(exchange.book("NO/SUCH"))

    play(exchange, tmp_path, scene)


def test_a_trade_that_came_before_does_not_come_again():
    call = kraken().trades("BTC/USD")
    rows = [
        {"timestamp": 2, "id": "17", "price": 10.0, "amount": 1.0, "side": "buy"},
        {"timestamp": 1, "id": None, "price": 11.0, "amount": 2.0, "side": "sell"},
        {"timestamp": 3, "id": "a-b", "price": 12.0, "amount": 3.0, "side": "sell"},
    ]

    first = call.read(rows[:2], AT_MS)
    then = call.read(rows, AT_MS)

    assert [(one.time_ms, one.price, one.side, one.counted) for one in first] == [
        (1, 11, "sell", False),
        (2, 10, "buy", False),
    ]
    assert first[1].id == 17
    assert [one.price for one in then] == [12]
    assert then[0].id == kraken().trades("BTC/USD").read(rows[2:], AT_MS)[0].id, "the same trade, the same number"


def taken(number: int, at_ms: int = AT_MS, **other: Any) -> dict[str, Any]:
    return {"id": str(number), "timestamp": at_ms, "price": 1.5, "amount": 2.0, "side": "buy", **other}


def test_an_answer_that_does_not_reach_back_to_the_one_before_is_torn():
    exchange = kraken()
    read = exchange.trades("BTC/USD").read
    read([taken(1), taken(2)], AT_MS)
    read([taken(2), taken(3)], AT_MS)
    assert not exchange.take_torn("BTC/USD")

    assert len(read([taken(5), taken(6)], AT_MS)) == 2
    assert exchange.take_torn("BTC/USD")
    assert not exchange.take_torn("BTC/USD"), "it is told once"


def test_two_equal_trades_of_one_moment_without_ids_are_two():
    read = kraken().trades("BTC/USD").read
    row = taken(0, id=None)

    first = read([row, row], AT_MS)
    assert len({trade.id for trade in first}) == 2
    assert read([row], AT_MS) == []
    assert len(read([row, row, row], AT_MS)) == 1


def test_trades_of_an_answer_that_could_not_be_read_come_with_the_next():
    read = kraken().trades("BTC/USD").read
    with pytest.raises(CorruptData):
        read([taken(1), taken(2, side=None)], AT_MS)

    assert [trade.id for trade in read([taken(1), taken(2)], AT_MS)] == [1, 2]


def test_a_trade_without_a_side_is_corrupt():
    row = {"timestamp": 2, "id": "17", "price": 10.0, "amount": 1.0, "side": None}

    with pytest.raises(CorruptData):
        kraken().trades("BTC/USD").read([row], AT_MS)


def test_contracts_become_base_coins():
    exchange = swaps(CONTRACT, INVERSE)
    row = {"timestamp": 2, "id": "17", "price": 20_000.0, "amount": 300.0, "side": "buy"}
    book = {"timestamp": 5, "nonce": 9, "bids": [[20_000.0, 100.0]], "asks": [[20_001.0, 50.0]]}

    assert exchange.trades("BTC/USDT:USDT").read([row], AT_MS)[0].quantity == 3.0
    assert exchange.trades("BTC/USD:BTC").read([row], AT_MS)[0].quantity == 1.5
    [depth] = exchange.book("BTC/USDT:USDT").read(book, AT_MS)
    assert (depth.bids, depth.asks, depth.last_id) == ([(20_000, 1.0)], [(20_001, 0.5)], 9)
    interest = {"timestamp": 5, "openInterestAmount": 1_000.0, "openInterestValue": None}
    [open_interest] = exchange.poll("open_interest", "BTC/USDT:USDT").read(interest, AT_MS)
    assert (open_interest.quantity, open_interest.value) == (10, None)
    assert exchange.poll("open_interest", "BTC/USD:BTC").read(interest, AT_MS) == []


def test_a_contract_of_unknown_size_is_corrupt_and_not_one():
    exchange = swaps({"symbol": "BTC/USDT:USDT", "contract": True, "contractSize": None})
    row = {"timestamp": 2, "id": "17", "price": 20_000.0, "amount": 300.0, "side": "buy"}

    with pytest.raises(CorruptData):
        exchange.trades("BTC/USDT:USDT").read([row], AT_MS)


def test_what_is_not_said_stays_unknown():
    exchange = swaps(CONTRACT)
    [ticker] = exchange.poll("ticker", "BTC/USDT:USDT").read({"timestamp": 5, "last": 10.0}, AT_MS)
    [mark] = exchange.poll("mark", "BTC/USDT:USDT").read({"fundingRate": 0.0001}, AT_MS)

    assert (ticker.last, ticker.volume, ticker.bid, ticker.change_percent) == (10, None, None, None)
    assert (mark.time_ms, mark.funding_rate, mark.mark_price, mark.next_funding_ms) == (AT_MS, 0.0001, None, None)
    assert exchange.poll("top", "BTC/USDT:USDT").read({"bid": 1.0, "ask": 2.0}, AT_MS) == []
    assert exchange.poll("ticker", "BTC/USDT:USDT").read({"last": None}, AT_MS) == []


def test_funding_and_open_interest_history_are_for_perpetuals():
    exchange = swaps(CONTRACT)
    call = exchange.funding("BTC/USDT:USDT", 0, 100)

    assert exchange.funding("BTC/USDT", 0, 100) is None
    assert exchange.open_interest_history("BTC/USDT", 0, 100) is None
    assert kraken().funding("BTC/USD:USD", 0, 100) is None
    assert call is not None
    rates = call.read([{"timestamp": 2, "fundingRate": 0.1}, {"timestamp": 1, "fundingRate": -0.1}], AT_MS)
    assert [(one.time_ms, one.rate) for one in rates] == [(1, -0.1), (2, 0.1)]


def test_every_call_of_it_names_a_method_that_ccxt_has():
    exchange = Generic("bybit")
    symbol = "BTC/USDT:USDT"
    calls = [
        exchange.server_time(),
        exchange.candles(symbol, "1m", int(time.time() * 1_000), 10),
        exchange.book(symbol),
        exchange.trades(symbol),
        *(exchange.poll(channel, symbol) for channel in ("ticker", "top", "mark", "open_interest")),
        exchange.funding(symbol, 0, 10),
        exchange.open_interest_history(symbol, 0, 10),
    ]
    methods = {call.method for call in calls if call}

    assert [name for name in methods if not callable(getattr(load("bybit"), name, None))] == []
