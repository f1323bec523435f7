"""Collectors: what is gathered from which exchange, whether a person wants it gathered, and what the feed says of it.

A wish has a revision, and leaves its trace in the same transaction; market-feed acts when the revision changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select, update

from app.errors import NotFound
from app.storage import audit
from app.storage.insert import insert_or_update
from app.storage.tables import collectors

Desired = Literal["running", "stopped"]


@dataclass(frozen=True, slots=True)
class NewCollector:
    """A collector as it begins. ``symbols`` None stands for every active one."""

    name: str
    exchange: str
    title: str
    channels: tuple[str, ...]
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Collector:
    """One row of ``collectors``."""

    name: str
    exchange: str
    title: str
    channels: list[str]
    symbols: list[str] | None
    desired: Desired
    revision: int
    wanted_by: str | None
    wanted_at: datetime | None
    actual: str | None
    note: str | None
    reported_at: datetime | None


_COLUMNS = [collectors.c[field.name] for field in fields(Collector)]


def ensure(db: Connection, wanted: Iterable[NewCollector], now: datetime) -> None:
    """Make a row for each that has none: wanted running. One that is there keeps its wish; what it collects follows."""
    for one in wanted:
        row = {
            "name": one.name,
            "exchange": one.exchange,
            "title": one.title,
            "channels": list(one.channels),
            "symbols": None if one.symbols is None else list(one.symbols),
            "desired": "running",
            "wanted_by": "fleet",
            "wanted_at": now,
        }
        insert_or_update(db, collectors, row, key=["name"], change=["exchange", "title", "channels", "symbols"])


def get(db: Connection, name: str) -> Collector | None:
    """Read one."""
    row = db.execute(select(*_COLUMNS).where(collectors.c.name == name)).one_or_none()
    return None if row is None else Collector(*row)


def listed(db: Connection) -> list[Collector]:
    """All of them, by name."""
    return [Collector(*row) for row in db.execute(select(*_COLUMNS).order_by(collectors.c.name))]


def wish(
    db: Connection, name: str, desired: Desired, *, actor: str, now: datetime, trace_id: str | None = None
) -> Collector:
    """Write down a wish, with its trace; the row as it then is. Raises NotFound for a collector that is not there."""
    before = get(db, name)
    if before is None:
        known = ", ".join(row.name for row in listed(db)) or "none yet"
        raise NotFound(f"There is no collector {name!r}.", cure=f"Known: {known}.")
    db.execute(
        update(collectors)
        .where(collectors.c.name == name)
        .values(desired=desired, revision=collectors.c.revision + 1, wanted_by=actor, wanted_at=now)
    )
    audit.record(
        db,
        now=now,
        actor=actor,
        action="start_collector" if desired == "running" else "stop_collector",
        subject=f"collector {name}",
        before={"desired": before.desired},
        after={"desired": desired},
        trace_id=trace_id,
    )
    after = get(db, name)
    if after is None:
        raise AssertionError(f"the collector {name} is gone within its own transaction")
    return after


def report(db: Connection, name: str, *, actual: str, note: str | None, now: datetime) -> None:
    """Say what a collector really does."""
    change = update(collectors).where(collectors.c.name == name).values(actual=actual, note=note, reported_at=now)
    if db.execute(change).rowcount == 0:
        raise NotFound(f"There is no collector {name!r}.")
