"""Restarts that are under way: told as they begin, and as the process works again or is given up."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from app.domain.recovery import Recovery, begun
from app.host import heartbeat, recoveries


@dataclass(slots=True)
class Mending:
    """At most one restart of each process is under way; what else happens to it meanwhile is a part of that."""

    run_dir: Path
    _under_way: dict[str, tuple[Recovery, int | None]] = field(default_factory=dict)

    def kept(self) -> dict[str, Any]:
        """What is under way, as JSON can hold it."""
        return {name: [recoveries.fields_of(one), pid] for name, (one, pid) in self._under_way.items()}

    def recall(self, kept: dict[str, Any]) -> None:
        """Take up what somebody before had begun. Raises KeyError, TypeError or ValueError for what ``kept`` did not make."""
        self._under_way |= {name: (recoveries.parse(fields), pid) for name, (fields, pid) in kept.items()}

    def begin(self, name: str, fault: str, why: str, pid: int | None, now: datetime) -> None:
        """The process with this pid is being replaced, or is away."""
        if name not in self._under_way:
            recovery = begun(fault, name, why, now)
            self._under_way[name] = recovery, pid
            recoveries.tell(self.run_dir, recovery)

    def look(self, name: str, pid: int | None, now: datetime) -> None:
        """See whether a process that was replaced works again: another one, which has done work."""
        under_way = self._under_way.get(name)
        if under_way is None or pid is None or pid == under_way[1]:
            return
        beat = heartbeat.read(self.run_dir, name)
        if beat is not None and beat.pid == pid and beat.work != heartbeat.ENDED_AS_ASKED:
            took_s = (now - under_way[0].at).total_seconds()
            self._end(name, under_way[0].ended("recovered", f"it works again after {took_s:.1f} s", now))

    def give_up(self, name: str, fault: str, why: str, now: datetime) -> None:
        """Nothing more is tried, for this reason."""
        self.begin(name, fault, why, None, now)
        recovery = self._under_way[name][0]
        note = "nothing more is tried" if recovery.reason == why else why
        self._end(name, recovery.ended("given_up", note, now))

    def _end(self, name: str, ended: Recovery) -> None:
        del self._under_way[name]
        recoveries.tell(self.run_dir, ended)
