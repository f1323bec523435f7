"""What tests are built from. Shared by all of them: append, and keep it small."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import psutil
from sqlalchemy import Connection, func, select

from app.storage.tables import klines
from ops.broker import server_binary

NOW = datetime(2026, 11, 21, 5, 0, 0, 123456, tzinfo=UTC)
_T = TypeVar("_T")


def count_candles(db: Connection, pair_id: int, timeframe: str) -> int:
    """How many candles of a pair are stored."""
    query = select(func.count()).where(klines.c.pair_id == pair_id, klines.c.timeframe == timeframe)
    return int(db.execute(query).scalar_one())


def lives(pid: int) -> bool:
    """Whether this process still runs: one that ended, and that its parent has not yet collected, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Valkey:
    """A real Valkey on a socket file, which can be stopped, frozen and started again in the middle of a test."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it and wait until it answers. It keeps nothing over a restart."""
        words = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(self._socket.parent)]
        self._process = subprocess.Popen([str(server_binary()), *words], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._socket))
                    connection.sendall(b"PING\r\n")
                    if connection.recv(7) == b"+PONG\r\n":
                        return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("Valkey did not start within 30 s.")

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def wait_for(look: Callable[[], _T], *, within_s: float) -> _T:
    """Look again and again until there is something to see; fail when there is nothing within the deadline."""
    until = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > until:
            raise AssertionError(f"Nothing to see within {within_s:g} s.")
        time.sleep(0.05)
    return seen


def later(seconds: float) -> datetime:
    """A moment after NOW."""
    return NOW + timedelta(seconds=seconds)
