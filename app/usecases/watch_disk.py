"""Honouring a ceiling of the disk: at 80 % the nightly clean-up comes early, and older nights' backups make room.

A person is told by the alerts, and at 90 % what is worth least is no longer stored (``app/domain/posture.py``): both are the
monitor's, for the database may stand on this very disk.
"""

import logging
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from app.cache.bell import Bell
from app.domain.disk_ceiling import CLEAN_AT_PERCENT, clean_up_is_due
from app.domain.recovery import begun
from app.storage import checkpoints, recoveries, tasks
from app.storage.database import reading, transaction
from app.usecases import back_up
from app.usecases.task_table import KINDS

OWNER, NAME = "disk", "ceiling"
FAULT = "disk_filling"
_log = logging.getLogger(__name__)
CLEAN_UP = ("roll_up", "archive", "purge")
"""The kinds of tasks of a night, in their order; each also refuses by itself to go ahead of the one before."""


def watch_disk(
    engine: Engine, bell: Bell, backups: Path, *, used_percent: float, trace_id: str | None, now: datetime
) -> bool:
    """Look once, and ask for the clean-up when this share of the disk calls for it; whether it did."""
    with reading(engine) as db:
        kept = checkpoints.load(db, OWNER, NAME) or {}
        under_way = recoveries.recent(db, limit=100, fault=FAULT, outcome="pending")
    if used_percent < CLEAN_AT_PERCENT and under_way:
        note = f"the disk is {used_percent:.0f} % full again"
        with transaction(engine) as db:
            recoveries.keep(db, [one.ended("recovered", note, now) for one in under_way])
    last = kept.get("cleaned_at")
    if not clean_up_is_due(None if last is None else datetime.fromisoformat(last), used_percent, now):
        return False
    with transaction(engine) as db:
        checkpoints.save(db, OWNER, NAME, {"cleaned_at": now.isoformat()}, now)
        if not under_way:
            recoveries.keep(db, [begun(FAULT, "disk", f"the disk is {used_percent:.0f} % full", now)])
        rung = _ask(db, trace_id, now)
    for queue in rung:
        bell.ring(queue, trace_id=trace_id)
    if gone := back_up.thin(backups):
        _log.warning("the backups %s went, for the disk is short", ", ".join(gone))
    return True


def _ask(db: Connection, trace_id: str | None, now: datetime) -> set[str]:
    """Ask for what is not under way already; the queues in which something waits now."""
    wanted = [KINDS[kind] for kind in CLEAN_UP if not tasks.is_unfinished(db, kind)]
    for kind in wanted:
        tasks.ask(db, kind=kind.name, queue=kind.queue, payload={}, trace_id=trace_id, now=now)
    return {kind.queue for kind in wanted}
