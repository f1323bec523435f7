"""Move what the fleet did by itself into ``recoveries``. A line that is stored twice changes nothing."""

import logging
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from app.host.recoveries import read, spool_in
from app.storage import recoveries
from app.storage.database import reading, transaction

_log = logging.getLogger(__name__)


def flush_recoveries(engine: Engine, run_dir: Path, *, now: datetime) -> int:
    """Store what was told so far; how many lines. Raises Unavailable while the database is away; nothing is lost then."""
    stored = damaged = 0
    spool = spool_in(run_dir)
    with spool.alone() as alone:
        if not alone:
            return 0
        for segment in spool.segments():
            told, spoilt = read(segment)
            with transaction(engine) as db:
                recoveries.keep(db, told)
            segment.unlink()
            stored, damaged = stored + len(told), damaged + spoilt
    if damaged:
        _log.warning("%d damaged lines of recoveries were left out", damaged)
    with reading(engine) as db:
        untold = recoveries.any_untold(db, now)
    if untold:
        with transaction(engine) as db:
            recoveries.end_untold(db, now)
    return stored
