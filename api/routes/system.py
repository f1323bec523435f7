"""The system as a whole: status, start, stop, restart, logs, notices and the audit log, in the shape of the documents."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from importlib import metadata
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import steering
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route
from api.steering import Steering
from app.domain.fleet import Role
from app.errors import Conflict, FlotillaError, NotFound, Unavailable
from app.host import logs
from app.host.fleet_report import ProcessReport, fleet_report
from app.notify import outbox
from app.storage import audit, processes
from app.storage.database import reading
from app.usecases.check_health import told

TRACE = "^[A-Za-z0-9_-]{1,64}$"
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ProcessView(Answer, frozen=True):
    """One process, as `flotilla ps` shows it. What is not known is null, never 0."""

    name: str
    pid: int | None
    state: Annotated[str, Meta(description="supervisord's word: RUNNING, STOPPED, BACKOFF, FATAL ...")]
    desired: Annotated[str | None, Meta(description="running or stopped, as last wished.")]
    uptime_s: int | None
    restarts: int | None
    memory_mb: Annotated[float | None, Meta(description="PSS, with children.")]
    ceiling_mb: int
    heartbeat_age_s: float | None
    last_work: str | None
    role: Annotated[Role, Meta(description="work: started and stopped with the system; core: the house itself.")]
    explanation: str


class Module(Answer, frozen=True):
    """One process in the documents' words."""

    status: str
    health: Literal["healthy", "unhealthy", "unknown"]


class Status(Answer, frozen=True):
    """The system in the documents' words, and every process. What is not known is null, never 0."""

    is_running: Annotated[bool | None, Meta(description="Whether every process with the role work runs.")] = (
        msgspec.field(name="isRunning")
    )
    last_started: Annotated[datetime | None, Meta(description="Since when it runs; null while it does not.")] = (
        msgspec.field(name="lastStarted")
    )
    cpu_usage: Annotated[float | None, Meta(description="Percent of all cores of this machine.")]
    memory_usage: Annotated[float | None, Meta(description="Percent of this machine's memory.")]
    network_latency: Annotated[float | None, Meta(description="Milliseconds to the exchanges; null until measured.")]
    version: str
    uptime: Annotated[float | None, Meta(description="Hours since lastStarted; 0 while it does not run.")]
    modules: dict[str, Module]
    processes: list[ProcessView]
    problems: Annotated[list[str], Meta(description="What could not be asked, and what to do about it.")]


class ServiceOrAll(Asks, frozen=True):
    """Which process; without one, all that do work."""

    service: Annotated[str, Meta(max_length=50, description="The name of a process.")] | None = None


class LogsAsked(Asks, frozen=True):
    """Which lines of the logs."""

    lines: Annotated[int, Meta(ge=1, le=1000, description="How many, the newest.")] = 50
    process: Annotated[str, Meta(max_length=50, description="Of one process only.")] | None = None
    level: Annotated[Level | None, Meta(description="At least of this level.")] = None
    trace_id: Annotated[str, Meta(pattern=TRACE, description="Of one request only.")] | None = None


class Logs(Answer, frozen=True):
    """Lines of the logs, oldest first."""

    logs: list[dict[str, Any]]


class Limit(Asks, frozen=True):
    """How many, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class AuditEntry(Answer, frozen=True):
    """Who changed what, when, from what to what."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    trace_id: str | None


class Audit(Answer, frozen=True):
    """Changes, newest first."""

    entries: list[AuditEntry]


class NoticeView(Answer, frozen=True):
    """Something that a person was told, or is about to be."""

    id: str
    at: datetime
    level: Literal["info", "warning", "critical"]
    subject: str
    text: str


class Notices(Answer, frozen=True):
    """Notices, newest first."""

    notices: list[NoticeView]


def status(call: Call[Nothing]) -> Reply[Status]:
    """Say what runs. Whatever cannot be asked is null, and named among the problems."""
    deps, problems = call.deps, []
    reports: Sequence[ProcessReport] = ()
    wished: dict[str, str] = {}
    try:
        reports = fleet_report(deps.specs, deps.supervisor, deps.run_dir, call.now.timestamp())
    except FlotillaError as error:
        problems.append(told(error))
    try:
        with reading(deps.engine) as db:
            wished = {row.name: row.desired for row in processes.rows(db)}
    except FlotillaError as error:
        problems.append(told(error))
    host = deps.host()
    running, up_s = _uptime([report for report in reports if report.name not in deps.settings.unneeded])
    return Reply(
        Status(
            is_running=running,
            last_started=call.now - timedelta(seconds=up_s) if up_s is not None and running else None,
            cpu_usage=host.cpu_percent,
            memory_usage=host.memory_percent,
            network_latency=None,
            version=version(),
            uptime=None if up_s is None else round(up_s / 3600, 4),
            modules={report.name: Module(report.state.lower(), _health(report)) for report in reports},
            processes=[_view(report, wished.get(report.name)) for report in reports],
            problems=problems,
        )
    )


def start(call: Call[Nothing]) -> Reply[Steering]:
    """Start every process that does work."""
    return steering.steer(call, _work(call), "start")


def stop(call: Call[Nothing]) -> Reply[Steering]:
    """Stop every process that does work; the house itself stays."""
    return steering.steer(call, _work(call), "stop")


def restart(call: Call[ServiceOrAll]) -> Reply[Steering]:
    """Drain and replace one process, or every one that does work."""
    service = call.asks.service
    names = [steering.known(call.deps, service)] if service is not None else _work(call)
    return steering.steer(call, names, "restart")


def read_logs(call: Call[LogsAsked]) -> Reply[Logs]:
    """Read the newest lines of one process' log, or of all together."""
    asked = call.asks
    process = None if asked.process is None else steering.known(call.deps, asked.process)
    folder = call.deps.log_dir
    tail = partial(logs.tail, folder, process, asked.lines, level=asked.level, trace=asked.trace_id)
    return Reply(Logs(call.deps.apart(tail)))


def read_audit(call: Call[Limit]) -> Reply[Audit]:
    """Read who changed what."""
    with reading(call.deps.engine) as db:
        rows = audit.recent(db, call.asks.limit)
    return Reply(Audit([msgspec.convert(row, AuditEntry, from_attributes=True) for row in rows]))


def read_notices(call: Call[Limit]) -> Reply[Notices]:
    """Read what a person was told."""
    found = call.deps.apart(partial(outbox.recent, call.deps.notices_dir, call.asks.limit))
    return Reply(Notices([msgspec.convert(notice, NoticeView, from_attributes=True) for notice in found]))


@cache
def version() -> str:
    """Flotilla's version."""
    return metadata.version("flotilla")


def _work(call: Call[Any]) -> list[str]:
    idle = call.deps.settings.unneeded
    return [spec.name for spec in call.deps.specs if spec.role == "work" and spec.name not in idle]


def _uptime(reports: Sequence[ProcessReport]) -> tuple[bool | None, float | None]:
    """Whether all work runs, and for how many seconds; None where supervisord did not answer."""
    work = [report for report in reports if report.role == "work"]
    if not work:
        return None, None
    if any(report.state != "RUNNING" for report in work):
        return False, 0.0
    return True, float(min(report.uptime_s or 0 for report in work))


def _health(report: ProcessReport) -> Literal["healthy", "unhealthy", "unknown"]:
    if report.fresh:
        return "healthy"
    failed = report.state in {"BACKOFF", "FATAL", "EXITED"} or report.heartbeat_age_s is not None
    return "unhealthy" if failed else "unknown"


def _view(report: ProcessReport, desired: str | None) -> ProcessView:
    return ProcessView(
        name=report.name,
        pid=report.pid,
        state=report.state,
        desired=desired,
        uptime_s=report.uptime_s,
        restarts=report.restarts,
        memory_mb=report.memory_mb,
        ceiling_mb=report.ceiling_mb,
        heartbeat_age_s=report.heartbeat_age_s,
        last_work=report.last_work,
        role=report.role,
        explanation=report.explanation,
    )


_AT = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
_PROCESS = ProcessView("monitor", 4711, "RUNNING", "running", 3600, 0, 31.4, 50, 1.2, "sampled", "core", "")
_STATUS = Status(
    is_running=True,
    last_started=_AT,
    cpu_usage=12.5,
    memory_usage=48.1,
    network_latency=None,
    version="0.1.0",
    uptime=1.0,
    modules={"monitor": Module("running", "healthy")},
    processes=[_PROCESS],
    problems=[],
)
_LINE = {
    "at": _AT.isoformat(),
    "level": "INFO",
    "process": "main-app",
    "message": "started",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}
_ENTRY = AuditEntry(
    1, _AT, "api", "stop_process", "market-feed", {"desired": "running"}, {"desired": "stopped"}, _LINE["trace_id"]
)
_NOTICE = NoticeView("guard-1", _AT, "warning", "strategy-worker", "strategy-worker used 160 MB twice in a row.")
_WORK = ["market-feed", "strategy-worker"]
_STARTED = Steering("started", "market-feed, strategy-worker: started.", _WORK)
_STOPPING = Steering("stopping", "market-feed, strategy-worker: stopping.", _WORK)
_RESTARTED = Steering("restarted", "monitor: restarted.", ["monitor"])
_STEERED: tuple[int, ...] = (200, 202)

ROUTES = (
    # The page asks this and the notices every few seconds.
    Route("GET", "/api/system/status", status, "system", "What runs", Nothing, Status, example=_STATUS, quiet=True),
    Route(
        "POST",
        "/api/system/start",
        start,
        "system",
        "Start every process that does work",
        Nothing,
        Steering,
        statuses=_STEERED,
        raises=(Unavailable,),
        example=_STARTED,
    ),
    Route(
        "POST",
        "/api/system/stop",
        stop,
        "system",
        "Stop every process that does work",
        Nothing,
        Steering,
        statuses=_STEERED,
        raises=(Unavailable,),
        example=_STOPPING,
    ),
    Route(
        "POST",
        "/api/system/restart",
        restart,
        "system",
        "Drain and replace one process, or every one that does work",
        ServiceOrAll,
        Steering,
        statuses=_STEERED,
        raises=(NotFound, Conflict, Unavailable),
        asks_example=ServiceOrAll("monitor"),
        example=_RESTARTED,
    ),
    Route(
        "GET",
        "/api/system/logs",
        read_logs,
        "system",
        "The newest lines of the logs",
        LogsAsked,
        Logs,
        raises=(NotFound,),
        example=Logs([_LINE]),
    ),
    Route(
        "GET",
        "/api/system/audit",
        read_audit,
        "system",
        "Who changed what",
        Limit,
        Audit,
        raises=(Unavailable,),
        example=Audit([_ENTRY]),
    ),
    Route(
        "GET",
        "/api/system/notices",
        read_notices,
        "system",
        "What a person was told",
        Limit,
        Notices,
        example=Notices([_NOTICE]),
        quiet=True,
    ),
)
