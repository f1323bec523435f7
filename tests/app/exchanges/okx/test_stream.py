"""OKX's streams: what is subscribed to, what a message says, when a book is asked for anew."""

import json
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from app.domain.market.book import BookKeeper
from app.domain.market.depth_sync import rule_of
from app.domain.market.values import BookTop, Candle, Depth, Mark, OpenInterest, Ticker, Trade
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import Instrument, Wanted
from app.exchanges.okx.rest import Okx, Urls
from app.exchanges.okx.stream import OkxSession

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
NOW_MS = 1_790_000_000_000


def okx(**contracts: float) -> Okx:
    made = Okx("okx", Urls("https://rest", "wss://public", "wss://business"))
    made.learn(
        Instrument(symbol=f"{coin}/USDT:USDT", base=coin, quote="USDT", settle="USDT", contract_size=size)
        for coin, size in ({"BTC": 0.01} | contracts).items()
    )
    return made


def session(*channels: str, symbol: str = PERPETUAL) -> OkxSession:
    made = okx().sessions([Wanted(channel, symbol, "1m" if channel == "candles" else None) for channel in channels])
    assert len(made) == 1
    assert isinstance(made[0], OkxSession)
    made[0].opening()
    return made[0]


def push(channel: str, *rows: object, inst_id: str = "BTC-USDT-SWAP", **more: object) -> str:
    return json.dumps({"arg": {"channel": channel, "instId": inst_id}, **more, "data": rows}, separators=(",", ":"))


def book(
    bids: list[list[str]], asks: list[list[str]], *, seq: int = 1, previous: int = -1, checksum: int = 0
) -> dict[str, object]:
    return {
        "asks": [[*level, "0", "1"] for level in asks],
        "bids": [[*level, "0", "1"] for level in bids],
        "ts": str(NOW_MS),
        "checksum": checksum,
        "seqId": seq,
        "prevSeqId": previous,
    }


def crc(text: str) -> int:
    value = zlib.crc32(text.encode())
    return value - 2**32 if value >= 2**31 else value


def test_contracts_become_coins_in_trades():
    row = {"instId": "BTC-USDT-SWAP", "tradeId": "7", "px": "83725.9", "sz": "5", "side": "buy", "ts": "1790000000123"}

    [trade] = session("trades").receive(push("trades", row | {"count": "3", "source": "0", "seqId": 9}), NOW_MS)

    assert trade == Trade(
        exchange="okx", symbol=PERPETUAL, time_ms=1_790_000_000_123, received_ms=NOW_MS,
        price=83725.9, quantity=0.05, side="buy", id=7,
    )  # fmt: skip


def test_spot_is_in_coins_already():
    row = {"instId": "BTC-USDT", "tradeId": "7", "px": "2", "sz": "5", "side": "sell", "ts": "1"}

    [trade] = session("trades", symbol=SPOT).receive(push("trades", row, inst_id="BTC-USDT"), NOW_MS)

    assert (trade.symbol, trade.quantity, trade.side) == (SPOT, 5.0, "sell")


def test_trades_that_are_missing_between_ids_are_counted_also_over_a_reconnect():
    stream = session("trades")
    row = {"instId": "BTC-USDT-SWAP", "px": "1", "sz": "1", "side": "buy", "ts": "1"}

    stream.receive(push("trades", row | {"tradeId": "10", "count": "2"}), NOW_MS)
    stream.receive(push("trades", row | {"tradeId": "13", "count": "3"}), NOW_MS)
    assert stream.counters["lost_trades"] == 0
    stream.opening()
    stream.receive(push("trades", row | {"tradeId": "20", "count": "2"}), NOW_MS)

    assert stream.counters["lost_trades"] == 5


def test_a_candle_is_closed_when_okx_confirms_it():
    stream = session("candles")
    row = ["1790000040000", "1", "4", "0.5", "2", "300", "3", "6", "0"]

    [running] = stream.receive(push("candle1m", row), NOW_MS)
    [closed] = stream.receive(push("candle1m", [*row[:-1], "1"]), NOW_MS)

    assert isinstance(running, Candle)
    assert (running.open, running.high, running.low, running.close) == (1, 4, 0.5, 2)
    assert (running.volume, running.quote_volume, running.closed, running.trades) == (3, 6, False, None)
    assert isinstance(closed, Candle)
    assert closed.closed


def test_a_spot_candle_counts_its_first_volume():
    row = ["1790000040000", "1", "4", "0.5", "2", "300", "600", "600", "1"]

    [candle] = session("candles", symbol=SPOT).receive(push("candle1m", row, inst_id="BTC-USDT"), NOW_MS)

    assert isinstance(candle, Candle)
    assert (candle.volume, candle.quote_volume) == (300, 600)


def test_candles_come_from_the_business_stream_and_all_else_from_the_public_one():
    urls = [one.url for one in okx().sessions([Wanted("candles", SPOT, "1m"), Wanted("trades", SPOT)])]

    assert urls == ["wss://business", "wss://public"]


def test_a_book_says_what_it_follows():
    stream = session("depth")

    [whole] = stream.receive(push("books", book([["100", "2"]], [["101", "3"]], seq=5), action="snapshot"), NOW_MS)
    [change] = stream.receive(push("books", book([["100", "0"]], [], seq=9, previous=5), action="update"), NOW_MS)

    assert whole == Depth(
        exchange="okx", symbol=PERPETUAL, time_ms=NOW_MS, received_ms=NOW_MS,
        last_id=5, bids=[(100.0, 0.02)], asks=[(101.0, 0.03)], snapshot=True,
    )  # fmt: skip
    assert isinstance(change, Depth)
    assert (change.last_id, change.previous_id, change.bids, change.snapshot) == (9, 5, [(100.0, 0.0)], False)


def test_the_best_bid_and_ask():
    row = {"asks": [["101", "3", "0", "1"]], "bids": [["100", "2", "0", "1"]], "ts": "5", "seqId": 1}
    stream = session("top")

    [top] = stream.receive(push("bbo-tbt", row), NOW_MS)

    assert isinstance(top, BookTop)
    assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity, top.time_ms) == (100, 0.02, 101, 0.03, 5)
    assert stream.receive(push("bbo-tbt", row | {"bids": []}), NOW_MS) == []


def test_a_ticker_leaves_unknown_what_is_empty():
    row = {"instId": "BTC-USDT-SWAP", "last": "110", "open24h": "100", "high24h": "120", "low24h": "90",
           "vol24h": "500", "volCcy24h": "5", "bidPx": "", "bidSz": "", "askPx": "111", "askSz": "2", "ts": "7"}  # fmt: skip

    [ticker] = session("ticker").receive(push("tickers", row), NOW_MS)

    assert isinstance(ticker, Ticker)
    assert (ticker.last, ticker.open, ticker.change, ticker.change_percent) == (110, 100, 10, 10)
    assert (ticker.volume, ticker.quote_volume) == (5, None)
    assert (ticker.bid, ticker.bid_quantity, ticker.ask, ticker.ask_quantity) == (None, None, 111, 0.02)


def test_marks_come_in_three_messages():
    stream = session("mark")

    events = [
        *stream.receive(push("mark-price", {"instId": "BTC-USDT-SWAP", "markPx": "100", "ts": "1"}), NOW_MS),
        *stream.receive(push("index-tickers", {"idxPx": "99", "ts": "2"}, inst_id="BTC-USDT"), NOW_MS),
        *stream.receive(
            push(
                "funding-rate", {"fundingRate": "0.0001", "fundingTime": "28800000", "nextFundingRate": "", "ts": "3"}
            ),
            NOW_MS,
        ),
    ]

    assert all(isinstance(event, Mark) and event.symbol == PERPETUAL for event in events)
    assert [event.mark_price for event in events] == [100, None, None]
    assert [event.index_price for event in events] == [None, 99, None]
    assert (events[2].funding_rate, events[2].next_funding_ms, events[2].time_ms) == (0.0001, 28_800_000, 3)


def test_open_interest_is_in_coins():
    row = {"instId": "BTC-USDT-SWAP", "oi": "5000", "oiCcy": "50", "oiUsd": "4186295", "ts": "1"}

    [value] = session("open_interest").receive(push("open-interest", row), NOW_MS)

    assert isinstance(value, OpenInterest)
    assert (value.quantity, value.value) == (50, 4_186_295)


def test_spot_has_no_marks_and_no_open_interest():
    assert '"args":[{"channel":"trades","instId":"BTC-USDT"}]' in "".join(
        okx().sessions([Wanted(channel, SPOT) for channel in ("trades", "mark", "open_interest")])[0].opening()
    )


def test_many_subscriptions_go_in_few_requests():
    coins = {f"C{number}": 1.0 for number in range(250)}
    [stream] = okx(**coins).sessions([Wanted("trades", f"{coin}/USDT:USDT") for coin in coins])

    requests = [json.loads(text) for text in stream.opening()]

    assert [len(request["args"]) for request in requests] == [200, 50]
    assert all(len(text) < 64 * 1024 for text in stream.opening())


def test_more_than_one_connection_may_carry_is_split():
    coins = {f"C{number}": 1.0 for number in range(301)}

    assert len(okx(**coins).sessions([Wanted("trades", f"{coin}/USDT:USDT") for coin in coins])) == 2


def test_a_pong_and_an_acknowledgement_say_nothing():
    stream = session("trades")

    assert stream.receive("pong", NOW_MS) == []
    assert stream.receive('{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT-SWAP"}}', NOW_MS) == []
    assert stream.keep_alive is not None
    assert stream.keep_alive.every_s < stream.silent_s <= 30


@pytest.mark.parametrize(
    "message",
    [
        '{"event":"error","code":"60012","msg":"Invalid request","connId":"a4d3ae55"}',
        '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade."}',
    ],
)
def test_an_error_and_an_announced_end_ask_for_another_connection(message):
    with pytest.raises(Unavailable):
        session("trades").receive(message, NOW_MS)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "garbage",
        b"\xff\xfe",
        "[1,2]",
        '{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"px":"1"}]}',
        '{"arg":{"channel":"trades","instId":"ETH-USDT-SWAP"},"data":[]}',
        '{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"partial","data":[]}',
        '{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"update","data":[{"asks":[["x","1"]],"bids":[],"ts":"1"}]}',
        '{"arg":{"channel":"candle1m","instId":"BTC-USDT-SWAP"},"data":[["1","2"]]}',
        '{"arg":{"channel":"tickers","instId":"BTC-USDT-SWAP"},"data":[{"last":"abc","ts":"1"}]}',
        '{"arg":{"channel":"unheard-of","instId":"BTC-USDT-SWAP"},"data":[]}',
        "{}",
    ],
)
def test_what_cannot_be_understood_is_corrupt(message):
    with pytest.raises(CorruptData):
        session("trades", "depth", "top", "ticker").receive(message, NOW_MS)


def test_a_subscription_to_what_does_not_exist_costs_only_itself():
    stream = session("trades")

    with pytest.raises(CorruptData, match="BTC-USDT-SWAP"):
        stream.receive(
            '{"event":"error","code":"60018","msg":"channel:trades,instId:BTC-USDT-SWAP doesn\'t exist."}', NOW_MS
        )

    assert stream.counters["refused_subscriptions"] == 1


@pytest.mark.parametrize("written", ["NaN", "inf", "-Infinity", "x"])
def test_a_number_that_is_none_is_corrupt(written: str):
    row = {"instId": "BTC-USDT-SWAP", "last": "1", "ts": "1", "high24h": written}

    with pytest.raises(CorruptData, match="for a number"):
        session("ticker").receive(push("tickers", row), NOW_MS)


def test_a_message_in_another_order_or_in_bytes_is_read_as_well():
    row = {"instId": "BTC-USDT-SWAP", "tradeId": "7", "px": "1", "sz": "1", "side": "buy", "ts": "1"}
    message = json.dumps({"data": [row], "arg": {"instId": "BTC-USDT-SWAP", "channel": "trades"}})

    assert len(session("trades").receive(message.encode(), NOW_MS)) == 1


def test_perpetuals_wait_until_their_contracts_are_known():
    ignorant = Okx("okx", Urls("https://rest", "wss://public", "wss://business"))

    assert ignorant.sessions([Wanted("trades", SPOT)])
    with pytest.raises(Unavailable):
        ignorant.sessions([Wanted("trades", PERPETUAL)])


@pytest.mark.parametrize("symbol", ["DOGE/USDT:USDT", "BTC/USD:BTC"])
def test_a_perpetual_that_okx_does_not_have_is_refused(symbol):
    with pytest.raises(InvalidInput):
        okx().sessions([Wanted("trades", symbol)])


def test_asking_for_a_book_subscribes_anew_and_holds_changes_back_until_it_comes():
    stream = session("depth")
    change = push("books", book([["100", "1"]], [], seq=9, previous=8), action="update")

    assert stream.ask_snapshot(PERPETUAL)
    assert stream.ask_snapshot(PERPETUAL)  # asked once, however often it is wanted
    said = stream.to_send()

    assert [json.loads(text)["op"] for text in said] == ["unsubscribe", "subscribe"]
    assert stream.to_send() == []
    assert stream.receive(change, NOW_MS) == []
    [whole] = stream.receive(push("books", book([], [["101", "1"]], seq=20), action="snapshot"), NOW_MS)
    assert isinstance(whole, Depth)
    assert whole.snapshot
    assert len(stream.receive(change, NOW_MS)) == 1
    assert stream.counters["held_back"] == 1


def test_a_book_that_does_not_come_is_asked_for_again():
    stream = session("depth")
    stream.receive("pong", NOW_MS)
    stream.ask_snapshot(PERPETUAL)
    stream.to_send()

    stream.receive("pong", NOW_MS + 5_000)
    stream.ask_snapshot(PERPETUAL)

    assert [json.loads(text)["op"] for text in stream.to_send()] == ["unsubscribe", "subscribe"]


def test_how_long_a_book_is_waited_for_is_our_time():
    stream = session("depth")
    stream.speed = 60.0
    stream.receive("pong", NOW_MS)
    stream.ask_snapshot(PERPETUAL)
    stream.to_send()
    stream.receive("pong", NOW_MS + 299_999)
    stream.ask_snapshot(PERPETUAL)
    assert stream.to_send() == []

    stream.receive("pong", NOW_MS + 300_000)
    stream.ask_snapshot(PERPETUAL)
    assert len(stream.to_send()) == 2


def test_asking_too_often_is_left_to_rest():
    stream = session("depth")
    snapshot = push("books", book([], [["101", "1"]]), action="snapshot")
    asked = 0
    stream.receive("pong", NOW_MS)
    while stream.ask_snapshot(PERPETUAL):
        asked += 1
        stream.receive(snapshot, NOW_MS)

    assert asked == 210
    stream.receive(snapshot, NOW_MS + 3_600_000)
    assert stream.ask_snapshot(PERPETUAL)


def test_only_a_stream_of_books_is_asked_for_one():
    assert not session("trades").ask_snapshot(PERPETUAL)


def test_a_book_that_does_not_add_up_is_a_gap_at_once_and_is_asked_for_anew():
    stream, keeper = session("depth"), BookKeeper("okx", PERPETUAL, rule_of("okx", perpetual=True))

    def hand_over(message: str) -> bool:
        return all(keeper.receive(depth, NOW_MS) for depth in stream.receive(message, NOW_MS))

    whole = book([["100", "2"], ["99", "1"]], [["101", "3"]], checksum=crc("100:2:101:3:99:1"))
    good = book([["99", "0"], ["100.5", "4"]], [], seq=2, previous=1, checksum=crc("100.5:4:101:3:100:2"))
    bad = book([["100.5", "5"]], [], seq=3, previous=2, checksum=crc("100.5:4:101:3:100:2"))

    assert hand_over(push("books", whole, action="snapshot"))
    assert hand_over(push("books", good, action="update"))
    assert keeper.status(NOW_MS) == "ok"
    assert not hand_over(push("books", bad, action="update"))
    assert (keeper.status(NOW_MS), keeper.ask(NOW_MS), stream.ask_snapshot(PERPETUAL)) == ("gap", True, True)

    assert [json.loads(text)["op"] for text in stream.to_send()] == ["unsubscribe", "subscribe"]
    assert (stream.counters["checksums"], stream.counters["checksum_failures"]) == (3, 1)
    assert hand_over(push("books", whole | {"seqId": 9}, action="snapshot"))
    assert keeper.status(NOW_MS) == "ok"


def test_the_checksum_is_over_25_levels_and_a_shorter_side_just_ends():
    bids = [[f"{200 - place}.0", f"0.{place}10"] for place in range(30)]
    asks = [["201", "1"], ["202.50", "2"], ["203", "3"]]
    parts = [":".join(level) for pair in zip(bids[:3], asks, strict=True) for level in pair]
    parts += [":".join(level) for level in bids[3:25]]
    stream = session("depth")

    stream.receive(push("books", book(bids, asks, checksum=crc(":".join(parts))), action="snapshot"), NOW_MS)

    assert (stream.counters["checksums"], stream.counters["checksum_failures"]) == (1, 0)


def test_a_checksum_of_0_is_none():
    stream = session("depth")

    assert len(stream.receive(push("books", book([["100", "2"]], [["101", "3"]]), action="snapshot"), NOW_MS)) == 1
    assert len(stream.receive(push("books", book([["100", "5"]], [], seq=2), action="update"), NOW_MS)) == 1
    assert stream.counters["checksums"] == 0


def recording(folder: Path) -> Iterator[str]:
    """Messages of 2022. The future among them is read as if it were the perpetual, whose messages look the same."""
    for line in (folder / "raw_messages" / "OKX.ws.1.0").read_text().splitlines():
        if not line.startswith("wss"):
            yield line.partition(": ")[2].replace("BTC-USD-220527", "BTC-USDT-SWAP")


def recorded_session() -> OkxSession:
    channels = ("trades", "depth", "ticker")
    [made] = okx().sessions([Wanted(channel, symbol) for channel in channels for symbol in (PERPETUAL, SPOT)])
    assert isinstance(made, OkxSession)
    made.opening()
    return made


def test_every_recorded_message_is_read_and_every_checksum_verified(recorded):
    stream = recorded_session()
    messages = list(recording(recorded))
    events = [event for message in messages for event in stream.receive(message, NOW_MS)]

    acknowledged = sum('"event":"subscribe"' in message for message in messages)
    assert (len(messages), acknowledged) == (309, 12)
    assert len(events) == 297
    assert {type(event) for event in events} == {Trade, Depth, Ticker}
    assert (stream.counters["checksums"], stream.counters["checksum_failures"]) == (197, 0)
    assert stream.counters["lost_trades"] == 0
    chain = [event for event in events if isinstance(event, Depth) and event.symbol == SPOT]
    assert all(after.previous_id == before.last_id for before, after in pairwise(chain))


def test_one_level_that_was_tampered_with_makes_a_recorded_book_be_asked_for_anew(recorded):
    stream = recorded_session()
    seen = 0
    for message in recording(recorded):
        if '"action":"update"' in message and '"instId":"BTC-USDT"' in message and seen == 0:
            row = json.loads(message)
            row["data"][0]["bids"] += [["30230.25", "9", "0", "1"]]  # inside the best 25
            [damage] = stream.receive(json.dumps(row), NOW_MS)
            assert damage.first_id > damage.last_id
            seen += 1
        else:
            stream.receive(message, NOW_MS)

    assert seen == 1
    assert stream.counters["checksum_failures"] == 1
    assert [json.loads(text)["args"] for text in stream.to_send()] == [[{"channel": "books", "instId": "BTC-USDT"}]] * 2
    assert stream.counters["held_back"] > 50
