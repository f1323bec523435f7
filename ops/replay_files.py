"""`flotilla replay`: recorded files through the pipeline, and a report of what came out."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from app.domain.market import symbols
from app.domain.market.venue import REPLAY, venue_of
from app.errors import InvalidInput, NotFound
from app.exchanges.table import EXCHANGES, make
from app.settings import Settings
from app.storage.database import open_engine
from app.usecases.replay_market import READERS, ReplayReport, replay_files
from ops import migrate

WELL = 0


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Replay what the command line names, and say what became of it."""
    if args.speed is not None and not 0 < args.speed <= 1e6:
        raise InvalidInput("--speed must be above 0.", cure="Leave it away to go as fast as possible.")
    for word, given, known in (("--exchange", args.exchange, EXCHANGES), ("--kind", args.kind, READERS)):
        if given is not None and given not in known:
            raise InvalidInput(f"{word} {given[:40]!r} is unknown.", cure=f"Known: {', '.join(sorted(known))}.")
    paths = [Path(path) for path in args.paths]
    for path in paths:
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", cure="Check the path.")
    name = REPLAY + args.exchange
    exchange = make(name, msgspec.structs.asdict(getattr(settings, venue_of(name))))
    if migrate.make_if_empty(settings.database_url):
        print("the database was empty: its tables are made", file=sys.stderr)
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        report = asyncio.run(
            replay_files(
                engine,
                exchange,
                paths,
                [symbols.parse(symbol, spot=args.spot) for symbol in args.symbol],
                kind=args.kind,
                speed=args.speed,
                now=lambda: datetime.now(UTC),
            )
        )
    finally:
        engine.dispose()
    if args.json:
        print(json.dumps(asdict(report), indent=2))
        return WELL
    _print(report)
    return WELL


def _print(report: ReplayReport) -> None:
    played = report.played
    print(f"{report.exchange}: {played.moments} messages, {played.events} values, {played.skipped} passed over")
    if played.unreadable:
        print(f"    {played.unreadable} could not be read, such as: {played.example}")
    for title, counts in (
        ("values", report.messages),
        ("faults", report.counters),
        ("checks", report.checks),
        ("rows", report.rows),
    ):
        if counts:
            print(f"    {title:<7} {', '.join(f'{name} {count}' for name, count in counts.items())}")
    for symbol, status in report.books.items():
        print(f"    book    {symbol} {status}")
