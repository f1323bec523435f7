"""Wishing that processes start, stop or restart. The wish and its trace are rows; ``reconcile_fleet`` carries it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from app.storage import processes
from app.storage.database import reading, transaction
from app.storage.processes import Action, ProcessRow
from app.usecases.asking import Asking

# supervisord's words. In BACKOFF it is about to try again by itself, so that is not stopped.
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL"})


@dataclass(frozen=True, slots=True)
class Steered:
    """What a wish came to: which processes it changes, and every process as it was before."""

    action: Action
    asked: tuple[str, ...]
    before: Mapping[str, ProcessRow]


def steer_fleet(engine: Engine, names: Sequence[str], action: Action, asking: Asking) -> Steered:
    """Write the wish for each of these processes, unless it is fulfilled or written already."""
    with transaction(engine) as db:  # the wish and its trace are kept together or not at all
        processes.ensure(db, names, asking.now)
        before = {row.name: row for row in processes.rows(db)}
        asked = tuple(name for name in names if not _wished(before[name], action))
        for name in asked:
            revision = processes.want(db, name, action, actor=asking.actor, now=asking.now)
            asking.record(
                db,
                f"{action}_process",
                name,
                before={"desired": before[name].desired, "actual": before[name].actual},
                after={"desired": "stopped" if action == "stop" else "running", "revision": revision},
            )
    return Steered(action, asked, before)


def settled(engine: Engine, steered: Steered, names: Sequence[str]) -> bool:
    """Whether these processes now do what was wished."""
    with reading(engine) as db:
        rows = {row.name: row for row in processes.rows(db)}
    return all(_reached(rows[name], steered) for name in names)


def _reached(row: ProcessRow, steered: Steered) -> bool:
    if row.applied_revision < row.revision:
        return False
    if steered.action == "stop":
        return row.actual in STOPPED
    if steered.action == "start":
        return row.actual == "RUNNING"
    before = steered.before[row.name]
    return row.actual == "RUNNING" and before.actual is not None and row.pid != before.pid


def _wished(row: ProcessRow, action: Action) -> bool:
    """Whether another wish of this kind would change nothing. A restart always does."""
    if action == "restart":
        return False
    desired = "stopped" if action == "stop" else "running"
    if row.desired != desired:
        return False
    if row.applied_revision < row.revision:  # it is on its way
        return True
    if action == "stop":
        return row.actual in STOPPED
    return row.actual is not None and row.actual not in STOPPED
