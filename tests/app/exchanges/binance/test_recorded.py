"""Every message that was recorded from Binance is understood; ``test_stream`` has the same kinds on messages of our own."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.domain.market.symbols import QUOTES
from app.domain.market.values import BookTop, Candle, Depth, Event, Trade
from app.exchanges.exchange import RestCall, Session, Wanted
from tests.app.exchanges.binance.wire import binance

KINDS = {"depth@100ms": "depth", "bookTicker": "top", "kline_1m": "candles", "aggTrade": "trades"}


def wanted_by(url: str, settle: str) -> list[Wanted]:
    """What the recorded connection had asked for."""
    found = []
    for name in url.partition("streams=")[2].partition(" ")[0].split("/"):
        native, _, kind = name.partition("@")
        quote = next(quote for quote in QUOTES if native.upper().endswith(quote))
        symbol = f"{native.upper().removesuffix(quote)}/{quote}{settle}"
        found.append(Wanted(KINDS[kind], symbol, "1m" if kind == "kline_1m" else None))  # type: ignore[arg-type]
    return found


def replay(path: Path, settle: str = "") -> list[Event]:
    """Each message, through the session whose stream it is."""
    lines = path.read_text().splitlines()
    sessions = binance().sessions(wanted_by(lines[0], settle))
    events: list[Event] = []
    for line in lines[1:]:
        moment, _, message = line.partition(": ")
        if message:
            events += through(sessions, message, int(float(moment) * 1000))
    return events


def through(sessions: list[Session], message: str, received_ms: int) -> list[Event]:
    """The recording of futures is older than their two doors: one connection carried what now comes through two."""
    name = message.partition('"stream":"')[2].partition('"')[0]
    (session,) = (one for one in sessions if name in one.url)
    return session.receive(message, received_ms)


def test_all_that_was_recorded_of_spot_is_understood(recorded: Path):
    events = replay(recorded / "raw_messages" / "BINANCE.ws.1.0")
    assert Counter(type(event) for event in events) == {Depth: 177, BookTop: 84, Candle: 2, Trade: 2}
    first = events[0]
    assert isinstance(first, Depth)
    assert (first.symbol, first.time_ms, first.received_ms) == ("NKN/USDT", 1633998512068, 1633998512063)
    assert (first.first_id, first.last_id, first.previous_id) == (499869750, 499869752, None)
    assert first.bids == [(0.3513, 6195.0), (0.3475, 5548.0), (0.3464, 6222.0)]


def test_all_that_was_recorded_of_futures_is_understood(recorded: Path):
    events = replay(recorded / "raw_messages" / "BINANCE_FUTURES.ws.1.0", ":USDT")
    assert Counter(type(event) for event in events) == {Depth: 764, BookTop: 613, Candle: 67, Trade: 91}
    trades = [event for event in events if isinstance(event, Trade)]
    assert (trades[0].symbol, trades[0].price, trades[0].quantity, trades[0].side) == (
        "CTK/USDT:USDT",
        1.011,
        10.0,
        "buy",
    )
    followed: dict[str, int] = {}
    for event in events:
        if isinstance(event, Depth):
            assert event.previous_id == followed.get(event.symbol, event.previous_id)
            followed[event.symbol] = event.last_id


def test_aggregate_trades_count_up_by_one(recorded: Path):
    events = replay(recorded / "raw_messages" / "BINANCE_FUTURES.ws.1.0", ":USDT")
    last: dict[str, int] = {}
    for event in events:
        if isinstance(event, Trade):
            assert event.counted
            assert event.id == last.get(event.symbol, event.id - 1) + 1
            last[event.symbol] = event.id


def five_minutes(recorded: Path) -> Iterator[tuple[int, str]]:
    with gzip.open(recorded / "raw_binance_usdm_20240808" / "btcusdt_20240808.gz", "rt") as lines:
        for line in lines:
            moment, _, message = line.rstrip().partition(" ")
            yield int(moment) // 1_000_000, message


def test_five_busy_minutes_of_one_future_are_understood(recorded: Path):
    symbol = "BTC/USDT:USDT"
    (public,) = binance().sessions([Wanted("depth", symbol), Wanted("top", symbol)])
    counts: Counter[type[Event]] = Counter()
    changes = 0
    for received_ms, message in five_minutes(recorded):
        if '"lastUpdateId"' in message[:20]:
            (book,) = binance().book(symbol).read(json.loads(message), received_ms)
            assert (book.snapshot, book.last_id, book.time_ms) == (True, 5123107852948, 1723161256493)
            assert (len(book.bids), len(book.asks), book.bids[0]) == (1000, 1000, (61800.2, 2.909))
            continue
        if "@trade" in message[:30]:
            continue  # single trades are no stream of ours
        (event,) = public.receive(message.replace("@depth@0ms", "@depth@100ms", 1), received_ms)
        counts[type(event)] += 1
        if isinstance(event, Depth):
            changes += len(event.bids) + len(event.asks)
    assert counts == {Depth: 6551, BookTop: 66089}
    assert 50 < changes / counts[Depth] < 90


def answers(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Address, moment and answer of each recorded REST call."""
    for line in path.read_text().splitlines():
        url, arrow, rest = line.partition(" -> ")
        if arrow and url.startswith("http"):
            moment, _, text = rest.partition(": ")
            yield url, int(float(moment) * 1000), json.loads(text)


def test_recorded_books_are_understood(recorded: Path):
    for file, symbol in (("BINANCE.http.0.0", "NKN/USDT"), ("BINANCE_FUTURES.http.0.0", "SUSHI/USDT:USDT")):
        books = [
            binance().book(symbol).read(answer, at)[0] for _, at, answer in answers(recorded / "raw_messages" / file)
        ]
        assert len(books) == 4
        assert all(book.snapshot and book.bids[0][0] < book.asks[0][0] for book in books)


def test_recorded_lists_of_instruments_are_understood(recorded: Path):
    def listed(call: RestCall, file: str) -> dict[str, Any]:
        ((_, at, answer),) = answers(recorded / "raw_messages" / file)
        return {instrument.symbol: instrument for instrument in call.read(answer, at)}

    futures_call, spot_call = binance().instruments()
    futures = listed(futures_call, "BINANCE_FUTURES.0")
    sushi = futures["SUSHI/USDT:USDT"]
    assert (sushi.base, sushi.settle, sushi.price_step, sushi.quantity_step) == ("SUSHI", "USDT", 0.001, 1.0)
    assert (sushi.min_quantity, sushi.contract_size, sushi.active) == (1.0, None, True)
    assert not [name for name in futures if "_" in name], "dated futures are no perpetuals"
    spot = listed(spot_call, "BINANCE.0")
    assert (spot["NKN/USDT"].price_step, spot["NKN/USDT"].settle) == (0.0001, None)
    assert (len(futures) > 100, len(spot) > 1000) == (True, True)
