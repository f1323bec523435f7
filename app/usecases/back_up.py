"""Making a backup of the whole database, while the fleet runs, and letting old ones go.

The work is one long read of one moment, which cannot be cut into slices. So a thread does it, with a connection of its own, and
the task's slices only look how far it is. A worker that dies takes it along, and the next one begins anew.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine

from app.cache import durable
from app.domain.disk_ceiling import CLEAN_AT_PERCENT, going_for_room
from app.domain.retention import backups_kept
from app.domain.tasks import Slice, Task
from app.errors import Conflict, CorruptData, InvalidInput, Misconfigured
from app.host import backups, packed
from app.host.backups import File, Manifest, RedisNote, TableNote
from app.host.vault import Vault
from app.storage import row_text, snapshots
from app.storage.database import open_engine, reading, schema_version
from app.storage.server import server_figures
from app.storage.tables import SCHEMA_VERSION

KIND = "backup"
SUMMARY = "Copy the whole database into the state folder, and let old copies go."
NIGHTLY = {"nightly": True}
"""The payload of the night's: old ones of those go by themselves, while what a person asked for stays."""
LOOK_S = 1.0
FEWEST = 2
"""So many of the nights' copies stay, however short the disk is."""
_COPY = "copy.db"
_IN_REDIS = (
    "Nothing durable lives in Redis: cache entries have lifetimes and are filled again from the exchanges and from rows, and "
    "queues only carry bells for rows of tasks. Keys without a lifetime that are neither are in redis.jsonl.gz."
)
_log = logging.getLogger(__name__)
Tell = Callable[[float], None]


def create(
    engine: Engine, folder: Path, *, redis_url: str, asked_by: Literal["clock", "person"], now: datetime, tell: Tell
) -> Manifest:
    """Make a backup of this moment. Raises Conflict while another is being made, LimitExceeded when it would fill the disk, and
    CorruptData where there is damage: a copy of that would only push out the whole ones.
    """
    with reading(engine) as db:
        schema = schema_version(db)
    if schema != SCHEMA_VERSION:
        raise Misconfigured(
            f"The database is at schema {schema or 'none'}, and this Flotilla is at {SCHEMA_VERSION}.",
            cure="Back it up with the version that it belongs to, or run: flotilla migrate",
        )
    with backups.room(folder) as new:
        _find_room(engine, folder)
        copy = _copy_sqlite if engine.dialect.name == "sqlite" else _copy_server
        tables, files = copy(engine, new, tell)
        seen = durable.without_lifetime(redis_url) if redis_url else None
        if seen:
            lines = (row_text.to_line(list(pair)) + b"\n" for pair in sorted(seen.items()))
            files[backups.REDIS] = backups.note(packed.pack(new / backups.REDIS, lines))
        manifest = Manifest(
            name=now.strftime(backups.NAME),
            made_at=now,
            asked_by=asked_by,
            kind=engine.dialect.name,
            schema=schema,
            tables=tables,
            redis=RedisNote(_IN_REDIS, seen is not None, len(seen or {})),
            files=files,
        )
        backups.finish(folder, new, manifest)
    return manifest


def let_old_ones_go(folder: Path, *, keep_daily: int, keep_weekly: int) -> list[str]:
    """Remove what the nights have made and what need not be kept; their names. What a person asked for stays."""
    nightly = _nightly(folder)
    kept = backups_kept((one.made_at for one in nightly), daily=keep_daily, weekly=keep_weekly)
    gone = [one for one in nightly if one.made_at not in kept]
    return _remove(folder, gone)


def thin(folder: Path) -> list[str]:
    """Where the disk calls for the early clean-up, let as many of the nights' copies go as that needs, the oldest first, and the
    newest few never; their names.
    """
    if not folder.exists():
        return []
    try:
        with backups.alone(folder):
            missing = backups.missing(folder, 0, at_most_percent=CLEAN_AT_PERCENT)
            older = _nightly(folder)[:-FEWEST]
            return _remove(folder, older[: going_for_room([one.compressed_bytes for one in older], missing)])
    except Conflict:  # whoever makes or reads one now looks for room as well
        return []


def _nightly(folder: Path) -> list[Manifest]:
    return [one for one in backups.listed(folder) if one.asked_by == "clock"]


def _remove(folder: Path, gone: list[Manifest]) -> list[str]:
    for one in gone:
        backups.remove(folder, one)
    return [one.name for one in gone]


def _find_room(engine: Engine, folder: Path) -> None:
    """See that the copy will fit. Where it does once older ones of the nights are gone, these go first; else none does, and it
    raises LimitExceeded. The last one that can be read through stays, and so does what a person asked for.
    """
    wanted = _to_be_written(engine, folder)
    if missing := backups.missing(folder, wanted):
        older = _but_the_last_good(folder, _nightly(folder))
        sizes = [one.compressed_bytes for one in older]
        if sum(sizes) >= missing:
            gone = _remove(folder, older[: going_for_room(sizes, missing)])
            _log.warning("the backups %s went to make room for the next", ", ".join(gone))
    backups.require_room(folder, wanted, "A backup")


def _to_be_written(engine: Engine, folder: Path) -> int:
    """About as much as the last one took, the first as much as it copies; and on SQLite, what it is packed from."""
    with reading(engine) as db:
        size = server_figures(db).bytes
    alike = [one.compressed_bytes for one in backups.listed(folder) if one.kind == engine.dialect.name]
    packed_size = alike[-1] if alike else size
    return packed_size + (size if engine.dialect.name == "sqlite" else 0)


def _but_the_last_good(folder: Path, nightly: list[Manifest]) -> list[Manifest]:
    """Those that may go: none where none can be read through."""
    for newest in reversed(nightly):
        with suppress(CorruptData):
            backups.verify(folder, newest)
            return [one for one in nightly if one is not newest]
    return []


def _copy_sqlite(engine: Engine, new: Path, tell: Tell) -> tuple[dict[str, TableNote], dict[str, File]]:
    copy = new / _COPY
    snapshots.copy_sqlite(engine, copy, lambda share: tell(share / 2))
    if damage := snapshots.damage_of_sqlite(copy):
        raise CorruptData(
            f"The database is damaged, and no copy of it was made: {damage[0]}.",
            cure="Go back to an older one: flotilla stop, then flotilla backup restore NAME --force",
        )
    copied = open_engine(f"sqlite:///{copy}", pool_size=1)
    try:
        with reading(copied) as db:
            tables = {
                str(table.name): TableNote(row_text.names(table), snapshots.count(db, table))
                for table in snapshots.tables()
            }
    finally:
        copied.dispose()
    written = packed.pack(new / backups.SQLITE, _pieces(copy, tell), level=backups.LEVEL)
    for path in new.glob(f"{_COPY}*"):
        path.unlink()
    return tables, {backups.SQLITE: backups.note(written)}


def _pieces(path: Path, tell: Tell) -> Iterator[bytes]:
    size, read = path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece
            read += len(piece)
            tell(0.5 + read / size / 2)


def _copy_server(engine: Engine, new: Path, tell: Tell) -> tuple[dict[str, TableNote], dict[str, File]]:
    tables: dict[str, TableNote] = {}
    files: dict[str, File] = {}
    every = snapshots.tables()
    with snapshots.one_moment(engine) as db:
        for place, table in enumerate(every):
            columns, name = row_text.names(table), f"{table.name}.jsonl.gz"
            lines = (
                b"".join(row_text.to_line(row) + b"\n" for row in page) for page in snapshots.pages(db, table, columns)
            )
            written = packed.pack(new / name, lines, level=backups.LEVEL)
            tables[str(table.name)] = TableNote(columns, written.lines)
            files[name] = backups.note(written)
            tell((place + 1) / len(every))
    return tables, files


class _Copying(threading.Thread):
    """A backup that is being made for a task."""

    def __init__(self, engine: Engine, vault: Vault, task: Task, now: datetime) -> None:
        super().__init__(name="backup", daemon=True)
        self.task_id, self.share = task.id, 0.0
        self._asked_by: Literal["clock", "person"] = "clock" if task.payload == NIGHTLY else "person"
        self.made: Manifest | None = None
        self.failure: Exception | None = None
        self._url = engine.url.render_as_string(hide_password=False)
        self._vault, self._now = vault, now

    def run(self) -> None:
        """Make it, and remember what came of it."""
        engine = open_engine(self._url, pool_size=1)
        try:
            self.made = create(
                engine,
                self._vault.backups,
                redis_url=self._vault.redis_url,
                asked_by=self._asked_by,
                now=self._now,
                tell=self._tell,
            )
        except Exception as error:  # noqa: BLE001 - it is raised in the task's slice
            self.failure = error
        finally:
            engine.dispose()

    def _tell(self, share: float) -> None:
        self.share = share


_COPYING: dict[Path, _Copying] = {}
"""The one that this process makes, by its folder: a thread outlives the slice that began it."""


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: it is always everything."""
    if payload not in ({}, NIGHTLY):
        raise InvalidInput("A backup takes no payload: it is always of everything.")
    return {"share": 0.0, "made": None}


def work(engine: Engine, vault: Vault, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Begin, or look how far it is; at the end, let old ones go."""
    copying = _COPYING.get(vault.backups)
    if copying is None:
        copying = _COPYING[vault.backups] = _Copying(engine, vault, task, now)
        copying.start()
    copying.join(timeout=LOOK_S)
    if copying.is_alive():
        return {**state, "share": copying.share if copying.task_id == task.id else 0.0}
    del _COPYING[vault.backups]
    if copying.task_id != task.id:  # a cancelled one has come to its end: ours begins with the next slice
        return state
    if copying.failure is not None:
        raise copying.failure
    gone = let_old_ones_go(vault.backups, keep_daily=vault.keep_daily, keep_weekly=vault.keep_weekly)
    made = copying.made
    if made is None:
        raise AssertionError("a backup ended without a word")
    _log.info("made the backup %s", made.name)
    rows = sum(table.rows for table in made.tables.values())
    return {"share": 1.0, "made": {"name": made.name, "rows": rows, "bytes": made.compressed_bytes, "removed": gone}}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Keep how far it is."""
    return Slice(state, state["share"], state["made"])
