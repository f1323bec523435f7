"""The streams of the demo exchange say what its market says, in each venue's words, to clients that know nothing of it."""

import gzip
import json
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any
from unittest.mock import patch

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection

from app.domain.market.depth_sync import DepthSync, rule_of
from app.domain.market.values import Candle, Depth, Event, Trade
from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls as BinanceUrls
from app.exchanges.demo.addresses import urls_for
from app.exchanges.exchange import Exchange, RestCall, Wanted
from app.exchanges.htx.rest import Htx
from app.exchanges.htx.rest import Urls as HtxUrls
from app.exchanges.okx.rest import Okx
from app.exchanges.okx.rest import Urls as OkxUrls
from tests.app.exchanges.demo.served import BEGAN_MS, Served

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"


def messages(socket: ClientConnection) -> Iterator[Any]:
    """What a connection says, taken out of its gzip."""
    while True:
        said = socket.recv(timeout=10)
        yield json.loads(gzip.decompress(said) if isinstance(said, bytes) else said)


def events(served: Served, exchange: Exchange, wanted: Wanted, count: int) -> list[Event]:
    """The first events of one thing, by our own unmodified adapter."""
    [session] = exchange.sessions([wanted])
    found: list[Event] = []
    with served.listen(session.url.split(str(served.port))[1]) as socket:
        for text in session.opening():
            socket.send(text)
        if wanted.channel == "depth":
            session.ask_snapshot(wanted.symbol)
        while len(found) < count:
            found += session.receive(socket.recv(timeout=10), 0)
            for text in session.to_send():
                socket.send(text)
    return found


def exchanges(served: Served) -> list[Exchange]:
    """The three adapters, which know the contracts."""
    urls = urls_for(served.port)
    okx, htx = Okx("demo-okx", OkxUrls(**urls["okx"])), Htx("demo-htx", HtxUrls(**urls["htx"]))
    taught: list[tuple[RestCall, str]] = [
        (okx.instruments()[0], "/okx/api/v5/public/instruments?instType=SPOT"),
        (okx.instruments()[1], "/okx/api/v5/public/instruments?instType=SWAP"),
        (htx.instruments()[1], "/htx/futures/linear-swap-api/v1/swap_contract_info?business_type=swap"),
    ]
    for call, path in taught:
        call.read(served.get(path), 0)
    return [Binance("demo-binance", BinanceUrls(**urls["binance"])), okx, htx]


def venue(exchange: Exchange) -> Any:
    return exchange.name.removeprefix("demo-")


def test_every_trade_is_told_once_with_the_price_side_and_quantity_of_the_market(fast: Served):
    for exchange in exchanges(fast):
        for symbol in (PERPETUAL, SPOT):
            told = [event for event in events(fast, exchange, Wanted("trades", symbol), 60) if isinstance(event, Trade)]
            true = fast.market.trades_from(venue(exchange), symbol, told[0].id, len(told), 2**53)

            assert [(trade.id, trade.price, trade.side) for trade in told] == [
                (trade.id, trade.price, trade.side) for trade in true
            ]
            assert all(abs(one.quantity - other.quantity) < 1e-9 for one, other in zip(told, true, strict=True)), (
                exchange.name
            )


def test_every_candle_that_closes_is_told_even_at_three_hundred_times_the_speed(fast: Served):
    for exchange in exchanges(fast):
        told = [
            event
            for event in events(fast, exchange, Wanted("candles", PERPETUAL, "1m"), 12)
            if isinstance(event, Candle)
        ]
        closed = [candle for candle in told if candle.closed]
        true = fast.market.candles(venue(exchange), PERPETUAL, "1m", closed[0].time_ms, len(closed))

        assert len(closed) > 2
        assert [(one.time_ms, one.open, one.high, one.low, one.close) for one in closed] == [
            (one.open_ms, one.open, one.high, one.low, one.close) for one in true
        ]


def test_a_book_built_from_the_stream_is_the_markets_book(demo: Served):
    for exchange in exchanges(demo):
        for symbol in (PERPETUAL, SPOT):
            perpetual = symbol == PERPETUAL
            sync = DepthSync(rule_of(exchange.name, perpetual=perpetual))
            told = [event for event in events(demo, exchange, Wanted("depth", symbol), 8) if isinstance(event, Depth)]
            bids: dict[float, float] = {}
            asks: dict[float, float] = {}
            if venue(exchange) == "binance":
                told.insert(2, binance_snapshot(demo, perpetual=perpetual, at_ms=told[2].time_ms, like=told[0]))
            for depth in told:
                for change in sync.receive(depth):
                    for side, levels in ((bids, change.bids), (asks, change.asks)):
                        if change.snapshot:
                            side.clear()
                        for price, quantity in levels:
                            side.pop(price, None)
                            if quantity:
                                side[price] = quantity
            book = demo.market.book(venue(exchange), symbol, told[-1].time_ms)

            assert sync.trusted, exchange.name
            assert sync.counts.gaps == 0
            assert sorted(bids, reverse=True)[:100] == [price for price, _ in book.bids[:100]], (exchange.name, symbol)
            assert sorted(asks)[:100] == [price for price, _ in book.asks[:100]]
            assert all(abs(bids[price] - quantity) < 1e-9 for price, quantity in book.bids[:100])


def binance_snapshot(served: Served, *, perpetual: bool, at_ms: int, like: Depth) -> Depth:
    """What REST would have said in the middle of the stream."""
    book = served.market.book("binance", PERPETUAL if perpetual else SPOT, at_ms)
    return Depth(
        exchange=like.exchange, symbol=like.symbol, time_ms=at_ms, received_ms=0, last_id=book.last_id,
        bids=book.bids, asks=book.asks, snapshot=True,
    )  # fmt: skip


def test_at_high_speed_one_change_of_a_book_covers_all_that_happened(fast: Served):
    told = [
        event for event in events(fast, exchanges(fast)[0], Wanted("depth", PERPETUAL), 5) if isinstance(event, Depth)
    ]

    assert all(later.previous_id == earlier.last_id for earlier, later in pairwise(told))
    assert told[-1].time_ms - told[0].time_ms >= 4 * 20_000


def test_binance_answers_subscriptions_and_lists_them(demo: Served):
    with demo.listen("/binance/futures/ws/btcusdt@markPrice@1s") as socket:
        said = messages(socket)
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker", "nothing@trade"], "id": 1}))
        socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 2}))
        socket.send(json.dumps({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 3}))
        socket.send("{")
        socket.send(json.dumps({"method": "DANCE", "id": 4}))
        answers = []
        while len(answers) < 5:
            if "e" not in (message := next(said)):
                answers.append(message)

    assert answers[:3] == [
        {"result": None, "id": 1},
        {"result": ["btcusdt@markPrice@1s", "btcusdt@bookTicker"], "id": 2},
        {"result": None, "id": 3},
    ]
    assert [answer["error"]["code"] for answer in answers[3:]] == [3, 2]


def test_binance_futures_are_silent_at_the_wrong_door(demo: Served):
    path = "/binance/futures/public/stream?streams=btcusdt@markPrice@1s/btcusdt@depth@100ms"
    with demo.listen(path) as socket:
        said = messages(socket)
        names = {next(said)["stream"] for _ in range(15)}

    assert names == {"btcusdt@depth@100ms"}


def test_okx_acknowledges_and_refuses(demo: Served):
    with demo.listen("/okx/ws/v5/public") as socket:
        socket.send("ping")
        pong = socket.recv(timeout=10)
        args = [
            {"channel": "books", "instId": "BTC-USDT-SWAP"},
            {"channel": "candle1m", "instId": "BTC-USDT-SWAP"},
            {"channel": "books", "instId": "NO-SUCH"},
        ]
        socket.send(json.dumps({"op": "subscribe", "args": args}))
        said = messages(socket)
        answers = list(islice((message for message in said if "event" in message), 3))

    assert pong == "pong"
    assert [(answer["event"], answer.get("code")) for answer in answers] == [
        ("subscribe", None),
        ("error", "60018"),
        ("error", "60018"),
    ]


def test_htx_cuts_who_does_not_answer_its_pings(broken: Served):
    beat = "app.exchanges.demo.htx_stream.HtxTalk.beat_every_s"
    said: list[Any] = []
    with (
        patch(beat, 0.05),
        broken.listen("/htx/futures/linear-swap-ws") as socket,
        pytest.raises(ConnectionClosedError),
    ):
        said += iter(messages(socket))

    assert [set(message) for message in said] == [{"ping"}, {"ping"}]


def test_a_stream_is_made_once_however_many_listen_and_not_at_all_when_nobody_does(demo: Served):
    path = "/binance/spot/stream?streams=ethusdt@bookTicker"
    with demo.listen(path), demo.listen(path):
        wait_until(lambda: demo.get("/demo/status")["clients"]["binance"] == 2)
        assert demo.get("/demo/status")["streams"] == 1
    wait_until(lambda: demo.get("/demo/status")["streams"] == 0)


def test_a_stream_that_begins_waits_for_no_slower_one(alone: Served):
    with alone.listen("/okx/ws/v5/public") as slow:  # every thirty seconds
        asked = {"op": "subscribe", "args": [{"channel": "funding-rate", "instId": "BTC-USDT-SWAP"}]}
        slow.send(json.dumps(asked))
        said = messages(slow)
        while "data" not in next(said):
            pass
    with alone.listen("/binance/futures/ws/btcusdt@bookTicker") as quick:
        assert json.loads(quick.recv(timeout=10))["e"] == "bookTicker"


def test_a_client_that_does_not_read_is_cut_and_nobody_waits_for_it(fast: Served):
    fast.ask("/demo/load", method="POST", body={"trade_rate": 400})
    try:
        with fast.listen("/binance/futures/ws/btcusdt@trade"):
            wait_until(lambda: fast.get("/demo/status")["dropped_clients"] == 1)
    finally:
        fast.ask("/demo/load", method="POST", body={"trade_rate": 1})


def test_a_multiplied_load_keeps_ids_whole_and_volume_true(demo: Served):
    demo.ask("/demo/load", method="POST", body={"trade_rate": 50})
    try:
        told = demo.get("/binance/futures/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1000")
        again = demo.get(f"/binance/futures/fapi/v1/aggTrades?symbol=BTCUSDT&limit=500&fromId={told[500]['a']}")
    finally:
        demo.ask("/demo/load", method="POST", body={"trade_rate": 1})
    first = told[0]["a"] // 50
    whole = demo.market.trades_from("binance", PERPETUAL, first + 1, 1, BEGAN_MS * 2)[0]
    parts = [float(trade["q"]) for trade in told if trade["a"] // 50 == whole.id]

    assert [trade["a"] for trade in told] == list(range(told[0]["a"], told[0]["a"] + 1000))
    assert again[:400] == told[500:900]
    assert len(parts) == 50
    assert abs(sum(parts) - whole.quantity) < 1e-6


def wait_until(look: Any) -> None:
    until = time.monotonic() + 10
    while not look():
        assert time.monotonic() < until
        time.sleep(0.02)
