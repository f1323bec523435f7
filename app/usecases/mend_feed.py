"""What the feed does by itself when an exchange's streams fail, told as it begins and as it ends."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.domain.recovery import Recovery, begun

AWAY_S = 30.0  # a reconnection takes less, and is counted in the collector's report


class Collecting(Protocol):
    """What is looked at of a collector."""

    name: str
    candles_asked: int
    """How many candles came by REST so far."""

    def streams_away(self) -> str:
        """Which of its streams are away and why; empty while all are open."""

    def take_repaired(self) -> list[tuple[str, str]]:
        """The holes that were repaired since the last look: what was missing, and what came of asking for it."""


@dataclass(slots=True)
class _Away:
    of: Collecting
    since_s: float
    candles: int
    told: Recovery | None = None


@dataclass(slots=True)
class FeedMender:
    """Looks at the collectors once a second. They ask for missing candles by REST on their own; this says so."""

    tell: Callable[[Recovery], None]
    _away: dict[str, _Away] = field(default_factory=dict)

    def look(self, collectors: Iterable[Collecting], now: datetime, now_s: float) -> None:
        """Tell what began and what ended. Of a collector that was stopped nothing is open any more."""
        seen = set()
        for collector in collectors:
            seen.add(collector.name)
            self._look_at(collector, now, now_s)
            if repaired := collector.take_repaired():
                missing, came = ("; ".join(words) for words in zip(*repaired, strict=True))
                self.tell(begun("candles_missing", collector.name, missing, now).ended("recovered", came, now))
        for name in self._away.keys() - seen:
            away = self._away.pop(name)
            if away.told is not None:
                self.tell(away.told.ended("given_up", "the collector was stopped", now))

    def _look_at(self, collector: Collecting, now: datetime, now_s: float) -> None:
        why = collector.streams_away()
        away = self._away.get(collector.name)
        if away is not None and away.of is not collector:  # it was begun anew, and counts from nought
            del self._away[collector.name]
            if away.told is not None:
                self.tell(away.told.ended("given_up", "the collector was begun anew", now))
            away = None
        if why:
            if away is None:
                away = self._away[collector.name] = _Away(collector, now_s, collector.candles_asked)
            if away.told is None and now_s - away.since_s >= AWAY_S:
                away.told = begun("stream_down", collector.name, why, now)
                self.tell(away.told)
        elif away is not None:
            del self._away[collector.name]
            if away.told is not None:
                by_rest = collector.candles_asked - away.candles
                took_s = now_s - away.since_s
                note = f"its streams are open again after {took_s:.0f} s; {by_rest} candles came by REST meanwhile"
                self.tell(away.told.ended("recovered", note, now))
