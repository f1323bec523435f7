"""supervisord on a disk without room: /dev/full for the logs, and a log that cannot be turned over."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from supervisor import loggers

from app.host.supervisor import Supervisor
from app.settings import ROOT
from ops.supervise import PatientLog
from tests.builders import wait_for

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="A full disk is played by Linux's /dev/full.")


@contextmanager
def supervisord(folder: Path, module: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One that can write nowhere, with a process that talks all the time."""
    conf = folder / "supervisord.conf"
    conf.write_text(
        f"""
[unix_http_server]
file={folder}/s
[supervisord]
nodaemon=true
silent=true
logfile=/dev/full
pidfile={folder}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:talker]
command={sys.executable} -uc "while True: print('x' * 100); __import__('time').sleep(0.01)"
redirect_stderr=true
stdout_logfile=/dev/full
startsecs=1
""",
        encoding="utf-8",
    )
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen([sys.executable, "-m", module, "-c", str(conf)], stdout=full, stderr=full, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_supervisord_alone_ends_of_a_full_disk(tmp_path: Path) -> None:
    """Why there is a supervisord of ours at all. When this fails, supervisord has mended it, and ours may go."""
    with supervisord(tmp_path, "supervisor.supervisord") as alone:
        assert alone.wait(20) != 0


def test_ours_goes_on_and_keeps_every_process(tmp_path: Path) -> None:
    with supervisord(tmp_path, "ops.supervise") as ours:
        supervisor = Supervisor(tmp_path / "s")
        wait_for((tmp_path / "s").exists, within_s=20)
        wait_for(lambda: [one.state for one in supervisor.processes()] == ["RUNNING"], within_s=20)
        pid = supervisor.processes()[0].pid
        supervisor.signal("talker", "KILL")

        wait_for(lambda: (one := supervisor.processes()[0]).state == "RUNNING" and one.pid != pid, within_s=20)
        assert ours.poll() is None


def test_a_log_that_cannot_be_turned_over_is_turned_over_once_it_can(tmp_path: Path) -> None:
    path, kept = tmp_path / "log", tmp_path / "log.1"
    log = PatientLog(str(path), maxBytes=50, backupCount=1)
    log.setFormat("%(message)s\n")
    kept.mkdir()  # in the way of the file that is turned over

    for _ in range(10):
        log.emit(line("x" * 20))
    in_the_way = path.read_text(encoding="utf-8").splitlines()
    kept.rmdir()
    for number in range(3):
        log.emit(line(f"{number}"))
    log.close()

    assert in_the_way  # it did not end
    assert kept.read_text(encoding="utf-8").splitlines()[-1] == "0"
    assert path.read_text(encoding="utf-8").splitlines() == ["1", "2"]


def line(text: str) -> loggers.LogRecord:
    return loggers.LogRecord(loggers.LevelsByName.INFO, text)
