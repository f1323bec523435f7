"""Wishes about processes, and what became of them."""

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput, NotFound
from app.storage import processes
from app.storage.database import reading, transaction
from app.storage.processes import ProcessRow
from tests.builders import NOW, later


@pytest.fixture(autouse=True)
def fleet(engine: Engine) -> None:
    with transaction(engine) as db:
        processes.ensure(db, ["monitor", "main-app"], NOW)


def want(engine: Engine, name: str, action: str) -> int:
    with transaction(engine) as db:
        return processes.want(db, name, action, actor="anna", now=later(1))


def rows(engine: Engine) -> dict[str, ProcessRow]:
    with reading(engine) as db:
        return {row.name: row for row in processes.rows(db)}


def test_a_new_fleet_is_wanted_running_with_nothing_to_do(engine: Engine):
    assert [(row.name, row.desired) for row in rows(engine).values()] == [
        ("main-app", "running"),
        ("monitor", "running"),
    ]


def test_making_sure_again_changes_no_wish(engine: Engine):
    want(engine, "monitor", "stop")
    with transaction(engine) as db:
        processes.ensure(db, ["monitor", "broker"], later(9))

    assert rows(engine)["monitor"].desired == "stopped"
    assert set(rows(engine)) == {"monitor", "main-app", "broker"}


@pytest.mark.parametrize(("action", "desired"), [("stop", "stopped"), ("start", "running"), ("restart", "running")])
def test_a_wish_is_written_down_and_waits(engine: Engine, action: str, desired: str):
    revision = want(engine, "monitor", action)
    row = rows(engine)["monitor"]

    assert (row.desired, row.action, row.revision) == (desired, action, revision)
    assert row.applied_revision < revision
    assert (row.wanted_by, row.wanted_at) == ("anna", later(1))


def test_a_wish_that_was_carried_out_no_longer_waits(engine: Engine):
    revision = want(engine, "monitor", "stop")
    with transaction(engine) as db:
        assert processes.applied(db, "monitor", revision, later(2))

    row = rows(engine)["monitor"]
    assert (row.applied_revision, row.applied_at) == (revision, later(2))


def test_a_newer_wish_is_not_taken_for_done(engine: Engine):
    old = want(engine, "monitor", "stop")
    new = want(engine, "monitor", "start")
    with transaction(engine) as db:
        assert not processes.applied(db, "monitor", old, later(2))

    row = rows(engine)["monitor"]
    assert row.applied_revision < row.revision == new


def test_a_process_that_is_not_in_the_fleet_is_named_with_those_that_are(engine: Engine):
    with pytest.raises(NotFound) as caught:
        want(engine, "nobody", "start")

    assert "nobody" in str(caught.value)
    assert "main-app, monitor" in caught.value.cure


def test_an_unknown_action_is_refused(engine: Engine):
    with pytest.raises(InvalidInput, match="start, stop, restart"):
        want(engine, "monitor", "dance")


def test_what_a_process_really_does_is_reported(engine: Engine):
    with transaction(engine) as db:
        processes.report(db, "monitor", actual="running", pid=17, note=None, now=later(3))
    row = rows(engine)["monitor"]

    assert (row.actual, row.pid, row.note, row.reported_at) == ("running", 17, None, later(3))
    with pytest.raises(NotFound), transaction(engine) as db:
        processes.report(db, "nobody", actual="running", pid=17, note=None, now=later(3))
