"""Deleting what is past its time."""

from datetime import datetime

from sqlalchemy import Connection, delete, select

from app.storage.tables import metadata


def delete_batch(db: Connection, table: str, *, since: str, before: datetime, limit: int) -> int:
    """Delete the oldest rows, at most ``limit``, whose moment ``since`` lies before; how many there were."""
    rows = metadata.tables[table]
    oldest = select(rows.c.id).where(rows.c[since] < before).order_by(rows.c[since]).limit(limit)
    ids = list(db.execute(oldest).scalars())  # in two statements: MySQL knows no LIMIT in a subquery
    return db.execute(delete(rows).where(rows.c.id.in_(ids))).rowcount if ids else 0
