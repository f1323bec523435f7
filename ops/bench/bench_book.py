"""How fast a book takes changes, beside its peers, and how many messages a second go through decode, checks and book.

    python -m ops.bench.bench_book --rounds 7 --json

On five minutes of recorded BTCUSDT and ETHUSDT futures where they are at hand (../shared/data), else on a stream of the same shape
that it makes itself. The best prices are read after every message, as a strategy would. All contenders run in turn, in one process,
and each must end with the same prices. It ends with 1 when our book is no faster than dict and bisect, or when fewer than 50,000
messages a second go through.
"""

import argparse
import gc
import gzip
import json
import random
import statistics
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from app.domain.market.book import Book, BookKeeper
from app.domain.market.cleaning import Context, clean
from app.domain.market.depth_sync import FUTURES
from app.domain.market.values import Depth, Event, Level, Trade
from app.domain.orderflow.flow import FlowKeeper
from app.exchanges.binance.places import Urls
from app.exchanges.binance.stream import sessions
from app.exchanges.exchange import Wanted
from app.settings import ROOT

RECORDED = ROOT.parent / "shared" / "data" / "raw_binance_usdm_20240808"
GOAL_MESSAGES_S = 50_000
BOUND = 1_000
SYMBOLS = {"btcusdt": "BTC/USDT:USDT", "ethusdt": "ETH/USDT:USDT"}


@dataclass(frozen=True)
class Tape:
    """A stream as it came, with the whole book that was asked for meanwhile."""

    source: str
    messages: list[tuple[int, bytes]]
    """When each was received, in ms, and what it said."""
    snapshots: list[tuple[int, Depth]]
    """Each with its place among the messages."""


def recorded() -> Tape | None:
    """Both symbols in the order of their times. None where there is no recording."""
    if not RECORDED.is_dir():
        return None
    lines: list[tuple[int, str, bytes]] = []
    for coin in SYMBOLS:
        with gzip.open(RECORDED / f"{coin}_20240808.gz") as frames:
            for line in frames:
                time_ns, _, said = line.partition(b" ")
                lines.append((int(time_ns) // 1_000_000, coin, said.strip()))
    lines.sort(key=lambda each: each[0])
    messages: list[tuple[int, bytes]] = []
    snapshots: list[tuple[int, Depth]] = []
    for time_ms, coin, said in lines:
        if b"lastUpdateId" in said[:60]:
            snapshots.append((len(messages), _snapshot(json.loads(said), SYMBOLS[coin])))
        else:  # the recording took the finest streams; the words are the same
            as_ours = said.replace(b"@depth@0ms", b"@depth@100ms", 1)
            if b"@trade" in said[:40]:
                as_ours = said.replace(b"@trade", b"@aggTrade", 1).replace(b'"t":', b'"a":', 1)
            messages.append((time_ms, as_ours))
    return Tape("recorded, BTCUSDT and ETHUSDT, 2024-08-08", messages, snapshots)


def generated(count: int = 40_000, seed: int = 1) -> Tape:
    """As many messages of the recording's shape: 7 % depth of 68 changes, 70 % tops, 23 % trades, around a price that walks."""
    chance = random.Random(seed)
    start_ms, mid, messages, last_id = 1_700_000_000_000, 600_000, [], 1_000

    def side(sign: int, size: int) -> list[list[str]]:
        far = (int(chance.expovariate(1 / 120)) + 1 for _ in range(size))
        return [[f"{(mid + sign * each) / 10:.2f}", f"{chance.choice((0, 0.5, 1, 2.25)):.3f}"] for each in far]

    def say(stream: str, **said: Any) -> bytes:
        return json.dumps({"stream": f"btcusdt@{stream}", "data": said}, separators=(",", ":")).encode()

    book = {sign: {f"{(mid + sign * each) / 10:.2f}": "1.000" for each in range(1, BOUND + 1)} for sign in (-1, 1)}
    snapshot = {"lastUpdateId": last_id, "E": start_ms, "bids": [*book[-1].items()], "asks": [*book[1].items()]}
    for number in range(count):
        time_ms, kind = start_ms + number * 3, chance.random()
        if kind < 0.07:
            before, last_id, old, mid = last_id, last_id + chance.randint(20, 60), mid, mid + chance.randint(-3, 3)
            swept = [f"{each / 10:.2f}" for each in range(min(old, mid), max(old, mid) + 1)]
            gone = [[each, "0.000"] for each in swept]
            data: dict[str, Any] = {"b": gone + side(-1, 34), "a": gone + side(1, 34)}
            messages.append(
                (
                    time_ms,
                    say(
                        "depth@100ms", e="depthUpdate", E=time_ms, T=time_ms, U=before + 1, u=last_id, pu=before, **data
                    ),
                )
            )
        elif kind < 0.77:
            data = {"b": f"{(mid - 1) / 10:.2f}", "B": "2.507", "a": f"{(mid + 1) / 10:.2f}", "A": "1.100"}
            messages.append(
                (time_ms, say("bookTicker", e="bookTicker", u=last_id, s="BTCUSDT", T=time_ms, E=time_ms, **data))
            )
        else:
            price, bought = f"{mid / 10:.2f}", chance.random() < 0.5
            data = {"a": number, "p": price, "q": f"{chance.expovariate(20):.3f}1", "m": bought}
            messages.append((time_ms, say("aggTrade", e="aggTrade", E=time_ms, T=time_ms, s="BTCUSDT", **data)))
    return Tape("generated", messages, [(0, _snapshot(snapshot, SYMBOLS["btcusdt"]))])


def _snapshot(said: dict[str, Any], symbol: str) -> Depth:
    sides = [[(float(price), float(quantity)) for price, quantity in said[side]] for side in ("bids", "asks")]
    time_ms = said["E"]
    return Depth(
        "binance", symbol, time_ms, time_ms, last_id=said["lastUpdateId"], bids=sides[0], asks=sides[1], snapshot=True
    )


def session() -> Any:
    """Our own client's stream, which decodes with types."""
    host = "wss://x"
    urls = Urls(futures_rest=host, futures_stream=host, spot_rest=host, spot_stream=host)
    wanted = [Wanted(channel, symbol) for symbol in SYMBOLS.values() for channel in ("depth", "top", "trades")]
    found = sessions("binance", urls, wanted)
    return _either(found)


def _either(found: list[Any]) -> Callable[[bytes, int], list[Event]]:
    """Binance splits channels over doors; here one loop reads both, so ask the session that knows the stream."""
    known = {name: each.receive for each in found for name in each._readers}  # noqa: SLF001 - to split the tape as the doors do
    return lambda said, time_ms: known[said[11 : said.find(b'"', 11)]](said, time_ms)


# --- books


Message = tuple[list[Level], list[Level]]
Contender = Callable[[Depth, list[Message]], float]


def ours(snapshot: Depth, changes: list[Message]) -> float:
    """``app.domain.market.book``, bounded to 1,000 levels a side."""
    book = Book(BOUND)
    book.replace(snapshot.bids, snapshot.asks)
    total = 0.0
    for bids, asks in changes:
        book.apply(bids, asks)
        total += (book.best_bid or 0.0) + (book.best_ask or 0.0)
    return total


def dict_and_bisect(snapshot: Depth, changes: list[Message]) -> float:
    """What one writes first: a dict, and a sorted list that is kept with bisect. Unbounded."""
    sides = [(dict(levels), sorted(price for price, _ in levels)) for levels in (snapshot.bids, snapshot.asks)]
    (bids, bid_prices), (asks, ask_prices) = sides
    total = 0.0
    for message in changes:
        for quantities, prices, levels in ((bids, bid_prices, message[0]), (asks, ask_prices, message[1])):
            for price, quantity in levels:
                if quantity:
                    if price not in quantities:
                        insort(prices, price)
                    quantities[price] = quantity
                elif price in quantities:
                    del quantities[price]
                    del prices[bisect_left(prices, price)]
        total += bid_prices[-1] + ask_prices[0]
    return total


def sorted_dict(snapshot: Depth, changes: list[Message]) -> float:
    """``sortedcontainers.SortedDict``. Unbounded."""
    from sortedcontainers import SortedDict  # type: ignore[import-untyped, unused-ignore]

    bids, asks = SortedDict(snapshot.bids), SortedDict(snapshot.asks)
    total = 0.0
    for message in changes:
        for quantities, levels in ((bids, message[0]), (asks, message[1])):
            for price, quantity in levels:
                if quantity:
                    quantities[price] = quantity
                else:
                    quantities.pop(price, None)
        total += bids.peekitem(-1)[0] + asks.peekitem(0)[0]
    return total


def compiled(snapshot: Depth, changes: list[Message], *, read: bool = True) -> float:
    """``order-book`` of PyPI, in C. Unbounded: its bound would forget levels that come back. Reading it sorts all keys anew."""
    from order_book import OrderBook  # type: ignore[import-untyped, import-not-found, unused-ignore]

    book = OrderBook()
    book.bids, book.asks = dict(snapshot.bids), dict(snapshot.asks)
    bids, asks = book.bids, book.asks
    total = 0.0
    for message in changes:
        for quantities, levels in ((bids, message[0]), (asks, message[1])):
            for price, quantity in levels:
                if quantity:
                    quantities[price] = quantity
                else:
                    with suppress(KeyError):  # `in` would walk through all of its levels
                        del quantities[price]
        if read:
            total += bids.index(0)[0] + asks.index(0)[0]
    return total


def compiled_unread(snapshot: Depth, changes: list[Message]) -> float:
    """The same, and nobody ever reads it: what its changes alone cost."""
    return compiled(snapshot, changes, read=False)


UNREAD = "order-book, never read"
CONTENDERS: dict[str, Contender] = {
    "ours": ours,
    "dict + bisect": dict_and_bisect,
    "SortedDict": sorted_dict,
    "order-book (C)": compiled,
    UNREAD: compiled_unread,
}


def book_figures(tape: Tape, rounds: int) -> dict[str, float]:
    """Level changes a second of each contender, the median of its rounds. They take turns, so that a busy machine hurts all."""
    place, snapshot = next(each for each in tape.snapshots if each[1].symbol == SYMBOLS["btcusdt"])
    read = session()
    depths = [each for time_ms, said in tape.messages if b"btcusdt@depth" in said[:40] for each in read(said, time_ms)]
    changes = [(each.bids, each.asks) for each in depths if each.last_id >= snapshot.last_id]
    count = sum(len(bids) + len(asks) for bids, asks in changes)
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    answers: dict[str, float] = {}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            try:
                seconds, answers[name] = _timed(lambda run=contender: run(snapshot, changes))  # type: ignore[misc]
            except ImportError:
                continue  # a peer of the extra `bench` that is not installed
            taken[name].append(seconds)
    if len({round(answer, 2) for name, answer in answers.items() if name != UNREAD}) != 1:
        raise AssertionError(f"The books disagree: {answers}")
    print(
        f"{len(changes)} messages, {count} level changes, {count / len(changes):.0f} each; snapshot at {place}",
        file=sys.stderr,
    )
    return {name: count / statistics.median(seconds) for name, seconds in taken.items() if seconds}


def pipeline_figures(tape: Tape, rounds: int) -> dict[str, float]:
    """Messages a second through decode, checks, and book or flow: the mix as it came, and what each step adds."""
    read = session()
    steps: dict[str, Callable[[], Any]] = {
        "decode": lambda: _decode(read, tape.messages),
        "decode + clean": lambda: _decode_and_clean(read, tape.messages),
        "decode + clean + book": lambda: _all_of_it(read, tape),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(_timed(step)[0])
    return {name: len(tape.messages) / statistics.median(seconds) for name, seconds in taken.items()}


def _decode(read: Callable[[bytes, int], list[Event]], messages: Iterable[tuple[int, bytes]]) -> None:
    for time_ms, said in messages:
        read(said, time_ms)


def _decode_and_clean(read: Callable[[bytes, int], list[Event]], messages: Iterable[tuple[int, bytes]]) -> None:
    context = Context()
    for time_ms, said in messages:
        context.now_ms = time_ms
        for event in read(said, time_ms):
            clean(event, context)


def _all_of_it(read: Callable[[bytes, int], list[Event]], tape: Tape) -> dict[str, BookKeeper]:
    context = Context()
    books = {symbol: BookKeeper("binance", symbol, FUTURES) for symbol in SYMBOLS.values()}
    flows = {symbol: FlowKeeper("binance", symbol) for symbol in SYMBOLS.values()}
    begin = 0
    for end, snapshot in [*tape.snapshots, (len(tape.messages), None)]:
        for time_ms, said in tape.messages[begin:end]:
            context.now_ms = time_ms
            for event in read(said, time_ms):
                value = clean(event, context).value
                if isinstance(value, Depth):
                    books[value.symbol].receive(value, time_ms)
                elif isinstance(value, Trade):
                    flows[value.symbol].add(value)
        if snapshot is not None:
            books[snapshot.symbol].receive(snapshot, snapshot.time_ms)
        begin = end
    return books


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    begin = time.perf_counter()
    answer = run()
    return time.perf_counter() - begin, answer


class Figures(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    source: str
    level_changes_per_s: dict[str, float]
    messages_per_s: dict[str, float]


def main() -> int:
    """Measure and say it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--generated", action="store_true", help="do not use the recording")
    options = parser.parse_args()
    tape = (None if options.generated else recorded()) or generated()
    figures = Figures(tape.source, book_figures(tape, options.rounds), pipeline_figures(tape, options.rounds))
    if options.json:
        print(msgspec.json.encode(figures).decode())
    else:
        print(f"{tape.source}: {len(tape.messages)} messages")
        plain = figures.level_changes_per_s["dict + bisect"]
        for name, rate in figures.level_changes_per_s.items():
            print(f"  {name:24} {rate / 1e6:6.2f} M level changes/s   {rate / plain:5.2f} x dict + bisect")
        for name, rate in figures.messages_per_s.items():
            print(f"  {name:24} {rate:8,.0f} messages/s   {1e6 / rate:5.1f} µs each")
    fast = figures.level_changes_per_s["ours"] > figures.level_changes_per_s["dict + bisect"]
    return 0 if fast and figures.messages_per_s["decode + clean + book"] >= GOAL_MESSAGES_S else 1


if __name__ == "__main__":
    sys.exit(main())
