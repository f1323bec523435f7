"""Cancelling a task: what waits is cancelled at once, what runs stops after its present slice."""

from datetime import datetime

from sqlalchemy import Engine

from app.domain.tasks import Task
from app.storage import audit, tasks
from app.storage.database import transaction


def cancel_task(engine: Engine, task_id: int, *, actor: str, trace_id: str | None, now: datetime) -> Task:
    """Raises NotFound, or Conflict when the task is over already."""
    with transaction(engine) as db:
        task = tasks.request_cancel(db, task_id, now)
        audit.record(
            db,
            now=now,
            actor=actor,
            action="cancel_task",
            subject=f"task {task_id}",
            after={"status": task.status, "cancel_requested": True},
            trace_id=trace_id,
        )
    return task
