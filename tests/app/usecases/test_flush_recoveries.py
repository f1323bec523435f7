"""What was mended becomes rows, each once, with its reason and outcome."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.domain.recovery import LONG_UNTOLD_AFTER, UNTOLD_AFTER, Recovery, begun
from app.errors import Unavailable
from app.host.recoveries import spool_in, tell
from app.storage import recoveries
from app.storage.database import open_engine, reading
from app.usecases.flush_recoveries import flush_recoveries
from tests.builders import NOW

BEGUN = begun("process_ended", "monitor", "it ended by itself", NOW)
ENDED = BEGUN.ended("recovered", "it works again after 2.0 s", NOW + timedelta(seconds=2))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def rows(engine: Engine) -> list[Recovery]:
    with reading(engine) as db:
        return recoveries.recent(db, limit=100)[::-1]


def test_beginning_and_end_are_one_row(engine: Engine, run_dir: Path):
    tell(run_dir, BEGUN)
    flush_recoveries(engine, run_dir, now=NOW)
    assert rows(engine) == [BEGUN]

    tell(run_dir, ENDED)
    assert flush_recoveries(engine, run_dir, now=NOW) == 1
    assert rows(engine) == [ENDED]


def test_both_at_once_and_stored_twice_are_still_one_row(engine: Engine, run_dir: Path):
    for _ in range(2):  # somebody was killed between storing them and removing the segment
        tell(run_dir, BEGUN)
        tell(run_dir, ENDED)
        flush_recoveries(engine, run_dir, now=NOW)

    assert rows(engine) == [ENDED]


def test_a_row_says_who_did_what(engine: Engine, run_dir: Path):
    tell(run_dir, BEGUN)
    flush_recoveries(engine, run_dir, now=NOW)

    with reading(engine) as db:
        row = db.exec_driver_sql("SELECT action, done_by FROM recoveries").one()
    assert tuple(row) == ("restart", "process-guard")


def test_of_what_nobody_told_the_end_the_outcome_is_unknown(engine: Engine, run_dir: Path):
    tell(run_dir, BEGUN)
    flush_recoveries(engine, run_dir, now=NOW + UNTOLD_AFTER)
    assert [one.outcome for one in rows(engine)] == ["pending"]

    later = NOW + UNTOLD_AFTER + timedelta(seconds=1)
    flush_recoveries(engine, run_dir, now=later)
    (row,) = rows(engine)
    assert (row.outcome, row.ended_at) == ("unknown", later)


def test_what_lasts_as_long_as_its_fault_stays_pending_for_a_day(engine: Engine, run_dir: Path):
    tell(run_dir, begun("stream_down", "okx", "1 of 1 connections are not open", NOW))
    flush_recoveries(engine, run_dir, now=NOW + timedelta(hours=23))
    assert [one.outcome for one in rows(engine)] == ["pending"]
    flush_recoveries(engine, run_dir, now=NOW + LONG_UNTOLD_AFTER + timedelta(seconds=1))

    assert [one.outcome for one in rows(engine)] == ["unknown"]


def test_while_the_database_is_away_nothing_is_lost(engine: Engine, run_dir: Path, tmp_path: Path):
    tell(run_dir, BEGUN)
    away = open_engine(f"sqlite:///{tmp_path / 'missing' / 'x.db'}")
    with pytest.raises(Unavailable):
        flush_recoveries(away, run_dir, now=NOW)
    away.dispose()

    assert flush_recoveries(engine, run_dir, now=NOW) == 1


def test_a_damaged_line_is_left_out(engine: Engine, run_dir: Path):
    spool_in(run_dir).append([b"{"])
    tell(run_dir, BEGUN)

    assert flush_recoveries(engine, run_dir, now=NOW) == 1
    assert rows(engine) == [BEGUN]


def test_they_can_be_chosen_by_fault_and_by_outcome(engine: Engine, run_dir: Path):
    other = begun("process_fat", "market-feed", "160 MB of 150", NOW)
    for one in (ENDED, other):
        tell(run_dir, one)
    flush_recoveries(engine, run_dir, now=NOW)

    with reading(engine) as db:
        assert recoveries.recent(db, limit=9, fault="process_fat") == [other]
        assert recoveries.recent(db, limit=9, outcome="recovered") == [ENDED]
        assert recoveries.recent(db, limit=1) == [other]
