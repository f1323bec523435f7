"""Drills."""

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput
from app.storage import audit, tasks
from app.storage.database import reading, transaction
from app.usecases import drill
from app.usecases.run_tasks import run_next
from tests.builders import NOW, later


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"steps": 1},
        {"steps": 0, "step_ms": 0},
        {"steps": 10_001, "step_ms": 0},
        {"steps": 1, "step_ms": 1001},
        {"steps": 1, "step_ms": -1},
        {"steps": 1.5, "step_ms": 0},
        {"steps": True, "step_ms": 0},
        {"steps": "1", "step_ms": 0},
        {"steps": 1, "step_ms": 0, "sauce": 1},
    ],
)
def test_what_is_no_drill_is_refused(payload: dict):
    with pytest.raises(InvalidInput):
        drill.begin(payload)


@pytest.mark.parametrize(("steps", "step_ms", "slices"), [(1, 0, 1), (50, 0, 1), (51, 0, 2), (3, 251, 3), (30, 20, 2)])
def test_a_slice_is_short_and_the_end_leaves_one_trace(sqlite_engine: Engine, steps: int, step_ms: int, slices: int):
    with transaction(sqlite_engine) as db:
        payload = {"steps": steps, "step_ms": step_ms}
        task_id = tasks.ask(db, kind="drill", queue="strategy", payload=payload, trace_id="abc", now=NOW)
    beats: list[str] = []
    run_next(
        sqlite_engine, queue="strategy", worker="w1", now=lambda: later(1), beat=beats.append, draining=lambda: False
    )
    with reading(sqlite_engine) as db:
        task = tasks.get(db, task_id)
        (trace,) = audit.recent(db, 9)

    assert task is not None
    assert (task.status, task.result) == ("done", {"steps": steps})
    assert (trace.actor, trace.action, trace.after, trace.trace_id) == ("w1", "drill_done", {"steps": steps}, "abc")
    assert len(beats) == slices
