"""The one job table: what runs when, on which queue, by which function. Beat and routing both read it.

To add a job: a function in a worker, and a line here. Every job must be safe to run twice and to be late: a broker that is
away stops the clock's hand, and what is overdue then runs once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.parts import Parts

WORK: Final = "work"
"""The bell: a message that only wakes the worker of a queue; what there is to do stands in the rows of ``tasks``."""

PULSE: Final = "pulse"
"""A worker's message to itself: that it comes back proves the broker, the connection and the loop."""


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day, or one day a week (0 is Monday), at a local time of the zone in settings."""

    hour: int
    minute: int = 0
    weekday: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the table. ``handler`` is ``module:function``; it gets the worker's parts."""

    name: str
    queue: str
    handler: str
    when: timedelta | Daily


JOBS: Final = (
    Job("judge", "strategy", "workers.strategy_worker:judge", timedelta(seconds=5)),
    Job("trade", "strategy", "workers.strategy_worker:trade", timedelta(seconds=5)),
    Job("sweep", "cleaner", "workers.data_cleaner:sweep", timedelta(seconds=3)),
    Job("flush-samples", "cleaner", "workers.data_cleaner:flush_samples", timedelta(seconds=60)),
    Job("keep-logs", "cleaner", "workers.data_cleaner:keep_logs", timedelta(minutes=10)),
    Job("measure", "cleaner", "workers.data_cleaner:measure", timedelta(seconds=60)),
    Job("roll-up", "cleaner", "workers.data_cleaner:roll_up", timedelta(hours=1)),
    Job("purge", "cleaner", "workers.data_cleaner:purge", Daily(2)),
    # After the clean-up in the common case; either may come first, for both see one moment of the database.
    Job("backup", "cleaner", "workers.data_cleaner:backup", Daily(2, 30)),
    Job("check-database", "cleaner", "workers.data_cleaner:check_database", Daily(3, weekday=6)),
)

QUEUES: Final[Mapping[str, str]] = MappingProxyType({"strategy": "strategy-worker", "cleaner": "data-cleaner"})
"""Which process takes which queue. More hosts may take ``strategy``; one data-cleaner keeps the clock."""


def handler(job: Job) -> "Callable[[Parts], None]":
    """The function behind a job."""
    module, _, function = job.handler.partition(":")
    return getattr(import_module(module), function)  # type: ignore[no-any-return]
