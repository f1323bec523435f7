"""Samples of how well the fleet serves: success rates, response times, health."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, insert, select

from app.storage.tables import system_monitoring


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of ``system_monitoring``. A rate or time of no calls is None."""

    metric_type: str
    component: str
    success_count: int
    total_count: int
    success_rate: Decimal | None
    avg_response_time: Decimal | None
    created_at: datetime
    error_message: str | None = None
    strategy_type: str = "ALL"
    timeframe: str = "ALL"


_COLUMNS = [system_monitoring.c[field.name] for field in fields(Sample)]


def add_all(db: Connection, samples: Sequence[Sample]) -> None:
    """Write many samples at once, as the flush of the monitor's files does."""
    if samples:  # an empty list would be taken for a row of defaults
        db.execute(insert(system_monitoring), [asdict(sample) for sample in samples])


def recent(
    db: Connection,
    *,
    limit: int,
    metric_type: str | None = None,
    component: str | None = None,
    since: datetime | None = None,
) -> list[Sample]:
    """The newest first."""
    table = system_monitoring
    query = select(*_COLUMNS).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit)
    if metric_type is not None:
        query = query.where(table.c.metric_type == metric_type)
    if component is not None:
        query = query.where(table.c.component == component)
    if since is not None:
        query = query.where(table.c.created_at >= since)
    return [Sample(*row) for row in db.execute(query)]
