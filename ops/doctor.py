"""`flotilla doctor`: look at everything that Flotilla stands on, and say for each thing what to do when it is not well."""

import contextlib
import ctypes
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import psutil
import redis
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.domain.fleet import ProcessSpec
from app.errors import FlotillaError, Unavailable
from app.host import feed_report, fleet_file
from app.host.feed_report import Seen
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.supervisor import Supervisor
from app.notify import outbox
from app.settings import ROOT, Settings
from app.storage import integrity, tasks
from app.storage.database import open_engine, reading, server_time
from app.usecases.ask_task import ask_task
from app.usecases.asking import Asking
from ops import migrate

Verdict = Literal["ok", "note", "bad"]
DISK_NOTE_MB, DISK_BAD_MB = 2_000, 200
CLOCK_OFF_S = 2.0
BUSY_SHARE = 0.7  # of a ceiling: above it a process has little room for a bad night
DRILL_WITHIN_S = 15.0
_NOT_SYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_SYNCHRONISE = "Switch time synchronisation on: timedatectl set-ntp true"
_FIRST_START = "It is made by the first start: make run"
_GONE = "Put the file back with the fleet stopped, or restore a backup: flotilla backup list"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``note`` works but deserves a look; ``bad`` does not work."""

    what: str
    verdict: Verdict
    found: str
    what_to_do: str = ""


def examine(settings: Settings, *, drill: bool) -> list[Finding]:
    """Look at everything. A look that fails is itself a finding, and the others still happen."""
    specs = fleet_file.read_fleet(ROOT / "supervisord.conf")
    supervisor = Supervisor(settings.supervisor_socket)
    try:
        reports: list[ProcessReport] | None = fleet_report(specs, supervisor, settings.run_dir, time.time())
    except Unavailable:
        reports = None
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("disk", lambda: _disk(settings)),
        ("memory", lambda: _memory(specs)),
        ("port", lambda: _port(settings, reports)),
        ("clock", lambda: _clock(settings)),
        ("database", lambda: _database(settings, reports)),
        ("migrations", lambda: _migrations(settings)),
        ("broker", lambda: _broker(settings, running=reports is not None)),
        ("processes", lambda: process_findings(reports, settings)),
        ("collectors", lambda: _collectors(settings, reports)),
        ("notices", lambda: _notices(settings)),
    ]
    if drill:
        looks.append(("drill", lambda: _drill(settings)))
    findings: list[Finding] = []
    for what, look in looks:
        try:
            findings.extend(look())
        except FlotillaError as error:
            findings.append(Finding(what, "bad", str(error), error.cure))
        except OSError as error:
            findings.append(Finding(what, "bad", str(error), "Check the rights and the place of the state folder."))
    return findings


def _disk(settings: Settings) -> Iterator[Finding]:
    state = settings.state_dir
    if not state.exists():
        yield Finding("disk", "note", f"{state} does not exist yet", _FIRST_START)
        return
    if not os.access(state, os.W_OK):
        yield Finding(
            "disk",
            "bad",
            f"{state} cannot be written",
            f"Give it to the user that runs Flotilla: chown -R $USER {state}",
        )
    free_mb = shutil.disk_usage(state).free // 1_000_000
    cure = "Free space, or move the state folder with FLOTILLA__STATE__DIR."
    verdict: Verdict = "bad" if free_mb < DISK_BAD_MB else "note" if free_mb < DISK_NOTE_MB else "ok"
    yield Finding("disk", verdict, f"{free_mb} MB free at {state}", cure)


def _memory(specs: tuple[ProcessSpec, ...]) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    ceilings_mb = sum(spec.ceiling_mb for spec in specs)
    total_mb, free_mb = memory.total // 1_000_000, memory.available // 1_000_000
    text = f"{free_mb} of {total_mb} MB available; all ceilings together are {ceilings_mb} MB"
    cure = "Stop other programs on this machine, or add swap."
    yield Finding("memory", "ok" if total_mb > ceilings_mb and free_mb > 100 else "note", text, cure)


def _port(settings: Settings, reports: list[ProcessReport] | None) -> Iterator[Finding]:
    host, port = settings.api.host, settings.api.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((host, port)) == 0
    ours = any(report.name == "main-app" and report.pid for report in reports or [])
    if taken and not ours:
        yield Finding(
            "port", "bad", f"{port} is taken by another program", "Choose another: FLOTILLA__API__PORT=8081 make run"
        )
    elif ours and not taken:
        yield Finding("port", "bad", f"main-app runs but does not answer on {port}", "See: flotilla logs main-app")
    else:
        yield Finding("port", "ok", f"{port} is {'ours' if ours else 'free'}")


def _clock(settings: Settings) -> Iterator[Finding]:
    if sys.platform == "linux":
        yield clock_finding(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    if not settings.database_url.startswith("sqlite"):
        with _engine(settings) as engine, reading(engine) as db:
            off_s = abs((server_time(db) - datetime.now(UTC)).total_seconds())
        yield Finding(
            "clock",
            "ok" if off_s < CLOCK_OFF_S else "bad",
            f"{off_s:.1f} s apart from the database server's",
            _SYNCHRONISE,
        )


def clock_finding(answer: int) -> Finding:
    """What adjtimex(2) answered, in words."""
    if answer == -1:
        return Finding(
            "clock", "note", "unknown whether anything synchronises it: the system does not say", _SYNCHRONISE
        )
    if answer == _NOT_SYNCHRONISED:
        return Finding("clock", "note", "nothing synchronises this machine's clock; candles close by it", _SYNCHRONISE)
    return Finding("clock", "ok", "synchronised")


def _database(settings: Settings, reports: list[ProcessReport] | None) -> Iterator[Finding]:
    if not migrate.is_there(settings.database_url):
        if reports is None:
            yield Finding("database", "note", "there is none yet", _FIRST_START)
        else:
            yield Finding("database", "bad", "its file is gone, and the fleet writes into nothing", _GONE)
        return
    with _engine(settings) as engine, reading(engine) as db:
        found = {name: integrity.check_table(db, name) for name in integrity.table_names(db)}
    damage = [f"{name}: {problem}" for name, problems in found.items() for problem in problems or []]
    too_big = [name for name, problems in found.items() if problems is None]
    if damage:
        cure = "Run: flotilla stop, then flotilla backup restore NAME --force; flotilla backup list names them."
        yield Finding("database", "bad", "; ".join(damage)[:500], cure)
    else:
        unseen = f"; too big to be looked at in one go: {', '.join(too_big)}" if too_big else ""
        text = f"{settings.database_url.partition(':')[0]}, {len(found) - len(too_big)} tables whole{unseen}"
        yield Finding("database", "ok", text)


def _migrations(settings: Settings) -> Iterator[Finding]:
    if not migrate.is_there(settings.database_url):
        yield Finding("migrations", "note", "there is no database yet", _FIRST_START)
        return
    with _engine(settings) as engine:
        found = migrate.status(engine)
    text = f"schema {found.current or 'none'} of {found.head}"
    cure = "Update Flotilla." if found.state == "newer" else "Run: flotilla migrate"
    yield Finding("migrations", "ok" if found.state == "current" else "bad", text, cure)


def _broker(settings: Settings, *, running: bool) -> Iterator[Finding]:
    if settings.embedded_broker and not running:
        yield Finding("broker", "note", "not running, as is the fleet", "Start it: make run")
        return
    try:
        with redis.Redis.from_url(
            settings.redis_url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True
        ) as broker:
            info = broker.info()
            policy = broker.config_get("maxmemory-policy").get("maxmemory-policy", "unknown")
    except redis.RedisError as error:
        yield Finding(
            "broker", "bad", f"does not answer: {error}", "See: flotilla logs broker, or check FLOTILLA__REDIS__URL"
        )
        return
    used, ceiling = info["used_memory"], info["maxmemory"]
    yield Finding(
        "broker", "ok", f"{used / 1e6:.1f} of {ceiling / 1e6:.0f} MB used, {info['evicted_keys']} keys evicted"
    )
    if policy.startswith("allkeys"):
        yield Finding(
            "broker", "bad", f"its policy {policy} may evict queues", "Set maxmemory-policy volatile-lru in that Redis."
        )


def process_findings(reports: list[ProcessReport] | None, settings: Settings) -> Iterator[Finding]:
    """One finding a process; one that these settings leave at rest is none."""
    if reports is None:
        yield Finding("processes", "note", "the fleet does not run", "Start it: make run")
        return
    for report in reports:
        if report.name in settings.unneeded:
            continue  # it stands still as it should: an existing Redis is used, or a live market
        if report.state == "STOPPED":
            yield Finding(
                report.name, "note", "stopped, as somebody wished", f"Start it: flotilla ctl start {report.name}"
            )
        elif not report.fresh:
            silent = f", last heartbeat {report.heartbeat_age_s} s ago" if report.heartbeat_age_s is not None else ""
            yield Finding(report.name, "bad", f"{report.state}{silent}", f"See: flotilla logs {report.name}")
        else:
            share = (report.memory_mb or 0) / report.ceiling_mb
            text = f"{report.memory_mb} of {report.ceiling_mb} MB, {report.restarts} restarts, {report.last_work}"
            verdict: Verdict = "bad" if share > 1 else "note" if share > BUSY_SHARE else "ok"
            yield Finding(report.name, verdict, text, "Watch it; over the ceiling it is replaced.")


def _collectors(settings: Settings, reports: list[ProcessReport] | None) -> Iterator[Finding]:
    if any(report.name == "market-feed" and report.pid for report in reports or []):
        yield from collector_findings(feed_report.look(settings.run_dir, time.time_ns() // 1_000_000), settings)


def collector_findings(seen: Seen, settings: Settings) -> Iterator[Finding]:
    """One finding a collector, by market-feed's report: a feed that runs and gets nothing is not well."""
    if seen.report is None or seen.state != "ok":
        yield Finding("collectors", "note", "market-feed does not report (yet)", "See: flotilla logs market-feed")
        return
    cure = (
        "See: flotilla logs demo-exchange"
        if settings.simulated
        else "Check the way to it: the network, a proxy (FLOTILLA__FEED__PROXIES=true heeds HTTPS_PROXY), its address in the "
        "settings. See: flotilla logs market-feed"
    )
    for one in seen.report.collectors:
        verdict: Verdict = "bad" if one.state == "failing" else "ok" if one.state == "running" else "note"
        are_open = sum(link.state == "open" for link in one.connections)
        found = f"{one.state}, {len(one.symbols)} symbols, {are_open} of {len(one.connections)} connections open"
        todo = f"Start it: POST /api/qingxi/collectors/{one.name}/start" if one.state == "stopped" else cure
        yield Finding(one.name, verdict, f"{found}: {one.note}" if one.note else found, todo)


def _notices(settings: Settings) -> Iterator[Finding]:
    waiting = list(outbox.pending(settings.notices_dir))
    if waiting:
        yield Finding(
            "notices",
            "note",
            f"{len(waiting)} not delivered yet, such as: {waiting[0].text}",
            "See: flotilla logs monitor",
        )
    else:
        set_up = {"Telegram": settings.telegram.token, "webhook": settings.webhook.url, "e-mail": settings.email.host}
        ways = ", ".join(way for way, where in set_up.items() if where)
        told = ways or "the log; set [telegram], [webhook] or [email] to be told at night"
        yield Finding("notices", "ok", f"none waiting; delivered to {told}")


def _drill(settings: Settings) -> Iterator[Finding]:
    """Send a real task through API-side asking, the broker and a worker, and time its start."""
    if not migrate.is_there(settings.database_url):
        yield Finding("drill", "bad", "there is no database yet", _FIRST_START)
        return
    with _engine(settings) as engine, contextlib.closing(Bell(settings.redis_url)) as bell:
        yield _time_a_drill(engine, bell)


def _time_a_drill(engine: Engine, bell: Bell) -> Finding:
    asking = Asking("doctor", None, datetime.now(UTC))
    asked = ask_task(engine, bell, asking, kind="drill", payload={"steps": 1, "step_ms": 0})
    until = time.monotonic() + DRILL_WITHIN_S
    while time.monotonic() < until:
        with reading(engine) as db:
            task = tasks.get(db, asked.id)
        if task and task.started_at and task.finished_at:
            waited_ms = (task.started_at - task.created_at).total_seconds() * 1000
            return Finding(
                "drill", "ok" if waited_ms < 1000 else "note", f"task {asked.id} started after {waited_ms:.0f} ms"
            )
        time.sleep(0.02)
    text = f"task {asked.id} was not done within {DRILL_WITHIN_S:.0f} s"
    return Finding("drill", "bad", text, "See: flotilla logs strategy-worker")


@contextlib.contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()
