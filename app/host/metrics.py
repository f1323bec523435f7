"""Metrics: each process counts in memory and publishes a snapshot; one place reads all of them and serves Prometheus text.

Files instead of a port in each process: seven processes need no seven listeners, and a dead one leaves its last counts.
"""

import math
import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.host import whole_file

Kind = Literal["counter", "gauge", "histogram"]
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 500  # per metric; a label fed from outside would otherwise grow until the process meets its ceiling
CURRENT_S = 30.0  # a snapshot is published every few seconds; what an older one says of "now" is no longer so
DROPPED = "flotilla_metric_series_dropped_total"
SKIPPED = "flotilla_metric_snapshots_skipped"

HELP = {
    "flotilla_alerts_firing": "Alerts that fire.",
    "flotilla_broker_up": "1 while the broker answers a ping.",
    "flotilla_cache_reads_total": "Reads of the cache, by layer and result (hit, miss, trouble).",
    "flotilla_chore_failed": "1 while the newest try of this kind of housekeeping is one that failed.",
    "flotilla_database_bytes": "Size of the database.",
    "flotilla_database_connections": "Connections that the database server has open; a file of SQLite has none.",
    "flotilla_database_gone": "Whether SQLite's file was moved, deleted or replaced under the fleet.",
    "flotilla_database_damaged_tables": "Tables in which the newest check of the database found damage.",
    "flotilla_database_query_seconds": "Time that the simplest query takes.",
    "flotilla_database_up": "1 while the database answers.",
    "flotilla_disk_free_bytes": "Free space on the disk of the state folder.",
    "flotilla_exchange_connections_total": "Attempts to connect to a stream of an exchange, by result: ok, failed.",
    "flotilla_exchange_request_seconds": "REST requests of an exchange, by result: ok, limited, failed.",
    "flotilla_feed_budget_used_ratio": "Share of a rate limit of an exchange that is spent, from 0 to 1.",
    "flotilla_feed_collector_up": "1 while an exchange's data come.",
    "flotilla_feed_faults_total": "What was wrong with an exchange's messages, by what it was.",
    "flotilla_feed_latency_seconds": "Median time from an exchange's time stamp to ours, of its newest messages.",
    "flotilla_feed_messages_total": "Values that an exchange said, by channel.",
    "flotilla_feed_quality_score": "How good an exchange's data are, from 0 to 100.",
    "flotilla_feed_rows_lost_total": "Rows that were given up because the database was away for too long.",
    "flotilla_feed_rows_waiting": "Rows that wait to be written.",
    "flotilla_feed_stored_age_seconds": "Time from a message's arrival to its place in the database.",
    "flotilla_feed_told_total": "Values told to Redis, by result.",
    "flotilla_host_cpu_ratio": "Share of all cores that is busy, from 0 to 1.",
    "flotilla_host_load": "Load average of the last minute.",
    "flotilla_host_memory_bytes": "Memory of the machine that is in use.",
    "flotilla_host_memory_total_bytes": "Memory of the machine.",
    "flotilla_http_request_seconds": "Time from a request's arrival in the application to its answer.",
    "flotilla_http_requests_total": "Requests answered.",
    DROPPED: "Samples not kept because the metric had too many label values.",
    SKIPPED: "Snapshot files in run/metrics that could not be used.",
    "flotilla_judged_age_seconds": "Time since the last close that was judged.",
    "flotilla_judging_cycles_behind": "Closes that should have been judged by now, and are not.",
    "flotilla_ledger_broken": "Paper accounts that do not add up.",
    "flotilla_notice_failures": "Attempts in a row to tell a person something that failed, by the way that they took.",
    "flotilla_open_interest_still": "Symbols whose open interest has been the same for an hour.",
    "flotilla_job_seconds": "Time that one run of a job of workers/schedule.py takes.",
    "flotilla_jobs_total": "Jobs run, by job and outcome: done, failed, unavailable (mostly the database was away).",
    "flotilla_monitor_look_seconds": "Time that one look of the monitor at everything takes.",
    "flotilla_process_ceiling_bytes": "The process' memory ceiling of supervisord.conf.",
    "flotilla_process_cpu_seconds": "Processor time that the process has used since its start, its children not included.",
    "flotilla_process_handles": "Open files and sockets of the process.",
    "flotilla_process_heartbeat_age_seconds": "Time since the process last did work.",
    "flotilla_process_memory_bytes": "Memory of the process and its children, shared pages counted once (PSS).",
    "flotilla_process_restarts": "Restarts of the process under the present supervisord.",
    "flotilla_process_threads": "Threads of the process.",
    "flotilla_push_clients": "Open push streams.",
    "flotilla_push_dropped_total": "Push streams cut off because their client did not keep up.",
    "flotilla_push_heard_total": "Messages heard from the market's feed and handed on.",
    "flotilla_push_refused_total": "Push streams refused because as many were open as there may be.",
    "flotilla_push_sent_total": "Messages handed to clients: one message to ten clients counts ten.",
    "flotilla_push_unreadable_total": "Published messages that could not be read.",
    "flotilla_queue_length": "Messages that wait in a queue of the broker; NaN while it is away.",
    "flotilla_reconcile_failures_total": "Passes of the reconciler that found supervisord or the database away.",
    "flotilla_reconcile_seconds": "Time that one pass of the reconciler takes.",
    "flotilla_redis_clients": "Connections that Redis has open; NaN while it is away.",
    "flotilla_redis_evicted_keys": "Keys that Redis had to drop for want of memory, since its start; NaN while it is away.",
    "flotilla_redis_hit_ratio": "Share of looked-up keys that Redis held, since its start; NaN while it is away.",
    "flotilla_redis_memory_bytes": "Memory that Redis says it uses; NaN while it is away.",
    "flotilla_redis_up": "1 while Redis answers the monitor.",
    "flotilla_supervisord_up": "1 while supervisord answers.",
    "flotilla_tasks": "Tasks in the database, by queue and status.",
    "flotilla_up": "1 while the process runs, 0 while it does not.",
}
"""What each metric means. A metric without a line here works, but a test asks for the line."""

_NAME = r"^[a-z_][a-z0-9_]*$"
_Name = Annotated[str, Meta(pattern=_NAME)]
_Labels = tuple[tuple[str, str], ...]


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One combination of labels. A histogram has the count of each bucket (the last one is +Inf) and their sum."""

    labels: dict[_Name, str]
    value: float | None = 0.0  # None: JSON has no word for infinite or not a number
    buckets: tuple[int, ...] = ()


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric with all its series."""

    name: _Name
    kind: Kind
    series: tuple[Series, ...]


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All metrics of one process at one moment."""

    process: str
    families: tuple[Family, ...]


@dataclass(frozen=True, slots=True)
class Snapshots:
    """What was found in ``run/metrics``: the usable files, and how many were not."""

    found: tuple[Snapshot, ...]
    skipped: int = 0


class Metrics:
    """The metrics of this process. Safe from several threads and greenlets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, Kind] = {}
        self._values: dict[str, dict[_Labels, float]] = {}
        self._buckets: dict[str, dict[_Labels, list[int]]] = {}

    def count(self, name: str, value: float = 1, /, **labels: object) -> None:
        """Add to a counter; its name ends in ``_total``."""
        with self._lock:
            series, key = self._series(name, "counter", labels)
            if key is not None:
                series[key] = series.get(key, 0.0) + value

    def gauge(self, name: str, value: float, **labels: object) -> None:
        """Set a gauge."""
        with self._lock:
            series, key = self._series(name, "gauge", labels)
            if key is not None:
                series[key] = float(value)

    def observe(self, name: str, seconds: float, *, times: int = 1, **labels: object) -> None:
        """Put a duration into a histogram, so many times; its name ends in ``_seconds``."""
        with self._lock:
            sums, key = self._series(name, "histogram", labels)
            if key is not None:
                sums[key] = sums.get(key, 0.0) + seconds * times
                buckets = self._buckets[name].setdefault(key, [0] * (len(BOUNDS_S) + 1))
                buckets[bisect_left(BOUNDS_S, seconds)] += times

    def snapshot(self, process: str) -> Snapshot:
        """All values as they are now."""
        with self._lock:
            return Snapshot(process, tuple(self._family(name, kind) for name, kind in self._kinds.items()))

    def publish(self, run_dir: Path, process: str) -> None:
        """Write a snapshot where the API finds it. A full disk loses the snapshot, never the process."""
        folder = run_dir / "metrics"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole_file.replace(folder / f"{process}.json", msgspec.json.encode(self.snapshot(process)))
        except OSError:
            return

    def _family(self, name: str, kind: Kind) -> Family:
        buckets = self._buckets.get(name, {})
        return Family(
            name,
            kind,
            tuple(Series(dict(key), value, tuple(buckets.get(key, ()))) for key, value in self._values[name].items()),
        )

    def _series(self, name: str, kind: Kind, labels: dict[str, object]) -> tuple[dict[_Labels, float], _Labels | None]:
        """The values of this metric and the key of these labels, or None where there are too many already."""
        known = self._kinds.get(name)
        if known is None:
            _check_name(name, kind, labels)
            self._kinds[name], self._values[name], self._buckets[name] = kind, {}, {}
        elif known != kind:
            raise ValueError(f"{name} is a {known}, not a {kind}.")
        series = self._values[name]
        key = tuple(sorted((label, str(value)) for label, value in labels.items()))
        if key in series or len(series) < MAX_SERIES:
            return series, key
        dropped, dropped_key = self._series(DROPPED, "counter", {"metric": name})
        if dropped_key is not None:
            dropped[dropped_key] = dropped.get(dropped_key, 0.0) + 1
        return series, None


def read_all(run_dir: Path, now_s: float) -> Snapshots:
    """The snapshots of all processes; an old one without its gauges. A torn or foreign file is left out and counted."""
    found, skipped = [], 0
    for path in sorted((run_dir / "metrics").glob("*.json")):
        try:
            age_s = now_s - path.stat().st_mtime
            snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            skipped += 1
            continue
        if snapshot.process == path.stem and all(_complete(family) for family in snapshot.families):
            found.append(snapshot if abs(age_s) <= CURRENT_S else _without_gauges(snapshot))
        else:
            skipped += 1
    return Snapshots(tuple(found), skipped)


def exposition(snapshots: Snapshots) -> str:
    """Prometheus text, format 0.0.4. Each series carries the ``process`` that counted it, unless it names one itself."""
    by_name: dict[str, tuple[Kind, list[tuple[str, Series]]]] = {}
    for snapshot in snapshots.found:
        for family in snapshot.families:
            kind, series = by_name.setdefault(family.name, (family.kind, []))
            if kind == family.kind:  # two processes that disagree would make the whole page unreadable
                series.extend((snapshot.process, one) for one in family.series)
    lines: list[str] = []
    for name in sorted(by_name):
        kind, series = by_name[name]
        lines += _head(name, kind)
        for process, one in series:
            lines += _lines(name, kind, {"process": process} | one.labels, one)
    lines += [*_head(SKIPPED, "gauge"), f"{SKIPPED} {snapshots.skipped}"]
    return "\n".join(lines) + "\n"


def _check_name(name: str, kind: Kind, labels: Iterable[str]) -> None:
    if not re.match(_NAME, name) or not name.startswith("flotilla_"):
        raise ValueError(f"A metric is named flotilla_..., in lower case; not {name!r}.")
    ending = {"counter": "_total", "histogram": "_seconds", "gauge": ""}[kind]
    if not name.endswith(ending):
        raise ValueError(f"The name of a {kind} ends in {ending}; {name!r} does not.")
    for label in labels:
        if not re.match(_NAME, label) or label.startswith("__"):
            raise ValueError(f"{label!r} cannot be the name of a label.")


def _without_gauges(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.process, tuple(family for family in snapshot.families if family.kind != "gauge"))


def _complete(family: Family) -> bool:
    wanted = len(BOUNDS_S) + 1 if family.kind == "histogram" else 0
    return all(len(series.buckets) == wanted for series in family.series)


def _head(name: str, kind: Kind) -> list[str]:
    text = HELP.get(name, "Not described.").replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _lines(name: str, kind: Kind, labels: dict[str, str], series: Series) -> Sequence[str]:
    if kind != "histogram":
        return [f"{name}{_braces(labels)} {_number(series.value)}"]
    lines, total = [], 0
    for bound, count in zip((*BOUNDS_S, math.inf), series.buckets, strict=True):
        total += count
        lines.append(f"{name}_bucket{_braces(labels | {'le': _number(bound)})} {total}")
    return [*lines, f"{name}_sum{_braces(labels)} {_number(series.value)}", f"{name}_count{_braces(labels)} {total}"]


def _braces(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
