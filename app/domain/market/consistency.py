"""Whether exchanges agree on one symbol: their mids, and their times."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import msgspec

from app.domain.market.values import BookTop

Severity = Literal["WARNING", "CRITICAL"]
PRICE_WARNING_PERCENT, PRICE_CRITICAL_PERCENT = 1.0, 2.0  # B6.3
TIME_WARNING_MS, TIME_CRITICAL_MS = 10_000, 20_000


class Disagreement(msgspec.Struct, frozen=True):
    """Two exchanges say different things of one symbol."""

    symbol: str
    kind: Literal["price", "time"]
    severity: Severity
    exchanges: tuple[str, str]
    amount: float
    """Percent of the lower mid, or milliseconds."""

    @property
    def sentence(self) -> str:
        """For a person."""
        first, second = self.exchanges
        by = f"{self.amount:.2f} %" if self.kind == "price" else f"{self.amount / 1000:.1f} s"
        return f"{first} and {second} differ by {by} in the {self.kind} of {self.symbol}."


def disagreements(tops: Sequence[BookTop], *, speed: float = 1.0) -> list[Disagreement]:
    """What the newest tops of one symbol, one an exchange, contradict each other in. The worst first.

    A top that is old is compared all the same: that its time differs is said beside, so that nobody takes it for arbitrage.
    ``speed``: how fast market time runs.
    """
    found: list[Disagreement] = []
    for first, second in combinations(tops, 2):
        names = (first.exchange, second.exchange)
        mids = sorted(((first.bid + first.ask) / 2, (second.bid + second.ask) / 2))
        percent = (mids[1] - mids[0]) / mids[0] * 100 if mids[0] > 0 else float("inf")
        severity = _severity(percent, PRICE_WARNING_PERCENT, PRICE_CRITICAL_PERCENT)
        if severity:
            found.append(Disagreement(first.symbol, "price", severity, names, percent))
        apart_ms = abs(first.time_ms - second.time_ms)
        severity = _severity(apart_ms, TIME_WARNING_MS * speed, TIME_CRITICAL_MS * speed)
        if severity:
            found.append(Disagreement(first.symbol, "time", severity, names, float(apart_ms)))
    return sorted(found, key=lambda each: (each.severity != "CRITICAL", each.kind, -each.amount))


def _severity(amount: float, warning: float, critical: float) -> Severity | None:
    if amount > critical:
        return "CRITICAL"
    return "WARNING" if amount > warning else None
