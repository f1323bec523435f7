"""The readers on recordings of our own making, and on the real ones where they are."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.domain.market.values import BookTop, Candle, Depth, Event, Trade
from app.errors import CorruptData
from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls
from app.exchanges.exchange import Channel, Wanted
from app.exchanges.replay.frames import Frame, Moment, Played, answers_of, replay, through
from app.exchanges.replay.recordings import csv_books, csv_stream, raw_lines, stamped_lines

CHANNELS: tuple[Channel, ...] = ("depth", "top", "trades", "candles")


def play(frames: Iterable[Moment], *symbols: str) -> tuple[Played, list[Event]]:
    """Through Binance's own sessions."""
    exchange = Binance("binance", Urls("https://f.test", "wss://f.test", "https://s.test", "wss://s.test"))
    wanted = [
        Wanted(channel, symbol, "1m" if channel == "candles" else None) for symbol in symbols for channel in CHANNELS
    ]
    events: list[Event] = []
    receive = through(exchange.sessions(wanted))
    return asyncio.run(replay(frames, events.extend, receive=receive, answer=answers_of(exchange))), events


def kinds(events: Iterable[Event]) -> dict[type, int]:
    return dict(Counter(type(event) for event in events))


def diff(**changed: object) -> dict[str, object]:
    whole = {"e": "depthUpdate", "E": 1723161256299, "T": 1723161256298, "s": "BTCUSDT", "U": 11, "u": 15, "pu": 9}
    return {**whole, "b": [["100.0", "1"]], "a": [], **changed}


def test_stamped_frames_become_messages_of_today(tmp_path: Path):
    trade = {"e": "trade", "E": 2, "T": 1, "s": "BTCUSDT", "t": 7, "p": "100.5", "q": "2", "X": "MARKET", "m": True}
    lines = [
        f"1723161255030314667 {json.dumps({'stream': 'btcusdt@depth@0ms', 'data': diff()}, separators=(',', ':'))}",
        f"1723161255088176367 {json.dumps({'stream': 'btcusdt@trade', 'data': trade}, separators=(',', ':'))}",
        '1723161255319702566 {"lastUpdateId":20,"E":2,"T":3,"bids":[["1","2"]],"asks":[["3","4"]]}',
    ]
    path = tmp_path / "btcusdt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))

    played, events = play(stamped_lines(path, "btcusdt"), "BTC/USDT:USDT")

    assert played.unreadable == 0, played.example
    assert kinds(events) == {Depth: 2, Trade: 1}
    assert [event.received_ms for event in events] == [1723161255030, 1723161255088, 1723161255319]
    assert (events[1].id, events[1].side, events[1].quantity) == (7, "sell", 2)
    assert (events[2].snapshot, events[2].last_id, events[2].symbol) == (True, 20, "BTC/USDT:USDT")


def test_a_line_without_a_time_is_corrupt(tmp_path: Path):
    path = tmp_path / "btcusdt.gz"
    path.write_bytes(gzip.compress(b"hello\n"))

    with pytest.raises(CorruptData, match="has no time"):
        list(stamped_lines(path, "btcusdt"))


def test_raw_lines_say_who_spoke(tmp_path: Path):
    path = tmp_path / "HUOBI.ws"
    packed = gzip.compress(b'{"ping":1}')
    path.write_text(
        "wss://api.huobi.pro/ws <-> 1618678069.69958\n"
        'wss://api.huobi.pro/ws <- 1618678070.5228748: {"sub":"market.btcusdt.depth.step0","id":1}\n'
        f"1618678070.733454: {packed!r}\n"
        '1618678071: {"a":"b: c"}\n'
        "\n"
        'https://api.huobi.pro/v1/common/symbols -> 1618678072.5: {"status":"ok"}\n'
        'configuration: {"trades":[]}\n'
    )

    assert list(raw_lines(path)) == [
        Frame(1618678069700, "opened", "wss://api.huobi.pro/ws"),
        Frame(1618678070523, "asked", "wss://api.huobi.pro/ws", '{"sub":"market.btcusdt.depth.step0","id":1}'),
        Frame(1618678070733, "said", "wss://api.huobi.pro/ws", packed),
        Frame(1618678071000, "said", "wss://api.huobi.pro/ws", '{"a":"b: c"}'),
        Frame(1618678072500, "answered", "https://api.huobi.pro/v1/common/symbols", '{"status":"ok"}'),
    ]


def test_a_line_that_is_no_frame_is_corrupt(tmp_path: Path):
    path = tmp_path / "X.ws"
    path.write_text("hello\n")

    with pytest.raises(CorruptData, match="is no frame"):
        list(raw_lines(path))


DIFFS = """TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,FirstUpdateId,FinalUpdateId,FinalUpdateIdInLastStream,IsAsk,Price,Quantity
1741046400085,trxusdt@depth@100ms,depthUpdate,1741046400083,1741046400049,TRXUSDT,10,12,9,0,0.23098,17739.0
1741046400085,trxusdt@depth@100ms,depthUpdate,1741046400083,1741046400049,TRXUSDT,10,12,9,1,0.23104,14763.0
1741046400185,trxusdt@depth@100ms,depthUpdate,garbage,1741046400149,TRXUSDT,13,14,12,0,0.23098,0.0
"""  # noqa: E501 - its own head
TRADES = """TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,IsBuyerMarketMaker,MUnknownParameter
1741046401272286,trxusdt@trade,trade,1741046401271969,1741046401271497,TRXUSDT,348656870,0.2312,2619.4,1,True
1741046401272286,trxusdt@trade,trade,1741046401271969,1741046401271497,TRXUSDT,348656870,0.2312,2619.4,1,True
"""  # noqa: E501 - its own head


def test_rows_become_the_messages_that_they_were_with_their_damage(tmp_path: Path):
    path = tmp_path / "diffs_usd_m.csv"
    path.write_text(DIFFS)

    first, second = csv_stream(path)

    assert json.loads(first.message) == {
        "stream": "trxusdt@depth@100ms",
        "data": {
            "e": "depthUpdate", "E": 1741046400083, "T": 1741046400049, "s": "TRXUSDT", "U": 10, "u": 12, "pu": 9,
            "b": [["0.23098", "17739.0"]], "a": [["0.23104", "14763.0"]],
        },
    }  # fmt: skip
    assert json.loads(second.message)["data"]["E"] == "garbage"


def test_a_trade_that_is_there_twice_comes_twice(tmp_path: Path):
    path = tmp_path / "trades_spot.csv"
    path.write_text(TRADES)

    played, events = play(csv_stream(path), "TRX/USDT")

    assert played.unreadable == 0, played.example
    assert [(event.id, event.side, event.received_ms) for event in events] == [(348656870, "sell", 1741046401272)] * 2


def test_tables_of_books_become_answers(tmp_path: Path):
    path = tmp_path / "books.csv"
    path.write_text(
        "# a report\nTimestampOfReceive,TimestampOfRequest,LastUpdateId,IsAsk,Price,Quantity\n"
        "1744588800258,1744588800180,667,0,10.0,2\n1744588800258,1744588800180,667,1,11.0,3\n"
        "1744588860258,1744588860180,668,0,10.5,1\n"
    )

    _, events = play(csv_books(path, "btcusdt"), "BTC/USDT")

    assert [(book.last_id, book.bids, book.asks) for book in events] == [
        (667, [(10, 2)], [(11, 3)]),
        (668, [(10.5, 1)], []),
    ]


def test_all_that_was_recorded_with_stamps_is_understood(recorded: Path):
    path = recorded / "raw_binance_usdm_20240808" / "btcusdt_20240808.gz"
    played, events = play(stamped_lines(path, "btcusdt"), "BTC/USDT:USDT")

    assert (played.moments, played.unreadable, played.skipped) == (93_954, 0, 0)
    assert kinds(events) == {BookTop: 66_089, Trade: 21_313, Depth: 6_552}
    assert sum(event.snapshot for event in events if isinstance(event, Depth)) == 1


def test_all_raw_lines_that_were_recorded_are_frames(recorded: Path):
    folder = recorded / "raw_messages"
    seen = {
        path.name: Counter(frame.kind for frame in raw_lines(path)) for path in folder.iterdir() if path.suffix == ".0"
    }

    assert seen["HUOBI.ws.44.0"] == {"said": 362, "asked": 26, "opened": 1}
    assert seen["OKX.0"] == {"answered": 25}
    played, events = play(raw_lines(folder / "BINANCE_FUTURES.ws.1.0"), *(
        f"{coin}/USDT:USDT" for coin in ("SUSHI", "AKRO", "KEEP", "CTK")
    ))  # fmt: skip
    assert (played.unreadable, kinds(events)) == (0, {Depth: 764, BookTop: 613, Trade: 91, Candle: 67})


def test_good_and_damaged_tables_can_be_played(recorded: Path):
    folder = recorded / "depth_good_and_corrupted"
    name = "test_{}_binance_difference_depth_stream_spot_trxusdt_04-03-2025.csv"
    messages = {kind: play(csv_stream(folder / name.format(kind)), "TRX/USDT")[0] for kind in ("positive", "negative")}

    assert (messages["positive"].events, messages["negative"].events) == (2_833, 2_835)
    books = play(
        csv_books(folder / "test_positive_binance_depth_snapshot_spot_btcusdt_14-04-2025.csv", "BTCUSDT"), "BTC/USDT"
    )
    assert [(len(book.bids), len(book.asks)) for book in books[1]] == [(5_000, 5_000)] * 2
