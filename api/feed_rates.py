"""How fast market-feed's counters grow: it says totals, and a rate is the difference of two of its reports."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

OVER_MS = 60_000  # rates are those of the last minute
LEAST_MS = 900
_KEPT = 200


@dataclass(slots=True)
class FeedRates:
    """Remembers the reports that were looked at lately. The first look knows no rate, so it says None."""

    _seen: deque[tuple[int, dict[str, float]]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def per_s(self, at_ms: int, totals: Mapping[str, float]) -> dict[str, float | None]:
        """Each counter's growth a second, up to this report. A counter that fell began anew, with its process."""
        with self._lock:
            while self._seen and not at_ms - OVER_MS <= self._seen[0][0] <= at_ms:
                self._seen.popleft()
            before = self._seen[0] if self._seen else None
            if not self._seen or self._seen[-1][0] < at_ms:
                self._seen.append((at_ms, dict(totals)))
        if before is None or at_ms - before[0] < LEAST_MS:
            return dict.fromkeys(totals)
        passed_s = (at_ms - before[0]) / 1000
        return {
            name: None if total < before[1].get(name, 0) else round((total - before[1].get(name, 0)) / passed_s, 3)
            for name, total in totals.items()
        }
