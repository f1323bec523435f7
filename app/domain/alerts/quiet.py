"""Quiet hours: when only what is critical may wake a person."""

from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of day to another, by the clock of the people; over midnight when it ends before it begins."""

    begins: time
    ends: time
    zone: ZoneInfo

    def hold(self, now: datetime) -> bool:
        """Whether it is quiet now. Equal times mean never: a fleet that is always silent tells nobody anything."""
        local = now.astimezone(self.zone).time()
        if self.begins <= self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends


def never(_now: datetime) -> bool:
    """No quiet hours."""
    return False
