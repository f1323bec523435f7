"""How fast old rows leave the database, how long anybody else waits meanwhile, and how a copy comes back.

    python -m ops.bench.bench_keep --rows 10000000 --others 200000 --json

Minutes of candles that are past their time are purged; judgments are archived and put back; and the database, with candles again,
is backed up and restored into an empty SQLite file. Meanwhile another process writes one row every 5 ms, as a feed does, and
says how long each of its transactions took: ``longest_wait_ms`` is the longest of them. ``longest_slice_ms`` is the longest
transaction of the purge or the archive itself, its commit (and SQLite's checkpoint, which holds no lock) included. The peer is
one DELETE of everything, of a million rows at most, which is what a careless person types: ``ratio`` compares the longest waits.
SQLite always; MariaDB where it is installed (a server of our own is started); PostgreSQL where FLOTILLA_BENCH_POSTGRESQL holds
the address of an empty database, as FLOTILLA_BENCH_MARIADB may.
It ends with 1 when more than one transaction in a hundred took longer than 100 ms, or a row is missing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, select

from app.domain.market.timeframes import DAY_MS
from app.domain.retention import GIVE_WAY_S, LONGEST_LOCK_MS, MOST_IN_A_BATCH
from app.domain.tasks import Slice, Task
from app.host import archives
from app.host.vault import Vault
from app.storage import audit, checkpoints, judgments, klines, symbols, tasks
from app.storage.database import open_engine, reading, transaction
from app.storage.judgments import NewJudgment
from app.storage.klines import Kline
from app.storage.tables import metadata, strategy_judgments
from app.usecases import archive, back_up, purge, restore_archive, restore_backup, roll_up
from ops.bench.own_mariadb import OwnMariaDb
from ops.migrate import upgrade

NOW = datetime(2026, 11, 21, 5, tzinfo=UTC)
MINUTE = 60_000
NEWEST = int(NOW.timestamp() * 1000) // MINUTE * MINUTE
PAIRS = 100
PART = 20_000
SYMBOLS = 50
INPUTS = 60
TOO_LONG_SHARE = 0.01
MOST_AT_ONCE = 1_000_000  # rows that the careless person deletes: more would take the machine for minutes

WRITER = """
import sys, time
from datetime import UTC, datetime
from app.storage import checkpoints
from app.storage.database import open_engine, transaction

engine, took = open_engine(sys.argv[1], pool_size=1), []
with transaction(engine) as db:
    checkpoints.save(db, "bench", "writer", {"n": -1}, datetime.now(UTC))
print("ready", flush=True)
from threading import Thread
ended = []
Thread(target=lambda: ended.append(sys.stdin.read()), daemon=True).start()
while not ended:
    began = time.perf_counter()
    try:
        with transaction(engine) as db:
            checkpoints.save(db, "bench", "writer", {"n": len(took)}, datetime.now(UTC))
    except Exception as error:
        print(error, file=sys.stderr)
    took.append((time.perf_counter() - began) * 1000)
    time.sleep(0.005)
took.sort()
print(max(took), took[int(len(took) * 0.99)], len(took), flush=True)
"""


@dataclass(slots=True)
class Waits:
    """How long another writer waited."""

    longest_ms: float = 0.0
    p99_ms: float = 0.0
    writes: int = 0


@dataclass(slots=True)
class Slices:
    """What the slices of a task took: all of each one's transaction, as run_tasks makes it."""

    took_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def too_long(self) -> int:
        """How many held the database for longer than another writer should wait."""
        return sum(took > LONGEST_LOCK_MS for took in self.took_ms)


@contextmanager
def another_writer(url: str) -> Iterator[Waits]:
    """A process that writes all the while."""
    waits = Waits()
    words = [sys.executable, "-c", WRITER, url]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield waits
        said = process.communicate()[0].split()
    waits.longest_ms, waits.p99_ms, waits.writes = float(said[0]), float(said[1]), int(said[2])


def fill_candles(engine: Engine, rows: int) -> None:
    """Minutes that are all past their time, and one that tells the time; and that they were rolled up."""
    oldest = NEWEST - 15 * DAY_MS - rows // PAIRS * MINUTE
    for begin in range(0, rows, PART):
        part = [
            Kline(
                n % PAIRS + 1, "1m", oldest + n // PAIRS * MINUTE, 45_000.1 + n, 45_010.25, 44_990.5, 45_001.75, 12.5,
                quote_volume=5e5 + n, trades=n, source="stream",
            )
            for n in range(begin, min(begin + PART, rows))
        ]  # fmt: skip
        with transaction(engine) as db:
            klines.store(db, part)
    with transaction(engine) as db:
        klines.store(db, [Kline(1, "1m", NEWEST, 1.0, 1.0, 1.0, 1.0, 1.0, source="stream")])
        checkpoints.save(db, roll_up.OWNER, roll_up.NAME, {"until_ms": NEWEST}, NOW)


def fill_judgments(engine: Engine, rows: int) -> None:
    """Judgments that are all past their time, of five dozen inputs each, and one of now."""
    names = [f"B{n}USDT" for n in range(SYMBOLS)]
    with transaction(engine) as db:
        for name in names:
            symbols.add(db, name, now=NOW)
    oldest = NOW - timedelta(days=61) - timedelta(minutes=15 * (rows // SYMBOLS))
    for begin in range(0, rows, PART // 4):
        part = [
            NewJudgment(
                names[n % SYMBOLS], "V3", "15M", "UP", Decimal(n % 9_999) / 100, "HIGH",
                {"inputs": [round((n * 7_919 + k * 104_729) % 99_991 / 997, 4) for k in range(INPUTS)]},
                oldest + timedelta(minutes=15 * (n // SYMBOLS)),
            )
            for n in range(begin, min(begin + PART // 4, rows))
        ]  # fmt: skip
        with transaction(engine) as db:
            judgments.keep(db, part)
    with transaction(engine) as db:
        judgments.keep(db, [NewJudgment(names[0], "V3", "15M", "UP", None, "LOW", {}, NOW)])


def run(
    engine: Engine, kind: str, begin: dict[str, Any], step: Callable[[Any, Task, dict[str, Any]], Slice], work: Any
) -> Slices:
    """Run a task as run_tasks does, with a watch beside each transaction."""
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind=kind, queue="bench", payload={}, trace_id=None, now=NOW)
        tasks.claim(db, task_id, worker="bench", token="t", now=NOW)
        task = tasks.get(db, task_id)
    assert task is not None
    slices, state = Slices(), begin
    began_s = time.perf_counter()
    while True:
        state = work(state)
        with transaction(engine) as db:
            held_s = time.perf_counter()
            done = step(db, task, state)
            assert tasks.save_slice(db, task_id, "t", done, NOW)
        slices.took_ms.append((time.perf_counter() - held_s) * 1000)
        state = done.state
        if done.finished:
            slices.seconds = time.perf_counter() - began_s
            return slices


def give_way(state: dict[str, Any]) -> dict[str, Any]:
    """As the purge's own look does, which needs nothing of the database."""
    if state["deleted"]:
        time.sleep(GIVE_WAY_S)
    return state


def said(rows: int, slices: Slices, waits: Waits) -> dict[str, Any]:
    """The figures of one of the two."""
    ordered = sorted(slices.took_ms)
    return {
        "rows": rows,
        "rows_per_s": round(rows / slices.seconds),
        "slices": len(ordered),
        "longest_slice_ms": round(ordered[-1], 1),
        "slice_ms_p99": round(ordered[int(len(ordered) * 0.99)], 1),
        "slices_over_100_ms": slices.too_long,
        "longest_wait_ms": round(waits.longest_ms, 1),
        "wait_ms_p99": round(waits.p99_ms, 1),
        "writes_meanwhile": waits.writes,
    }


def measure(url: str, folder: Path, rows: int, others: int) -> dict[str, Any]:
    """All of it on one database."""
    upgrade(url)
    engine = open_engine(url, answer_s=3_600)
    vault = Vault(folder / "archive", folder / "backups")
    found: dict[str, Any] = {"most_rows_in_a_transaction": MOST_IN_A_BATCH}
    candles = metadata.tables["klines"]
    fill_candles(engine, rows)
    with another_writer(url) as waits:
        slices = run(
            engine, "purge", purge.begin({}), lambda db, task, state: purge.step(db, task, state, NOW), give_way
        )
    found["purge"] = said(rows, slices, waits)
    with reading(engine) as db:
        found["purge"]["left"] = db.execute(select(func.count()).select_from(candles)).scalar_one() - 1

    fill_judgments(engine, others)
    with reading(engine) as db:
        before = list(db.execute(select(strategy_judgments).order_by(strategy_judgments.c.id)))
    task = Task(
        0, "archive", "q", "running", {}, None, 0, None, None, 0, False, None, None, None, None, NOW, None, None
    )
    with another_writer(url) as waits:
        slices = run(
            engine,
            "archive",
            archive.begin({}),
            lambda db, task, state: archive.step(db, task, state, NOW),
            lambda state: archive.work(engine, vault, task, state, NOW),
        )
    found["archive"] = said(others, slices, waits)
    every = archives.listed(vault.archives)
    size, packed = sum(one.bytes for one in every), sum(one.compressed_bytes for one in every)
    began_s = time.perf_counter()
    put_back = sum(restore_archive.restore_archive(engine, vault.archives, one.name).put_back for one in every)
    restored_s = time.perf_counter() - began_s
    with reading(engine) as db:
        same = before == list(db.execute(select(strategy_judgments).order_by(strategy_judgments.c.id)))
    found["archive"] |= {
        "files": len(every),
        "mb": round(size / 1e6, 1),
        "ratio": round(size / packed, 2),
        "restore_rows_per_s": round(put_back / restored_s),
        "same_rows_again": same,
    }
    fill_candles(engine, others)
    found["backup"] = back_up_and_restore(engine, vault.backups, folder)
    peer = min(rows, MOST_AT_ONCE)
    fill_candles(engine, peer)
    found["one_delete"] = one_delete(engine, url, peer)
    found["ratio"] = round(found["one_delete"]["longest_wait_ms"] / max(1.0, found["purge"]["longest_wait_ms"]), 1)
    engine.dispose()
    return found


def back_up_and_restore(engine: Engine, backups: Path, folder: Path) -> dict[str, Any]:
    """Copy the database, and put it into an empty file."""
    began_s = time.perf_counter()
    made = back_up.create(engine, backups, redis_url="", asked_by="person", now=NOW, tell=lambda _: None)
    made_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    restore_backup.verify(backups, made.name)
    verified_s = time.perf_counter() - began_s
    url = f"sqlite:///{folder / f'restored-{engine.dialect.name}.db'}"
    upgrade(url)
    other = open_engine(url, pool_size=2)
    began_s = time.perf_counter()
    restore_backup.restore(other, backups, made.name, force=False, tell=lambda *_: None)
    restored_s = time.perf_counter() - began_s
    other.dispose()
    rows = sum(table.rows for table in made.tables.values())
    size = sum(file.bytes for file in made.files.values())
    return {
        "rows": rows,
        "mb": round(size / 1e6, 1),
        "ratio": round(size / made.compressed_bytes, 2),
        "made_s": round(made_s, 1),
        "verified_s": round(verified_s, 1),
        "restored_into_sqlite_s": round(restored_s, 1),
        "restore_rows_per_s": round(rows / restored_s),
    }


def one_delete(engine: Engine, url: str, rows: int) -> dict[str, Any]:
    """The peer: everything in one statement."""
    candles = metadata.tables["klines"]
    with another_writer(url) as waits:
        began_s = time.perf_counter()
        with transaction(engine) as db:
            db.execute(delete(candles).where(candles.c.timeframe == "1m", candles.c.open_time < NEWEST - 14 * DAY_MS))
            audit.record(db, now=NOW, actor="bench", action="delete", subject="klines")
        took_s = time.perf_counter() - began_s
    return {"rows": rows, "rows_per_s": round(rows / took_s), "longest_wait_ms": round(waits.longest_ms, 1)}


def servers(folder: Path) -> Iterator[tuple[str, str]]:
    """The database servers that there are, by kind and address."""
    given = {kind: os.environ.get(f"FLOTILLA_BENCH_{kind.upper()}") for kind in ("mariadb", "postgresql")}
    for kind, url in given.items():
        if url:
            yield kind, url
    if not given["mariadb"] and OwnMariaDb.installed():
        (folder / "own").mkdir()
        server = OwnMariaDb(folder / "own")
        try:
            yield "mariadb", server.url
        finally:
            server.end()


def main() -> int:
    """Measure and print; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="candles that are past their time (1000000)")
    parser.add_argument(
        "--others",
        type=int,
        default=100_000,
        help="judgments to archive, and candles to copy (100000)",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    args, _ = parser.parse_known_args()
    found: dict[str, dict[str, Any]] = {}
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    try:
        for kind, url in servers(folder):
            found[kind] = measure(url, folder / kind, args.rows, args.others)
        (folder / "sqlite").mkdir()
        found["sqlite"] = measure(
            f"sqlite:///{folder / 'sqlite' / 'bench.db'}", folder / "sqlite", args.rows, args.others
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for kind, figures in found.items():
            print(f"{kind}: {json.dumps(figures)}")
    return 0 if all(_well(figures) for figures in found.values()) else 1


def _well(figures: dict[str, Any]) -> bool:
    moved = (figures["purge"], figures["archive"])
    held = all(one["slices_over_100_ms"] <= TOO_LONG_SHARE * one["slices"] for one in moved)
    return held and figures["purge"]["left"] == 0 and bool(figures["archive"]["same_rows_again"])


if __name__ == "__main__":
    sys.exit(main())
