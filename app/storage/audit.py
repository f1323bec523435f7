"""Who changed what, when, from what to what. Written in the transaction of the change itself."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from app.storage.tables import audit_log


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of ``audit_log``."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    trace_id: str | None


_COLUMNS = [audit_log.c[field.name] for field in fields(AuditRow)]


def record(
    db: Connection,
    *,
    now: datetime,
    actor: str,
    action: str,
    subject: str,
    before: Any = None,
    after: Any = None,
    trace_id: str | None = None,
) -> None:
    """Leave a trace of a change. ``before`` and ``after`` are anything that JSON can say."""
    row = {"actor": actor, "action": action, "subject": subject, "before": before, "after": after, "trace_id": trace_id}
    db.execute(insert(audit_log).values(at=now, **row))


def recent(db: Connection, limit: int) -> list[AuditRow]:
    """The newest first."""
    query = select(*_COLUMNS).order_by(audit_log.c.id.desc()).limit(limit)
    return [AuditRow(*row) for row in db.execute(query)]
