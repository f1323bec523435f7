"""Tasks: work that takes longer than a request. Asking for one writes a row; a worker takes it from there."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route
from app.domain.tasks import Status, Task
from app.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.host import posture_file
from app.storage import tasks
from app.storage.database import reading
from app.usecases.ask_task import ask_task
from app.usecases.cancel_task import cancel_task
from app.usecases.task_table import KINDS, waiting_kinds

Id = Annotated[int, Meta(ge=1, le=2**63 - 1, description="The number of the task.")]


class TaskView(Answer, frozen=True):
    """One task."""

    id: int
    kind: str
    queue: str
    status: Literal["pending", "running", "done", "failed", "cancelled"]
    payload: dict[str, Any]
    progress: Annotated[float, Meta(ge=0, le=1)]
    result: dict[str, Any] | None
    error: str | None
    attempts: int
    cancel_requested: bool
    trace_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    waits_for: Annotated[
        str | None, Meta(description="Why nobody begins it; null while it only waits for its turn.")
    ] = None


class TaskPage(Answer, frozen=True):
    """Tasks, newest first."""

    tasks: list[TaskView]
    next_before_id: Annotated[int | None, Meta(description="Pass it as before_id for the next page; null on the last.")]


class KindView(Answer, frozen=True):
    """One kind of task."""

    name: str
    queue: Annotated[str, Meta(description="Which worker does it.")]
    summary: str


class Kinds(Answer, frozen=True):
    """What may be asked for."""

    kinds: list[KindView]


class NewTask(Asks, frozen=True):
    """What to do, and with what."""

    kind: Annotated[str, Meta(min_length=1, max_length=50, description="One of /api/system/tasks/kinds.")]
    payload: Annotated[dict[str, Any], Meta(description="What this kind needs.")] = {}  # noqa: RUF012 - msgspec copies it


class TaskAsked(Asks, frozen=True):
    """Which task."""

    id: Id


class TasksAsked(Asks, frozen=True):
    """Which tasks."""

    limit: Annotated[int, Meta(ge=1, le=200, description="How many, the newest.")] = 50
    status: Annotated[Status | None, Meta(description="In this state only.")] = None
    before_id: Annotated[Id | None, Meta(description="Older than this one.")] = None


def ask(call: Call[NewTask]) -> Reply[TaskView]:
    """Write a request down and wake a worker."""
    task = ask_task(
        call.deps.engine,
        call.deps.bell,
        call.asking,
        kind=call.asks.kind,
        payload=call.asks.payload,
    )
    return Reply(_view(task, _waiting(call)), 202)


def read_page(call: Call[TasksAsked]) -> Reply[TaskPage]:
    """Read the newest tasks."""
    asked = call.asks
    with reading(call.deps.engine) as db:
        found = tasks.recent(db, limit=asked.limit + 1, status=asked.status, before_id=asked.before_id)
    shown = found[: asked.limit]
    waiting = _waiting(call)
    return Reply(TaskPage([_view(task, waiting) for task in shown], shown[-1].id if len(found) > len(shown) else None))


def read_one(call: Call[TaskAsked]) -> Reply[TaskView]:
    """Read one task."""
    with reading(call.deps.engine) as db:
        task = tasks.get(db, call.asks.id)
    if task is None:
        raise NotFound(f"There is no task {call.asks.id}.", cure="GET /api/system/tasks lists them.")
    return Reply(_view(task, _waiting(call)))


def cancel(call: Call[TaskAsked]) -> Reply[TaskView]:
    """Cancel a task: at once while it waits, after its present slice while it runs."""
    task = cancel_task(call.deps.engine, call.asks.id, call.asking)
    return Reply(_view(task), 200 if task.status == "cancelled" else 202)


def read_kinds(_call: Call[Nothing]) -> Reply[Kinds]:
    """Read what may be asked for."""
    return Reply(Kinds([KindView(kind.name, kind.queue, kind.summary) for kind in KINDS.values()]))


def _waiting(call: Call[Any]) -> frozenset[str]:
    """The kinds that are not begun just now."""
    return waiting_kinds(posture_file.read(call.deps.settings.run_dir, call.now))


def _view(task: Task, waiting: frozenset[str] = frozenset()) -> TaskView:
    view = msgspec.convert(task, TaskView, from_attributes=True)
    if task.status == "pending" and task.kind in waiting:
        return msgspec.structs.replace(view, waits_for="The machine is busy; it is begun in six hours at the latest.")
    return view


_TASK = TaskView(
    id=17,
    kind="drill",
    queue="strategy",
    status="pending",
    payload={"steps": 3, "step_ms": 10},
    progress=0.0,
    result=None,
    error=None,
    attempts=0,
    cancel_requested=False,
    trace_id="0af7651916cd43dd8448eb211c80319c",
    created_at=datetime.fromisoformat("2026-11-21T12:00:00+00:00"),
    started_at=None,
    finished_at=None,
)
_KINDS = Kinds([KindView("drill", "strategy", "Count steps.")])

ROUTES = (
    Route(
        "POST",
        "/api/system/tasks",
        ask,
        "tasks",
        "Ask for a task",
        NewTask,
        TaskView,
        statuses=(202,),
        raises=(InvalidInput, Unavailable),
        asks_example=NewTask("drill", {"steps": 3, "step_ms": 10}),
        example=_TASK,
    ),
    Route(
        "GET",
        "/api/system/tasks",
        read_page,
        "tasks",
        "The newest tasks",
        TasksAsked,
        TaskPage,
        raises=(Unavailable,),
        example=TaskPage([_TASK], 17),
    ),
    Route(
        "GET", "/api/system/tasks/kinds", read_kinds, "tasks", "What may be asked for", Nothing, Kinds, example=_KINDS
    ),
    Route(
        "GET",
        "/api/system/tasks/{id}",
        read_one,
        "tasks",
        "One task",
        TaskAsked,
        TaskView,
        raises=(NotFound, Unavailable),
        example=_TASK,
    ),
    Route(
        "POST",
        "/api/system/tasks/{id}/cancel",
        cancel,
        "tasks",
        "Cancel a task",
        TaskAsked,
        TaskView,
        statuses=(200, 202),
        raises=(NotFound, Conflict, Unavailable),
        example=_TASK,
    ),
)
