"""Cancelling a task: what waits is cancelled at once, what runs stops after its present slice."""

from sqlalchemy import Engine

from app.domain.tasks import Task
from app.storage import tasks
from app.storage.database import transaction
from app.usecases.asking import Asking


def cancel_task(engine: Engine, task_id: int, asking: Asking) -> Task:
    """Raises NotFound, or Conflict when the task is over already."""
    with transaction(engine) as db:
        task = tasks.request_cancel(db, task_id, asking.now)
        after = {"status": task.status, "cancel_requested": True}
        asking.record(db, "cancel_task", f"task {task_id}", before=None, after=after)
    return task
