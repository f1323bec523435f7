"""Tasks: the states a piece of requested work goes through, and which of them may follow which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Status = Literal["pending", "running", "done", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("pending", "running", "done", "failed", "cancelled")

MAX_ATTEMPTS = 5  # a task that took down its worker five times is failed, and a person can read why
MAX_TRIES_AGAIN = 3
TRY_AGAIN_AFTER = timedelta(minutes=10)  # so long may a person read a backup, or a disk be cleaned
LEASE_S = 60  # a slice lasts seconds; a worker that has not renewed for a minute is gone


@dataclass(frozen=True, slots=True)
class Task:
    """One row of ``tasks``. ``state`` is the checkpoint that the next slice starts from."""

    id: int
    kind: str
    queue: str
    status: Status
    payload: dict[str, Any]
    state: dict[str, Any] | None
    progress: float
    result: dict[str, Any] | None
    error: str | None
    attempts: int
    cancel_requested: bool
    claimed_by: str | None
    claim_token: str | None
    lease_until: datetime | None
    trace_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice of a task came to: the next checkpoint, and the result once there is nothing left to do.

    ``news`` is told to whoever wants to know, once the slice is kept.
    """

    state: dict[str, Any]
    progress: float
    result: dict[str, Any] | None = None
    news: Sequence[Any] = ()

    @property
    def finished(self) -> bool:
        """A task is over when it has a result."""
        return self.result is not None
