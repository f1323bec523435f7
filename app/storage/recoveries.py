"""What the fleet did by itself when something failed, and what became of it."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from app.domain.recovery import BY_FAULT, LONG_UNTOLD_AFTER, QUICK, UNTOLD_AFTER, Recovery
from app.storage.insert import insert_or_update
from app.storage.tables import recoveries

_COLUMNS = [recoveries.c[name] for name in ("key", "at", "fault", "subject", "reason", "outcome", "note", "ended_at")]


def keep(db: Connection, told: Iterable[Recovery]) -> None:
    """Write them as they were told. A beginning that comes after its end, as it may when told twice, changes nothing."""
    for one in told:
        remedy = BY_FAULT[one.fault]
        row = {column.name: getattr(one, column.name) for column in _COLUMNS}
        row |= {"action": remedy.action, "done_by": remedy.by}
        change = [] if one.outcome == "pending" else ["outcome", "note", "ended_at"]
        insert_or_update(db, recoveries, row, key=["key"], change=change)


def any_untold(db: Connection, now: datetime) -> bool:
    """Whether something is pending for so long that nobody will tell how it ended."""
    return db.execute(select(recoveries.c.id).where(_untold(now)).limit(1)).first() is not None


def end_untold(db: Connection, now: datetime) -> None:
    """Say of those that it is not known."""
    ended = {"outcome": "unknown", "note": "nobody has told how it ended", "ended_at": now}
    db.execute(update(recoveries).where(_untold(now)).values(**ended))


def _untold(now: datetime) -> ColumnElement[bool]:
    quick = recoveries.c.action.in_(sorted(QUICK))
    old = or_(recoveries.c.at < now - LONG_UNTOLD_AFTER, and_(quick, recoveries.c.at < now - UNTOLD_AFTER))
    return and_(recoveries.c.outcome == "pending", old)


def recent(db: Connection, *, limit: int, fault: str | None = None, outcome: str | None = None) -> list[Recovery]:
    """The newest first."""
    query = select(*_COLUMNS).order_by(recoveries.c.id.desc()).limit(limit)
    if fault is not None:
        query = query.where(recoveries.c.fault == fault)
    if outcome is not None:
        query = query.where(recoveries.c.outcome == outcome)
    return [Recovery(*row) for row in db.execute(query)]
