"""What each process should be doing, and what it says that it does. Handlers write wishes; the owner carries them out.

A wish has a revision. Whoever carries it out confirms that very revision, so that a newer wish is never taken for done.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select, update

from app.errors import NotFound
from app.storage.insert import insert_or_update
from app.storage.tables import process_states as states

Action = Literal["start", "stop", "restart"]


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of ``process_states``."""

    name: str
    desired: Literal["running", "stopped"]
    action: Action
    revision: int
    applied_revision: int
    wanted_by: str | None
    wanted_at: datetime | None
    actual: str | None
    pid: int | None
    note: str | None
    reported_at: datetime | None
    applied_at: datetime | None


_COLUMNS = [states.c[field.name] for field in fields(ProcessRow)]


def ensure(db: Connection, names: Iterable[str], now: datetime) -> None:
    """Make a row for each process that has none: wanted running, with nothing to apply."""
    for name in names:
        row = {"name": name, "desired": "running", "action": "start", "wanted_by": "fleet", "wanted_at": now}
        insert_or_update(db, states, row, key=["name"], change=[])


def want(db: Connection, name: str, action: Action, *, actor: str, now: datetime) -> int:
    """Write down a wish; its revision. Raises NotFound for a process that is not in the fleet."""
    wished = db.execute(
        update(states)
        .where(states.c.name == name)
        .values(
            desired="stopped" if action == "stop" else "running",
            action=action,
            revision=states.c.revision + 1,
            wanted_by=actor,
            wanted_at=now,
        )
    )
    if wished.rowcount == 0:
        known = ", ".join(row.name for row in rows(db)) or "none yet"
        raise NotFound(f"There is no process {name!r}.", cure=f"Known: {known}.")
    return int(db.execute(select(states.c.revision).where(states.c.name == name)).scalar_one())


def applied(db: Connection, name: str, revision: int, now: datetime) -> bool:
    """Confirm that this wish was carried out. False: there is a newer one by now."""
    change = update(states).where(states.c.name == name, states.c.revision == revision)
    return db.execute(change.values(applied_revision=revision, applied_at=now)).rowcount == 1


def report(db: Connection, name: str, *, actual: str, pid: int | None, note: str | None, now: datetime) -> None:
    """Say what a process really does."""
    change = update(states).where(states.c.name == name).values(actual=actual, pid=pid, note=note, reported_at=now)
    if db.execute(change).rowcount == 0:
        raise NotFound(f"There is no process {name!r}.")


def stopped_on_purpose(db: Connection) -> set[str]:
    """Processes that somebody wished stopped, so that nobody need miss them."""
    return {row.name for row in rows(db) if row.desired == "stopped"}


def rows(db: Connection) -> list[ProcessRow]:
    """All of them, by name."""
    return [ProcessRow(*row) for row in db.execute(select(*_COLUMNS).order_by(states.c.name))]
