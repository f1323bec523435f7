"""When a filling disk calls for the clean-up of the night to come early, and what still fits on it."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

CLEAN_AT_PERCENT = 80.0
CLEAN_EVERY = timedelta(hours=1)


def clean_up_is_due(last: datetime | None, used_percent: float, now: datetime) -> bool:
    """Whether to ask for it now. A last time in the future is of a clock that was set back: it counts for nothing."""
    return used_percent >= CLEAN_AT_PERCENT and (last is None or not last <= now < last + CLEAN_EVERY)


def missing_bytes(used: int, free: int, wanted: int, *, at_most_percent: float) -> int:
    """How many bytes have to go so that the disk, with so many more written to it, is no fuller than that; 0 where they fit."""
    return max(0, math.ceil(used + wanted - (used + free) * at_most_percent / 100))


def going_for_room(sizes: Iterable[int], missing: int) -> int:
    """How many of these, from the first on, have to go until so many bytes are free; all of them where they are too few."""
    going = 0
    for size in sizes:
        if missing <= 0:
            break
        missing -= size
        going += 1
    return going
