"""`flotilla archive`: what left the database, whether it is whole, and putting it back."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import msgspec

from app.errors import CorruptData
from app.host import archives
from app.host.archives import Manifest
from app.settings import Settings
from app.storage.database import open_engine
from app.usecases.restore_archive import restore_archive
from ops import migrate, one_world

WELL, NOT_WELL = 0, 1


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Do what the command line says."""
    deed = {"list": _list, "verify": _verify, "restore": _restore}[args.deed]
    return deed(settings, args)


def _list(settings: Settings, args: argparse.Namespace) -> int:
    found = archives.listed(settings.archive_dir)
    damaged = archives.damaged(settings.archive_dir)
    for error in damaged:
        print(f"DAMAGED {error} {error.cure}", file=sys.stderr)
    if args.json:
        _print_json([msgspec.to_builtins(manifest) for manifest in found])
        return NOT_WELL if damaged else WELL
    for one in found:
        print(
            f"{one.name:<56} {one.rows:>8} rows  {one.first_moment[:16]} to {one.last_moment[:16]}  {_ratio(one)}",
        )
    size = sum(one.compressed_bytes for one in found)
    print(
        f"{len(found)} archives, {sum(one.rows for one in found)} rows, {size / 1e6:.1f} MB at {settings.archive_dir}"
    )
    return NOT_WELL if damaged else WELL


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    folder = settings.archive_dir
    chosen = [archives.get(folder, args.name)] if args.name else archives.listed(folder)
    found: list[dict[str, Any]] = []
    for manifest in chosen:
        try:
            archives.verify(folder, manifest)
            found.append({"name": manifest.name, "rows": manifest.rows, "whole": True, "why": ""})
        except CorruptData as error:
            found.append({"name": manifest.name, "rows": manifest.rows, "whole": False, "why": str(error)})
    if not args.name:
        found += [{"name": "", "rows": 0, "whole": False, "why": str(error)} for error in archives.damaged(folder)]
    damaged = sum(not one["whole"] for one in found)
    if args.json:
        _print_json(found)
    else:
        for one in found:
            print(f"{'whole' if one['whole'] else 'DAMAGED':<8} {one['name']} {one['why']}".rstrip())
        print(f"{len(found)} archives, {damaged} damaged")
    return NOT_WELL if damaged else WELL


def _restore(settings: Settings, args: argparse.Namespace) -> int:
    archives.get(settings.archive_dir, args.name)  # what does not exist makes no database
    if migrate.make_if_empty(settings.database_url):
        print("the database was empty: its tables are made", file=sys.stderr)
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        if settings.database.url:
            one_world.check(engine, simulated=settings.simulated)
        done = restore_archive(engine, settings.archive_dir, args.name)
    finally:
        engine.dispose()
    if args.json:
        _print_json(asdict(done))
    else:
        print(f"{done.rows} rows of {done.table}: {done.put_back} put back, {done.were_there} were there already")
        if done.refused:
            print(f"{done.refused} find another row in their place: restore them into another database")
        if done.put_back:
            print("Where the fleet runs, the next night moves them into the archive again.")
    return WELL if done.well else NOT_WELL


def _ratio(one: Manifest) -> str:
    return f"{one.compressed_bytes / 1e6:.2f} MB, {one.bytes / max(1, one.compressed_bytes):.1f} : 1"


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=2, ensure_ascii=False))
