"""Tasks: the states a piece of requested work goes through, and which of them may follow which."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Status = Literal["pending", "running", "done", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("pending", "running", "done", "failed", "cancelled")
TERMINAL: frozenset[Status] = frozenset({"done", "failed", "cancelled"})

MAX_ATTEMPTS = 5  # a task that took down its worker five times is failed, and a person can read why
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
    """What one slice of a task came to: the next checkpoint, and the result once there is nothing left to do."""

    state: dict[str, Any]
    progress: float
    result: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """A task is over when it has a result."""
        return self.result is not None
