"""How a process of the fleet begins and ends: one of each name, a heartbeat, and a drain on SIGTERM."""

import atexit
import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from app.errors import Conflict
from app.host import logs
from app.host.heartbeat import ENDED_AS_ASKED, Heartbeat

log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Life:
    """One process' life. ``draining`` is set when it must finish its unit of work, checkpoint and end."""

    name: str
    heartbeat: Heartbeat
    lock: IO[bytes]
    draining: threading.Event = field(default_factory=threading.Event)
    _on_drain: list[Callable[[], None]] = field(default_factory=list)

    def beat(self, work: str | None = None) -> None:
        """Touch the heartbeat: to be called by the loop that does the work, after it did some."""
        self.heartbeat.beat(work)

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Also do this when asked to drain; it runs inside the signal handler, so it may only set a flag."""
        self._on_drain.append(callback)

    def drain(self) -> None:
        """Ask this process to end, as SIGTERM does."""
        self.draining.set()
        for callback in self._on_drain:
            callback()


def begin(name: str, run_dir: Path, *, level: str = "INFO", protocol_on_stdout: bool = False) -> Life:
    """Start the life of process ``name``. Raises Conflict when another one of that name lives in this state folder.

    ``protocol_on_stdout`` is for an event listener of supervisord, which must log to standard error.
    """
    logs.configure(name, level, sys.stderr if protocol_on_stdout else sys.stdout)
    run_dir.mkdir(parents=True, exist_ok=True)
    life = Life(name, Heartbeat(run_dir, name), _only_one(run_dir, name))
    if "SUPERVISOR_ENABLED" in os.environ:
        end_with_parent(signal.SIGTERM)

    def asked_to_drain(_signal: int, _frame: FrameType | None) -> None:
        life.drain()

    def say_that_it_drained() -> None:
        if life.draining.is_set():
            life.beat(ENDED_AS_ASKED)

    atexit.register(say_that_it_drained)
    signal.signal(signal.SIGTERM, asked_to_drain)
    signal.signal(signal.SIGINT, asked_to_drain)
    life.beat("started")
    log.info("started", extra={"pid": os.getpid()})
    return life


def end_with_parent(with_signal: signal.Signals) -> None:
    """Have Linux signal this process when its parent dies: a killed supervisord must not leave a fleet behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)


def _only_one(run_dir: Path, name: str) -> IO[bytes]:
    lock = (run_dir / f".{name}.lock").open("ab")  # not "wb": that would erase who holds it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Conflict(
            f"A {name} already runs on the state folder {run_dir.parent}.",
            cure=f"Stop it first: flotilla ctl stop {name}",
        ) from None
    with contextlib.suppress(OSError):  # on a full disk the lock still locks
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
    return lock


def holder(run_dir: Path, name: str) -> int | None:
    """The pid of the living process of that name, or None."""
    path = run_dir / f".{name}.lock"
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = path.read_text(encoding="ascii", errors="replace")
        return int(text) if text.isdecimal() else None
    except OSError:
        return None
    return None
