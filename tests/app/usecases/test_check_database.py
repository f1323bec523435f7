"""Looking for damage."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from app.domain.tasks import Task
from app.errors import InvalidInput
from app.storage import integrity, tasks
from app.storage.database import reading, transaction
from app.storage.tables import audit_log, metadata
from app.usecases import check_database
from app.usecases.run_tasks import run_next
from tests.builders import NOW

EVERY_TABLE = len(metadata.tables) + 1  # and Alembic's own


def run(engine: Engine) -> tuple[Task, list[str]]:
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="check_database", queue="cleaner", payload={}, trace_id=None, now=NOW)
    slices: list[str] = []
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=slices.append, draining=lambda: False)
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    return task, slices


def test_a_sound_database_is_said_to_be_sound_one_table_a_slice(engine: Engine):
    task, slices = run(engine)

    assert task.status == "done", task.error
    assert task.result == {"checked": EVERY_TABLE, "damaged": {}, "too_big": []}
    assert len(slices) == 1 + EVERY_TABLE  # the first one only sees which tables there are


def test_what_is_damaged_is_named(sqlite_engine: Engine, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "flotilla.db")) as careless:
        careless.execute("INSERT INTO symbol_statistics (symbol, strategy_type) VALUES ('GONE', 'V3')")
        careless.commit()
    task, _ = run(sqlite_engine)

    assert task.result is not None
    assert list(task.result["damaged"]) == ["symbol_statistics"]
    assert task.result["checked"] == EVERY_TABLE


def test_what_is_too_big_to_be_looked_at_is_named_and_not_called_sound(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    with transaction(sqlite_engine) as db:
        db.execute(insert(audit_log), [{"at": NOW, "actor": "a", "action": "b", "subject": "c"}] * 10_000)
    monkeypatch.setattr(integrity, "LIMIT_S", 0)
    task, _ = run(sqlite_engine)

    assert task.result == {"checked": EVERY_TABLE - 1, "damaged": {}, "too_big": ["audit_log"]}


def test_a_check_takes_no_payload():
    with pytest.raises(InvalidInput):
        check_database.begin({"table": "symbols"})
