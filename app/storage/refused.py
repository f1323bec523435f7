"""What was refused of the exchanges' messages, and why, kept for a while so that a person can look at it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, insert, select

from app.storage.tables import refused_messages as refused

MOST_AT_ONCE = 500
DETAIL_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """One row of ``refused_messages``. ``detail`` is the message itself, or what of it was wrong."""

    at: datetime
    exchange: str
    channel: str
    reason: str
    symbol: str | None = None
    detail: str | None = None


_COLUMNS = [refused.c[field.name] for field in fields(RefusedMessage)]


def store(db: Connection, rows: Sequence[RefusedMessage]) -> int:
    """Write a batch, at most ``MOST_AT_ONCE`` of it and cut to length: an exchange gone mad must not fill the disk.

    How many were written; the counters of the feed have them all.
    """
    kept = [asdict(row) | {"detail": row.detail and row.detail[:DETAIL_LENGTH]} for row in rows[:MOST_AT_ONCE]]
    if kept:  # an empty list would be taken for a row of defaults
        db.execute(insert(refused), kept)
    return len(kept)


def recent(db: Connection, limit: int, *, reason: str | None = None) -> list[RefusedMessage]:
    """The newest first."""
    query = select(*_COLUMNS).order_by(refused.c.id.desc()).limit(limit)
    if reason is not None:
        query = query.where(refused.c.reason == reason)
    return [RefusedMessage(*row) for row in db.execute(query)]
