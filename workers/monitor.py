"""The process "monitor": looks at the machine and at every process, watches the process-guard, and tells a person.

It needs neither the database nor the broker: what it finds it publishes as metrics, spools as samples for whoever has a
database, and tells from the outbox. Delivery has a thread of its own, so that a slow messenger never delays a look.
"""

import gc
import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import redis

from app.domain.fleet import Observation, ProcessSpec, Step, Verdict, Watch, observe, unexpected_exit
from app.errors import FlotillaError, Misconfigured
from app.host import fleet_file, heartbeat, lifecycle, probes, samples
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.metrics import Metrics
from app.host.samples import HealthSample
from app.host.supervisor import ALIVE, Supervisor
from app.notify import outbox
from app.notify.log import LogNotifier
from app.notify.notifier import Notifier
from app.settings import ROOT, Settings, load
from app.usecases.deliver_notices import NoticeDelivery
from workers.schedule import QUEUES

log = logging.getLogger("monitor")
NAME, GUARD = "monitor", "process-guard"
LOOK_EVERY_S = 5.0
GUARD_EVERY_S = 1.0
DELIVER_EVERY_S = 1.0
DELIVERY_STUCK_S = 120.0  # longer than any one attempt to send may take
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
    if report.state == "RUNNING" and report.heartbeat_age_s is not None:
        return f"it did no work for {report.heartbeat_age_s:g} s"
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
    _killed: int | None = None

    def look(self, now: datetime, memory_mb: float | None = None) -> None:
        """Look once, and act. Raises Unavailable when supervisord does not answer."""
        info = next((info for info in self.supervisor.processes() if info.name == GUARD), None)
        pid = info.pid if info and info.state in ALIVE and info.state != "STOPPING" else None
        now_s, last_pid = self.clock(), self._watch.pid
        if pid and last_pid and pid != last_pid != self._killed:
            self._take(unexpected_exit(self.spec, self._watch, now_s), None, now)
        beat = heartbeat.read(self.run_dir, GUARD)
        seen = Observation(now_s, pid, memory_mb, float(beat.at_ns) if beat else None)
        self._take(observe(self.spec, self._watch, seen), pid, now)

    def _take(self, step: Step, pid: int | None, now: datetime) -> None:
        self._watch = step.watch
        for verdict in step.verdicts:
            self._do(verdict, pid, now)

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
                pipe.info("memory")
                for queue in self._queues:
                    pipe.llen(queue)
                info, *lengths = pipe.execute(raise_on_error=False)
        except (redis.RedisError, OSError):
            info, lengths = None, [None] * len(self._queues)
        up = isinstance(info, dict)
        memory = info.get("used_memory") if isinstance(info, dict) else None
        metrics.gauge("flotilla_redis_up", up)
        metrics.gauge("flotilla_redis_memory_bytes", _known(memory))
        for queue, length in zip(self._queues, lengths, strict=True):
            metrics.gauge("flotilla_queue_length", _known(length), queue=queue)
        return up

    def close(self) -> None:
        """Let go of the connection."""
        if self._redis is not None:
            self._redis.close()


def _known(answer: object) -> float:
    return float(answer) if isinstance(answer, int) else math.nan


class Delivery(threading.Thread):
    """Delivers notices every second or so. ``alive`` says whether it still does."""

    def __init__(self, notices: NoticeDelivery, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="delivery", daemon=True)
        self._notices, self._clock = notices, clock
        self._ended = threading.Event()
        self._turned_at_s = clock()

    def run(self) -> None:
        """Deliver until asked to end."""
        while not self._ended.wait(DELIVER_EVERY_S):
            try:
                self._notices.deliver(datetime.now(UTC))
            except (OSError, FlotillaError) as error:  # such as a full disk: it passes, and the notices wait
                log.warning("notices wait: %s", error)
            self._turned_at_s = self._clock()

    @property
    def alive(self) -> bool:
        """Whether it runs and has turned lately."""
        return self.is_alive() and self._clock() - self._turned_at_s < DELIVERY_STUCK_S

    def end(self) -> None:
        """Let the message that is on its way go out, within reason."""
        self._ended.set()
        self.join(timeout=3)


class Monitor:
    """One look at everything, and what is made of it."""

    def __init__(
        self, settings: Settings, specs: Sequence[ProcessSpec], supervisor: Supervisor, metrics: Metrics
    ) -> None:
        self._specs, self._supervisor, self._metrics = specs, supervisor, metrics
        self._run_dir = settings.run_dir
        self._host = probes.HostProbe(settings.state_dir)
        self._redis = RedisProbe(settings.redis_url, QUEUES)
        self._minutes = HealthMinutes()
        self._supervisord_away = False

    def look(self, now: datetime) -> Mapping[str, ProcessReport]:
        """Look at everything once. What cannot be seen is left out, and the rest goes on."""
        started_s = time.monotonic()
        self._look_at_host()
        self._redis.look(self._metrics)
        reports = self._look_at_processes(now)
        self._store(self._minutes.add(reports, now))
        self._metrics.observe("flotilla_monitor_look_seconds", time.monotonic() - started_s)
        self._metrics.publish(self._run_dir, NAME)
        return {report.name: report for report in reports}

    def finish(self) -> None:
        """Store what was gathered of the minute that is not over."""
        self._store(self._minutes.finish())

    def _look_at_host(self) -> None:
        host = self._host.sample()
        if host.cpu_percent is not None:
            self._metrics.gauge("flotilla_host_cpu_ratio", host.cpu_percent / 100)
        self._metrics.gauge("flotilla_host_memory_bytes", host.memory_used_mb * _MB)
        self._metrics.gauge("flotilla_host_memory_total_bytes", host.memory_total_mb * _MB)
        self._metrics.gauge("flotilla_host_load", host.load_1m)

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
        return reports

    def _store(self, finished: Sequence[HealthSample]) -> None:
        if not finished:
            return
        try:
            samples.append(self._run_dir, finished)
        except OSError as error:
            log.warning("a minute of samples is lost: %s", error)


def notifier(settings: Settings) -> Notifier:
    """Telegram where it is set up; else, and where its settings cannot be used, the log."""
    if not settings.telegram.token:
        return LogNotifier()
    from app.notify.telegram import TelegramNotifier

    telegram = settings.telegram
    try:
        return TelegramNotifier(telegram.token, telegram.chat_id, base_url=telegram.base_url)
    except Misconfigured as error:  # without a monitor nobody would be told of anything
        log.critical("notices go to the log: %s %s", error, error.cure)
        return LogNotifier()


def main() -> None:
    """Look every few seconds until asked to drain."""
    settings = load(os.environ)
    life = lifecycle.begin(NAME, settings.run_dir, level=settings.log.level)
    specs = fleet_file.read_fleet(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "supervisord.conf")
    notices = settings.state_dir / "notices"
    monitor = Monitor(settings, specs, Supervisor(settings.supervisor_socket, timeout_s=3), Metrics())
    guard = GuardWatch(
        next(spec for spec in specs if spec.name == GUARD),
        Supervisor(settings.supervisor_socket, timeout_s=3),
        settings.run_dir,
        notices,
    )
    sender = f"Flotilla on {socket.gethostname()}"
    delivery = Delivery(NoticeDelivery(notices, notifier(settings), LogNotifier(), sender=sender))
    delivery.start()
    gc.freeze()
    looked_at_s, guard_memory_mb = float("-inf"), None
    while not life.draining.wait(GUARD_EVERY_S):
        if not delivery.alive:
            log.critical("the delivery of notices is stuck; a new monitor takes over")
            sys.exit(1)
        if time.monotonic() - looked_at_s >= LOOK_EVERY_S:
            looked_at_s = time.monotonic()
            seen = monitor.look(datetime.now(UTC)).get(GUARD)
            guard_memory_mb = seen.memory_mb if seen else None
        try:
            guard.look(datetime.now(UTC), guard_memory_mb)
        except (FlotillaError, OSError) as error:
            log.debug("the guard cannot be seen: %s", error)
        guard_memory_mb = None  # one measurement counts once
        life.beat("looked at the machine and every process")
    monitor.finish()
    delivery.end()


if __name__ == "__main__":
    main()
