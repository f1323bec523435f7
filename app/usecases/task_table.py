"""The kinds of work that can be asked for. To add one, write its module and name it here.

A kind works in slices of at most a few seconds. ``work`` does what is done with files. ``look`` does what else takes time: it
reads and computes, and holds no lock that another writer would wait for. ``step`` then writes. Its writes, the next checkpoint
and the renewed claim are one transaction, so that whatever happens to the worker, each slice takes effect once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from app.domain.posture import Posture
from app.domain.tasks import Slice, Task
from app.host.vault import Vault
from app.usecases import archive, back_up, check_database, drill, judge, purge, refresh_judgments, roll_up

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
    work: Callable[[Engine, Vault, Task, State, datetime], State] | None = None
    """Write files for one slice, outside of any transaction; it may happen twice. Only a worker with a vault can do this."""
    waits: bool = False
    """It is not begun while the machine is strained: nobody misses it for some hours."""
    fills_disk: bool = False
    """It is not begun while the disk is scarce: what it writes would take the last of it."""
    tries_again: bool = False
    """A Conflict or a full disk is not its end: it is tried again some minutes later, a few times."""


KINDS = {
    kind.name: kind
    for kind in (
        TaskKind(
            archive.KIND,
            "cleaner",
            archive.SUMMARY,
            archive.begin,
            archive.step,
            work=archive.work,
            tries_again=True,
        ),
        TaskKind(
            back_up.KIND,
            "cleaner",
            back_up.SUMMARY,
            back_up.begin,
            back_up.step,
            work=back_up.work,
            fills_disk=True,
            tries_again=True,
        ),
        TaskKind("drill", "strategy", drill.SUMMARY, drill.begin, drill.step, drill.look),
        TaskKind(
            "check_database",
            "cleaner",
            check_database.SUMMARY,
            check_database.begin,
            check_database.step,
            check_database.look,
            waits=True,
        ),
        TaskKind("judge", "strategy", judge.SUMMARY, judge.begin, judge.step, judge.look),
        TaskKind("purge", "cleaner", purge.SUMMARY, purge.begin, purge.step, purge.look),
        TaskKind(
            refresh_judgments.KIND,
            "strategy",
            refresh_judgments.SUMMARY,
            refresh_judgments.begin,
            refresh_judgments.step,
            refresh_judgments.look,
            waits=True,
        ),
        TaskKind("roll_up", "cleaner", roll_up.SUMMARY, roll_up.begin, roll_up.step, roll_up.look),
    )
}


def waiting_kinds(posture: Posture) -> frozenset[str]:
    """The kinds that are not begun in this posture."""
    return frozenset(
        kind.name
        for kind in KINDS.values()
        if (kind.waits and posture.strained) or (kind.fills_disk and posture.scarce)
    )
