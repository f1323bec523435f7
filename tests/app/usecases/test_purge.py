"""Deleting what is past its time."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, insert, select

from app.domain.retention import POLICY
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import audit, tasks
from app.storage.database import reading, transaction
from app.storage.tables import metadata, system_monitoring
from app.usecases import purge
from app.usecases.run_tasks import run_next
from tests.builders import NOW


def fill(engine: Engine) -> None:
    """For each rule, rows just within their time and just past it."""
    with transaction(engine) as db:
        for days, component in ((29, "young"), (31, "old")):
            at = NOW - timedelta(days=days)
            row = {"metric_type": "SYSTEM_HEALTH", "component": component, "created_at": at}
            db.execute(insert(system_monitoring), [row] * (3 if component == "young" else 2 * purge.BATCH + 7))
        for days in (364, 366):
            audit.record(db, now=NOW - timedelta(days=days), actor="a", action="b", subject=f"{days} days")
        for days in (6, 8):
            at = NOW - timedelta(days=days)
            task_id = tasks.ask(db, kind="drill", queue="done", payload={}, trace_id=None, now=at)
            tasks.claim(db, task_id, worker="w", token="t", now=at)
            tasks.save_slice(db, task_id, "t", Slice({}, 1.0, {"days": days}), at)
        tasks.ask(db, kind="drill", queue="waiting", payload={}, trace_id=None, now=NOW - timedelta(days=100))


def run(engine: Engine) -> Task:
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
    slices: list[str] = []
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=slices.append, draining=lambda: False)
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    assert len(slices) == 5  # tasks; three batches of samples; traces
    return task


def test_what_is_past_its_time_goes_and_all_else_stays(engine: Engine):
    fill(engine)
    task = run(engine)
    with reading(engine) as db:
        components = set(db.execute(select(system_monitoring.c.component)).scalars())
        subjects = [row.subject for row in audit.recent(db, 9)]
        left = {one.queue: one.status for one in tasks.recent(db, limit=9)}
        samples = db.execute(select(func.count()).select_from(system_monitoring)).scalar()

    assert (task.status, task.progress) == ("done", 1.0)
    assert task.result == {"deleted": {"tasks": 1, "system_monitoring": 2 * purge.BATCH + 7, "audit_log": 1}}
    assert (components, samples, subjects) == ({"young"}, 3, ["364 days"])
    assert left == {"done": "done", "waiting": "pending", "cleaner": "done"}


def test_a_purge_takes_no_payload():
    with pytest.raises(InvalidInput):
        purge.begin({"table": "symbols"})


def test_a_table_whose_rule_was_dropped_meanwhile_is_left_alone(sqlite_engine: Engine):
    state = {"left": ["symbols", "tasks"], "deleted": {}}
    with transaction(sqlite_engine) as db:
        task_id = tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
        task = tasks.get(db, task_id)
        assert task is not None
        slice_ = purge.step(db, task, state, NOW)

    assert slice_.state == {"left": ["tasks"], "deleted": {}}
    assert not slice_.finished


def test_every_rule_names_a_table_its_moment_and_an_index_on_it():
    for keep in POLICY:
        table = metadata.tables[keep.table]
        first_columns = {next(iter(index.columns)).name for index in table.indexes}

        assert keep.since in table.columns
        assert keep.since in first_columns, f"Without an index, purging {keep.table} reads all of it for each batch."
        assert "id" in table.columns
