"""What each process is doing: supervisord's view, its own heartbeat and its memory, joined for `flotilla ps`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain.fleet import BEATS_MISSED, ProcessSpec, Role
from app.host import heartbeat, probes
from app.host.supervisor import ALIVE, ProcessInfo, Supervisor


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One row of `flotilla ps`. What is not known, such as the memory of a stopped process, is None."""

    name: str
    pid: int | None
    state: str
    uptime_s: int | None
    restarts: int | None
    memory_mb: float | None
    ceiling_mb: int
    heartbeat_age_s: float | None
    last_work: str | None
    role: Role
    explanation: str
    fresh: bool


def fleet_report(
    specs: Sequence[ProcessSpec], supervisor: Supervisor, run_dir: Path, now_s: float
) -> list[ProcessReport]:
    """One report for each process of supervisord.conf. Raises Unavailable when supervisord does not answer."""
    infos = {info.name: info for info in supervisor.processes()}
    return [_report(spec, infos[spec.name], run_dir, now_s) for spec in specs if spec.name in infos]


def _report(spec: ProcessSpec, info: ProcessInfo, run_dir: Path, now_s: float) -> ProcessReport:
    beat = heartbeat.read(run_dir, spec.name)
    alive = info.state in ALIVE and info.pid is not None
    mine = beat if beat is not None and alive and beat.pid == info.pid else None  # not its predecessor's
    age_s = round(abs(now_s - mine.at_ns / 1e9), 1) if mine else None  # one from the future: a clock was set back
    memory_mb = probes.memory_mb(info.pid) if alive and info.pid else None
    return ProcessReport(
        name=spec.name,
        pid=info.pid if alive else None,
        state=info.state,
        uptime_s=info.uptime_s,
        restarts=beat.starts - 1 if beat else None,
        memory_mb=round(memory_mb, 1) if memory_mb is not None else None,
        ceiling_mb=spec.ceiling_mb,
        heartbeat_age_s=age_s,
        last_work=beat.work if beat else None,
        role=spec.role,
        explanation=info.explanation,
        fresh=info.state == "RUNNING" and age_s is not None and age_s <= BEATS_MISSED * spec.heartbeat_s,
    )
