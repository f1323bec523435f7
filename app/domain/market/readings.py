"""A derived number with how far it may be trusted. Unknown is not zero: what has no value says why."""

from typing import Literal

import msgspec

Status = Literal["ok", "warming", "stale", "gap"]
"""``warming``: not enough samples yet. ``stale``: the input is too old. ``gap``: input was lost. Only ``ok`` feeds anything."""
STATUSES: tuple[Status, ...] = ("ok", "warming", "stale", "gap")


class Reading(msgspec.Struct, frozen=True):
    """A value that is None wherever the status says that nothing can be said. With ``gap`` or ``stale`` it may be the last or
    the partial one, for showing; only an ``ok`` one may be judged by.
    """

    value: float | None
    status: Status


WARMING = Reading(None, "warming")
