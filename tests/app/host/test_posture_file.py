"""The posture as every process reads it."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.posture import Posture
from app.domain.recovery import begun
from app.host import posture_file
from tests.builders import NOW

STRAINED = Posture(strained=True, why_strained="CPU was at 97 %")


def test_what_is_told_is_read(tmp_path: Path):
    posture_file.write(tmp_path, STRAINED, NOW)
    assert posture_file.read(tmp_path, NOW + timedelta(seconds=59)) == STRAINED


@pytest.mark.parametrize("seconds", [60, 3600, -60])
def test_what_nobody_renews_is_not_believed(tmp_path: Path, seconds: int):
    posture_file.write(tmp_path, STRAINED, NOW)
    assert posture_file.read(tmp_path, NOW + timedelta(seconds=seconds)) == Posture()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"strained": true}'])
def test_damage_means_that_all_is_taken_on(tmp_path: Path, text: str):
    posture_file.path_in(tmp_path).write_text(text)
    os.utime(posture_file.path_in(tmp_path), (NOW.timestamp(), NOW.timestamp()))
    assert posture_file.read(tmp_path, NOW) == Posture()


def test_what_was_begun_is_known_however_old_the_file_is(tmp_path: Path):
    strain = begun("machine_strained", "fleet", "CPU was at 97 %", NOW)
    posture_file.write(tmp_path, STRAINED, NOW - timedelta(days=1), {"machine_strained": strain})

    assert posture_file.begun(tmp_path) == {"machine_strained": strain}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"begun": 7}', '{"begun": {"machine_strained": {}}}'])
def test_of_a_damaged_file_nothing_was_begun(tmp_path: Path, text: str):
    posture_file.path_in(tmp_path).write_text(text)

    assert posture_file.begun(tmp_path) == {}


def test_a_full_disk_does_not_end_what_it_called_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scarce = Posture(scarce=True, why_scarce="the disk is 100 % full")
    posture_file.write(tmp_path, scarce, NOW)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    for seconds in range(5, 95, 5):
        posture_file.write(tmp_path, scarce, NOW + timedelta(seconds=seconds))

    assert posture_file.read(tmp_path, NOW + timedelta(seconds=100)) == scarce


def test_nothing_told_means_that_all_is_taken_on(tmp_path: Path):
    assert posture_file.read(tmp_path, NOW) == Posture()


def test_a_disk_that_takes_nothing_ends_nobody(tmp_path: Path):
    posture_file.write(tmp_path / "missing", STRAINED, NOW)
