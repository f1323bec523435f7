import os
import signal
import subprocess
import sys
from pathlib import Path

from app.host import heartbeat
from app.settings import ROOT
from tests.builders import wait_for

PROCESS = """
import sys
from pathlib import Path
from app.host import lifecycle
life = lifecycle.begin(sys.argv[1], Path(sys.argv[2]))
life.draining.wait(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], env=os.environ | {"SUPERVISOR_ENABLED": "1"})
print(child.pid, flush=True)
time.sleep(60)
"""


def start(run_dir: Path, name: str = "monitor") -> subprocess.Popen[bytes]:
    return subprocess.Popen(words(run_dir, name), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def words(run_dir: Path, name: str = "monitor") -> list[str]:
    return [sys.executable, "-c", PROCESS, name, str(run_dir)]


def work(run_dir: Path) -> str | None:
    beat = heartbeat.read(run_dir, "monitor")
    return beat.work if beat else None


def test_sigterm_lets_it_finish_and_end_well(tmp_path: Path):
    with start(tmp_path) as process:
        wait_for(lambda: work(tmp_path) == "started", within_s=20)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=20) == 0
    assert work(tmp_path) == heartbeat.ENDED_AS_ASKED


def test_a_second_process_of_the_same_name_is_refused_with_the_cure(tmp_path: Path):
    with start(tmp_path) as first:
        wait_for(lambda: work(tmp_path) == "started", within_s=20)
        with start(tmp_path) as second:
            said, _ = second.communicate(timeout=20)
        first.terminate()

    assert second.returncode != 0
    assert b"already runs" in said


def test_a_killed_process_leaves_nothing_that_keeps_the_next_one_from_starting(tmp_path: Path):
    with start(tmp_path) as first:
        wait_for(lambda: work(tmp_path) == "started", within_s=20)
        first.kill()
        first.wait()
    with start(tmp_path) as second:
        wait_for(lambda: (beat := heartbeat.read(tmp_path, "monitor")) and beat.pid == second.pid, within_s=20)
        second.terminate()

        assert second.wait(timeout=20) == 0


def test_a_process_drains_when_its_supervisord_was_killed(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *words(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        wait_for(lambda: work(tmp_path) == "started", within_s=20)
        parent.kill()

        wait_for(lambda: work(tmp_path) == heartbeat.ENDED_AS_ASKED, within_s=20)
