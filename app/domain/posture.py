"""How much the fleet takes on: all of it, less while the machine is strained, and less of the market while its disk is scarce.

Stepped at every look. It changes only after a whole minute of strain, and back only after two minutes of ease, so that the relief
which the change brings does not undo it at once.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

STRAINED_PERCENT, EASED_PERCENT = 90.0, 75.0
"""Of CPU or of memory."""
SCARCE_PERCENT, ROOMY_PERCENT = 90.0, 85.0
"""Of the disk."""
STRAINED_AFTER_S, EASED_AFTER_S = 60.0, 120.0
BELIEVED_FOR = timedelta(minutes=1)
"""A posture that nobody renews was that of a monitor which is gone: then all is taken on again."""
PUT_OFF_AT_MOST = timedelta(hours=6)
"""What has waited for so long is done all the same: some machines are never at ease."""
SLOWER_WHEN_STRAINED = 2.0
"""Exchanges are asked so many times less often."""


@dataclass(frozen=True, slots=True)
class Posture:
    """What the fleet holds back, and why."""

    strained: bool = False
    scarce: bool = False
    why_strained: str = ""
    why_scarce: str = ""

    @property
    def slower(self) -> float:
        """By how much to stretch what is asked again and again."""
        return SLOWER_WHEN_STRAINED if self.strained else 1.0


@dataclass(frozen=True, slots=True)
class Stance:
    """A posture and what the next step needs to know: since when the other one has been called for."""

    posture: Posture = Posture()
    turning_since_s: float | None = None


def step(before: Stance, *, cpu: float | None, memory: float | None, disk: float | None, now_s: float) -> Stance:
    """The next stance after one look at the machine, in percent. What was not seen calls for nothing.

    ``now_s`` are seconds that no clock's jump changes.
    """
    posture = before.posture
    if disk is not None and disk >= SCARCE_PERCENT and not posture.scarce:
        posture = replace(posture, scarce=True, why_scarce=f"the disk is {disk:.0f} % full")
    elif disk is not None and disk < ROOMY_PERCENT:
        posture = replace(posture, scarce=False, why_scarce="")
    loads = {"CPU": cpu, "memory": memory}
    seen = {what: value for what, value in loads.items() if value is not None}
    if not seen:
        return Stance(posture)
    worst = max(seen, key=seen.__getitem__)
    turns = seen[worst] < EASED_PERCENT if posture.strained else seen[worst] >= STRAINED_PERCENT
    if not turns:
        return Stance(posture)
    since_s = now_s if before.turning_since_s is None else before.turning_since_s
    if now_s - since_s < (EASED_AFTER_S if posture.strained else STRAINED_AFTER_S):
        return Stance(posture, since_s)
    if posture.strained:
        return Stance(replace(posture, strained=False, why_strained=""))
    why = f"{worst} was at {STRAINED_PERCENT:.0f} % or more for a minute, now {seen[worst]:.0f} %"
    return Stance(replace(posture, strained=True, why_strained=why))
