"""Hurting a fleet of our own, one fault after the other, while work comes in: noticed after, whole again after, lost, doubled.

    make chaos                         about 20 minutes; only this machine's loopback, a state folder of its own
    python -m ops.bench.chaos --only freeze  the faults whose name holds this word

Once a second a task is asked for over the API. A fault is noticed when anything says so: readiness, a heartbeat, another pid, a
collector, a notice. The fleet is whole again when it is ready, every process works, every collector runs, and the newest minute of
BTC is in the database. Lost: tasks that were accepted and not done, and minutes of the demo market that are missing or other than
it tells; doubled: tasks that took effect twice (rows of the market cannot be: their keys are unique). It ends with 1 unless both
are nought in every row. The disk is filled only where we may mount a small one (root).
"""

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from app.domain.market.timeframes import MINUTE_MS
from app.errors import FlotillaError
from app.exchanges.demo.market import Market
from app.host import feed_report
from app.notify import outbox
from app.settings import ROOT, Settings, load
from app.storage import klines, pairs, tasks
from app.storage.database import open_engine, reading
from app.storage.tables import audit_log
from ops.bench import jumping_clock
from ops.bench.bench_fleet import SPECS, flotilla, look, place
from ops.bench.own_mariadb import OwnMariaDb

WITHIN_S = 180.0
AWAY_S = 60.0
BRIEF_S = 15.0
BTC = "BTC/USDT:USDT"


@dataclass(slots=True)
class Row:
    """What one fault came to. None: it was not seen within the time."""

    fault: str
    noticed_s: float | None
    whole_s: float | None
    lost: int = 0
    doubled: int = 0
    sums_up: bool = False
    """It is of no one fault, but of the whole run."""


@dataclass(slots=True)
class Fleet:
    """The fleet that is hurt, and the tasks that it has accepted."""

    env: dict[str, str]
    settings: Settings
    accepted: list[int] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    written: int = 0
    """Rows of the market that the feed had written when it was hurt last."""

    def call(self, path: str, body: dict[str, Any] | None = None, *, port: int | None = None) -> tuple[int, Any]:
        """One request; 0 where nobody answers."""
        address = self.settings.address if port is None else f"http://127.0.0.1:{port}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError):
            return 0, None

    def ask_for_work(self) -> None:
        """Ask for a task a second, until it is over."""
        while not self.ended.wait(1.0):
            status, answer = self.call("/api/system/tasks", {"kind": "drill", "payload": {"steps": 2, "step_ms": 20}})
            if status in (200, 201, 202):
                self.accepted.append(int(answer["data"]["id"]))

    def seen(self) -> tuple[Any, ...]:
        """What a fault would change: pids, health, collectors, faults that were counted, notices."""
        try:
            reports = tuple((one.name, one.pid, one.fresh) for one in look(self.settings))
        except FlotillaError:
            reports = ()
        report = feed_report.look(self.settings.run_dir, time.time_ns() // 1_000_000)
        collectors: tuple[Any, ...] = ()
        if report.report is not None:
            collectors = tuple((one.name, one.state, sum(one.counters.values())) for one in report.report.collectors)
        folder = self.settings.notices_dir
        told = len(outbox.recent(folder, 500)) + len(outbox.pending(folder))
        return reports, self.call("/health/ready")[0], collectors, report.state, told

    def whole(self) -> bool:
        """Whether everything works, to the newest minute in the database."""
        try:
            reports = look(self.settings)
        except FlotillaError:
            return False
        report = feed_report.look(self.settings.run_dir, time.time_ns() // 1_000_000)
        if report.report is None or report.state != "ok" or self.call("/health/ready")[0] != 200:
            return False
        running = all(one.state == "running" for one in report.report.collectors)
        writes = self.rows_written() not in (0, self.written)
        return running and writes and all(one.fresh for one in reports) and self._newest_age_s() < 90

    def rows_written(self) -> int:
        """How many rows the feed that lives now has written, by its own account."""
        report = feed_report.look(self.settings.run_dir, time.time_ns() // 1_000_000).report
        return 0 if report is None else sum(report.store.written.values())

    def _newest_age_s(self) -> float:
        """How long ago the newest stored minute of BTC was over."""
        engine = open_engine(self.settings.database_url, pool_size=1)
        try:
            with reading(engine) as db:
                newest = klines.newest(db, pairs.pair_id(db, "demo-binance", BTC), "1m")
        except FlotillaError:
            return float("inf")
        finally:
            engine.dispose()
        return float("inf") if newest is None else time.time() - (newest.open_time + MINUTE_MS) / 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to do to a fleet; ``hurt`` lasts as long as the fault does."""

    name: str
    hurt: Callable[[Fleet], None]
    replaces: str | None = None
    """The process that must be another one afterwards: a frozen one looks well for some seconds."""


def _signal(name: str, how: signal.Signals) -> Callable[[Fleet], None]:
    def hurt(fleet: Fleet) -> None:
        pid = next((one.pid for one in look(fleet.settings) if one.name == name), None)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, how)

    return hurt


def _freeze_valkey(fleet: Fleet) -> None:
    """The server behind the broker stands still for a minute, or until somebody replaces it."""
    parent = next((one.pid for one in look(fleet.settings) if one.name == "broker"), None)
    for child in psutil.Process(parent).children() if parent else ():
        with suppress(psutil.Error):
            child.suspend()
            time.sleep(AWAY_S)
            child.resume()


def _lock_database(fleet: Fleet) -> None:
    """Somebody else holds the database for a minute: nobody can write, and at the end nobody can read."""
    path = fleet.settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path, timeout=30, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        time.sleep(AWAY_S)
        db.execute("ROLLBACK")


def _fill_disk(fleet: Fleet) -> None:
    """No room for half a minute."""
    ballast = fleet.settings.state_dir / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 1_000_000)
            file.flush()
    time.sleep(AWAY_S / 2)
    ballast.unlink(missing_ok=True)


def _stop_broker(fleet: Fleet) -> None:
    """A person stops the broker, and starts it a minute later."""
    for word in ("stop", "start"):
        command = [sys.executable, "-m", "ops", "ctl", word, "broker"]
        subprocess.run(command, env=fleet.env, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if word == "stop":
            time.sleep(AWAY_S)


def _restart(server: OwnMariaDb, how: signal.Signals, away_s: float) -> Callable[[Fleet], None]:
    def hurt(fleet: Fleet) -> None:  # noqa: ARG001 - one shape for all
        server.end(how)
        time.sleep(away_s)
        server.start()

    return hurt


def _demo(**fault: Any) -> Callable[[Fleet], None]:
    def hurt(fleet: Fleet) -> None:
        fleet.call("/demo/faults", {"for_s": BRIEF_S, **fault}, port=fleet.settings.demo.port)
        time.sleep(BRIEF_S)

    return hurt


def _set_clock(seconds: float) -> Callable[[Fleet], None]:
    def hurt(fleet: Fleet) -> None:
        jumping_clock.jump(Path(fleet.env[jumping_clock.VARIABLE]), seconds)

    return hurt


def _burst(fleet: Fleet) -> None:
    fleet.call("/demo/load", {"trade_rate": 10}, port=fleet.settings.demo.port)
    time.sleep(AWAY_S)
    fleet.call("/demo/load", {"trade_rate": 1}, port=fleet.settings.demo.port)


def faults(*, small_disk: bool) -> Iterator[Fault]:
    """Everything that is done, in its order."""
    names = [spec.name for spec in SPECS]
    yield from (Fault(f"kill -9 {name}", _signal(name, signal.SIGKILL), name) for name in names)
    yield from (Fault(f"freeze {name}", _signal(name, signal.SIGSTOP), name) for name in names)
    yield Fault("Valkey frozen for a minute", _freeze_valkey)
    yield Fault("broker stopped for a minute", _stop_broker)
    yield Fault("database held for a minute", _lock_database)
    if small_disk:
        yield Fault("disk full for half a minute", _fill_disk)
    yield Fault("all connections cut", _demo(fault="cut", venue="binance"))
    yield Fault("half-open sockets", _demo(fault="half_open", venue="binance"))
    yield Fault("messages lost", _demo(fault="gap", venue="binance", count=5))
    yield Fault("messages doubled", _demo(fault="duplicate", venue="binance", count=50))
    yield Fault("garbage", _demo(fault="garbage", venue="binance"))
    yield Fault("banned (429)", _demo(fault="429", venue="binance", retry_after_s=10))
    yield Fault("the exchange's clock jumps by 15 s", _demo(fault="clock_skew", venue="binance", skew_ms=15_000))
    yield Fault("ten times as many trades", _burst)
    yield Fault("our clock jumps an hour ahead", _set_clock(3_600))
    yield Fault("our clock jumps ten minutes back", _set_clock(-600))


def faults_of(server: OwnMariaDb) -> Iterator[Fault]:
    """What is done to a database server."""
    yield Fault("MariaDB restarted", _restart(server, signal.SIGTERM, 0))
    yield Fault("MariaDB kill -9", _restart(server, signal.SIGKILL, 0))
    yield Fault("MariaDB gone for a minute", _restart(server, signal.SIGTERM, AWAY_S))


def hurt(fleet: Fleet, fault: Fault) -> Row:
    """Do it, and look until the fleet is whole."""
    before, accepted, began_s = fleet.seen(), len(fleet.accepted), time.monotonic()
    fleet.written = fleet.rows_written()
    process = _pid(fleet, fault.replaces)
    deed = threading.Thread(target=fault.hurt, args=(fleet,), daemon=True)
    deed.start()
    noticed_s = whole_s = None
    while time.monotonic() - began_s < WITHIN_S:
        if noticed_s is None and _is_noticed(fleet, fault, before, process):
            noticed_s = time.monotonic() - began_s
        replaced = fault.replaces is None or _pid(fleet, fault.replaces) not in (None, process)
        looked = noticed_s is not None or time.monotonic() - began_s > BRIEF_S
        if not deed.is_alive() and looked and replaced and fleet.whole():
            whole_s = time.monotonic() - began_s
            break
        time.sleep(0.2)
    deed.join(WITHIN_S)
    lost, doubled = reckon(fleet, fleet.accepted[accepted:])
    return Row(fault.name, noticed_s, whole_s, lost, doubled)


def _is_noticed(fleet: Fleet, fault: Fault, before: tuple[Any, ...], process: int | None) -> bool:
    """Whether anything says so; of a process, whether that very one is called silent, or is another one."""
    if fault.replaces is None:
        return fleet.seen() != before
    with suppress(FlotillaError):
        return any(
            one.name == fault.replaces and not (one.fresh and one.pid == process) for one in look(fleet.settings)
        )
    return True


def _pid(fleet: Fleet, name: str | None) -> int | None:
    with suppress(FlotillaError):
        return next((one.pid for one in look(fleet.settings) if one.name == name), None)
    return None


def reckon(fleet: Fleet, accepted: Sequence[int]) -> tuple[int, int]:
    """How many of these tasks were not done after all, and how many took effect more than once."""
    engine = open_engine(fleet.settings.database_url, pool_size=1)
    until_s = time.monotonic() + 60
    try:
        while True:
            with reading(engine) as db:
                open_ones = [
                    number for number in accepted if (task := tasks.get(db, number)) is None or task.status != "done"
                ]
                done = list(db.execute(select(audit_log.c.subject).where(audit_log.c.action == "drill_done")).scalars())
            if not open_ones or time.monotonic() > until_s:
                break
            time.sleep(0.5)
    finally:
        engine.dispose()
    mine = {f"task {number}" for number in accepted}
    return len(open_ones), sum(done.count(subject) - 1 for subject in mine & set(done))


def wrong_minutes(fleet: Fleet, first_ms: int, last_ms: int) -> int:
    """Minutes of BTC that are missing, or other than the demo market tells them."""
    market = Market(fleet.settings.demo.seed, fleet.settings.demo.symbols)
    engine = open_engine(fleet.settings.database_url, pool_size=1)
    try:
        with reading(engine) as db:
            stored = klines.read(db, pairs.pair_id(db, "demo-binance", BTC), "1m", since_ms=first_ms, until_ms=last_ms)
    finally:
        engine.dispose()
    there = {row.open_time: (row.open, row.high, row.low, row.close) for row in stored}
    told = market.candle_table("binance", BTC, "1m", first_ms, (last_ms - first_ms) // MINUTE_MS)
    return sum(there.get(int(row[0])) != tuple(row[1:5].tolist()) for row in told)


@contextmanager
def small_disk(folder: Path, size_mb: int = 900) -> Iterator[bool]:
    """The state folder on a disk of its own, where we may mount one."""
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "none", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.call(["/bin/umount", "-l", str(folder)])


def run(only: str) -> list[Row]:
    """All faults: on a fleet with SQLite, then those of a database server on one with MariaDB, where that is installed."""
    with ExitStack() as stack:
        env = stack.enter_context(place())
        disk = stack.enter_context(small_disk(Path(env["FLOTILLA__STATE__DIR"])))
        env |= jumping_clock.sitecustomize(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos"))))
        jumping_clock.install(Path(env[jumping_clock.VARIABLE]))  # who looks must have the same time
        Path(env["FLOTILLA_CONFIG"]).touch()
        rows = _run(env, [fault for fault in faults(small_disk=disk) if only in fault.name], "SQLite")
    if OwnMariaDb.installed() and ("MariaDB" in only or only in "MariaDB"):
        with ExitStack() as stack:
            server = OwnMariaDb(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos"))))
            stack.callback(server.end)
            env = stack.enter_context(place()) | {"FLOTILLA__DATABASE__URL": server.url}
            rows += _run(env, list(faults_of(server)), "MariaDB")
    return rows


def _run(env: dict[str, str], those: Sequence[Fault], database: str) -> list[Row]:
    """These faults, one after the other, on one fleet; and at the end whether a minute of the market is missing."""
    rows: list[Row] = []
    if not those:
        return rows
    fleet = Fleet(env, load(env))
    flotilla(env, "start")
    try:
        until_s = time.monotonic() + WITHIN_S
        while not fleet.whole():
            if time.monotonic() > until_s:
                raise FlotillaError(
                    "The fleet was not whole before anything was done to it.", cure="See: flotilla doctor"
                )
            time.sleep(1)
        first_ms = (time.time_ns() // 1_000_000 // MINUTE_MS + 1) * MINUTE_MS
        threading.Thread(target=fleet.ask_for_work, daemon=True).start()
        for fault in those:
            rows.append(hurt(fleet, fault))
            print(_line(rows[-1]), flush=True)
            time.sleep(3)
        fleet.ended.set()
        last_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
        until_s = time.monotonic() + WITHIN_S
        while (wrong := wrong_minutes(fleet, first_ms, last_ms)) and time.monotonic() < until_s:
            time.sleep(5)
        count = max(0, last_ms - first_ms) // MINUTE_MS
        rows.append(Row(f"over all of it: {count} minutes of BTC in {database}", None, None, wrong, sums_up=True))
        print(_line(rows[-1]), flush=True)
        return rows
    finally:
        fleet.ended.set()
        flotilla(env, "stop")


def _line(row: Row) -> str:
    times = ("-" if each is None else f"{each:.1f} s" for each in (row.noticed_s, row.whole_s))
    return f"| {row.fault} | {' | '.join(times)} | {row.lost} | {row.doubled} |"


def main(words: Sequence[str] | None = None) -> int:
    """Hurt, look, reckon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name holds this word")
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    args = parser.parse_args(words)
    print("| fault | noticed after | whole again after | lost | doubled |\n|---|---|---|---|---|", flush=True)
    rows = run(args.only)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    well = all(row.whole_s is not None for row in rows if not row.sums_up)
    return 0 if well and not any(row.lost or row.doubled for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
