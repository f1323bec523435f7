"""A drill: work that does nothing but take time. It proves that asking, claiming, slicing and resuming work.

Its one effect is an audit row at the end. However often its worker is killed on the way, there must be exactly one.
"""

import time
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import audit

SUMMARY = "Count steps and write one audit row at the end: shows that the fleet does what it is asked to."
SLICE_MS = 500
STEPS_A_SLICE = 50
_LIMITS = {"steps": (1, 10_000), "step_ms": (0, 1_000)}


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """Check ``steps`` and ``step_ms``."""
    if unknown := sorted(payload.keys() - _LIMITS.keys()):
        raise InvalidInput(f"A drill takes steps and step_ms, not {', '.join(unknown)}.")
    for name, (least, most) in _LIMITS.items():
        value = payload.get(name)
        if type(value) is not int or not least <= value <= most:
            raise InvalidInput(f"{name} of a drill must be a whole number from {least} to {most}.")
    return {"done": 0}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all kinds
    """Take the time that the next steps take, and say how far that comes."""
    steps, step_ms = task.payload["steps"], task.payload["step_ms"]
    most = min(STEPS_A_SLICE, SLICE_MS // step_ms or 1) if step_ms else STEPS_A_SLICE
    number = min(most, steps - state["done"])
    time.sleep(number * step_ms / 1000)
    return {"done": state["done"] + number}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:
    """Keep the count; at the end, leave the one trace."""
    steps, done = task.payload["steps"], state["done"]
    if done < steps:
        return Slice(state, done / steps)
    result = {"steps": done}
    audit.record(
        db,
        now=now,
        actor=task.claimed_by or "",
        action="drill_done",
        subject=f"task {task.id}",
        after=result,
        trace_id=task.trace_id,
    )
    return Slice(state, 1.0, result)
