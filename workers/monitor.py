"""The process "monitor": looks at the machine and at every process, watches the process-guard, and tells a person.

It needs neither the database nor the broker: what it finds it publishes as metrics, spools as samples for whoever has a
database, steps its alerts by, and tells from the outbox. What talks with people (workers/telling.py) has threads of its own.
"""

import gc
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import redis

from app.domain.fleet import Observation, ProcessSpec, Step, Verdict, Watch, observe, unexpected_exit
from app.errors import FlotillaError
from app.host import acknowledgements, fleet_file, heartbeat, lifecycle, probes, samples
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.mending import Mending
from app.host.metrics import Metrics
from app.host.own_api import OwnApi
from app.host.samples import HealthSample
from app.host.supervisor import ALIVE, Supervisor
from app.notify import outbox
from app.notify.telegram import TelegramNotifier
from app.settings import ROOT, Settings, load
from app.usecases.answer_commands import CommandDesk, Commands
from app.usecases.keep_posture import PostureKeeper
from app.usecases.read_fleet import FleetReader
from app.usecases.watch_alerts import AlertWatch
from workers import telling
from workers.schedule import QUEUES

log = logging.getLogger("monitor")
NAME, GUARD = "monitor", "process-guard"
DOWN = "guard_down"
LOOK_EVERY_S = 5.0
GUARD_EVERY_S = 2.0
_REDIS_TIMEOUT_S = 1.0
_MB = 1024 * 1024


@dataclass(slots=True)
class HealthMinutes:
    """Looks at each process, gathered by the minute."""

    _minute: datetime | None = None
    _seen: dict[str, HealthSample] = field(default_factory=dict)

    def add(self, reports: Sequence[ProcessReport], now: datetime) -> list[HealthSample]:
        """Take in one look; return the samples of the minute before, once it is over."""
        minute = now.replace(second=0, microsecond=0)
        finished = self.finish() if minute != self._minute else []
        self._minute = minute
        for report in reports:
            if report.state != "STOPPED":  # somebody wants it so: neither well nor unwell
                before = self._seen.get(report.name, HealthSample(minute, report.name, 0, 0))
                self._seen[report.name] = HealthSample(
                    minute,
                    report.name,
                    before.success_count + report.fresh,
                    before.total_count + 1,
                    before.error_message if report.fresh else _unwell(report),
                )
        return finished

    def finish(self) -> list[HealthSample]:
        """Return what was gathered so far, and begin anew."""
        finished, self._seen = list(self._seen.values()), {}
        return finished


def _unwell(report: ProcessReport) -> str:
    if report.state == "RUNNING":  # whose explanation is its pid and its uptime
        age_s = report.heartbeat_age_s
        return "it has not worked yet" if age_s is None else f"it did no work for {age_s:g} s"
    return f"{report.state}: {report.explanation}"


@dataclass(slots=True)
class GuardWatch:
    """Who watches the guard: replaces it when it is stuck or too large. Nothing it knows is lost by that."""

    spec: ProcessSpec
    supervisor: Supervisor
    run_dir: Path
    notices: Path
    clock: Callable[[], float] = time.monotonic
    _watch: Watch = field(default_factory=Watch)
    _last_pid: int | None = None
    """Of the newest one that lived: between two there may be a look that sees none."""
    _killed: int | None = None
    _mending: Mending = field(init=False)

    def __post_init__(self) -> None:
        """Begin to note what is mended."""
        self._mending = Mending(self.run_dir)

    def look(self, now: datetime, memory_mb: float | None = None) -> None:
        """Look once, and act. Raises Unavailable when supervisord does not answer."""
        info = next((info for info in self.supervisor.processes() if info.name == GUARD), None)
        pid = info.pid if info and info.state in ALIVE and info.state != "STOPPING" else None
        now_s, last_pid = self.clock(), self._last_pid
        self._mending.look(GUARD, pid, now)
        if info is None or info.state in ("STOPPED", "STOPPING"):  # by a person
            self._last_pid = None
        elif pid:
            self._last_pid = pid
        if pid and last_pid and pid != last_pid != self._killed:
            self._mending.begin(GUARD, DOWN, "it ended by itself", last_pid, now)
            self._take(unexpected_exit(self.spec, self._watch, now_s), None, now)
        beat = heartbeat.read(self.run_dir, GUARD)
        seen = Observation(now_s, pid, memory_mb, float(beat.at_ns) if beat and beat.pid == pid else None)
        self._take(observe(self.spec, self._watch, seen), pid, now)

    def _take(self, step: Step, pid: int | None, now: datetime) -> None:
        self._watch = step.watch
        for verdict in step.verdicts:
            self._do(verdict, pid, now)
        kinds = {verdict.kind for verdict in step.verdicts}
        if kinds & {"drain", "kill"}:
            self._mending.begin(GUARD, DOWN, step.verdicts[0].why, pid, now)
        elif kinds:
            self._mending.give_up(GUARD, DOWN, step.verdicts[0].why, now)

    def _do(self, verdict: Verdict, pid: int | None, now: datetime) -> None:
        log.warning(verdict.why, extra={"verdict": verdict.kind, "about": GUARD})
        if verdict.kind == "tell":
            notice_id = f"{now:%Y%m%dT%H%M%S%f}-{GUARD}"
            outbox.post(self.notices, outbox.Notice(notice_id, now, "critical", GUARD, verdict.why))
        else:  # it has no work in progress that draining could save, and what is stuck does not drain
            self._killed = pid
            self.supervisor.signal(GUARD, "KILL")


class RedisProbe:
    """Looks at Redis through one connection of its own. An absent Redis is a figure, not an error."""

    def __init__(self, url: str, queues: Mapping[str, str]) -> None:
        self._url, self._queues = url, tuple(queues)
        self._redis: redis.Redis | None = None

    def look(self, metrics: Metrics) -> bool:
        """Publish what it says of itself. What is not known is NaN, for an old figure would look like a new one."""
        if self._redis is None:
            self._redis = redis.Redis.from_url(
                self._url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S, retry=None
            )
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.info()
                for queue in self._queues:
                    pipe.llen(queue)
                info, *lengths = pipe.execute(raise_on_error=False)
        except (redis.RedisError, OSError):
            info, lengths = None, [None] * len(self._queues)
        up = isinstance(info, dict)
        said: Mapping[str, object] = info if isinstance(info, dict) else {}
        metrics.gauge("flotilla_redis_up", up)
        metrics.gauge("flotilla_redis_memory_bytes", _known(said.get("used_memory")))
        metrics.gauge("flotilla_redis_clients", _known(said.get("connected_clients")))
        metrics.gauge("flotilla_redis_evicted_keys", _known(said.get("evicted_keys")))
        hits, misses = _known(said.get("keyspace_hits")), _known(said.get("keyspace_misses"))
        metrics.gauge("flotilla_redis_hit_ratio", hits / (hits + misses) if hits + misses else math.nan)
        for queue, length in zip(self._queues, lengths, strict=True):
            metrics.gauge("flotilla_queue_length", _known(length), queue=queue)
        return up

    def close(self) -> None:
        """Let go of the connection."""
        if self._redis is not None:
            self._redis.close()


def _known(answer: object) -> float:
    return float(answer) if isinstance(answer, int) else math.nan


class Monitor:
    """One look at everything, and what is made of it."""

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[ProcessSpec],
        supervisor: Supervisor,
        metrics: Metrics,
        alerts: AlertWatch,
    ) -> None:
        self._specs, self._supervisor, self._metrics = specs, supervisor, metrics
        self._alerts, self._reader = alerts, FleetReader(settings.run_dir)
        self._run_dir = settings.run_dir
        self._host = probes.HostProbe(settings.state_dir)
        self._redis = RedisProbe(settings.redis_url, QUEUES)
        self._minutes = HealthMinutes()
        self._posture = PostureKeeper(settings.run_dir, datetime.now(UTC))
        self._supervisord_away = False

    def look(self, now: datetime) -> Mapping[str, ProcessReport]:
        """Look at everything once. What cannot be seen is left out, and the rest goes on."""
        started_s = time.monotonic()
        host = self._look_at_host()
        self._posture.look(host, now)
        redis_up = self._redis.look(self._metrics)
        reports = self._look_at_processes(now)
        seen = None if self._supervisord_away else reports
        self._hear_acknowledgements()
        self._alerts.look(self._reader.readings(host, seen, redis_up=redis_up, now=now), now)
        self._metrics.gauge("flotilla_alerts_firing", len(self._alerts.firing()))
        self._store(self._minutes.add(reports, now))
        self._metrics.observe("flotilla_monitor_look_seconds", time.monotonic() - started_s)
        self._metrics.publish(self._run_dir, NAME)
        return {report.name: report for report in reports}

    def _hear_acknowledgements(self) -> None:
        try:
            for asked in acknowledgements.taken(self._run_dir):
                self._alerts.acknowledge(asked.name, asked.by, fired_at=asked.fired_at)
        except OSError as error:
            log.warning("acknowledgements cannot be read: %s", error)

    def finish(self) -> None:
        """Store what was gathered of the minute that is not over."""
        self._store(self._minutes.finish())

    def _look_at_host(self) -> probes.HostSample:
        host = self._host.sample()
        if host.cpu_percent is not None:
            self._metrics.gauge("flotilla_host_cpu_ratio", host.cpu_percent / 100)
        self._metrics.gauge("flotilla_host_memory_bytes", host.memory_used_mb * _MB)
        self._metrics.gauge("flotilla_host_memory_total_bytes", host.memory_total_mb * _MB)
        self._metrics.gauge("flotilla_host_load", host.load_1m)
        return host

    def _look_at_processes(self, now: datetime) -> list[ProcessReport]:
        try:
            reports = fleet_report(self._specs, self._supervisor, self._run_dir, now.timestamp())
        except FlotillaError as error:
            if not self._supervisord_away:
                log.warning("the processes cannot be seen: %s", error)
            self._supervisord_away = True
            return []
        self._supervisord_away = False
        for report in reports:
            held = probes.footprint(report.pid) if report.pid else None
            if held:
                self._metrics.gauge("flotilla_process_handles", held.handles, process=report.name)
                self._metrics.gauge("flotilla_process_threads", held.threads, process=report.name)
                self._metrics.gauge("flotilla_process_cpu_seconds", held.cpu_s, process=report.name)
        return reports

    def _store(self, finished: Sequence[HealthSample]) -> None:
        if not finished:
            return
        try:
            samples.append(self._run_dir, finished)
        except OSError as error:
            log.warning("a minute of samples is lost: %s", error)


def hearing(
    settings: Settings, bot: TelegramNotifier, alerts: AlertWatch, specs: Sequence[ProcessSpec]
) -> telling.Hearing:
    """Who hears commands, with handles of its own: it runs in a thread of its own."""
    supervisor = Supervisor(settings.supervisor_socket, timeout_s=3)
    commands = Commands(
        alerts,
        OwnApi(settings.address),
        lambda now: fleet_report(specs, supervisor, settings.run_dir, now.timestamp()),
        probes.HostProbe(settings.state_dir).sample,
        simulated=settings.simulated,
    )
    return telling.Hearing(
        CommandDesk(bot, commands, settings.state_dir / "commands.offset", clock=lambda: datetime.now(UTC))
    )


def _sender(settings: Settings) -> str:
    """Who speaks, and of which market: nobody must take a simulated price for a real one."""
    return f"Flotilla on {socket.gethostname()}{', simulated market' if settings.simulated else ''}"


def main() -> None:
    """Look every few seconds until asked to drain."""
    settings = load(os.environ)
    life = lifecycle.begin(NAME, settings.run_dir, level=settings.log.level)
    specs = fleet_file.read_fleet(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "supervisord.conf")
    notices = settings.notices_dir
    alerts, metrics = AlertWatch(settings.state_dir, notices), Metrics()
    monitor = Monitor(settings, specs, Supervisor(settings.supervisor_socket, timeout_s=3), metrics, alerts)
    guard = GuardWatch(
        next(spec for spec in specs if spec.name == GUARD),
        Supervisor(settings.supervisor_socket, timeout_s=3),
        settings.run_dir,
        notices,
    )
    bot = telling.telegram(settings)
    ways = telling.deliveries(settings, bot, notices, sender=_sender(settings))
    threads: list[telling.Delivery | telling.Hearing] = [
        *ways,
        *([hearing(settings, bot, alerts, specs)] if bot else []),
    ]
    for thread in threads:
        thread.start()
    gc.freeze()
    looked_at_s, guard_memory_mb = float("-inf"), None
    while not life.draining.wait(GUARD_EVERY_S):
        if not all(thread.alive for thread in threads):
            log.critical("the delivery of notices is stuck; a new monitor takes over")
            sys.exit(1)
        if time.monotonic() - looked_at_s >= LOOK_EVERY_S:
            looked_at_s = time.monotonic()
            for way in ways:
                metrics.gauge("flotilla_notice_failures", way.failures, way=way.way)
            seen = monitor.look(datetime.now(UTC)).get(GUARD)
            guard_memory_mb = seen.memory_mb if seen else None
        try:
            guard.look(datetime.now(UTC), guard_memory_mb)
        except (FlotillaError, OSError) as error:
            log.debug("the guard cannot be seen: %s", error)
        guard_memory_mb = None  # one measurement counts once
        life.beat("looked at the machine and every process")
    monitor.finish()
    for thread in threads:
        thread.end()


if __name__ == "__main__":
    main()
