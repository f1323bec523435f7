"""`flotilla import`: progress on standard error, the report on standard output."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from app.domain.market import symbols, timeframes
from app.errors import InvalidInput
from app.exchanges.replay.candle_files import Said
from app.settings import Settings
from app.storage.database import open_engine
from app.usecases.import_candles import FileReport, ImportReport, OtherWorld, Progress, check_world, import_files
from ops import migrate, one_world

WELL, NOT_WELL, CUT_OFF = 0, 1, 130
MOST_UTC_OFFSET_H = 14
CHOICE = "FLOTILLA__FEED__EXCHANGES"


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Import what the command line names, and say what became of it."""
    if not -MOST_UTC_OFFSET_H <= args.utc_offset <= MOST_UTC_OFFSET_H:  # nan is not either
        raise InvalidInput(
            f"--utc-offset {args.utc_offset:g} is not an offset from UTC.",
            cure=f"Give hours between -{MOST_UTC_OFFSET_H} and {MOST_UTC_OFFSET_H}, such as 8.",
        )
    said = Said(
        exchange=args.exchange.lower(),
        symbol=symbols.parse(args.symbol, spot=args.spot) if args.symbol else None,
        timeframe=timeframes.parse(args.timeframe) if args.timeframe else None,
        spot=args.spot,
        quote=args.quote.upper() if args.quote else None,
        utc_offset_h=args.utc_offset,
    )
    try:
        check_world(said.exchange, simulated=settings.simulated)
    except OtherWorld as error:
        error.cure = f"{CHOICE}={error.source} {args.line}"
        raise
    if migrate.make_if_empty(settings.database_url):
        print("the database was empty: its tables are made", file=sys.stderr)
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        if settings.database.url:
            one_world.check(engine, simulated=settings.simulated)
        report = import_files(
            engine,
            [Path(path) for path in args.paths],
            said,
            simulated=settings.simulated,
            now=datetime.now(UTC),
            progress=_tell_a_person if sys.stderr.isatty() else _tell_a_log(),
        )
    finally:
        engine.dispose()
    if args.json:
        print(json.dumps(_as_json(report), indent=2, ensure_ascii=False))
    else:
        _print(report)
    if report.cut_off:
        return CUT_OFF
    return WELL if report.well else NOT_WELL


def _tell_a_person(file: FileReport, place: int, files: int) -> None:
    sys.stderr.write(f"\r\x1b[K[{place}/{files}] {Path(file.path).name}: {file.rows:,} rows")
    sys.stderr.flush()
    if file.verdict != "imported" or place == files:
        sys.stderr.write("\r\x1b[K")


def _tell_a_log() -> Progress:
    """One line a file, where nobody looks on."""
    told: set[str] = set()

    def tell(file: FileReport, place: int, files: int) -> None:
        if file.path not in told:
            told.add(file.path)
            print(f"[{place}/{files}] {file.path}", file=sys.stderr, flush=True)

    return tell


def _print(report: ImportReport) -> None:
    for file in report.files:
        what = ", ".join(file.what[:3]) + (f" and {len(file.what) - 3} more" if len(file.what) > 3 else "")
        counts = f"{file.rows} rows, {file.stored} stored, {file.unchanged} unchanged, {file.refusals} refused"
        print(f"{file.path}: {file.verdict}{f' ({what})' if what else ''}: {counts if file.rows else file.reason}")
        if file.elsewhere:
            print(f"    {file.elsewhere} rows are of other exchanges or symbols")
        for reason, refused in sorted(file.refused.items()):
            print(f"    refused {refused.count}: {reason}, such as: {refused.example}")
        for mark, count in sorted(file.marked.items()):
            print(f"    marked {count}: {mark}")
        if file.rows and file.reason:
            print(f"    {file.reason}")
        if file.what_to_do:
            print(f"    -> {file.what_to_do}")
    if report.cut_off:
        print("Cut off: what is counted here is stored; the same command goes on.")
    total = _totals(report)
    print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in total.items()))


def _totals(report: ImportReport) -> dict[str, int]:
    files = report.files
    return {
        "files": len(files),
        "files_passed_over": sum(file.verdict == "passed over" for file in files),
        "files_refused": sum(file.verdict == "refused" for file in files),
        "rows": sum(file.rows for file in files),
        "stored": sum(file.stored for file in files),
        "unchanged": sum(file.unchanged for file in files),
        "refused": sum(file.refusals for file in files),
    }


def _as_json(report: ImportReport) -> dict[str, object]:
    return {**asdict(report), "well": report.well, "total": _totals(report)}
