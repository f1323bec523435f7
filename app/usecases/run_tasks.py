"""Running one task, slice by slice.

Each slice is one transaction: what it writes, its checkpoint and the renewed claim. When the worker dies, all of that is undone
and the next one goes on from the last checkpoint; when the claim was lost meanwhile, it is undone as well.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Engine

from app.domain.posture import PUT_OFF_AT_MOST
from app.domain.tasks import MAX_TRIES_AGAIN, TRY_AGAIN_AFTER, Slice, Task
from app.errors import Conflict, FlotillaError, LimitExceeded, Unavailable
from app.host.logs import trace_id
from app.host.vault import Vault
from app.storage import tasks
from app.storage.database import reading, transaction
from app.usecases.task_table import KINDS, State, TaskKind

Tell: TypeAlias = Callable[[Sequence[Any]], None]
_log = logging.getLogger(__name__)


def _to_nobody(news: Sequence[Any]) -> None:
    """Where nobody listens."""


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
    tell: Tell = _to_nobody,
    vault: Vault | None = None,
    put_off: Collection[str] = (),
) -> bool:
    """Claim the oldest pending task of a queue and run it until it is over, or we drain. False: nothing was pending.

    ``tell`` is given the news of each slice after it was kept; ``vault`` is for the kinds that write files; ``put_off`` are kinds
    that are not begun now, unless they have been put off for long enough.

    Raises Unavailable when the database goes away; the task then waits for us, or for the sweep.
    """
    if draining():
        return False
    task = _claim(engine, queue, worker, now, put_off)
    if task is None:
        return False
    bound = trace_id.set(task.trace_id)
    try:
        _run(engine, task, now=now, beat=beat, draining=draining, tell=tell, vault=vault)
    except _ClaimLost:
        _log.warning("task %d was taken over by another worker; nothing of the last slice was kept", task.id)
    except Unavailable:
        beat("waiting for the database")  # two waits in a row would otherwise be one long silence
        with suppress(Unavailable), transaction(engine) as db:
            tasks.release(db, task.id, _token(task), now())
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: a fault in one kind of task must not end its worker
        if not _tried_again(engine, task, error, now()):
            _log.exception("task %d (%s) failed", task.id, task.kind)
            with transaction(engine) as db:
                tasks.fail(db, task.id, _token(task), _for_people(error), now())
    finally:
        trace_id.reset(bound)
    return True


def _claim(
    engine: Engine, queue: str, worker: str, now: Callable[[], datetime], put_off: Collection[str]
) -> Task | None:
    while True:
        with reading(engine) as db:  # an idle worker only reads, so that it keeps no writer waiting
            candidate = tasks.next_pending(db, queue, now=now(), put_off=put_off, put_off_since=now() - PUT_OFF_AT_MOST)
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
    tell: Tell,
    vault: Vault | None,
) -> None:
    kind = KINDS.get(task.kind)
    if kind is None:
        raise FlotillaError(f"This worker knows no task kind {task.kind!r}.", cure="Update Flotilla on this host.")
    state = kind.begin(task.payload) if task.state is None else task.state
    while True:
        if _is_cancelled(engine, task, now):
            return
        done = _run_slice(engine, kind, task, state, now, vault)
        state = done.state
        beat(f"{task.kind} {task.id}: {done.progress:.0%}")
        if done.news:
            tell(done.news)
        if done.finished:
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
    engine: Engine, kind: TaskKind, task: Task, state: State, now: Callable[[], datetime], vault: Vault | None
) -> Slice:
    if kind.work is not None:
        if vault is None:
            raise FlotillaError(f"This worker has no folders for {kind.name}.", cure="Let the data-cleaner do it.")
        state = kind.work(engine, vault, task, state, now())
    with reading(engine) as db:
        seen = kind.look(db, task, state, now())
    with transaction(engine) as db:
        slice_ = kind.step(db, task, seen, now())
        if not tasks.save_slice(db, task.id, _token(task), slice_, now()):
            raise _ClaimLost
    return slice_


def _tried_again(engine: Engine, task: Task, error: Exception, now: datetime) -> bool:
    """Give it back for later where what stopped it may have passed by then, and it was not tried too often; whether that is so."""
    kind = KINDS.get(task.kind)
    if kind is None or not kind.tries_again or not isinstance(error, Conflict | LimitExceeded):
        return False
    with transaction(engine) as db:
        seen = tasks.get(db, task.id)
        state = (seen and seen.state) or kind.begin(task.payload)
        again = state.get("tried_again", 0) + 1
        if again > MAX_TRIES_AGAIN:
            return False
        tasks.try_again(db, task.id, _token(task), state | {"tried_again": again}, now + TRY_AGAIN_AFTER)
    _log.warning("task %d (%s) is tried again in %s: %s", task.id, task.kind, TRY_AGAIN_AFTER, _for_people(error))
    return True


def _token(task: Task) -> str:
    return task.claim_token or ""


def _for_people(error: Exception) -> str:
    if isinstance(error, FlotillaError):
        return f"{error} {error.cure}".strip()
    return f"{type(error).__name__}: {error}. The worker's log has the whole story."
