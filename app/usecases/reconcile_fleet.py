"""Carrying out what was wished of the fleet, and writing down what it really does.

A wish is carried out once, when it is new: a person who stops a process with ``supervisorctl`` is not contradicted a second
later, and one who starts what was wished stopped has the last word. Only a new supervisord, which starts everything, is told
again what should be stopped.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.errors import Conflict, NotFound
from app.host.supervisor import ALIVE, ProcessInfo, Supervisor
from app.storage import checkpoints, processes
from app.storage.database import reading, transaction
from app.storage.processes import ProcessRow
from app.usecases.asking import Asking
from app.usecases.steer_fleet import STOPPED, steer_fleet

OWNER, FLEET = "main-app", "fleet"
REPORT_EVERY = timedelta(seconds=10)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one pass did."""

    applied: tuple[str, ...]
    reported: tuple[str, ...]


def reconcile(engine: Engine, supervisor: Supervisor, *, fleet: str, now: datetime) -> Reconciled:
    """Make one pass. ``fleet`` names the run of supervisord. Raises one of our errors when it or the database is away."""
    infos = {info.name: info for info in supervisor.processes()}
    rows = _rows(engine, infos, now)
    if _is_new(engine, fleet):
        for row in rows.values():
            if row.desired == "stopped" and row.applied_revision == row.revision and row.name in infos:
                _log.info("%s stays stopped, as it was wished before supervisord started anew", row.name)
                supervisor.stop(row.name)
        with transaction(engine) as db:
            checkpoints.save(db, OWNER, FLEET, {"fleet": fleet}, now)
    elif started := [name for name, row in rows.items() if name in infos and _was_started(row, infos[name])]:
        steer_fleet(engine, started, "start", Asking("supervisorctl", None, now))
        rows = _rows(engine, infos, now)
    notes = {
        row.name: _carry_out(engine, supervisor, row, infos[row.name], now)
        for row in rows.values()
        if row.revision > row.applied_revision and row.name in infos and _may_begin(row, infos[row.name])
    }
    if notes:
        infos = {info.name: info for info in supervisor.processes()}
    return Reconciled(tuple(notes), _report(engine, rows, infos, notes, now))


def _was_started(row: ProcessRow, info: ProcessInfo) -> bool:
    """Whether a person has started with ``supervisorctl`` what was wished stopped: that is the newer wish."""
    fulfilled = row.desired == "stopped" and row.applied_revision == row.revision and row.actual in STOPPED
    return fulfilled and info.state == "RUNNING"


def _may_begin(row: ProcessRow, info: ProcessInfo) -> bool:
    """What is still stopping cannot be started: supervisord says that it runs, and then it does not. The next pass does it."""
    return row.action == "stop" or info.state != "STOPPING"


def _rows(engine: Engine, infos: dict[str, ProcessInfo], now: datetime) -> dict[str, ProcessRow]:
    """The rows of all processes; one that is new in supervisord.conf gets its row here."""
    with reading(engine) as db:
        rows = {row.name: row for row in processes.rows(db)}
    if infos.keys() <= rows.keys():
        return rows
    with transaction(engine) as db:
        processes.ensure(db, infos.keys() - rows.keys(), now)
        return {row.name: row for row in processes.rows(db)}


def _is_new(engine: Engine, fleet: str) -> bool:
    with reading(engine) as db:
        last = checkpoints.load(db, OWNER, FLEET)
    return last is None or last.get("fleet") != fleet


def _carry_out(engine: Engine, supervisor: Supervisor, row: ProcessRow, info: ProcessInfo, now: datetime) -> str | None:
    """Do what was wished and confirm it; the sentence that says why it could not be done, if so.

    Starting and stopping twice is harmless, so they are confirmed when done. A restart is confirmed first: it may end
    this very process, which would find the wish again and restart forever.
    """
    _log.info("%s: %s, as %s wished", row.name, row.action, row.wanted_by)
    if row.action == "restart":
        _confirm(engine, row, now)
    note = None
    try:
        if row.action == "stop":
            supervisor.stop(row.name)
        elif row.action == "restart" and info.state in ALIVE:
            supervisor.signal(row.name, "TERM")  # it drains, and supervisord starts the next one
        else:
            supervisor.start(row.name)
    except (Conflict, NotFound) as error:
        note = str(error)
        _log.warning("%s: %s could not be done: %s", row.name, row.action, error)
    if row.action != "restart":
        _confirm(engine, row, now)
    return note


def _confirm(engine: Engine, row: ProcessRow, now: datetime) -> None:
    with transaction(engine) as db:
        processes.applied(db, row.name, row.revision, now)


def _report(
    engine: Engine,
    rows: dict[str, ProcessRow],
    infos: dict[str, ProcessInfo],
    notes: dict[str, str | None],
    now: datetime,
) -> tuple[str, ...]:
    """Write what changed at once, and everything now and then, so that a reader sees how old the news is."""
    changed = [
        (info, note)
        for info in infos.values()
        if _worth_telling(rows[info.name], info, note := notes.get(info.name, rows[info.name].note), now)
    ]
    if changed:
        with transaction(engine) as db:
            for info, note in changed:
                processes.report(db, info.name, actual=info.state, pid=info.pid, note=note, now=now)
    return tuple(info.name for info, _ in changed)


def _worth_telling(row: ProcessRow, info: ProcessInfo, note: str | None, now: datetime) -> bool:
    if (row.actual, row.pid, row.note) != (info.state, info.pid, note):
        return True
    return row.reported_at is None or now - row.reported_at >= REPORT_EVERY
