"""The monitor's posture, told to every process and noted as it changes."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.domain.recovery import Recovery
from app.host import posture_file, recoveries
from app.host.probes import HostSample
from app.usecases.keep_posture import PostureKeeper
from tests.builders import NOW

CALM = HostSample(
    cpu_percent=10.0,
    memory_used_mb=400,
    memory_total_mb=1000,
    memory_percent=40.0,
    disk_percent=50.0,
    disk_free_mb=9000,
    load_1m=0.2,
    boot_s=1.0,
)
BUSY, FULL = replace(CALM, cpu_percent=99.0), replace(CALM, disk_percent=92.0)


def looks(keeper: PostureKeeper, host: HostSample, count: int, since: datetime) -> datetime:
    """So many looks, five seconds apart; the time after them."""
    for number in range(count):
        now = since + timedelta(seconds=5 * number)
        keeper.look(replace(host, boot_s=now.timestamp()), now)
    return since + timedelta(seconds=5 * count)


def told(run_dir: Path) -> list[Recovery]:
    found = []
    for segment in recoveries.spool_in(run_dir).segments():
        found += recoveries.read(segment)[0]
    return found


def test_strain_is_told_to_all_and_noted_from_its_beginning_to_its_end(tmp_path: Path):
    keeper = PostureKeeper(tmp_path, NOW)
    now = looks(keeper, BUSY, 13, NOW)
    assert posture_file.read(tmp_path, now).strained
    now = looks(keeper, CALM, 25, now)
    assert not posture_file.read(tmp_path, now).strained

    first, last = told(tmp_path)
    assert (first.fault, first.outcome) == ("machine_strained", "pending")
    assert (last.key, last.outcome) == (first.key, "recovered")


def test_a_full_disk_is_told_at_once(tmp_path: Path):
    keeper = PostureKeeper(tmp_path, NOW)
    keeper.look(FULL, NOW)

    assert posture_file.read(tmp_path, NOW).scarce
    assert [(one.fault, one.reason) for one in told(tmp_path)] == [("disk_scarce", "the disk is 92 % full")]


def test_a_new_monitor_goes_on_from_what_the_last_one_told(tmp_path: Path):
    now = looks(PostureKeeper(tmp_path, NOW), BUSY, 13, NOW)
    keeper = PostureKeeper(tmp_path, now)
    keeper.look(replace(CALM, cpu_percent=80.0), now)

    assert posture_file.read(tmp_path, now).strained


def test_the_end_of_what_another_monitor_began_is_noted_all_the_same(tmp_path: Path):
    now = looks(PostureKeeper(tmp_path, NOW), BUSY, 13, NOW)
    now = looks(PostureKeeper(tmp_path, now), CALM, 25, now)

    first, last = told(tmp_path)
    assert (last.key, last.outcome, last.note) == (first.key, "recovered", "the machine has room again")
    looks(PostureKeeper(tmp_path, now), CALM, 1, now)
    assert len(told(tmp_path)) == 2


def test_what_nobody_watched_for_a_while_has_an_end_that_nobody_knows(tmp_path: Path):
    now = looks(PostureKeeper(tmp_path, NOW), BUSY, 13, NOW) + timedelta(hours=1)
    looks(PostureKeeper(tmp_path, now), CALM, 1, now)

    assert [one.outcome for one in told(tmp_path)] == ["pending", "unknown"]


def test_what_still_lasts_after_a_while_without_a_monitor_goes_on(tmp_path: Path):
    PostureKeeper(tmp_path, NOW).look(FULL, NOW)
    later = NOW + timedelta(hours=1)
    keeper = PostureKeeper(tmp_path, later)
    keeper.look(FULL, later)
    keeper.look(CALM, later)

    first, last = told(tmp_path)
    assert (last.key, last.outcome) == (first.key, "recovered")


def test_killed_between_the_file_and_the_note_the_end_says_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        """As by SIGKILL."""

    def killed(*_anything: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(recoveries, "tell", killed)
        with pytest.raises(Killed):
            PostureKeeper(tmp_path, NOW).look(FULL, NOW)
    PostureKeeper(tmp_path, NOW).look(CALM, NOW)

    assert [(one.reason, one.outcome) for one in told(tmp_path)] == [("the disk is 92 % full", "recovered")]


def test_a_jump_of_the_clock_is_no_minute_of_strain(tmp_path: Path):
    keeper = PostureKeeper(tmp_path, NOW)
    keeper.look(BUSY, NOW)
    keeper.look(replace(BUSY, boot_s=BUSY.boot_s + 5), NOW + timedelta(hours=1))

    assert not posture_file.read(tmp_path, NOW + timedelta(hours=1)).strained
