"""Wishing that collectors start or stop. The wish and its trace are rows; market-feed carries it out and reports."""

from datetime import datetime

from sqlalchemy import Engine

from app.errors import NotFound
from app.storage import collectors
from app.storage.collectors import Collector, Desired
from app.storage.database import transaction


def steer_collector(
    engine: Engine, name: str, desired: Desired, *, actor: str, trace_id: str | None, now: datetime
) -> tuple[Collector, bool]:
    """Write the wish, unless it stands there already; the row, and whether it was changed. Raises NotFound."""
    with transaction(engine) as db:
        row = collectors.get(db, name)
        if row is None:
            known = ", ".join(one.name for one in collectors.listed(db)) or "none yet"
            raise NotFound(f"There is no collector {name[:60]!r}.", cure=f"Known: {known}.")
        if row.desired == desired:
            return row, False
        return collectors.wish(db, name, desired, actor=actor, now=now, trace_id=trace_id), True
