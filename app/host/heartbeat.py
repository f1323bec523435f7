"""Heartbeats by file: the modification time of ``run/<process>`` is the moment it last did work.

A file needs no broker and no database, so an outage of either cannot look like a dead process; and only the loop that does
the work touches it, so a stuck process cannot look alive.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from app.host import whole_file

ENDED_AS_ASKED = "ended as asked"
"""The last work of a process that drained; one that ends without having said so ended by itself."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process last said of itself. ``starts`` counts the starts under the present supervisord."""

    at_ns: int
    pid: int
    starts: int
    work: str
    ended_before: int | None = None
    """The process before it, where that one drained: whoever asks may be later than its successor."""


class Heartbeat:
    """One process' own heartbeat."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._path = run_dir / name
        self._pid, self._fleet = os.getpid(), os.getppid()
        before = read(run_dir, name)
        self._ended_before = before.pid if before and before.work == ENDED_AS_ASKED else None
        self._starts = self._starts_before() + 1
        self._work: str | None = None
        self._written: str | None = None  # tried again at every beat while the disk is full

    def beat(self, work: str | None = None) -> None:
        """Say that work was done, and what it was when that is worth telling."""
        if work is None:
            work = self._work or "started"
        try:
            if work != self._written or not self._path.exists():
                self._write(work)
        except OSError:
            pass  # a full disk must not look like a silent process: the time of the old file can still be set
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._path)
        self._work = work

    def _write(self, work: str) -> None:
        said = {"pid": self._pid, "fleet": self._fleet, "starts": self._starts, "work": work}
        text = json.dumps(said | {"ended_before": self._ended_before})
        whole_file.replace(self._path, text.encode())
        self._written = work

    def _starts_before(self) -> int:
        """Starts count per supervisord, which is the parent; alone at a terminal, each start is the first."""
        try:
            last = json.loads(self._path.read_text(encoding="utf-8"))
            return int(last["starts"]) if last["fleet"] == self._fleet else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0


def read(run_dir: Path, name: str) -> Beat | None:
    """The last heartbeat, or None before the first."""
    path = run_dir / name
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        ended = said.get("ended_before")
        at_ns, pid, starts, work = path.stat().st_mtime_ns, int(said["pid"]), int(said["starts"]), str(said["work"])
        return Beat(at_ns, pid, starts, work, ended if isinstance(ended, int) else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
