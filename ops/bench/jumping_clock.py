"""A clock that jumps: what a fleet does when this machine's clock is set, without setting it for anybody else.

The processes of the fleet that is hurt are started with a folder on their PYTHONPATH whose sitecustomize installs this. Only the
clock that tells the time of day jumps, as when a person or NTP sets it; the monotonic one goes on, as the kernel's does.
"""

import ctypes
import gc
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

VARIABLE = "CHAOS_CLOCK"
_READ_EVERY_S = 0.1


def sitecustomize(folder: Path) -> dict[str, str]:
    """What the environment of the processes must hold, so that each installs the clock when it starts."""
    text = "from ops.bench import jumping_clock\n\njumping_clock.install()\n"
    (folder / "sitecustomize.py").write_text(text, encoding="ascii")
    paths = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)
    return {VARIABLE: str(folder / "seconds"), "PYTHONPATH": paths}


def jump(path: Path, seconds: float) -> None:
    """Set all these clocks so many seconds ahead of what they say, or back."""
    new = path.with_suffix(".new")
    new.write_text(f"{_ahead(path) + seconds}")
    new.replace(path)


def _ahead(path: Path) -> float:
    return float(path.read_text()) if path.exists() else 0.0


def install(path: Path | None = None) -> None:
    """Have this process read the time from a clock that jumps."""
    ahead = _Ahead(path or Path(os.environ[VARIABLE]))
    real_ns, real_now = time.time_ns, datetime.now

    def now(_cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return real_now(tz) + timedelta(seconds=ahead.seconds())

    time.time_ns = lambda: real_ns() + int(ahead.seconds() * 1e9)
    time.time = lambda: time.time_ns() / 1e9
    os.utime = _utime(os.utime)
    members = gc.get_referents(datetime.__dict__)[0]  # CPython lets nobody set an attribute of its own types otherwise
    members["now"] = classmethod(now)
    members["utcnow"] = classmethod(now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


def _utime(real: Callable[..., None]) -> Callable[..., None]:
    """Heartbeats are files that are touched: with the time of this clock, as the kernel's would be."""

    def utime(path: Any, times: Any = None, **words: Any) -> None:
        if times is None and "ns" not in words:
            words["ns"] = (time.time_ns(), time.time_ns())
        real(path, times, **words)

    return utime


class _Ahead:
    """How far the clock is ahead, as the file says; read now and then, for the time is asked for very often."""

    def __init__(self, path: Path) -> None:
        self._path, self._seconds, self._read_s = path, 0.0, float("-inf")

    def seconds(self) -> float:
        if time.monotonic() - self._read_s > _READ_EVERY_S:
            self._read_s = time.monotonic()
            self._seconds = _ahead(self._path)
        return self._seconds
