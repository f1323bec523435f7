"""Putting back what nobody works on any more, and ringing again where a bell was lost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.cache.bell import Bell
from app.storage import tasks
from app.storage.database import reading, transaction

RING_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Swept:
    """How many claims had run out, and which queues were rung for."""

    returned: int
    rung: tuple[str, ...]


def sweep(engine: Engine, bell: Bell, *, now: datetime) -> Swept:
    """Take expired claims back, then ring for every queue in which something waits for longer than a bell needs."""
    with transaction(engine) as db:
        returned = tasks.return_left_behind(db, now=now)
    with reading(engine) as db:
        waiting = tasks.waiting_queues(db, asked_before=now - timedelta(seconds=RING_AGAIN_S))
    return Swept(returned, tuple(queue for queue in waiting if bell.ring(queue)))
