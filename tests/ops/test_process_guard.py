"""The guard under a real supervisord, with processes that really leak, hang, die and refuse to end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.host import heartbeat
from app.host.supervisor import ProcessInfo, Supervisor
from app.notify import outbox
from app.settings import ROOT
from tests.builders import lives, wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.beside]

HEARTBEAT_S = 2
GRACE_S = 3
CEILING_MB = 80
PATIENTS = {
    # name: (illness, when exhausted)
    "healthy": ("none", "run"),
    "leaker": ("leaks", "stop"),
    "stubborn": ("ignores-term", "run"),
    "blocked": ("blocks", "run"),
    "frozen": ("none", "run"),
    "obedient": ("none", "stop"),
    "looper": ("dies-after-20", "run"),
    "quick-looper": ("dies-after-2", "stop"),
    "quiet-looper": ("leaves-after-2", "stop"),
}


def beat_s(name: str) -> int:
    """Those that must be left alone may stall for a while: the machine that runs the tests is busy."""
    return 10 if name in {"healthy", "obedient"} else HEARTBEAT_S


def conf(folder: Path) -> str:
    python = sys.executable
    blocks = [
        f"""
[unix_http_server]
file={folder}/run/supervisor.sock
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
directory={ROOT}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:process-guard]
command={python} -m ops.process_guard {folder}/supervisord.conf
events=PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL
environment=MEMORY_LIMIT_MB="40",HEARTBEAT_S="5",WHEN_EXHAUSTED="run",ROLE="core"
autorestart=true
stopwaitsecs=5
stderr_logfile={folder}/guard.log
"""
    ]
    blocks += [
        f"""
[program:{name}]
command={python} {ROOT}/tests/ops/patient.py {name} {illness} {folder}/run
environment=MEMORY_LIMIT_MB="{CEILING_MB}",HEARTBEAT_S="{beat_s(name)}",WHEN_EXHAUSTED="{exhausted}",ROLE="core"
autorestart=true
startsecs=1
startretries=1000
stopwaitsecs={GRACE_S}
stdout_logfile={folder}/{name}.log
"""
        for name, (illness, exhausted) in PATIENTS.items()
    ]
    return "".join(blocks)


@dataclass
class Ward:
    """A supervisord with its patients."""

    folder: Path
    supervisor: Supervisor

    def info(self, name: str) -> ProcessInfo:
        return next(info for info in self.supervisor.processes() if info.name == name)

    def pid(self, name: str) -> int:
        pid = wait_for(lambda: self.info(name).pid, within_s=20)
        assert pid is not None
        return pid

    def notices(self, name: str) -> list[str]:
        return [notice.text for notice in outbox.pending(self.folder / "notices") if notice.subject == name]

    def told(self, name: str, words: str, *, within_s: float) -> str:
        def found() -> str | None:
            return next((text for text in self.notices(name) if words in text), None)

        text = wait_for(found, within_s=within_s)
        assert text
        return text


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    folder = Path(tempfile.mkdtemp(prefix="ward"))
    (folder / "run").mkdir()
    (folder / "supervisord.conf").write_text(conf(folder), encoding="utf-8")
    env = os.environ | {"FLOTILLA__STATE__DIR": str(folder), "PYTHONPATH": str(ROOT)}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.supervise", "-c", str(folder / "supervisord.conf")],
            env=env,
            stdout=out,
            stderr=out,
        )
    ward = Ward(folder, Supervisor(folder / "run" / "supervisor.sock"))
    try:
        wait_for(lambda: (folder / "run" / "supervisor.sock").exists() and ward.info("healthy").pid, within_s=20)
        yield ward
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def outcomes(ward: Ward, name: str) -> list[tuple[str, str]]:
    """What was noted of the restarts of one process."""
    lines = (ward.folder / "run" / "recoveries.jsonl").read_text(encoding="utf-8").splitlines()
    noted = [json.loads(line) for line in lines]
    return [(one["fault"], one["outcome"]) for one in noted if one["subject"] == name]


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not lives(pid)


def test_a_frozen_process_is_told_and_replaced(ward: Ward):
    frozen = ward.pid("frozen")
    wait_for(lambda: heartbeat.read(ward.folder / "run", "frozen"), within_s=20)

    os.kill(frozen, signal.SIGSTOP)

    assert "no work for" in ward.told("frozen", "no work", within_s=30)
    wait_for(gone(frozen), within_s=30)
    assert ward.pid("frozen") != frozen
    wait_for(
        lambda: outcomes(ward, "frozen")[:2] == [("process_silent", "pending"), ("process_silent", "recovered")],
        within_s=20,
    )


def test_a_blocked_loop_is_told_and_replaced(ward: Ward):
    assert "no work for" in ward.told("blocked", "no work", within_s=40)
    wait_for(lambda: (beat := heartbeat.read(ward.folder / "run", "blocked")) and beat.starts >= 2, within_s=40)


def test_a_leaking_process_is_asked_to_drain_and_leaves_its_checkpoint(ward: Ward):
    assert f"its ceiling is {CEILING_MB} MB" in ward.told("leaker", "twice in a row", within_s=60)

    checkpoint = ward.folder / "run" / "leaker.checkpoint"
    wait_for(checkpoint.exists, within_s=30)
    assert "units" in checkpoint.read_text(encoding="utf-8")


def test_a_process_that_does_not_drain_is_ended_hard_after_its_grace(ward: Ward):
    first = ward.pid("stubborn")
    ward.told("stubborn", "twice in a row", within_s=60)

    wait_for(gone(first), within_s=30)
    assert ward.pid("stubborn") != first
    assert not (ward.folder / "run" / "stubborn.checkpoint").exists()


def test_a_guard_that_was_killed_is_back_and_remembers(ward: Ward):
    ward.told("leaker", "twice in a row", within_s=60)
    guard = ward.pid("process-guard")

    os.kill(guard, signal.SIGKILL)

    wait_for(lambda: ward.info("process-guard").pid not in {None, guard}, within_s=20)
    assert '"leaker"' in (ward.folder / "run" / "guard.json").read_text(encoding="utf-8")


def test_after_three_restarts_in_an_hour_a_leak_that_comes_back_is_stopped(ward: Ward):
    text = ward.told("leaker", "It has been stopped", within_s=150)

    assert "3 restarts in the last hour" in text
    wait_for(lambda: ward.info("leaker").state == "STOPPED", within_s=20)
    assert ward.info("leaker").pid is None
    noted = outcomes(ward, "leaker")
    assert noted.count(("process_fat", "recovered")) == 3
    assert noted[-1] == ("process_fat", "given_up")


def test_a_quick_crash_loop_is_told_and_stopped_where_its_block_says_so(ward: Ward):
    assert "ended by itself 6 times" in ward.told("quick-looper", "It has been stopped", within_s=60)


def test_a_loop_that_just_ends_without_an_error_is_one_all_the_same(ward: Ward):
    assert "ended by itself 6 times" in ward.told("quiet-looper", "It has been stopped", within_s=60)


def test_a_restart_every_twenty_seconds_is_told_within_three_minutes_and_left_running(ward: Ward):
    text = ward.told("looper", "ended by itself", within_s=180)

    assert "left running" in text
    wait_for(lambda: ward.info("looper").pid, within_s=20)


def test_a_process_that_drained_because_somebody_wished_so_did_not_end_by_itself(ward: Ward):
    for _ in range(7):
        before = ward.pid("obedient")
        ward.supervisor.signal("obedient", "TERM")
        wait_for(lambda before=before: ward.info("obedient").pid not in {None, before}, within_s=20)
        wait_for(
            lambda: (beat := heartbeat.read(ward.folder / "run", "obedient")) and beat.pid == ward.pid("obedient"),
            within_s=20,
        )
        wait_for(lambda: ward.info("obedient").state == "RUNNING", within_s=20)  # an end before that is a failed start

    assert ward.notices("obedient") == []
    assert outcomes(ward, "obedient") == []


def test_a_healthy_process_was_never_touched(ward: Ward):
    beat = heartbeat.read(ward.folder / "run", "healthy")

    assert beat is not None
    assert beat.starts == 1
    assert ward.notices("healthy") == []
