"""What the guard does when the disk is full, supervisord is slow, or the machine was restarted."""

import json
import os
from pathlib import Path

import pytest

from app.domain.fleet import ProcessSpec, Step, Verdict, Watch
from app.errors import Unavailable
from app.host import heartbeat
from app.host.supervisor import Supervisor
from app.notify import outbox
from ops.process_guard import Events, Guard
from tests.builders import NOW

SPEC = ProcessSpec("monitor", ceiling_mb=50, heartbeat_s=5, grace_s=5, when_exhausted="run", role="core")


def guard(folder: Path, boot: str = "this boot") -> Guard:
    nobody = Supervisor(folder / "no.sock", timeout_s=1)
    return Guard((SPEC,), nobody, run_dir=folder, notices=folder / "notices", clock=lambda: 1_000.0, boot=boot)


def crash(watching: Guard, times: int) -> None:
    for _ in range(times):
        watching.hear("PROCESS_STATE_BACKOFF", {"processname": "monitor"})


def test_a_new_guard_takes_up_what_the_last_one_counted(tmp_path: Path):
    crash(guard(tmp_path), 5)
    second = guard(tmp_path)

    second.recall()
    crash(second, 1)

    assert ["6 times" in notice.text for notice in outbox.pending(tmp_path / "notices")] == [True]


def test_a_new_guard_goes_on_mending_what_the_last_one_had_begun(tmp_path: Path):
    crash(guard(tmp_path), 1)
    second = guard(tmp_path)
    second.recall()
    heartbeat.Heartbeat(tmp_path, "monitor").beat("looked")
    second.mending.look("monitor", os.getpid(), NOW)

    lines = [json.loads(line) for line in (tmp_path / "recoveries.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["outcome"] for line in lines] == ["pending", "recovered"]
    assert lines[0]["key"] == lines[1]["key"]


def test_what_was_counted_before_the_machine_was_restarted_is_forgotten(tmp_path: Path):
    crash(guard(tmp_path, boot="an earlier boot"), 5)
    second = guard(tmp_path)

    second.recall()

    assert second.watches == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"boot": "this boot", "watches": {"monitor": 1}}',
        '{"boot": "this boot", "watches": {}, "mending": {"monitor": [{}, 7]}}',
    ],
)
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, text: str):
    (tmp_path / "guard.json").write_text(text, encoding="utf-8")
    watching = guard(tmp_path)

    watching.recall()

    assert watching.watches == {}


def test_a_notice_that_cannot_be_written_waits_and_is_told_later(tmp_path: Path):
    watching = guard(tmp_path)
    (tmp_path / "notices").write_text("in the way, as a full disk is", encoding="utf-8")
    crash(watching, 6)
    assert len(watching.untold) == 1

    (tmp_path / "notices").unlink()
    with pytest.raises(Unavailable):
        watching.look()

    assert len(outbox.pending(tmp_path / "notices")) == 1
    assert watching.untold == []


def test_a_deed_that_could_not_be_done_is_decided_again(tmp_path: Path):
    watching = guard(tmp_path)
    before = watching.watches["monitor"] = Watch(pid=7)

    watching._take(SPEC, Step(Watch(pid=7, draining_since_s=1.0), (Verdict("drain", "why"), Verdict("tell", "why"))))

    assert watching.watches["monitor"] == before
    assert watching.untold == []
    assert outbox.pending(tmp_path / "notices") == []


def test_an_event_is_acknowledged_even_when_it_could_not_be_handled():
    source, into = os.pipe()
    said: list[bytes] = []
    body = b"processname:monitor groupname:monitor"
    os.write(into, b"ver:3.0 eventname:PROCESS_STATE_FATAL len:%d\n%s" % (len(body), body))

    def fail() -> None:
        for _ in Events(source, said.append).wait(1):
            raise Unavailable

    with pytest.raises(Unavailable):
        fail()
    os.close(source)
    os.close(into)

    assert said == [b"READY\n", b"RESULT 2\nOKREADY\n"]
