"""Running one task, slice by slice.

Each slice is one transaction: what it writes, its checkpoint and the renewed claim. When the worker dies, all of that is undone
and the next one goes on from the last checkpoint; when the claim was lost meanwhile, it is undone as well.
"""

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Engine

from app.domain.tasks import Task
from app.errors import FlotillaError, Unavailable
from app.host.logs import trace_id
from app.storage import tasks
from app.storage.database import reading, transaction
from app.usecases.task_table import KINDS, State, TaskKind

_log = logging.getLogger(__name__)


class _ClaimLost(Exception):
    """Another worker has this task by now, so nothing of this slice may be kept."""


def run_next(
    engine: Engine,
    *,
    queue: str,
    worker: str,
    now: Callable[[], datetime],
    beat: Callable[[str], None],
    draining: Callable[[], bool],
) -> bool:
    """Claim the oldest pending task of a queue and run it until it is over, or we drain. False: nothing was pending.

    Raises Unavailable when the database goes away; the task then waits for us, or for the sweep.
    """
    if draining():
        return False
    task = _claim(engine, queue, worker, now)
    if task is None:
        return False
    bound = trace_id.set(task.trace_id)
    try:
        _run(engine, task, now=now, beat=beat, draining=draining)
    except _ClaimLost:
        _log.warning("task %d was taken over by another worker; nothing of the last slice was kept", task.id)
    except Unavailable:
        beat("waiting for the database")  # two waits in a row would otherwise be one long silence
        with suppress(Unavailable), transaction(engine) as db:
            tasks.release(db, task.id, _token(task), now())
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: a fault in one kind of task must not end its worker
        _log.exception("task %d (%s) failed", task.id, task.kind)
        with transaction(engine) as db:
            tasks.fail(db, task.id, _token(task), _for_people(error), now())
    finally:
        trace_id.reset(bound)
    return True


def _claim(engine: Engine, queue: str, worker: str, now: Callable[[], datetime]) -> Task | None:
    while True:
        with reading(engine) as db:  # an idle worker only reads, so that it keeps no writer waiting
            candidate = tasks.next_pending(db, queue)
        if candidate is None:
            return None
        with transaction(engine) as db:
            task = tasks.claim(db, candidate, worker=worker, token=secrets.token_hex(16), now=now())
        if task is not None:
            return task


def _run(
    engine: Engine,
    task: Task,
    *,
    now: Callable[[], datetime],
    beat: Callable[[str], None],
    draining: Callable[[], bool],
) -> None:
    kind = KINDS.get(task.kind)
    if kind is None:
        raise FlotillaError(f"This worker knows no task kind {task.kind!r}.", cure="Update Flotilla on this host.")
    state = kind.begin(task.payload) if task.state is None else task.state
    while True:
        if _is_cancelled(engine, task, now):
            return
        progress, state, finished = _run_slice(engine, kind, task, state, now)
        beat(f"{task.kind} {task.id}: {progress:.0%}")
        if finished:
            _log.info("task %d (%s) is done", task.id, task.kind)
            return
        if draining():
            with transaction(engine) as db:
                tasks.release(db, task.id, _token(task), now())
            return


def _is_cancelled(engine: Engine, task: Task, now: Callable[[], datetime]) -> bool:
    with reading(engine) as db:
        seen = tasks.get(db, task.id)
    if seen is None or seen.claim_token != task.claim_token:
        raise _ClaimLost
    if not seen.cancel_requested:
        return False
    with transaction(engine) as db:
        return tasks.cancel(db, task.id, _token(task), now())


def _run_slice(
    engine: Engine, kind: TaskKind, task: Task, state: State, now: Callable[[], datetime]
) -> tuple[float, State, bool]:
    with reading(engine) as db:
        seen = kind.look(db, task, state, now())
    with transaction(engine) as db:
        slice_ = kind.step(db, task, seen, now())
        if not tasks.save_slice(db, task.id, _token(task), slice_, now()):
            raise _ClaimLost
    return slice_.progress, slice_.state, slice_.finished


def _token(task: Task) -> str:
    return task.claim_token or ""


def _for_people(error: Exception) -> str:
    if isinstance(error, FlotillaError):
        return f"{error} {error.cure}".strip()
    return f"{type(error).__name__}: {error}. The worker's log has the whole story."
