"""Asking for work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.errors import InvalidInput
from app.storage import audit, tasks
from app.storage.database import reading
from app.usecases.ask_task import ask_task
from app.usecases.asking import Asking
from tests.builders import NOW, later

ANNA = Asking("anna", None, NOW)
DRILL = {"steps": 3, "step_ms": 0}


@pytest.fixture
def bell(valkey_url: str) -> Iterator[Bell]:
    bell = Bell(valkey_url)
    yield bell
    bell.close()


def test_a_request_is_a_row_a_trace_and_a_bell(engine: Engine, bell: Bell):
    asked = ask_task(engine, bell, Asking("anna", "abc", NOW), kind="drill", payload=DRILL)
    with reading(engine) as db:
        found = tasks.get(db, asked.id)
        (trace,) = audit.recent(db, 9)

    assert found == asked
    assert (asked.status, asked.kind, asked.queue, asked.payload, asked.trace_id) == (
        "pending",
        "drill",
        "strategy",
        DRILL,
        "abc",
    )
    assert (trace.actor, trace.action, trace.subject, trace.trace_id) == ("anna", "ask_task", f"task {asked.id}", "abc")
    assert trace.after == {"kind": "drill", "payload": DRILL}
    assert (bell.length("strategy"), bell.length("cleaner")) == (1, 0)


@pytest.mark.parametrize(("kind", "payload"), [("dance", {}), ("drill", {}), ("drill", {"steps": 0, "step_ms": 0})])
def test_what_no_worker_could_do_is_refused_and_leaves_nothing(
    sqlite_engine: Engine, bell: Bell, kind: str, payload: dict
):
    with pytest.raises(InvalidInput):
        ask_task(sqlite_engine, bell, ANNA, kind=kind, payload=payload)
    with reading(sqlite_engine) as db:
        assert tasks.recent(db, limit=9) == []
        assert audit.recent(db, 9) == []
    assert bell.length("strategy") == 0


def test_an_unknown_kind_is_refused_with_those_that_are_known(sqlite_engine: Engine, bell: Bell):
    with pytest.raises(
        InvalidInput, match="use archive, backup, drill, check_database, judge, purge, refresh_judgments, roll_up"
    ):
        ask_task(sqlite_engine, bell, ANNA, kind="dance", payload={})


def test_without_a_broker_the_request_still_stands(sqlite_engine: Engine, tmp_path: Path):
    bell = Bell(f"unix://{tmp_path / 'nobody.sock'}")
    asked = ask_task(sqlite_engine, bell, ANNA, kind="drill", payload=DRILL)
    with reading(sqlite_engine) as db:
        assert tasks.next_pending(db, "strategy", now=later(10_000)) == asked.id
