"""The job clock: Celery beat in a thread of data-cleaner.

Celery keeps the last runs in a shelve file, which a `kill -9` can damage; a nightly job would then be skipped without a
word. Here whoever has *finished* a nightly job says so in a checkpoint row, so that one that was cut off is run again at
the next start.
"""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler, SchedulingError, Service

from app.errors import Unavailable
from app.storage import checkpoints
from app.storage.database import reading, transaction
from workers.parts import Parts
from workers.schedule import Job

log = logging.getLogger(__name__)
OWNER = "beat"
_LOOK_EVERY_S = 1.0
_STANDS_STILL_S = 6.0
_AHEAD = timedelta(seconds=2)


@dataclass(slots=True)
class Clock:
    """Whether the clock still ticks; data-cleaner's heartbeat asks, for without it nothing runs at its time."""

    ticked_s: float

    def ticks(self) -> bool:
        """Whether it ticked within the last seconds."""
        return time.monotonic() - self.ticked_s < _STANDS_STILL_S


class JobClock(Scheduler):
    """Beat's scheduler. While the broker is away its hand stands still, so what is overdue runs once it is back."""

    parts: Parts
    clock: Clock

    def setup_schedule(self) -> None:
        """Take up what earlier clocks have seen finished."""
        self.merge_inplace(self.app.conf.beat_schedule)
        try:
            with reading(self.parts.engine) as db:
                finished = checkpoints.load_all(db, OWNER)
        except Unavailable as error:
            log.warning("the last runs cannot be read, so every job counts from now: %s", error)
            return
        for name, entry in self.data.items():
            if name in finished:
                entry.last_run_at = datetime.fromisoformat(finished[name]["finished_at"])

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and say in how many seconds to look again."""
        self.clock.ticked_s = time.monotonic()
        self._forget_the_future()
        if self.parts.bell.length("cleaner") is None:
            return _LOOK_EVERY_S
        return float(min(super().tick(*args, **kwargs), _LOOK_EVERY_S))

    def _forget_the_future(self) -> None:
        """A wall clock that was set back must not make every job wait until it is that late again."""
        now = self.app.now()
        for entry in self.schedule.values():
            if entry.last_run_at - now > _AHEAD:
                log.warning(
                    "%s last ran in the future, so the machine's clock was set back; it counts from now", entry.name
                )
                entry.last_run_at = now
                self._heap = None

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send one job; what could not be sent stays due."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            log.warning("%s stays due: %s", entry.name, error)
            self.schedule[entry.name] = entry
            self._heap = None  # made again from the schedule at the next tick


def remember_finished(parts: Parts, job: Job) -> None:
    """Say that a job was done, so that a restarted clock does not run it again."""
    now = parts.now()
    with transaction(parts.engine) as db:
        checkpoints.save(db, OWNER, job.name, {"finished_at": now.isoformat()}, now)


def start(parts: Parts, app: Celery) -> Clock:
    """Start the clock in a thread of its own, which ends with the process."""
    clock = Clock(ticked_s=time.monotonic())
    scheduler = type("PartsJobClock", (JobClock,), {"parts": parts, "clock": clock})
    service = Service(app, max_interval=_LOOK_EVERY_S, scheduler_cls=scheduler)
    threading.Thread(target=service.start, name="beat", daemon=True).start()
    return clock
