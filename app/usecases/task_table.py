"""The kinds of work that can be asked for. To add one, write its module and name it here.

A kind works in slices of at most a few seconds. ``look`` does what takes time: it reads and computes, and holds no lock that
another writer would wait for. ``step`` then writes. Its writes, the next checkpoint and the renewed claim are one transaction,
so that whatever happens to the worker, each slice takes effect once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.tasks import Slice, Task
from app.usecases import check_database, drill, purge, roll_up

State = dict[str, Any]


def _nothing_to_look_at(db: Connection, task: Task, state: State, now: datetime) -> State:  # noqa: ARG001 - one shape for all
    return state


@dataclass(frozen=True, slots=True)
class TaskKind:
    """One kind of work."""

    name: str
    queue: str
    summary: str
    begin: Callable[[dict[str, Any]], State]
    """Check the payload and make the first state. Raises InvalidInput."""
    step: Callable[[Connection, Task, State, datetime], Slice]
    """Write the effects of one slice."""
    look: Callable[[Connection, Task, State, datetime], State] = _nothing_to_look_at
    """Read and compute for one slice; what it returns is handed to ``step`` as the state."""


KINDS = {
    kind.name: kind
    for kind in (
        TaskKind("drill", "strategy", drill.SUMMARY, drill.begin, drill.step, drill.look),
        TaskKind(
            "check_database",
            "cleaner",
            check_database.SUMMARY,
            check_database.begin,
            check_database.step,
            check_database.look,
        ),
        TaskKind("purge", "cleaner", purge.SUMMARY, purge.begin, purge.step),
        TaskKind("roll_up", "cleaner", roll_up.SUMMARY, roll_up.begin, roll_up.step, roll_up.look),
    )
}
