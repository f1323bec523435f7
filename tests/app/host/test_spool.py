"""A bounded file of lines. What the samples need of it is tested with them."""

import fcntl
from pathlib import Path

import pytest

from app.host.spool import Spool


def test_two_spools_of_one_folder_do_not_meet(tmp_path: Path):
    ours, theirs = Spool(tmp_path, "ours", 10), Spool(tmp_path, "ours-too", 10)
    ours.append([b"a"])
    theirs.append([b"b"])

    with ours.alone() as first, theirs.alone() as second:
        assert (first, second) == (True, True)
        assert [segment.read_bytes() for segment in ours.segments()] == [b"a\n"]
        assert [segment.read_bytes() for segment in theirs.segments()] == [b"b\n"]


def test_past_its_bound_the_oldest_lines_give_way(tmp_path: Path):
    spool = Spool(tmp_path, "ours", 3)
    spool.append([b"1", b"2"])
    spool.append([b"3", b"4"])

    assert [segment.read_bytes() for segment in spool.segments()] == [b"2\n3\n4\n"]


def test_who_holds_the_file_and_does_not_let_go_holds_nobody_up_for_long(tmp_path: Path):
    spool = Spool(tmp_path, "ours", 10)
    with (tmp_path / ".ours.lock").open("wb") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="does not let go"):
            spool.append([b"a"])
    spool.append([b"b"])

    assert [segment.read_bytes() for segment in spool.segments()] == [b"b\n"]
