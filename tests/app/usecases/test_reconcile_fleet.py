"""Wishes carried out on real processes under a real supervisord, and what they do written down."""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.errors import Unavailable
from app.host.supervisor import Supervisor
from app.storage import processes
from app.storage.database import open_engine, reading, transaction
from app.storage.processes import Action, ProcessRow
from app.usecases.reconcile_fleet import REPORT_EVERY, Reconciled, reconcile
from tests.api.conftest import Fleet
from tests.builders import NOW, later, wait_for

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def shared() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        fleet = Fleet(Path(folder))
        fleet.start()
        yield fleet
        fleet.stop()


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    """A fleet in which everything runs, before and after."""
    yield shared
    for name, state in shared.states().items():
        if state != "RUNNING":
            shared.supervisor.start(name)
    wait_for(lambda: set(shared.states().values()) == {"RUNNING"}, within_s=20)


def turn(engine: Engine, fleet: Fleet, *, run: str = "", after_s: float = 0) -> Reconciled:
    return reconcile(engine, fleet.supervisor, fleet=run or fleet.run, now=later(after_s))


def wish(engine: Engine, name: str, action: Action) -> int:
    with transaction(engine) as db:
        processes.ensure(db, [name], NOW)
        return processes.want(db, name, action, actor="tester", now=NOW)


def row(engine: Engine, name: str) -> ProcessRow:
    with reading(engine) as db:
        return next(row for row in processes.rows(db) if row.name == name)


def test_the_first_turn_gives_every_process_its_row_and_its_actual_state(sqlite_engine: Engine, fleet: Fleet):
    done = turn(sqlite_engine, fleet)

    assert set(done.reported) == set(fleet.states())
    assert done.applied == ()
    for name, pid in fleet.pids().items():
        found = row(sqlite_engine, name)
        assert (found.desired, found.actual, found.pid) == ("running", "RUNNING", pid)


def test_a_stop_is_carried_out_once_and_a_persons_start_is_left_alone(sqlite_engine: Engine, fleet: Fleet):
    wish(sqlite_engine, "monitor", "stop")

    done = turn(sqlite_engine, fleet)
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)
    fleet.supervisor.start("monitor")
    again = turn(sqlite_engine, fleet)

    assert (done.applied, again.applied) == (("monitor",), ())
    assert fleet.states()["monitor"] in {"STARTING", "RUNNING"}
    assert row(sqlite_engine, "monitor").applied_revision == 1


def test_a_person_who_starts_what_was_wished_stopped_has_the_last_word(sqlite_engine: Engine, fleet: Fleet):
    wish(sqlite_engine, "monitor", "stop")
    turn(sqlite_engine, fleet)
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)
    turn(sqlite_engine, fleet)
    fleet.supervisor.start("monitor")
    wait_for(lambda: fleet.states()["monitor"] == "RUNNING", within_s=20)

    turn(sqlite_engine, fleet)

    found = row(sqlite_engine, "monitor")
    assert (found.desired, found.wanted_by) == ("running", "supervisorctl")
    turn(sqlite_engine, fleet, run="the next supervisord")
    assert fleet.states()["monitor"] == "RUNNING", "the older wish is forgotten"


def test_a_persons_stop_is_left_alone(sqlite_engine: Engine, fleet: Fleet):
    turn(sqlite_engine, fleet)
    fleet.supervisor.stop("monitor")
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)

    turn(sqlite_engine, fleet)

    assert fleet.states()["monitor"] == "STOPPED"
    assert (row(sqlite_engine, "monitor").desired, row(sqlite_engine, "monitor").actual) == ("running", "STOPPED")


def test_a_start_is_carried_out(sqlite_engine: Engine, fleet: Fleet):
    fleet.supervisor.stop("monitor")
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)
    wish(sqlite_engine, "monitor", "start")

    turn(sqlite_engine, fleet)

    wait_for(lambda: fleet.states()["monitor"] == "RUNNING", within_s=20)


def test_a_restart_is_carried_out_once(sqlite_engine: Engine, fleet: Fleet):
    before = fleet.pids()["monitor"]
    wish(sqlite_engine, "monitor", "restart")

    turn(sqlite_engine, fleet)
    after = wait_for(lambda: (pid := fleet.pids()["monitor"]) != before and pid, within_s=20)
    turn(sqlite_engine, fleet)

    assert fleet.pids()["monitor"] == after


def test_only_the_newest_wish_counts(sqlite_engine: Engine, fleet: Fleet):
    wish(sqlite_engine, "monitor", "stop")
    wish(sqlite_engine, "monitor", "start")
    before = fleet.pids()["monitor"]

    turn(sqlite_engine, fleet)

    assert fleet.pids()["monitor"] == before
    assert row(sqlite_engine, "monitor").applied_revision == 2


def test_a_wish_for_a_process_that_is_not_in_this_fleet_waits(sqlite_engine: Engine, fleet: Fleet):
    wish(sqlite_engine, "nobody", "start")

    assert turn(sqlite_engine, fleet).applied == ()
    assert row(sqlite_engine, "nobody").applied_revision == 0


def test_what_does_not_change_is_reported_now_and_then(sqlite_engine: Engine, fleet: Fleet):
    every_s = REPORT_EVERY / timedelta(seconds=1)
    first = turn(sqlite_engine, fleet)

    soon = turn(sqlite_engine, fleet, after_s=every_s - 1)
    at_last = turn(sqlite_engine, fleet, after_s=every_s)

    assert len(first.reported) == len(at_last.reported) == len(fleet.states())
    assert soon.reported == ()
    assert row(sqlite_engine, "monitor").reported_at == later(every_s)


def test_a_new_supervisord_is_told_again_what_should_be_stopped(sqlite_engine: Engine, fleet: Fleet):
    wish(sqlite_engine, "monitor", "stop")
    turn(sqlite_engine, fleet)
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)

    fleet.stop()
    fleet.start()  # it starts everything, as its file says
    turn(sqlite_engine, fleet)
    wait_for(lambda: fleet.states()["monitor"] == "STOPPED", within_s=20)
    fleet.supervisor.start("monitor")  # and then a person's word counts again
    wait_for(lambda: fleet.states()["monitor"] == "RUNNING", within_s=20)
    turn(sqlite_engine, fleet)

    assert fleet.states()["monitor"] == "RUNNING"


def test_a_wish_that_cannot_be_carried_out_is_noted_and_not_tried_forever(sqlite_engine: Engine, fleet: Fleet):
    class Stubborn(Supervisor):
        """The real one, with a process that cannot be started."""

        def start(self, name: str) -> None:
            """Ask for a process that supervisord does not know."""
            super().start(f"not-{name}")

    supervisor = Stubborn(fleet.folder / "run" / "supervisor.sock")
    wish(sqlite_engine, "monitor", "start")

    first = reconcile(sqlite_engine, supervisor, fleet=fleet.run, now=NOW)
    second = reconcile(sqlite_engine, supervisor, fleet=fleet.run, now=NOW)

    assert (first.applied, second.applied) == (("monitor",), ())
    assert row(sqlite_engine, "monitor").note == "There is no process 'not-monitor'."


@pytest.mark.parametrize(("action", "confirmed"), [("restart", 1), ("stop", 0), ("start", 0)])
def test_only_a_restart_is_confirmed_before_it_is_done(
    sqlite_engine: Engine, fleet: Fleet, action: Action, confirmed: int
):
    class Gone(Supervisor):
        """The real one, which is gone as soon as something is asked of it: as when this very process is replaced."""

        def start(self, name: str) -> None:
            """Be gone."""
            raise Unavailable

        stop = start

        def signal(self, name: str, signal: str) -> None:
            """Be gone."""
            raise Unavailable

    turn(sqlite_engine, fleet)
    wish(sqlite_engine, "monitor", action)

    with pytest.raises(Unavailable):
        reconcile(sqlite_engine, Gone(fleet.folder / "run" / "supervisor.sock"), fleet=fleet.run, now=NOW)

    assert row(sqlite_engine, "monitor").applied_revision == confirmed


def test_a_note_goes_when_the_next_wish_is_carried_out(sqlite_engine: Engine, fleet: Fleet):
    turn(sqlite_engine, fleet)
    with transaction(sqlite_engine) as db:
        processes.report(db, "monitor", actual="RUNNING", pid=1, note="something was wrong", now=NOW)
    kept = turn(sqlite_engine, fleet)
    wish(sqlite_engine, "monitor", "start")

    turn(sqlite_engine, fleet)

    assert kept.reported == ("monitor",)
    assert row(sqlite_engine, "monitor").note is None


def test_without_supervisord_nothing_is_confirmed(sqlite_engine: Engine, tmp_path: Path):
    wish(sqlite_engine, "monitor", "stop")

    with pytest.raises(Unavailable):
        reconcile(sqlite_engine, Supervisor(tmp_path / "nothing"), fleet="", now=NOW)

    assert row(sqlite_engine, "monitor").applied_revision == 0


def test_without_a_database_it_says_so(fleet: Fleet):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    with pytest.raises(Unavailable):
        turn(engine, fleet)
    engine.dispose()


def test_it_works_on_every_kind_of_database(engine: Engine, fleet: Fleet):
    wish(engine, "monitor", "restart")

    done = turn(engine, fleet)

    assert done.applied == ("monitor",)
    assert row(engine, "monitor").applied_revision == 1
