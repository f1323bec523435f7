import os
import time
from pathlib import Path

import pytest

from app.host import heartbeat
from app.host.heartbeat import Heartbeat


def test_a_beat_tells_what_was_done_and_when(tmp_path: Path):
    Heartbeat(tmp_path, "monitor").beat("sampled")

    beat = heartbeat.read(tmp_path, "monitor")

    assert beat is not None
    assert (beat.work, beat.pid, beat.starts) == ("sampled", os.getpid(), 1)
    assert abs(beat.at_ns / 1e9 - time.time()) < 60


def test_a_beat_without_words_keeps_the_last_ones_and_moves_the_time(tmp_path: Path):
    beating = Heartbeat(tmp_path, "monitor")
    beating.beat("sampled")
    os.utime(tmp_path / "monitor", ns=(0, 0))

    beating.beat()

    beat = heartbeat.read(tmp_path, "monitor")
    assert beat is not None
    assert beat.work == "sampled"
    assert beat.at_ns > 0


def test_starts_are_counted_under_one_supervisord(tmp_path: Path):
    for _ in range(3):
        Heartbeat(tmp_path, "monitor").beat("x")

    beat = heartbeat.read(tmp_path, "monitor")
    assert beat is not None
    assert beat.starts == 3


def test_that_the_process_before_drained_is_still_known_when_its_successor_beats(tmp_path: Path):
    before = Heartbeat(tmp_path, "monitor")
    before.beat(heartbeat.ENDED_AS_ASKED)
    Heartbeat(tmp_path, "monitor").beat("sampled")
    drained = heartbeat.read(tmp_path, "monitor")
    Heartbeat(tmp_path, "monitor").beat("sampled")
    crashed = heartbeat.read(tmp_path, "monitor")

    assert drained is not None
    assert crashed is not None
    assert (drained.ended_before, crashed.ended_before) == (os.getpid(), None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "starts": null, "work": ""}'])
def test_a_torn_file_is_no_heartbeat_and_no_error(tmp_path: Path, text: str):
    (tmp_path / "monitor").write_text(text, encoding="utf-8")

    assert heartbeat.read(tmp_path, "monitor") is None
    Heartbeat(tmp_path, "monitor").beat("x")


def test_a_full_disk_does_not_look_like_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    beating = Heartbeat(tmp_path, "monitor")
    beating.beat("before")
    os.utime(tmp_path / "monitor", ns=(0, 0))

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    beating.beat("after")

    beat = heartbeat.read(tmp_path, "monitor")
    assert beat is not None
    assert beat.at_ns > 0
