"""`flotilla backup`: copies of the whole database, made, looked at, and put back."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import make_url

from app.errors import Conflict, CorruptData
from app.host import backups
from app.host.backups import Manifest
from app.settings import Settings
from app.storage import snapshots
from app.storage.database import open_engine, transaction
from app.usecases import back_up, restore_backup
from app.usecases.asking import Asking
from ops import launch, migrate, one_world

WELL, NOT_WELL = 0, 1


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Do what the command line says."""
    deed = {"create": _create, "list": _list, "verify": _verify, "restore": _restore}[args.deed]
    return deed(settings, args)


def _create(settings: Settings, args: argparse.Namespace) -> int:
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        made = back_up.create(
            engine,
            settings.backup_dir,
            redis_url=settings.redis_url,
            asked_by="person",
            now=datetime.now(UTC),
            tell=_share(),
        )
    finally:
        engine.dispose()
    _say(args, made, f"made {made.name}: {_size(made)} at {settings.backup_dir / made.name}")
    return WELL


def _list(settings: Settings, args: argparse.Namespace) -> int:
    found = backups.listed(settings.backup_dir)
    bad = backups.damaged(settings.backup_dir)
    for error in bad:
        print(f"DAMAGED {error} {error.cure}", file=sys.stderr)
    if args.json:
        print(json.dumps([_builtins(one) for one in found], indent=2, ensure_ascii=False))
        return NOT_WELL if bad else WELL
    for one in found:
        print(f"{one.name}  {one.kind:<10} schema {one.schema}  by {one.asked_by:<6}  {_size(one)}")
    print(f"{len(found)} backups, {sum(one.compressed_bytes for one in found) / 1e6:.1f} MB at {settings.backup_dir}")
    return NOT_WELL if bad else WELL


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    try:
        seen = restore_backup.verify(settings.backup_dir, args.name)
    except CorruptData as error:
        if args.json:
            print(json.dumps({"name": args.name, "whole": False, "why": str(error)}, indent=2, ensure_ascii=False))
        else:
            print(f"DAMAGED {args.name}: {error}")
        return NOT_WELL
    if args.json:
        print(json.dumps({"name": args.name, "whole": True, "why": ""}, indent=2))
    else:
        print(f"whole {args.name}: {_size(seen)}")
    return WELL


def _restore(settings: Settings, args: argparse.Namespace) -> int:
    backups.get(settings.backup_dir, args.name)  # what does not exist makes no database
    if (
        args.force and launch.running(settings) is not None
    ):  # without, only an empty place is taken, which is not the fleet's
        raise Conflict("The fleet runs, and would write into what is being restored.", cure="Run: flotilla stop")
    if args.force and (aside := _set_damaged_aside(settings.database_url)):
        print(f"the database is damaged: its file is now {aside}", file=sys.stderr)
    if migrate.make_if_empty(settings.database_url):
        print("the database was empty: its tables are made", file=sys.stderr)
    engine = open_engine(settings.database_url, pool_size=1, answer_s=restore_backup.ANSWER_S)
    try:
        if settings.database.url:
            one_world.check(engine, simulated=settings.simulated)
        put = restore_backup.restore(engine, settings.backup_dir, args.name, force=args.force, tell=_rows())
        with transaction(engine) as db:
            after = {"made_at": put.made_at.isoformat(), "kind": put.kind, "force": args.force}
            asking = Asking("person", None, datetime.now(UTC))
            asking.record(db, "restore_backup", put.name, before=None, after=after)
    finally:
        engine.dispose()
    keys = restore_backup.restore_redis(settings.backup_dir, put, settings.redis_url)
    _say(args, put, f"restored {put.name}: {_size(put)}, {keys} of {put.redis.keys} keys of Redis")
    return WELL


def _set_damaged_aside(url: str) -> Path | None:
    """Give a SQLite file that is damaged, in which nothing can be deleted either, another name; which one, if so."""
    path = Path(make_url(url).database or "") if url.startswith("sqlite") else None
    if path is None or not path.exists() or not snapshots.damage_of_sqlite(path):
        return None
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for companion in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}{companion}").rename(f"{aside}{companion}")
    return aside


def _share() -> Callable[[float], None]:
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda share: print(f"\r\x1b[K{share:.0%}", end="\r", file=sys.stderr, flush=True)


def _rows() -> Callable[[str, int], None]:
    if not sys.stderr.isatty():
        return lambda _table, _rows: None
    done = [0]

    def tell(table: str, rows: int) -> None:
        done[0] += rows
        print(f"\r\x1b[K{table}: {done[0]:,} rows", end="\r", file=sys.stderr, flush=True)

    return tell


def _size(one: Manifest) -> str:
    return f"{sum(table.rows for table in one.tables.values())} rows, {one.compressed_bytes / 1e6:.1f} MB"


def _say(args: argparse.Namespace, manifest: Manifest, sentence: str) -> None:
    print(json.dumps(_builtins(manifest), indent=2, ensure_ascii=False) if args.json else sentence)


def _builtins(manifest: Manifest) -> object:
    return msgspec.to_builtins(manifest)
