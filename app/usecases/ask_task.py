"""Asking for work: the request is a row; the bell only wakes whoever does it."""

from typing import Any

from sqlalchemy import Engine

from app.cache.bell import Bell
from app.domain.tasks import Task
from app.errors import InvalidInput
from app.storage import tasks
from app.storage.database import transaction
from app.usecases.asking import Asking
from app.usecases.task_table import KINDS


def ask_task(engine: Engine, bell: Bell, asking: Asking, *, kind: str, payload: dict[str, Any]) -> Task:
    """Write a request down, with its trace, and wake a worker. Raises InvalidInput for what no worker could do."""
    known = KINDS.get(kind)
    if known is None:
        raise InvalidInput(f"There is no task kind {kind!r}: use {', '.join(KINDS)}.")
    known.begin(payload)  # refuses what the worker would refuse later
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind=kind, queue=known.queue, payload=payload, trace_id=asking.trace_id, now=asking.now)
        asking.record(db, "ask_task", f"task {task_id}", before=None, after={"kind": kind, "payload": payload})
        task = tasks.get(db, task_id)
    if task is None:
        raise AssertionError(f"task {task_id} is not there within its own transaction")
    bell.ring(known.queue, trace_id=asking.trace_id)  # in vain while the broker is away: the sweep rings again
    return task
