"""How good the data of a collector are, over the last minutes, in a few numbers and one score.

**The score**, 0 to 100, is ours: the documents name it and give no formula. It is the weighted mean of four marks from 0 to 1:

* completeness, weight 40: the share of what was due that came (closed 1m candles, messages whose ids are counted);
* errors, weight 25: 1 without any refused or unreadable message, 0 from 5 % on (B6.4 calls an exchange with 5 % failing);
* freshness, weight 20: 1 while the newest message is younger than 5 s, 0 from 60 s on, straight in between;
* latency, weight 15: 1 while half of the messages take less than 250 ms, 0 from 2,000 ms on, straight in between.

A mark that cannot be measured is left out and the others' weights are scaled up; with none of them there is no score. A collector
that is silent for a minute has no more than 50, whatever came before: old data are not good data.
"""

from collections import deque
from dataclasses import dataclass, field
from math import log

import msgspec

from app.domain.market.timeframes import MINUTE_MS

WEIGHTS = {"completeness": 40.0, "errors": 25.0, "freshness": 20.0, "latency": 15.0}
WORST_ERROR_SHARE = 0.05
FRESH_MS, SILENT_MS = 5_000, 60_000
QUICK_MS, SLOW_MS = 250.0, 2_000.0
MOST_WHEN_SILENT = 50.0
_GROWTH = 1.15  # each bucket of the histogram ends 15 % later: a percentile is right within 7 %
_BUCKETS = 100  # up to 1.15^100 ms = 20 minutes
_SCALE = 1.0 / log(_GROWTH)


class Quality(msgspec.Struct, frozen=True):
    """How good the data of a collector are, over the last minutes. None: nothing to measure yet."""

    completeness: float | None
    """Share of what was due that came, 0 to 1."""
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    """From the exchange's time stamp to ours."""
    error_share: float | None
    """Share of messages that were refused or could not be read."""
    freshness_ms: int | None
    """Age of the newest message, by our clock."""
    score: float | None
    """0 to 100."""


@dataclass(slots=True)
class _Minute:
    start_ms: int
    messages: int = 0
    errors: int = 0
    due: int = 0
    came: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (_BUCKETS + 1))


class QualityWindow:
    """Counts of the last minutes, a fixed 1 kB each whatever comes. Tell it what happens; ask it how good that was."""

    __slots__ = ("_kept", "_minutes", "_speed", "newest_ms")

    def __init__(self, minutes: int = 10, *, speed: float = 1.0) -> None:
        """``now_ms`` is market time everywhere, which runs ``speed`` times as fast as ours. What is told is in our time."""
        self._kept = minutes
        self._speed = speed
        self._minutes: deque[_Minute] = deque(maxlen=minutes)
        self.newest_ms: int | None = None

    def message(self, now_ms: int, latency_ms: float | None = None, count: int = 1) -> None:
        """Messages came. ``latency_ms``: from the exchange's time stamp to ours; a negative one is a clock that is off: 0."""
        minute = self._minute(now_ms)
        minute.messages += count
        self.newest_ms = now_ms
        if latency_ms is not None:
            place = int(log(latency_ms) * _SCALE) + 1 if latency_ms > 1 else 0
            minute.latencies[min(_BUCKETS, place)] += count

    def error(self, now_ms: int, count: int = 1) -> None:
        """Messages were refused or could not be read. They are among the messages too."""
        self._minute(now_ms).errors += count

    def due(self, now_ms: int, due: int, came: int) -> None:
        """So much should have come, and so much did."""
        minute = self._minute(now_ms)
        minute.due += due
        minute.came += min(came, due)

    def quality(self, now_ms: int) -> Quality:
        """The figures of the last minutes."""
        begin_ms = now_ms - self._kept * MINUTE_MS
        minutes = [minute for minute in self._minutes if minute.start_ms > begin_ms]
        messages = sum(minute.messages for minute in minutes)
        errors = sum(minute.errors for minute in minutes)
        due = sum(minute.due for minute in minutes)
        latencies = [sum(column) for column in zip(*(minute.latencies for minute in minutes), strict=True)]
        completeness = sum(minute.came for minute in minutes) / due if due else None
        error_share = min(1.0, errors / messages) if messages else (1.0 if errors else None)
        freshness_ms = None if self.newest_ms is None else max(0, round((now_ms - self.newest_ms) / self._speed))
        p50, p99 = _percentile(latencies, 0.5), _percentile(latencies, 0.99)
        return Quality(
            completeness=completeness,
            latency_ms_p50=p50,
            latency_ms_p99=p99,
            error_share=error_share,
            freshness_ms=freshness_ms,
            score=score(completeness, error_share, freshness_ms, p50),
        )

    def _minute(self, now_ms: int) -> _Minute:
        start_ms = now_ms - now_ms % MINUTE_MS
        if not self._minutes or start_ms > self._minutes[-1].start_ms:
            self._minutes.append(_Minute(start_ms))
        return self._minutes[-1]


def score(
    completeness: float | None, error_share: float | None, freshness_ms: float | None, latency_ms: float | None
) -> float | None:
    """The score that the module's head describes."""
    marks = {
        "completeness": completeness,
        "errors": None if error_share is None else _falling(error_share, 0.0, WORST_ERROR_SHARE),
        "freshness": None if freshness_ms is None else _falling(freshness_ms, FRESH_MS, SILENT_MS),
        "latency": None if latency_ms is None else _falling(latency_ms, QUICK_MS, SLOW_MS),
    }
    known = {name: mark for name, mark in marks.items() if mark is not None}
    if not known:
        return None
    total = sum(WEIGHTS[name] * mark for name, mark in known.items()) / sum(WEIGHTS[name] for name in known) * 100
    if freshness_ms is not None and freshness_ms >= SILENT_MS:
        total = min(total, MOST_WHEN_SILENT)
    return round(total, 1)


def _falling(value: float, best: float, worst: float) -> float:
    """1 up to ``best``, 0 from ``worst`` on, straight in between."""
    return min(1.0, max(0.0, (worst - value) / (worst - best)))


def _percentile(counts: list[int], share: float) -> float | None:
    """The middle of the bucket in which it lies."""
    total = sum(counts)
    if total == 0:
        return None
    left = share * total
    for place, count in enumerate(counts):
        left -= count
        if left <= 0 and count:
            return 0.5 if place == 0 else round(_GROWTH ** (place - 0.5), 2)
    return None
