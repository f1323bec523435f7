"""HTX's streams: what is subscribed to, what a message says, what is answered and asked."""

import ast
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.market.values import BookTop, Candle, Depth, Mark, Ticker, Trade
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import Instrument, Wanted
from app.exchanges.htx import stream as htx_stream
from app.exchanges.htx.rest import Htx, Urls
from app.exchanges.htx.stream import HtxSession

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
NOW_MS = 1_790_000_000_000
URLS = Urls("https://spot", "wss://spot", "wss://feed", "https://swap", "wss://swap", "wss://notification")


def htx(**contracts: float) -> Htx:
    made = Htx("htx", URLS)
    made.learn(
        Instrument(symbol=f"{coin}/USDT:USDT", base=coin, quote="USDT", settle="USDT", contract_size=size)
        for coin, size in ({"BTC": 0.001} | contracts).items()
    )
    return made


def session(channel: str, symbol: str = PERPETUAL) -> HtxSession:
    [made] = htx().sessions([Wanted(channel, symbol, "1m" if channel == "candles" else None)])
    assert isinstance(made, HtxSession)
    made.opening()
    return made


def packed(text: bytes) -> bytes:
    """Compressed the same way in every run: the bytes name tests, which parallel workers must agree on."""
    return gzip.compress(text, mtime=0)


def push(topic: str, tick: object, ts: int = 7) -> bytes:
    return packed(json.dumps({"ch": topic, "ts": ts, "tick": tick}, separators=(",", ":")).encode())


def said(**message: object) -> bytes:
    return packed(json.dumps(message).encode())


def kline(minute: int, close: float = 2, **more: object) -> dict[str, object]:
    return {"id": minute * 60, "mrid": 1, "open": 1, "close": close, "high": 4, "low": 0.5, "amount": 3, "vol": 3000,
            "trade_turnover": 6, "count": 9} | more  # fmt: skip


def swap_book(event: str, version: int, bids: object = (), asks: object = ()) -> bytes:
    tick = {"asks": asks, "bids": bids, "event": event, "id": 1, "mrid": 1, "ts": 5, "version": version}
    return push("market.BTC-USDT.depth.size_150.high_freq", tick)


def texts(stream: HtxSession) -> list[dict[str, object]]:
    return [json.loads(text) for text in stream.to_send()]


def test_each_part_of_the_market_has_its_socket():
    wanted = [
        *(Wanted(channel, symbol, "1m" if channel == "candles" else None)
          for channel in ("candles", "trades", "depth", "top", "ticker", "mark", "open_interest")
          for symbol in (PERPETUAL, SPOT)),
    ]  # fmt: skip

    found = {one.url: [item.channel for item in one.wanted] for one in htx().sessions(wanted)}

    assert found == {
        "wss://swap": ["candles", "trades", "depth", "top", "ticker"],
        "wss://spot": ["candles", "trades", "top", "ticker"],
        "wss://feed": ["depth"],
        "wss://notification": ["mark"],
    }


def test_the_words_of_a_subscription():
    assert [json.loads(text) for symbol in (PERPETUAL, SPOT) for text in session("depth", symbol).opening()] == [
        {
            "sub": "market.BTC-USDT.depth.size_150.high_freq",
            "id": "market.BTC-USDT.depth.size_150.high_freq",
            "data_type": "incremental",
        },
        {"sub": "market.btcusdt.mbp.150", "id": "market.btcusdt.mbp.150"},
    ]
    assert [json.loads(text) for text in session("mark").opening()] == [
        {"op": "sub", "cid": "public.BTC-USDT.funding_rate", "topic": "public.BTC-USDT.funding_rate"}
    ]


def test_subscriptions_are_spread_over_seconds():
    coins = {f"C{number}": 1.0 for number in range(70)}
    [stream] = htx(**coins).sessions([Wanted("trades", f"{coin}/USDT:USDT") for coin in coins])
    acknowledgement = said(id="x", status="ok", subbed="x", ts=1)

    sent = [len(stream.opening())]
    for now_ms in (NOW_MS, NOW_MS + 999, NOW_MS + 1_000, NOW_MS + 2_000, NOW_MS + 3_000):
        stream.receive(acknowledgement, now_ms)
        sent.append(len(stream.to_send()))

    assert sent == [3, 30, 0, 30, 7, 0]


def test_pings_are_answered_in_their_own_dialect():
    stream = session("trades")

    assert stream.receive(said(ping=1790000000123), NOW_MS) == []
    assert stream.receive(said(op="ping", ts="1790000000124"), NOW_MS) == []

    assert texts(stream) == [{"pong": 1790000000123}, {"op": "pong", "ts": "1790000000124"}]
    assert texts(stream) == []


def test_trades_of_spot_come_oldest_first_with_ids_that_fit():
    rows = [
        {"id": 10**27 + tradeId, "ts": 5, "tradeId": tradeId, "amount": 2, "price": 3, "direction": "buy"}
        for tradeId in (12, 11)
    ]
    tick = {"id": 1, "ts": 5, "data": rows}

    first, second = session("trades", SPOT).receive(push("market.btcusdt.trade.detail", tick), NOW_MS)

    assert first == Trade(
        exchange="htx", symbol=SPOT, time_ms=5, received_ms=NOW_MS, price=3, quantity=2, side="buy", id=11
    )
    assert second.id == 12


def test_trades_of_spot_that_are_missing_between_ids_are_counted():
    stream = session("trades", SPOT)
    for number in (10, 11, 15):
        row = {"id": 1, "ts": 5, "tradeId": number, "amount": 2, "price": 3, "direction": "buy"}
        stream.receive(push("market.btcusdt.trade.detail", {"data": [row]}), NOW_MS)

    assert stream.counters["lost_trades"] == 3


def test_trades_of_perpetuals_are_read_in_coins():
    row = {"amount": 22, "ts": 5, "id": 1315909380000, "price": 13068.4, "direction": "sell"}
    stream = session("trades")

    [told] = stream.receive(push("market.BTC-USDT.trade.detail", {"data": [row | {"quantity": 0.023}]}), NOW_MS)
    [counted] = stream.receive(push("market.BTC-USDT.trade.detail", {"data": [row]}), NOW_MS)

    assert (told.quantity, told.side, told.id, told.counted) == (0.0115, "sell", 1315909380000, False)
    assert counted.quantity == pytest.approx(0.011)  # 22 contracts, of which the buyers have half


def test_the_volumes_of_a_candle_are_in_coins_and_quote_coins_and_counted_once():
    [perpetual] = session("candles").receive(push("market.BTC-USDT.kline.1min", kline(10)), NOW_MS)
    [spot] = session("candles", SPOT).receive(push("market.btcusdt.kline.1min", kline(10)), NOW_MS)

    assert perpetual == Candle(
        exchange="htx", symbol=PERPETUAL, time_ms=600_000, received_ms=NOW_MS, timeframe="1m", open=1, high=4, low=0.5,
        close=2, volume=1.5, quote_volume=3, trades=9, closed=False,
    )  # fmt: skip
    assert (spot.volume, spot.quote_volume) == (3, 3000)


def test_a_candle_is_closed_as_htx_answers_and_the_next_one_waits_behind_it():
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"

    [first] = stream.receive(push(topic, kline(10)), NOW_MS)
    assert stream.receive(push(topic, kline(11)), NOW_MS) == []
    [question] = texts(stream)
    assert stream.receive(push(topic, kline(11, close=7)), NOW_MS) == []
    closed, running = stream.receive(said(id=topic, rep=topic, status="ok", data=[kline(10, close=2.5)]), NOW_MS)

    assert not first.closed
    assert question == {"req": topic, "id": topic, "from": 600, "to": 600}
    assert (closed.time_ms, closed.close, closed.closed) == (600_000, 2.5, True)
    assert (running.time_ms, running.close, running.closed) == (660_000, 7, False)
    assert stream.receive(said(id=topic, rep=topic, status="ok", data=[kline(10)]), NOW_MS) == []
    assert len(stream.receive(push(topic, kline(11)), NOW_MS)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "error", "err-code": "bad-request", "err-msg": "no", "id": "market.BTC-USDT.kline.1min"},
        {"id": "market.BTC-USDT.kline.1min", "rep": "market.BTC-USDT.kline.1min", "status": "ok", "data": []},
    ],
)
def test_a_candle_without_a_good_answer_is_closed_as_it_was_seen(answer):
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"
    stream.receive(push(topic, kline(10)), NOW_MS)
    stream.receive(push(topic, kline(11)), NOW_MS)

    closed, running = stream.receive(said(**answer), NOW_MS)

    assert (closed.time_ms, closed.close, closed.closed) == (600_000, 2, True)
    assert running.time_ms == 660_000
    assert stream.counters["unconfirmed_candles"] == 1


def test_a_candle_that_nobody_answers_for_is_closed_after_a_while():
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"
    stream.receive(push(topic, kline(10)), NOW_MS)
    stream.receive(push(topic, kline(11)), NOW_MS)
    assert stream.receive(push(topic, kline(10, close=3)), NOW_MS) == []  # a straggler of the one that ends
    assert len(texts(stream)) == 1

    assert stream.receive(said(ping=1), NOW_MS + 1_999) == []
    closed, running = stream.receive(said(ping=1), NOW_MS + 2_000)
    assert (closed.time_ms, closed.close, closed.closed, running.time_ms) == (600_000, 3, True, 660_000)

    assert stream.receive(push(topic, kline(9)), NOW_MS) == []
    assert stream.counters["late_candles"] == 1


def test_how_long_answers_are_waited_for_is_our_time():
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"
    stream.speed = 60.0
    stream.receive(push(topic, kline(10)), NOW_MS)
    stream.receive(push(topic, kline(11)), NOW_MS)
    texts(stream)

    assert stream.receive(said(ping=1), NOW_MS + 119_999) == []
    assert len(stream.receive(said(ping=1), NOW_MS + 120_000)) == 2


def test_a_candle_is_closed_at_the_latest_when_the_next_but_one_begins():
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"
    for minute in (10, 11):
        stream.receive(push(topic, kline(minute)), NOW_MS)

    [closed] = stream.receive(push(topic, kline(12)), NOW_MS)

    assert (closed.time_ms, closed.closed) == (600_000, True)
    assert [question["from"] for question in texts(stream)] == [660]  # too late to ask for the one before


def test_of_many_candles_each_has_its_time_to_be_confirmed_from_its_own_question_on():
    coins = [f"C{number}" for number in range(40)]
    topics = [f"market.{coin.lower()}usdt.kline.1min" for coin in coins]
    [stream] = htx().sessions([Wanted("candles", f"{coin}/USDT", "1m") for coin in coins])
    now_ms, asked = NOW_MS, []
    for minute in (10, 11):
        for topic in topics:
            stream.receive(push(topic, kline(minute)), now_ms)
    while len(asked) < len(topics):
        for question in (json.loads(text) for text in stream.to_send()):
            if "req" in question:
                asked.append(question["req"])
                [closed, _] = stream.receive(
                    said(id=asked[-1], rep=asked[-1], status="ok", data=[kline(10, close=2.5)]), now_ms
                )
                assert closed.close == 2.5
        now_ms += 100
        stream.receive(said(ping=1), now_ms)

    assert asked == topics
    assert stream.counters["unconfirmed_candles"] == 0


def test_an_answer_about_another_minute_closes_nothing():
    stream, topic = session("candles"), "market.BTC-USDT.kline.1min"
    for minute in (10, 11):
        stream.receive(push(topic, kline(minute)), NOW_MS)

    assert stream.receive(said(id=topic, rep=topic, status="ok", data=[kline(9)]), NOW_MS) == []
    assert stream.counters["unconfirmed_candles"] == 0


def test_a_book_of_a_perpetual_counts_its_versions():
    stream = session("depth")

    [whole] = stream.receive(swap_book("snapshot", 40, [[100, 2]], [[101, 3]]), NOW_MS)
    [change] = stream.receive(swap_book("update", 41, [[100, 0]]), NOW_MS)

    assert whole == Depth(
        exchange="htx", symbol=PERPETUAL, time_ms=5, received_ms=NOW_MS, last_id=40,
        bids=[(100, 0.002)], asks=[(101, 0.003)], snapshot=True,
    )  # fmt: skip
    assert (change.last_id, change.previous_id, change.bids, change.asks) == (41, 40, [(100, 0)], [])


def test_asking_for_a_perpetuals_book_subscribes_anew_and_holds_changes_back():
    stream = session("depth")
    topic = "market.BTC-USDT.depth.size_150.high_freq"

    assert stream.ask_snapshot(PERPETUAL)
    assert stream.ask_snapshot(PERPETUAL)

    assert texts(stream) == [{verb: topic, "id": topic, "data_type": "incremental"} for verb in ("unsub", "sub")]
    assert stream.receive(swap_book("update", 41), NOW_MS) == []
    assert len(stream.receive(swap_book("snapshot", 1), NOW_MS)) == 1
    assert len(stream.receive(swap_book("update", 2), NOW_MS)) == 1
    assert stream.counters["held_back"] == 1


def test_a_book_of_a_perpetual_that_does_not_come_is_asked_for_again():
    stream = session("depth")
    stream.receive(said(ping=1), NOW_MS)
    stream.ask_snapshot(PERPETUAL)
    texts(stream)

    stream.receive(said(ping=1), NOW_MS + 5_000)
    stream.ask_snapshot(PERPETUAL)

    assert [next(iter(text)) for text in texts(stream) if "pong" not in text] == ["unsub", "sub"]


def test_a_book_of_spot_is_asked_for_while_changes_go_on():
    stream, topic = session("depth", SPOT), "market.btcusdt.mbp.150"

    [change] = stream.receive(push(topic, {"seqNum": 12, "prevSeqNum": 10, "asks": [[645.14, 26.75]]}), NOW_MS)
    assert stream.ask_snapshot(SPOT)
    assert stream.ask_snapshot(SPOT)
    questions = texts(stream)
    data = {"seqNum": 11, "bids": [[618.37, 71.594]], "asks": [[650.59, 14.9]]}
    [whole] = stream.receive(said(id=topic, rep=topic, status="ok", data=data), NOW_MS)

    assert (change.last_id, change.previous_id, change.bids, change.asks) == (12, 10, [], [(645.14, 26.75)])
    assert (change.time_ms, change.snapshot) == (7, False)
    assert questions == [{"req": topic, "id": topic}]
    assert (whole.last_id, whole.snapshot, whole.bids) == (11, True, [(618.37, 71.594)])


def test_questions_are_a_tenth_of_a_second_apart():
    [stream] = htx().sessions([Wanted("depth", SPOT), Wanted("depth", "ETH/USDT")])
    stream.opening()
    for symbol in (SPOT, "ETH/USDT"):
        assert stream.ask_snapshot(symbol)

    assert len(stream.to_send()) == 1
    assert stream.to_send() == []
    stream.receive(said(ping=1), NOW_MS)
    assert [json.loads(text) for text in stream.to_send()][1:] == [
        {"req": "market.ethusdt.mbp.150", "id": "market.ethusdt.mbp.150"}
    ]


def test_only_a_stream_of_books_is_asked_for_one():
    assert not session("trades").ask_snapshot(PERPETUAL)


def test_the_best_bid_and_ask():
    tick = {
        "seqId": 1,
        "ask": 52665.02,
        "askSize": 1.5,
        "bid": 52665.01,
        "bidSize": 0.2,
        "quoteTime": 9,
        "symbol": "btcusdt",
    }
    swap = {"mrid": 1, "id": 1, "bid": [13064, 38], "ask": [13072.3, 205], "ts": 8, "version": 1}

    [spot] = session("top", SPOT).receive(push("market.btcusdt.bbo", tick), NOW_MS)
    [perpetual] = session("top").receive(push("market.BTC-USDT.bbo", swap), NOW_MS)

    assert isinstance(spot, BookTop)
    assert (spot.bid, spot.bid_quantity, spot.ask, spot.ask_quantity, spot.time_ms) == (52665.01, 0.2, 52665.02, 1.5, 9)
    assert isinstance(perpetual, BookTop)
    assert (perpetual.bid, perpetual.bid_quantity, perpetual.ask_quantity, perpetual.time_ms) == (
        13064,
        0.038,
        pytest.approx(0.205),
        8,
    )
    assert session("top").receive(push("market.BTC-USDT.bbo", {"ask": [1, 1], "ts": 8}), NOW_MS) == []


def test_the_rolling_day():
    tick = {"id": 1, "open": 100, "close": 110, "high": 120, "low": 90, "amount": 5, "vol": 550, "trade_turnover": 551,
            "count": 3}  # fmt: skip

    [spot] = session("ticker", SPOT).receive(push("market.btcusdt.detail", tick), NOW_MS)
    [perpetual] = session("ticker").receive(push("market.BTC-USDT.detail", tick), NOW_MS)

    assert isinstance(spot, Ticker)
    assert (spot.last, spot.change, spot.change_percent, spot.volume, spot.quote_volume) == (110, 10, 10, 5, 550)
    assert (spot.bid, spot.ask, spot.trades, spot.time_ms) == (None, None, 3, 7)
    assert isinstance(perpetual, Ticker)
    assert perpetual.quote_volume == 275.5  # both sides are counted: once is half


def test_funding_comes_by_the_notification_socket():
    row = {"symbol": "BTC", "contract_code": "BTC-USDT", "fee_asset": "USDT", "funding_time": "1603778700000",
           "funding_rate": "-0.00022", "estimated_rate": "-0.0006", "settlement_time": "1603785600000"}  # fmt: skip
    stream = session("mark")

    assert (
        stream.receive(said(op="sub", cid="1", topic="public.BTC-USDT.funding_rate", ts=1, **{"err-code": 0}), NOW_MS)
        == []
    )
    [mark] = stream.receive(said(op="notify", topic="public.BTC-USDT.funding_rate", ts=11, data=[row]), NOW_MS)

    assert mark == Mark(
        exchange="htx", symbol=PERPETUAL, time_ms=11, received_ms=NOW_MS,
        funding_rate=-0.00022, next_funding_ms=1603785600000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        {"status": "error", "err-code": "bad-request", "err-msg": "429 too many request", "ts": 1, "id": "2"},
        {
            "op": "sub",
            "cid": "1",
            "topic": "public.X.funding_rate",
            "err-code": 2011,
            "err-msg": "no contract",
            "ts": 1,
        },
        {"op": "close", "ts": 1},
        {"op": "error", "ts": 1},
    ],
)
def test_a_refusal_asks_for_another_connection(message):
    with pytest.raises(Unavailable):
        session("trades").receive(said(**message), NOW_MS)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not compressed",
        packed(b'{"ping":1}')[:-9],
        packed(b"garbage"),
        packed(b"\xff"),
        "garbage",
        packed(b"{}"),
        push("market.BTC-USDT.depth.size_150.high_freq", {"bids": []}),
        push("market.BTC-USDT.depth.size_150.high_freq", {"bids": [["x", 1]], "version": 1, "event": "update"}),
        push("market.ETH-USDT.trade.detail", {"data": []}),
        push("market.ETH-USDT.depth.step0", {"bids": [], "asks": []}),
        said(rep="market.BTC-USDT.trade.detail", data=[]),
        said(op="notify", topic="public.BTC-USDT.liquidation_orders", ts=1, data=[]),
    ],
)
def test_what_cannot_be_understood_is_corrupt(message):
    with pytest.raises(CorruptData):
        session("depth").receive(message, NOW_MS)


@pytest.mark.parametrize("tick", [{"bids": []}, {"seqNum": 1, "bids": []}])
def test_a_change_of_a_spot_book_needs_its_sequence(tick):
    with pytest.raises(CorruptData):
        session("depth", SPOT).receive(push("market.btcusdt.mbp.150", tick), NOW_MS)


def test_a_message_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(htx_stream, "LARGEST", 1_000)

    with pytest.raises(CorruptData):
        session("trades").receive(packed(b" " * 2_000), NOW_MS)


@pytest.mark.parametrize(
    "message",
    [
        {"status": "error", "err-code": "bad-request", "err-msg": "invalid symbol", "ts": 1, "id": "market.x.bbo"},
        {
            "op": "sub",
            "topic": "public.X.funding_rate",
            "err-code": 2011,
            "err-msg": "Contract doesn't exist.",
            "ts": 1,
        },
    ],
)
def test_a_subscription_to_what_does_not_exist_costs_only_itself(message):
    stream = session("trades")

    with pytest.raises(CorruptData):
        stream.receive(said(**message), NOW_MS)

    assert stream.counters["refused_subscriptions"] == 1


def test_text_and_another_order_are_read_as_well():
    message = '{"ts":1,"ch":"market.BTC-USDT.bbo","tick":{"bid":[1,1],"ask":[2,1],"ts":8}}'

    assert len(session("top").receive(message, NOW_MS)) == 1


def test_perpetuals_wait_until_their_contracts_are_known():
    ignorant = Htx("htx", URLS)

    assert ignorant.sessions([Wanted("trades", SPOT)])
    with pytest.raises(Unavailable):
        ignorant.sessions([Wanted("trades", PERPETUAL)])
    with pytest.raises(InvalidInput):
        htx().sessions([Wanted("trades", "DOGE/USDT:USDT")])
    with pytest.raises(InvalidInput):
        htx().sessions([Wanted("trades", "BTC/USD:BTC")])


def recording(folder: Path, name: str) -> Iterator[bytes]:
    """Compressed messages of 2021 and 2022. Perpetuals settled in coins are read as if in USDT: they look the same."""
    for line in (folder / "raw_messages" / name).read_text().splitlines():
        if line[:1].isdigit():
            message = ast.literal_eval(line.partition(": ")[2])
            yield gzip.compress(gzip.decompress(message).replace(b"-USD.", b"-USDT."), 1)


def test_every_recorded_message_of_spot_is_read(recorded):
    coins = ("TRIO", "OMG", "XVG", "ZEN", "DOGE", "PROPY", "NEST")
    pairs = [*(f"{coin}/ETH" for coin in coins), "OMG/BTC", "BOR/USDT", "YFI/HUSD", "FIL3S/USDT"]
    [stream] = htx().sessions([Wanted("trades", symbol) for symbol in pairs])
    stream.opening()

    events = [event for message in recording(recorded, "HUOBI.ws.44.0") for event in stream.receive(message, NOW_MS)]

    trades = [event for event in events if isinstance(event, Trade)]
    books = [event for event in events if isinstance(event, Depth)]
    assert (len(trades), len(books)) == (73, 292)
    assert stream.counters["lost_trades"] == 0
    assert all(book.snapshot and book.bids[0][0] < book.asks[0][0] for book in books)
    assert next(json.loads(text)["pong"] for text in stream.to_send() if "pong" in text) == 1618678073643


def test_every_recorded_message_of_perpetuals_is_read(recorded):
    coins = {"ATOM": 10.0, "SHIB": 10.0, "ICP": 10.0, "ANT": 10.0, "GALA": 10.0}
    [stream] = htx(**coins).sessions([Wanted("trades", f"{coin}/USDT:USDT") for coin in coins])
    stream.opening()

    events = [
        event for message in recording(recorded, "HUOBI_SWAP.ws.1.0") for event in stream.receive(message, NOW_MS)
    ]

    trades = [event for event in events if isinstance(event, Trade)]
    assert (len(trades), len(events)) == (8, 8 + 1274)
    assert trades[0].quantity == pytest.approx(1.1284941)
