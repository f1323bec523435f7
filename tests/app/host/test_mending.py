"""Restarts under way, from the fault to the process that works again."""

import os
from datetime import timedelta
from pathlib import Path

from app.domain.recovery import Recovery
from app.host import heartbeat, recoveries
from app.host.mending import Mending
from tests.builders import NOW

OLD = os.getpid() + 1


def told(run_dir: Path) -> list[Recovery]:
    found = []
    for segment in recoveries.spool_in(run_dir).segments():
        found += recoveries.read(segment)[0]
        segment.unlink()
    return found


def beat(run_dir: Path) -> None:
    heartbeat.Heartbeat(run_dir, "monitor").beat("looked")


def test_a_restart_is_told_as_it_begins_and_when_another_process_has_done_work(tmp_path: Path):
    mending = Mending(tmp_path)
    mending.begin("monitor", "process_silent", "silent for 21 s", OLD, NOW)
    mending.look("monitor", None, NOW)
    mending.look("monitor", OLD, NOW)
    mending.look("monitor", os.getpid(), NOW)  # it runs, and has done nothing yet
    assert [one.outcome for one in told(tmp_path)] == ["pending"]

    beat(tmp_path)
    mending.look("monitor", os.getpid(), NOW + timedelta(seconds=3))
    mending.look("monitor", os.getpid(), NOW + timedelta(seconds=4))
    (ended,) = told(tmp_path)
    assert (ended.fault, ended.subject, ended.outcome) == ("process_silent", "monitor", "recovered")
    assert ended.note == "it works again after 3.0 s"


def test_what_happens_to_it_meanwhile_is_a_part_of_the_same_restart(tmp_path: Path):
    mending = Mending(tmp_path)
    mending.begin("monitor", "process_fat", "too fat", OLD, NOW)
    mending.begin("monitor", "process_ended", "it was killed", OLD, NOW)

    assert [one.fault for one in told(tmp_path)] == ["process_fat"]


def test_what_is_given_up_is_told_with_its_reason_whether_or_not_it_had_begun(tmp_path: Path):
    mending = Mending(tmp_path)
    mending.give_up("monitor", "process_ended", "6 ends in 3 minutes", NOW)
    mending.begin("broker", "process_ended", "it ended", OLD, NOW)
    mending.give_up("broker", "process_ended", "6 ends in 3 minutes", NOW)

    outcomes = [(one.subject, one.outcome) for one in told(tmp_path)]
    assert outcomes == [
        ("monitor", "pending"),
        ("monitor", "given_up"),
        ("broker", "pending"),
        ("broker", "given_up"),
    ]
