"""Whether the API lives, whether the fleet is ready, and the figures that Prometheus collects."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from redis import Redis
from redis.exceptions import RedisError

from api.deps import Deps
from api.routes.route import Answer, Call, File, Nothing, Reply, Route
from app.errors import FlotillaError, Unavailable
from app.host.fleet_report import fleet_report
from app.host.metrics import Metrics, Snapshots, exposition, read_all
from app.storage import tasks
from app.storage.database import reading
from app.usecases.check_health import Check, check_health

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_MB = 1024 * 1024


class Alive(Answer, frozen=True):
    """The process answers. Nothing else was asked."""

    status: Literal["alive"] = "alive"


class CheckView(Answer, frozen=True):
    """One thing that the fleet depends on."""

    name: Annotated[str, Meta(description="database, redis, supervisord, disk, or the name of a process.")]
    ok: bool
    state: Annotated[str, Meta(description="A word for programs, such as up, away, silent.")]
    detail: Annotated[str, Meta(description="A sentence for people.")]


class Readiness(Answer, frozen=True):
    """Whether the fleet can do its work, and every dependency with its real state."""

    status: Literal["ready", "not_ready"]
    checks: list[CheckView]


def live(_call: Call[Nothing]) -> Reply[Alive]:
    """Answer without asking anything of anybody."""
    return Reply(Alive())


def ready(call: Call[Nothing]) -> Reply[Readiness]:
    """Ask every dependency."""
    deps = call.deps
    health = check_health(
        deps.engine,
        deps.redis,
        deps.supervisor,
        deps.specs,
        state_dir=deps.settings.state_dir,
        run_dir=deps.run_dir,
        unneeded=deps.settings.unneeded,
        now=call.now,
    )
    checks = list(health.checks)
    if deps.draining():
        checks.append(
            Check("main-app", ok=False, state="draining", detail="It is ending; ask again after its restart.")
        )
    views = [msgspec.convert(check, CheckView, from_attributes=True) for check in checks]
    bad = [check.name for check in checks if not check.ok]
    if not bad:
        return Reply(Readiness("ready", views))
    wrong = Unavailable(f"Not ready: {', '.join(bad)}.", cure="Read the details of each check, or run: flotilla doctor")
    return Reply(Readiness("not_ready", views), error=wrong)


def metrics(call: Call[Nothing]) -> Reply[File]:
    """Serve the figures of all processes, and those of the fleet as it is now."""
    return Reply(File(exposition(metrics_now(call)).encode()))


def metrics_now(call: Call[Any]) -> Snapshots:
    """The figures of all processes; our own as they are at this moment."""
    deps = call.deps
    others = read_all(deps.run_dir, call.now.timestamp())
    own, now = deps.metrics.snapshot("main-app"), _fleet_now(call).snapshot("main-app")
    found = (own, now, *(snapshot for snapshot in others.found if snapshot.process != "main-app"))
    return Snapshots(found, others.skipped)


def _fleet_now(call: Call[Nothing]) -> Metrics:
    """What can only be seen from outside a process."""
    deps, found = call.deps, Metrics()
    found.gauge("flotilla_disk_free_bytes", deps.host().disk_free_mb * 1_000_000)
    found.gauge("flotilla_broker_up", _answers(deps.redis))
    found.gauge("flotilla_database_up", _count_tasks(deps, found))
    found.gauge("flotilla_supervisord_up", _look_at_processes(call, found))
    return found


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except (RedisError, OSError):
        return False


def _count_tasks(deps: Deps, found: Metrics) -> bool:
    try:
        with reading(deps.engine) as db:
            counts = tasks.counts(db)
    except FlotillaError:
        return False
    for (queue, status), number in counts.items():
        found.gauge("flotilla_tasks", number, queue=queue, status=status)
    return True


def _look_at_processes(call: Call[Nothing], found: Metrics) -> bool:
    deps = call.deps
    try:
        reports = fleet_report(deps.specs, deps.supervisor, deps.run_dir, call.now.timestamp())
    except FlotillaError:
        return False
    for report in reports:
        name = report.name
        found.gauge("flotilla_up", report.state == "RUNNING", process=name)
        found.gauge("flotilla_process_ceiling_bytes", report.ceiling_mb * _MB, process=name)
        if report.memory_mb is not None:
            found.gauge("flotilla_process_memory_bytes", report.memory_mb * _MB, process=name)
        if report.heartbeat_age_s is not None:
            found.gauge("flotilla_process_heartbeat_age_seconds", report.heartbeat_age_s, process=name)
        if report.restarts is not None:
            found.gauge("flotilla_process_restarts", report.restarts, process=name)
    return True


def _readiness(path: str, summary: str) -> Route[Nothing, Readiness]:
    example = Readiness("ready", [CheckView("database", ok=True, state="up", detail="Schema 0002.")])
    return Route(
        "GET", path, ready, "health", summary, Nothing, Readiness, statuses=(200, 503), example=example, quiet=True
    )


ROUTES = (
    Route("GET", "/health/live", live, "health", "Is the API alive?", Nothing, Alive, example=Alive(), quiet=True),
    _readiness("/health/ready", "Is the fleet ready? Every dependency with its real state"),
    _readiness("/health", "The same as /health/ready"),
    _readiness("/api/health", "The same as /health/ready"),
    Route("GET", "/metrics", metrics, "health", "Prometheus text", Nothing, File, media=PROMETHEUS, quiet=True),
)
