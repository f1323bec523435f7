"""Tasks as rows. A worker claims a row by compare-and-swap; every later write must show the token of that claim.

A worker that was stopped, thought dead and comes back finds its token gone: whatever it writes then changes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, case, func, or_, select, true, update

from app.domain.tasks import LEASE_S, MAX_ATTEMPTS, TRY_AGAIN_AFTER, Slice, Status, Task
from app.errors import Conflict, NotFound
from app.storage.insert import insert_row
from app.storage.tables import tasks

_COLUMNS = [tasks.c[field.name] for field in fields(Task)]
_ONE = select(*_COLUMNS).where(
    tasks.c.id == bindparam("task_id")
)  # made once: it is read twice a slice and by every poller
_LONGEST_ERROR = 4000  # characters; MySQL's TEXT ends at 65 535 bytes
_UNFINISHED = tasks.c.status.in_(("pending", "running"))
_UNCLAIMED = {"claim_token": None, "lease_until": None}


def ask(
    db: Connection, *, kind: str, queue: str, payload: dict[str, object], trace_id: str | None, now: datetime
) -> int:
    """Write the request down. Ring the bell after the commit, never before: the worker must find the row."""
    row = {
        "kind": kind,
        "queue": queue,
        "payload": payload,
        "trace_id": trace_id,
        "created_at": now,
        "waits_since": now,
    }
    return insert_row(db, tasks, row)


def get(db: Connection, task_id: int) -> Task | None:
    """Read one task."""
    row = db.execute(_ONE, {"task_id": task_id}).one_or_none()
    return None if row is None else Task(*row)


def recent(db: Connection, *, limit: int, status: Status | None = None, before_id: int | None = None) -> list[Task]:
    """The newest first. For the next page, pass the last id as ``before_id``."""
    query = select(*_COLUMNS).order_by(tasks.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(tasks.c.status == status)
    if before_id is not None:
        query = query.where(tasks.c.id < before_id)
    return [Task(*row) for row in db.execute(query)]


def is_unfinished(db: Connection, kind: str) -> bool:
    """Whether such a task waits or runs."""
    query = select(tasks.c.id).where(tasks.c.kind == kind, _UNFINISHED).limit(1)
    return db.execute(query).first() is not None


def took_ms(db: Connection, kind: str) -> float | None:
    """From the asking to the end of the last ones of this kind that were asked for together."""
    mine = tasks.c
    done = select(mine.created_at).where(mine.kind == kind, mine.status == "done").order_by(mine.finished_at.desc())
    asked = db.execute(done.limit(1)).scalar()
    if asked is None:
        return None
    query = select(func.max(mine.finished_at)).where(mine.kind == kind, mine.created_at == asked)
    finished = db.execute(query).scalar()
    return None if finished is None else (finished - asked).total_seconds() * 1000


def last_ended(db: Connection, kind: str) -> Task | None:
    """The newest one of this kind that came to its end, done or failed."""
    ended = tasks.c.status.in_(("done", "failed"))
    row = db.execute(
        select(*_COLUMNS).where(tasks.c.kind == kind, ended).order_by(tasks.c.id.desc()).limit(1)
    ).one_or_none()
    return None if row is None else Task(*row)


def is_waiting(db: Connection, kind: str, queue: str) -> bool:
    """Whether a task of this kind waits in its queue."""
    waiting = select(tasks.c.id).where(tasks.c.queue == queue, tasks.c.status == "pending", tasks.c.kind == kind)
    return db.execute(waiting.limit(1)).first() is not None


def next_pending(
    db: Connection,
    queue: str,
    *,
    now: datetime,
    put_off: Collection[str] = (),
    put_off_since: datetime | None = None,
) -> int | None:
    """The task that waits longest in this queue. Another worker may claim it first.

    One that is to be tried again later is left until then. Those kinds are put off, unless they have waited since before
    that moment.
    """
    waiting = select(tasks.c.id).where(tasks.c.queue == queue, tasks.c.status == "pending", _is_due(now))
    if put_off:
        others = tasks.c.kind.not_in(sorted(put_off))
        waiting = waiting.where(others if put_off_since is None else or_(others, tasks.c.waits_since < put_off_since))
    return db.execute(waiting.order_by(tasks.c.waits_since, tasks.c.id).limit(1)).scalar()


def _is_due(now: datetime) -> ColumnElement[bool]:
    """What waits since further ahead than anything is put off was asked for before a clock was set back: it is due as well."""
    return or_(tasks.c.waits_since <= now, tasks.c.waits_since > now + TRY_AGAIN_AFTER)


def claim(db: Connection, task_id: int, *, worker: str, token: str, now: datetime) -> Task | None:
    """Take a pending task. None means that another worker has it, or that it is over."""
    taken = db.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.status == "pending")
        .values(
            status="running",
            claimed_by=worker,
            claim_token=token,
            lease_until=now + timedelta(seconds=LEASE_S),
            attempts=tasks.c.attempts + 1,
            started_at=func.coalesce(tasks.c.started_at, now),
        )
    )
    return get(db, task_id) if taken.rowcount == 1 else None


def save_slice(db: Connection, task_id: int, token: str, slice_: Slice, now: datetime) -> bool:
    """Keep the checkpoint and renew the lease, or finish. False: the claim is lost, so undo whatever the slice wrote."""
    change = _owned(task_id, token).values(
        state=slice_.state, progress=slice_.progress, lease_until=now + timedelta(seconds=LEASE_S), attempts=1
    )  # attempts: this claim has proven itself, so only failures from here on count
    if slice_.finished:
        change = change.values(status="done", result=slice_.result, progress=1.0, finished_at=now, **_UNCLAIMED)
    return db.execute(change).rowcount == 1


def fail(db: Connection, task_id: int, token: str, error: str, now: datetime) -> bool:
    """End it with a message for people."""
    change = _owned(task_id, token).values(status="failed", error=error[:_LONGEST_ERROR], finished_at=now, **_UNCLAIMED)
    return db.execute(change).rowcount == 1


def cancel(db: Connection, task_id: int, token: str, now: datetime) -> bool:
    """End it because somebody asked for that between two slices."""
    change = _owned(task_id, token).values(status="cancelled", finished_at=now, **_UNCLAIMED)
    return db.execute(change).rowcount == 1


def release(db: Connection, task_id: int, token: str, now: datetime) -> bool:
    """Give it back with its state, behind all that waits by now. This attempt does not count."""
    change = _owned(task_id, token).values(
        status="pending", claimed_by=None, attempts=tasks.c.attempts - 1, waits_since=now, **_UNCLAIMED
    )
    return db.execute(change).rowcount == 1


def try_again(db: Connection, task_id: int, token: str, state: dict[str, object], not_before: datetime) -> bool:
    """Give it back with this state, for then. This attempt does not count."""
    change = _owned(task_id, token).values(
        status="pending", claimed_by=None, attempts=0, state=state, waits_since=not_before, **_UNCLAIMED
    )
    return db.execute(change).rowcount == 1


def request_cancel(db: Connection, task_id: int, now: datetime) -> Task:
    """Cancel at once what waits; what runs stops after its slice. Raises NotFound, or Conflict when it is over."""
    waits = tasks.c.status == "pending"
    asked = db.execute(
        update(tasks)
        .where(tasks.c.id == task_id, _UNFINISHED)
        # The order counts: MySQL already sees the new status in what follows it.
        .ordered_values(
            (tasks.c.cancel_requested, true()),
            (tasks.c.finished_at, case((waits, now), else_=tasks.c.finished_at)),
            (tasks.c.status, case((waits, "cancelled"), else_=tasks.c.status)),
        )
    )
    task = get(db, task_id)
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    if asked.rowcount == 0:
        raise Conflict(f"Task {task_id} is already {task.status}.", cure="Nothing to cancel.")
    return task


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What became of tasks that nobody worked on any more."""

    cancelled: int
    failed: int
    returned: int

    @property
    def all(self) -> int:
        """How many there were."""
        return self.cancelled + self.failed + self.returned


def return_left_behind(db: Connection, *, now: datetime, worker: str | None = None) -> LeftBehind:
    """Take back what nobody works on any more.

    With ``worker``: all that this worker's predecessor was running, at once. Without: only what has an expired lease.
    What was to be cancelled is cancelled; what has ended its workers too often is failed.
    """
    left = tasks.c.lease_until < now if worker is None else tasks.c.claimed_by == worker
    left = and_(tasks.c.status == "running", left)
    hopeless = (
        f"Given up: the worker ended {MAX_ATTEMPTS} times in a row while running this, without finishing a slice. "
        "Its log says why."
    )
    over = {"finished_at": now, **_UNCLAIMED}
    steps = (
        update(tasks).where(left, tasks.c.cancel_requested == true()).values(status="cancelled", **over),
        update(tasks).where(left, tasks.c.attempts >= MAX_ATTEMPTS).values(status="failed", error=hopeless, **over),
        update(tasks).where(left).values(status="pending", claimed_by=None, **_UNCLAIMED),
    )
    return LeftBehind(*(db.execute(step).rowcount for step in steps))


def waiting_queues(db: Connection, *, asked_before: datetime) -> list[str]:
    """Queues in which something has waited since before this moment."""
    query = select(tasks.c.queue).distinct().where(tasks.c.status == "pending", tasks.c.waits_since < asked_before)
    return sorted(db.execute(query).scalars())


def counts(db: Connection) -> dict[tuple[str, str], int]:
    """How many tasks there are, by queue and status."""
    query = select(tasks.c.queue, tasks.c.status, func.count()).group_by(tasks.c.queue, tasks.c.status)
    return {(queue, status): number for queue, status, number in db.execute(query)}


def _owned(task_id: int, token: str) -> Update:
    return update(tasks).where(tasks.c.id == task_id, tasks.c.claim_token == token, tasks.c.status == "running")
