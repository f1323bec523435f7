"""Move the monitor's health samples into ``system_monitoring``, each exactly once whatever is killed in between."""

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from sqlalchemy import Engine

from app.host import samples
from app.host.samples import HealthSample
from app.storage import checkpoints, monitoring
from app.storage.database import reading, transaction

OWNER, NAME = "flush-samples", "segments"
NAMES_KEPT = 100  # more than the last: after a power cut a file that was removed may be there again
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush came to."""

    rows: int = 0
    damaged: int = 0


def flush_samples(engine: Engine, run_dir: Path, *, now: datetime) -> Flushed:
    """Store what the monitor has sampled so far. Raises Unavailable while the database is away; nothing is lost then."""
    rows = damaged = 0
    spool = samples.spool_in(run_dir)
    with spool.alone() as alone:
        if not alone:
            return Flushed()
        with reading(engine) as db:
            kept = checkpoints.load(db, OWNER, NAME)
        stored: list[str] = kept["stored"] if kept else []
        for segment in spool.segments():
            if segment.name not in stored:  # else: somebody was killed between storing it and removing it
                found, spoilt = samples.read(segment)
                stored = [*stored, segment.name][-NAMES_KEPT:]
                with transaction(engine) as db:  # the rows and the name they came under, or neither
                    monitoring.add_all(db, [_row(sample) for sample in found])
                    checkpoints.save(db, OWNER, NAME, {"stored": stored}, now)
                rows, damaged = rows + len(found), damaged + spoilt
            segment.unlink()
    if damaged:
        _log.warning("%d damaged lines of samples were left out", damaged)
    return Flushed(rows, damaged)


def _row(sample: HealthSample) -> monitoring.Sample:
    rate = None
    if sample.total_count:
        percent = Decimal(100) * sample.success_count / sample.total_count
        rate = percent.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    return monitoring.Sample(
        metric_type="SYSTEM_HEALTH",
        component=sample.component,
        success_count=sample.success_count,
        total_count=sample.total_count,
        success_rate=rate,
        avg_response_time=None,
        created_at=sample.at,
        error_message=sample.error_message,
    )
