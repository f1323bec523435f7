"""Readings for the alerts: what the monitor sees itself, and what other processes published in files.

No database and no broker is asked: what is wrong with them must be seen while they are away.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from app.domain.alerts.rules import RULES
from app.domain.market.market_time import ms_of
from app.host import feed_report
from app.host.fleet_report import ProcessReport
from app.host.metrics import BOUNDS_S, Series, Snapshot, read_all
from app.host.probes import HostSample

WINDOW_S = 300.0
FEWEST_REQUESTS = 10  # of fewer, one failure would be a tenth
FEWEST_CONNECTIONS = 5
_FEED = "market-feed"
FIRST_BEAT_S = 60.0  # so long may a process take to its first heartbeat
_DOWN = frozenset({"BACKOFF", "FATAL", "EXITED", "UNKNOWN"})
_AT_WORK = ("judge", "trade")  # jobs of the strategies
PUBLISHED = {
    "flotilla_judging_cycles_behind": "judging_cycles_behind",
    "flotilla_open_interest_still": "open_interest_still",
    "flotilla_ledger_broken": "ledger_broken",
    "flotilla_chore_failed": "chore_failed",
    "flotilla_database_damaged_tables": "database_damaged",
    "flotilla_database_gone": "database_gone",
    "flotilla_notice_failures": "notice_failures",
}
"""Gauges that are readings as they are: what only the database knows (``app/usecases/measure_work.py``), and how telling goes."""

_OF_EXCHANGES = {
    "flotilla_exchange_request_seconds": ("exchange_rest_percent", FEWEST_REQUESTS),
    "flotilla_exchange_connections_total": ("exchange_stream_percent", FEWEST_CONNECTIONS),
}
"""What market-feed counts by exchange and result, the reading that its share of successes is, and how many it takes to say so."""
_SUBJECTS = ("kind", "way")
"""Labels of them that say what each is about."""


@dataclass(slots=True)
class Window:
    """How much counters have grown within the last five minutes. A counter that fell began anew."""

    _before: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    _grown: deque[tuple[float, str, tuple[float, ...]]] = field(default_factory=deque)
    _known: set[str] = field(default_factory=set)
    _since_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Forget what is older than the window."""
        if self._since_s is None or now_s < self._since_s:
            self._since_s = now_s
        while self._grown and not now_s - WINDOW_S < self._grown[0][0] <= now_s:
            self._grown.popleft()

    def add(self, now_s: float, process: str, sums: Mapping[str, tuple[float, ...]]) -> None:
        """Take in what the counters of a process, or the buckets of its histograms, say now."""
        for name, values in sums.items():
            nothing = (0.0,) * len(values)
            # What a process that we know counts for the first time has grown from nothing; of another we cannot say.
            before = self._before.get((process, name), nothing if process in self._known else values)
            self._before[process, name] = values
            if any(value < old for value, old in zip(values, before, strict=True)):
                before = nothing
            if values != before:
                grown = tuple(value - old for value, old in zip(values, before, strict=True))
                self._grown.append((now_s, name, grown))
        self._known.add(process)

    def grown(self, name: str) -> tuple[float, ...]:
        """By how much, each; empty when not at all."""
        found = [values for _, one, values in self._grown if one == name]
        return tuple(map(sum, zip(*found, strict=True)))

    def whole(self, now_s: float) -> bool:
        """Whether it has looked for as long as it is: before that, it cannot say that all was well."""
        return self._since_s is not None and now_s - self._since_s >= WINDOW_S


class FleetReader:
    """Makes readings of what is seen. It remembers counters, and whose they are, nothing else."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._window = Window()
        self._exchanges: set[tuple[str, str]] = set()

    def readings(
        self, host: HostSample, reports: Sequence[ProcessReport] | None, *, redis_up: bool, now: datetime
    ) -> dict[tuple[str, str], float | None]:
        """One look. ``reports`` is None while supervisord does not answer."""
        seen: dict[tuple[str, str], float | None] = {
            ("host_cpu_percent", ""): host.cpu_percent,
            ("host_memory_percent", ""): host.memory_percent,
            ("host_disk_percent", ""): host.disk_percent,
            ("supervisord_away", ""): float(reports is None),
            ("redis_away", ""): float(not redis_up),
        }
        for report in reports or ():
            seen["process_down", report.name] = _down(report)
            seen["process_frozen", report.name] = _frozen(report)
        resting = {report.name for report in reports or () if report.state == "STOPPED"}
        ages = feed_ages(feed_report.look(self._run_dir, ms_of(now)))
        seen |= {("feed_age_seconds", name): 0.0 if _FEED in resting else age_s for name, age_s in ages.items()}
        seen |= self._published(now, supervised=reports is not None)
        return seen

    def _published(self, now: datetime, *, supervised: bool) -> dict[tuple[str, str], float | None]:
        now_s = now.timestamp()
        self._window.begin(now_s)
        seen: dict[tuple[str, str], float | None] = {}
        for snapshot in read_all(self._run_dir, now_s).found:
            self._count(snapshot, now_s)
            seen |= dict(_gauges(snapshot))
            self._exchanges |= set(_exchanges(snapshot))  # a feed that began anew has not asked all of them yet
        good, failed = self._sum("good"), self._sum("failed")
        counted = {
            "api_success_percent": 100.0 * good / (good + failed) if good + failed >= FEWEST_REQUESTS else None,
            "api_p95_seconds": quantile(self._window.grown("took"), 0.95),
            "api_errors": failed,
            "strategy_errors": self._sum("strategies"),
            "database_errors": self._sum("database") if supervised else None,
            "feed_rows_lost": self._sum("lost"),
        }
        few = {"api_success_percent": 100.0 if not failed else None, "api_p95_seconds": 0.0}
        for name, value in counted.items():
            seen[name, ""] = self._as_known(name, value, few.get(name), now_s)
        for metric, exchange in self._exchanges:
            name, fewest = _OF_EXCHANGES[metric]
            good, failed = (self._sum(f"{metric} {exchange} {how}") for how in ("good", "failed"))
            share = 100.0 * good / (good + failed) if good + failed >= fewest else None
            seen[name, exchange] = self._as_known(name, share, 100.0, now_s)  # too few are no ground for an alert
        return seen

    def _as_known(self, name: str, value: float | None, few: float | None, now_s: float) -> float | None:
        """What may be said by now: that all is well only after a whole window. ``few`` stands for what is too little to count."""
        if self._window.whole(now_s):
            return few if value is None else value
        return value if _alarming(name, value) else None

    def _sum(self, name: str) -> float:
        return sum(self._window.grown(name))

    def _count(self, snapshot: Snapshot, now_s: float) -> None:
        """Add up what belongs together, so that the window holds a few counters and not hundreds."""
        sums: dict[str, tuple[float, ...]] = {}
        for name, series in _relevant(snapshot):
            values = tuple(map(float, series.buckets)) or (series.value or 0.0,)
            before = sums.get(name, (0.0,) * len(values))
            sums[name] = tuple(a + b for a, b in zip(before, values, strict=True))
        self._window.add(now_s, snapshot.process, sums)


def feed_ages(seen: feed_report.Seen) -> dict[str, float]:
    """How old the newest data of each exchange are, in seconds; of one whose collector somebody stopped, nought."""
    report, age_ms = seen.report, seen.age_ms
    if report is None or age_ms is None:
        return {}
    ages: dict[str, float] = {}
    for collector in report.collectors:
        newest_ms = collector.quality.freshness_ms
        if newest_ms is None:  # it has heard nothing since it began
            newest_ms = max(0, report.market_ms - collector.since_ms)
        ages[collector.exchange] = (age_ms + newest_ms) / 1000 if collector.state != "stopped" else 0.0
    return ages


def quantile(buckets: Sequence[float], share: float) -> float | None:
    """Below which duration this share lies, straight within a bucket; None where too few were measured."""
    total = sum(buckets)
    if total < FEWEST_REQUESTS:
        return None
    wanted, below = share * total, 0.0
    for number, count in enumerate(buckets[: len(BOUNDS_S)]):
        lower = BOUNDS_S[number - 1] if number else 0.0
        if count and below + count >= wanted:
            return lower + (BOUNDS_S[number] - lower) * (wanted - below) / count
        below += count
    return BOUNDS_S[-1]


def _down(report: ProcessReport) -> float | None:
    """Whether it does not run though it should. What somebody stopped is well; what is on its way is neither."""
    if report.state in _DOWN:
        return 1.0
    return 0.0 if report.state in ("RUNNING", "STOPPED") else None


def _frozen(report: ProcessReport) -> float | None:
    if report.state != "RUNNING":
        return 0.0 if report.state == "STOPPED" else None
    if report.fresh:
        return 0.0
    late = report.heartbeat_age_s is not None or (report.uptime_s or 0) > FIRST_BEAT_S
    return 1.0 if late else None


def _relevant(snapshot: Snapshot) -> Iterator[tuple[str, Series]]:
    """The counters that rules are about, by the name of their sum."""
    chosen: dict[tuple[str, str], Callable[[dict[str, str]], str]] = {
        ("main-app", "flotilla_http_requests_total"): _by_status,
        ("main-app", "flotilla_http_request_seconds"): lambda labels: "" if of_health(labels) else "took",
        ("main-app", "flotilla_reconcile_failures_total"): lambda _: "database",
        ("data-cleaner", "flotilla_jobs_total"): lambda labels: (
            "database" if labels.get("outcome") == "unavailable" else ""
        ),
        ("strategy-worker", "flotilla_jobs_total"): _by_job,
        (_FEED, "flotilla_feed_rows_lost_total"): lambda _: "lost",
        **{(_FEED, metric): partial(_by_exchange, metric) for metric in _OF_EXCHANGES},
    }
    for family in snapshot.families:
        name_of = chosen.get((snapshot.process, family.name))
        for series in family.series if name_of else ():
            if name_of and (name := name_of(series.labels)):
                yield name, series


def _by_status(labels: dict[str, str]) -> str:
    if of_health(labels):
        return ""
    return "failed" if labels.get("status", "").startswith("5") else "good"


def _by_exchange(metric: str, labels: dict[str, str]) -> str:
    return f"{metric} {labels.get('exchange', '')} {'good' if labels.get('result') == 'ok' else 'failed'}"


def _exchanges(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Of which exchanges something of that kind was counted."""
    for family in snapshot.families:
        if snapshot.process == _FEED and family.name in _OF_EXCHANGES:
            yield from ((family.name, series.labels.get("exchange", "")) for series in family.series)


def _by_job(labels: dict[str, str]) -> str:
    return "strategies" if _failed(labels) and labels.get("job") in _AT_WORK else ""


def _failed(labels: dict[str, str]) -> bool:
    return labels.get("outcome") in ("failed", "unavailable")


def of_health(labels: dict[str, str]) -> bool:
    """A health route says 503 of what it found, which is a good answer."""
    return "health" in labels.get("route", "")


def _gauges(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], float | None]]:
    for family in snapshot.families:
        if name := PUBLISHED.get(family.name):
            for series in family.series:
                yield (
                    (name, next((series.labels[label] for label in _SUBJECTS if label in series.labels), "")),
                    series.value,
                )


def _alarming(name: str, value: float | None) -> bool:
    return value is not None and any(rule.broken_by(value) for rule in RULES if rule.reads == name)
