"""What was recorded, through the same pipeline as what is live, into rows of an exchange called ``replay-...``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from app.domain.market import symbols
from app.domain.market.values import Event
from app.domain.market.venue import venue_of
from app.errors import InvalidInput
from app.exchanges.exchange import CHANNELS, Exchange, Instrument, Wanted
from app.exchanges.replay import public_data, recordings
from app.exchanges.replay.frames import Moment, Played, answers_of, replay, through, together
from app.storage import pairs
from app.storage.database import transaction
from app.usecases.ingest import Pipeline
from app.usecases.write_market import write

WRITE_EVERY = 20_000  # values
ROWS_WAITING = 1_000_000  # nothing is given up: whoever replays has the time

Reader = Callable[[Path, str, str], Iterable[Moment]]
"""From a file, the symbol and the exchange's name to what was recorded in it."""


def _archived(read: Callable[..., Iterable[Moment]]) -> Reader:
    return lambda path, symbol, exchange: read(
        path, exchange=exchange, spot=not symbols.taken_apart(symbol).is_perpetual
    )


READERS: dict[str, Reader] = {
    "wire": lambda path, _symbol, _exchange: recordings.raw_lines(path),
    "stamped": lambda path, symbol, _exchange: recordings.stamped_lines(path, symbols.taken_apart(symbol).joined),
    "table": lambda path, _symbol, _exchange: recordings.csv_stream(path),
    "books": lambda path, symbol, _exchange: recordings.csv_books(
        path, symbols.taken_apart(symbol).joined, futures=symbols.taken_apart(symbol).is_perpetual
    ),
    "agg-trades": _archived(public_data.agg_trades),
    "trades": _archived(public_data.trades),
    "book-tops": _archived(public_data.book_tops),
    "metrics": _archived(public_data.open_interests),
    "funding": _archived(public_data.fundings),
}
"""How files are read. ``wire``: a message a line behind its time, with its address (cryptofeed). ``stamped``: gzip of times in ns
and frames (hftbacktest). ``table``, ``books``: tables of diffs and trades, or of whole books (Binance-Data-Processor). The others
are kinds of Binance's public archive.
"""


@dataclass(slots=True)
class ReplayReport:
    """What came of it."""

    exchange: str
    played: Played = field(default_factory=Played)
    rows: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)
    books: dict[str, str] = field(default_factory=dict)
    """By symbol, how its book stood at the end."""


def kind_of(path: Path) -> str:
    """What kind of recording a file is, by its name."""
    name = path.name.lower()
    for part, kind in (
        ("aggtrades", "agg-trades"),
        ("bookticker", "book-tops"),
        ("metrics", "metrics"),
        ("fundingrate", "funding"),
        ("depth_snapshot", "books"),
        ("-trades-", "trades"),
    ):
        if part in name:
            return kind
    if name.endswith(".gz"):
        return "stamped"
    if name.endswith(".csv"):
        return "table"
    if name.endswith(".zip"):
        raise InvalidInput(
            f"{path.name} is no recording that can be replayed.", cure="Candles come in by: flotilla import"
        )
    return "wire"


async def replay_files(
    engine: Engine,
    exchange: Exchange,
    paths: Sequence[Path],
    watched: Sequence[str],
    *,
    kind: str | None,
    speed: float | None,
    now: Callable[[], datetime],
) -> ReplayReport:
    """Replay files together, in the order of their times, and store what comes out. The same files again change nothing."""
    if not watched:
        raise InvalidInput("Nobody says what was recorded.", cure="Name it: --symbol BTCUSDT")
    pipeline = Pipeline(most_waiting=ROWS_WAITING)
    with transaction(engine) as db:
        ids = pairs.ensure_pairs(db, exchange.name, [_instrument(name) for name in watched], now())
    for name in watched:
        pipeline.watch(exchange.name, name, pair_id=ids[name], deep=True)
    report, passed, last_ms = ReplayReport(exchange.name), 0, 0

    def store() -> None:
        written = write(engine, pipeline.harvest(last_ms), now())
        pipeline.fresh(last_ms)  # nobody is told what is long past
        for table, count in written.rows.items():
            report.rows[table] = report.rows.get(table, 0) + count

    def sink(events: list[Event]) -> None:
        nonlocal passed, last_ms
        last_ms = max(last_ms, events[-1].received_ms)
        pipeline.take(events, last_ms)
        passed += len(events)
        if passed >= WRITE_EVERY:
            passed = 0
            store()

    moments = [READERS[kind or kind_of(path)](path, watched[0], exchange.name) for path in paths]
    wanted = [Wanted(channel, name, "1m" if channel == "candles" else None) for name in watched for channel in CHANNELS]
    sessions = exchange.sessions(wanted)
    for session in sessions:
        session.opening()
    try:
        report.played = await replay(
            together(*moments),
            sink,
            receive=through(sessions) if sessions else None,
            answer=answers_of(exchange) if venue_of(exchange.name) == "binance" else None,
            speed=speed,
        )
    finally:
        store()
    report.messages = dict(pipeline.messages.get(exchange.name, {}))
    report.counters = dict(pipeline.counters_of(exchange.name))
    report.checks = {check: count for (check, _), count in sorted(pipeline.checks.items())}
    report.books = {
        market.symbol: market.keeper.status(last_ms)
        for market in pipeline.markets.values()
        if market.keeper is not None and market.keeper.updated_ms is not None
    }
    return report


def _instrument(name: str) -> Instrument:
    apart = symbols.taken_apart(name)
    return Instrument(name, apart.base, apart.quote, apart.settle)
