"""Putting back what nobody works on any more, and ringing again where a bell was lost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.cache.bell import Bell
from app.domain.recovery import Outcome, begun
from app.storage import recoveries, tasks
from app.storage.database import reading, transaction

RING_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Swept:
    """How many claims had run out, and which queues were rung for."""

    returned: int
    rung: tuple[str, ...]


def sweep(engine: Engine, bell: Bell, *, now: datetime) -> Swept:
    """Take expired claims back, then ring for every queue in which something waits for longer than a bell needs."""
    returned = take_back(engine, now=now)
    with reading(engine) as db:
        waiting = tasks.waiting_queues(db, asked_before=now - timedelta(seconds=RING_AGAIN_S))
    return Swept(returned, tuple(queue for queue in waiting if bell.ring(queue)))


def take_back(engine: Engine, *, now: datetime, worker: str | None = None) -> int:
    """Take back what the predecessor of this worker held, or whoever has lost his claim; how many tasks, each noted."""
    with transaction(engine) as db:
        found = tasks.return_left_behind(db, now=now, worker=worker)
        if found.all:
            why = "their claims had run out" if worker is None else f"the worker before {worker} had them"
            recovery = begun("task_left_behind", worker or "tasks", f"{found.all} tasks were left behind: {why}", now)
            parts = {"wait again": found.returned, "were cancelled": found.cancelled, "are given up": found.failed}
            note = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
            outcome: Outcome = "given_up" if found.failed else "recovered"
            recoveries.keep(db, [recovery.ended(outcome, note, now)])
    return found.all
