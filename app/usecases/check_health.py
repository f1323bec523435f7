"""Whether the fleet can do its work: each thing that it depends on, asked, with its real state."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from app.domain.fleet import ProcessSpec
from app.errors import FlotillaError
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.supervisor import Supervisor
from app.storage import processes
from app.storage.database import file_is_gone, reading, schema_version
from app.storage.tables import SCHEMA_VERSION

DISK_FLOOR_MB = 100  # below this a database cannot be relied on to finish a write
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency. ``state`` is a word for programs, ``detail`` a sentence for people."""

    name: str
    ok: bool
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """All dependencies."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether everything is well."""
        return all(check.ok for check in self.checks)


def check_health(
    engine: Engine,
    redis: Redis,
    supervisor: Supervisor,
    specs: Sequence[ProcessSpec],
    *,
    state_dir: Path,
    run_dir: Path,
    unneeded: Collection[str],
    now: datetime,
) -> Health:
    """Ask every dependency. A process that is stopped because somebody wished so is none."""
    database, stopped = _database(engine)
    idle = {*stopped, *unneeded}
    needed = [spec for spec in specs if spec.name not in idle]
    return Health((database, _redis(redis), *_fleet(supervisor, needed, run_dir, now), _disk(state_dir)))


def told(error: FlotillaError) -> str:
    """An error in one line: what is wrong and what to do."""
    return f"{str(error).rstrip('.')}. {error.cure}"


def _database(engine: Engine) -> tuple[Check, set[str]]:
    """Whether the database can be worked with, and which processes are stopped on purpose, as far as it can say."""
    stopped: set[str] = set()
    if file_is_gone(engine):
        said = "Its file is gone: what is written now is lost. Put it back, or restore a backup."
        return Check("database", ok=False, state="gone", detail=said), stopped
    try:
        with reading(engine) as db:
            version = schema_version(db)
            if version == SCHEMA_VERSION:
                stopped = processes.stopped_on_purpose(db)
    except FlotillaError as error:
        return Check("database", ok=False, state="away", detail=told(error)), stopped
    if version != SCHEMA_VERSION:
        said = f"Its schema is {version or 'empty'}; this Flotilla needs {SCHEMA_VERSION}. Run: flotilla migrate"
        return Check("database", ok=False, state="wrong schema", detail=said), stopped
    return Check("database", ok=True, state="up", detail=f"Schema {version}."), stopped


def _redis(redis: Redis) -> Check:
    try:
        redis.ping()
    except (RedisError, OSError) as error:
        return Check("redis", ok=False, state="away", detail=f"It does not answer: {error}")
    return Check("redis", ok=True, state="up", detail="It answers.")


def _fleet(supervisor: Supervisor, needed: Sequence[ProcessSpec], run_dir: Path, now: datetime) -> list[Check]:
    try:
        reports = {report.name: report for report in fleet_report(needed, supervisor, run_dir, now.timestamp())}
    except FlotillaError as error:  # away, or just shutting down
        return [Check("supervisord", ok=False, state="away", detail=told(error))]
    up = Check("supervisord", ok=True, state="up", detail="It answers.")
    return [up, *(_process(spec, reports.get(spec.name)) for spec in needed)]


def _process(spec: ProcessSpec, report: ProcessReport | None) -> Check:
    if report is None:
        return Check(spec.name, ok=False, state="unknown", detail="supervisord does not know it. Restart the fleet.")
    if report.state != "RUNNING":
        return Check(spec.name, ok=False, state=report.state.lower(), detail=report.explanation or "It does not run.")
    if report.heartbeat_age_s is None:
        return Check(spec.name, ok=False, state="starting", detail="It has done no work yet.")
    said = f"Its last work was {report.heartbeat_age_s:.1f} s ago; it promises some every {spec.heartbeat_s:g} s."
    return Check(spec.name, ok=report.fresh, state="running" if report.fresh else "silent", detail=said)


def _disk(state_dir: Path) -> Check:
    try:
        free_mb = shutil.disk_usage(state_dir).free // _MB
    except OSError as error:
        return Check("disk", ok=False, state="away", detail=f"The state folder cannot be read: {error.strerror}.")
    ok = free_mb >= DISK_FLOOR_MB
    said = f"{free_mb} MB are free where the state folder is."
    return Check("disk", ok=ok, state="up" if ok else "full", detail=said)
