"""Decide how much the fleet takes on, tell every process, and note when that changes and why."""

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from app.domain.posture import Stance, step
from app.domain.recovery import Recovery, begun
from app.host import posture_file, recoveries
from app.host.probes import HostSample

_log = logging.getLogger(__name__)


class PostureKeeper:
    """Steps the posture at each look at the machine. A new one goes on from what the last one told."""

    def __init__(self, run_dir: Path, now: datetime) -> None:
        self._run_dir = run_dir
        self._stance = Stance(posture_file.read(run_dir, now))
        self._begun = posture_file.begun(run_dir)

    def look(self, host: HostSample, now: datetime) -> None:
        """One look."""
        before = self._stance.posture
        self._stance = step(
            self._stance, cpu=host.cpu_percent, memory=host.memory_percent, disk=host.disk_percent, now_s=host.boot_s
        )
        posture = self._stance.posture
        noted = [
            *self._note("machine_strained", before.strained, posture.strained, posture.why_strained, now),
            *self._note("disk_scarce", before.scarce, posture.scarce, posture.why_scarce, now),
        ]
        posture_file.write(self._run_dir, posture, now, self._begun)  # first, so that a kill loses no end
        for one in noted:
            recoveries.tell(self._run_dir, one)

    def _note(self, fault: str, before: bool, after: bool, why: str, now: datetime) -> Iterator[Recovery]:
        """What there is to note of it: its beginning, or the end of one that this monitor or the one before it began."""
        if after and not before:
            _log.warning("%s: %s", fault, why)
            if fault not in self._begun:  # else it goes on: only nobody had looked for a while
                self._begun[fault] = begun(fault, "fleet", why, now)
                yield self._begun[fault]
        elif before and not after:
            _log.warning("%s: it is over", fault)
        if fault in self._begun and not after:
            if before:
                yield self._begun.pop(fault).ended("recovered", "the machine has room again", now)
            else:
                yield self._begun.pop(fault).ended("unknown", "no monitor looked for a while", now)
