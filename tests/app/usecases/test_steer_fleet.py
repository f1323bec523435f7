"""Wishes are written once, with their trace, on every kind of database."""

import pytest
from sqlalchemy import Engine

from app.storage import audit, processes
from app.storage.database import reading, transaction
from app.storage.processes import ProcessRow
from app.usecases.asking import Asking
from app.usecases.steer_fleet import Steered, settled, steer_fleet
from tests.builders import NOW

NAMES = ("market-feed", "strategy-worker")


def steer(engine: Engine, action, names=NAMES) -> Steered:
    return steer_fleet(engine, names, action, Asking("tester", "t-1", NOW))


def row(engine: Engine, name: str = "market-feed") -> ProcessRow:
    with reading(engine) as db:
        return next(row for row in processes.rows(db) if row.name == name)


def report(engine: Engine, actual: str, *, pid: int | None = None, names=NAMES, carried_out: bool = True) -> None:
    with transaction(engine) as db:
        processes.ensure(db, names, NOW)
        for name in names:
            revision = next(row.revision for row in processes.rows(db) if row.name == name)
            if carried_out:
                processes.applied(db, name, revision, NOW)
            processes.report(db, name, actual=actual, pid=pid, note=None, now=NOW)


def traces(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as db:
        return [(entry.action, entry.subject) for entry in audit.recent(db, 10)]


def test_a_wish_and_its_trace_are_written_together(engine: Engine):
    steered = steer(engine, "stop")

    assert steered.asked == NAMES
    assert (row(engine).desired, row(engine).action, row(engine).revision) == ("stopped", "stop", 1)
    assert traces(engine) == [("stop_process", "strategy-worker"), ("stop_process", "market-feed")]


def test_the_same_wish_again_changes_nothing_and_leaves_no_trace(engine: Engine):
    steer(engine, "stop")

    assert steer(engine, "stop").asked == ()
    assert row(engine).revision == 1
    assert len(traces(engine)) == 2


def test_a_wish_that_is_fulfilled_is_not_written(sqlite_engine: Engine):
    report(sqlite_engine, "RUNNING", pid=7)

    steered = steer(sqlite_engine, "start")

    assert steered.asked == ()
    assert settled(sqlite_engine, steered, NAMES)


def test_what_was_stopped_behind_our_back_is_wished_anew(sqlite_engine: Engine):
    report(sqlite_engine, "STOPPED")  # desired: running, but a person used supervisorctl

    assert steer(sqlite_engine, "start").asked == NAMES


def test_what_was_started_behind_our_back_can_be_stopped(sqlite_engine: Engine):
    steer(sqlite_engine, "stop")
    report(sqlite_engine, "RUNNING", pid=7)

    assert steer(sqlite_engine, "stop").asked == NAMES


@pytest.mark.parametrize(("actual", "asked"), [("STARTING", ()), ("BACKOFF", ()), ("FATAL", NAMES), ("EXITED", NAMES)])
def test_what_supervisord_is_starting_needs_no_second_wish(sqlite_engine: Engine, actual: str, asked: tuple[str, ...]):
    report(sqlite_engine, actual)

    assert steer(sqlite_engine, "start").asked == asked


def test_what_is_not_known_is_wished(sqlite_engine: Engine):
    assert steer(sqlite_engine, "start").asked == NAMES


def test_a_restart_is_always_a_new_wish(sqlite_engine: Engine):
    report(sqlite_engine, "RUNNING", pid=7)

    assert steer(sqlite_engine, "restart").asked == NAMES
    assert steer(sqlite_engine, "restart").asked == NAMES
    assert (row(sqlite_engine).revision, row(sqlite_engine).desired) == (2, "running")


def test_a_stop_is_settled_when_it_was_carried_out_and_the_process_is_gone(sqlite_engine: Engine):
    report(sqlite_engine, "RUNNING", pid=7)
    steered = steer(sqlite_engine, "stop")

    seen = []
    for actual, carried_out in (("STOPPED", False), ("STOPPING", True), ("BACKOFF", True), ("STOPPED", True)):
        report(sqlite_engine, actual, carried_out=carried_out)
        seen.append(settled(sqlite_engine, steered, NAMES))

    assert seen == [False, False, False, True]


def test_a_restart_is_settled_when_another_process_runs(sqlite_engine: Engine):
    report(sqlite_engine, "RUNNING", pid=7)
    steered = steer(sqlite_engine, "restart")

    report(sqlite_engine, "RUNNING", pid=7)
    with_the_old_one = settled(sqlite_engine, steered, NAMES)
    report(sqlite_engine, "RUNNING", pid=8)

    assert not with_the_old_one
    assert settled(sqlite_engine, steered, NAMES)


def test_a_restart_of_what_nobody_had_seen_cannot_be_told_from_the_old_one(sqlite_engine: Engine):
    steered = steer(sqlite_engine, "restart")

    report(sqlite_engine, "RUNNING", pid=7)

    assert not settled(sqlite_engine, steered, NAMES)


def test_a_restart_of_what_was_stopped_is_settled_when_it_runs(sqlite_engine: Engine):
    report(sqlite_engine, "STOPPED")
    steered = steer(sqlite_engine, "restart")

    report(sqlite_engine, "RUNNING", pid=7)

    assert settled(sqlite_engine, steered, NAMES)


def test_nothing_is_written_when_one_of_the_names_cannot_be(sqlite_engine: Engine):
    too_long = "x" * 51

    with pytest.raises(Exception, match="at most 50 characters"):
        steer(sqlite_engine, "stop", names=("market-feed", too_long))

    with reading(sqlite_engine) as db:
        assert processes.rows(db) == []
    assert traces(sqlite_engine) == []
