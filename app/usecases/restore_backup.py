"""Putting a backup into an empty database, of its own kind or another. Rows come back as they were, with their ids.

It is read through before anything is written, and counted afterwards. One that was cut off leaves a place that is not empty.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import redis
from sqlalchemy import Engine, Table

from app.cache import durable
from app.errors import Conflict, CorruptData, FlotillaError, LimitExceeded, Misconfigured
from app.host import backups, packed
from app.host.backups import Manifest
from app.storage import row_text, snapshots
from app.storage.database import open_engine, reading, transaction
from app.storage.server import server_figures
from app.storage.snapshots import Row
from app.storage.tables import SCHEMA_VERSION, metadata

ANSWER_S = 600
"""How long a statement of a restore may take: nobody else waits for this database meanwhile."""
Tell = Callable[[str, int], None]


def verify(folder: Path, name: str) -> Manifest:
    """Read a backup through; of SQLite, let SQLite itself look at every page. Raises NotFound or CorruptData."""
    manifest = backups.get(folder, name)
    backups.verify(folder, manifest)
    if manifest.kind == "sqlite":
        with _unpacked(folder, manifest) as path:
            if damage := snapshots.damage_of_sqlite(path):
                raise CorruptData(f"{manifest.name} is damaged: {damage[0]}.", cure="Take another backup.")
    return manifest


def restore(engine: Engine, folder: Path, name: str, *, force: bool, tell: Tell) -> Manifest:
    """Put it into this database, which has its tables. Raises Conflict where there are rows, unless ``force``: then they go."""
    manifest = verify(folder, name)
    if manifest.schema > SCHEMA_VERSION:
        raise Misconfigured(
            f"{name} is of schema {manifest.schema}, which this Flotilla ({SCHEMA_VERSION}) does not know.",
            cure="Update Flotilla.",
        )
    tables = [table for table in snapshots.tables() if table.name in manifest.tables]
    if unknown := sorted(set(manifest.tables) - set(metadata.tables)):
        raise CorruptData(f"There is no table {', '.join(unknown)} here.", cure="Use the version that made the backup.")
    for table in tables:
        row_text.Reader(table, manifest.tables[table.name].columns)  # refuses columns that are not there
    with reading(engine) as db:
        there = snapshots.filled(db)
    if there and not force:
        raise Conflict(
            f"This database is not empty: there are rows in {', '.join(there[:5])}.",
            cure="Name an empty one in database.url, or say --force: what is there is then deleted first.",
        )
    with _source(folder, manifest) as read:  # unpacked before anything is deleted
        _require_room_for_the_rows(engine, manifest)
        with _telling_what_is_there(engine, manifest):
            _empty(engine, there)
            for table in tables:
                columns = manifest.tables[table.name].columns
                for rows in read(table, columns):
                    with transaction(engine) as db:
                        snapshots.put(db, table, columns, rows)
                    tell(str(table.name), len(rows))
    with transaction(engine) as db:
        snapshots.finish(db)
    with reading(engine) as db:
        wrong = [str(table.name) for table in tables if snapshots.count(db, table) != manifest.tables[table.name].rows]
    if wrong:
        raise CorruptData(f"Not all rows came back: {', '.join(wrong)}.", cure="Restore into another empty database.")
    return manifest


def restore_redis(folder: Path, manifest: Manifest, url: str) -> int:
    """Put the keys of Redis back that were copied; how many came. A Redis that is away gets none."""
    if backups.REDIS not in manifest.files:
        return 0
    keys = dict(row_text.from_line(line) for line in packed.lines(folder / manifest.name / backups.REDIS))
    try:
        return durable.put_back(url, keys)
    except (redis.RedisError, OSError):
        return 0


def _require_room_for_the_rows(engine: Engine, manifest: Manifest) -> None:
    """On SQLite they come into a file of ours, and what is in it already makes room for as much."""
    if engine.dialect.name == "sqlite":
        with reading(engine) as db:
            there = server_figures(db).bytes
        wanted = max(0, sum(file.bytes for file in manifest.files.values()) - there)
        backups.require_room(Path(str(engine.url.database)).parent, wanted, "The restored database")


def _empty(engine: Engine, filled: Sequence[str]) -> None:
    for table in reversed(snapshots.tables()):
        if table.name in filled:
            with transaction(engine) as db:
                snapshots.empty(db, table)


@contextmanager
def _telling_what_is_there(engine: Engine, manifest: Manifest) -> Iterator[None]:
    """Where it fails half-way, say how far it came: half of a database looks much like a whole one."""
    try:
        yield
    except FlotillaError as error:
        raise type(error)(
            f"{error} The restore was cut off: {_what_is_there(engine, manifest)}",
            cure=f"{error.cure} Do not use this database: mend the cause, then restore with --force, which empties it first.",
        ) from error


def _what_is_there(engine: Engine, manifest: Manifest) -> str:
    try:
        with reading(engine) as db:
            found = {table: snapshots.count(db, metadata.tables[table]) for table in snapshots.filled(db)}
    except FlotillaError:
        return "what is in the database now is not known, for it does not answer."
    wanted = sum(note.rows for note in manifest.tables.values())
    whole = [table for table, note in manifest.tables.items() if note.rows == found.get(table, 0)]
    return f"the database holds {sum(found.values())} of {wanted} rows, {len(whole)} of {len(manifest.tables)} tables are whole."


Read = Callable[[Table, list[str]], Iterator[list[Row]]]


@contextmanager
def _source(folder: Path, manifest: Manifest) -> Iterator[Read]:
    """What reads the rows of a table, page by page."""
    if manifest.kind != "sqlite":
        yield lambda table, columns: _from_lines(folder / manifest.name / f"{table.name}.jsonl.gz", table, columns)
        return
    with _unpacked(folder, manifest) as path:
        copied = open_engine(f"sqlite:///{path}", pool_size=1)
        try:
            with reading(copied) as db:
                yield lambda table, columns: snapshots.pages(db, table, columns)
        finally:
            copied.dispose()


def _from_lines(path: Path, table: Table, columns: list[str]) -> Iterator[list[Row]]:
    reader = row_text.Reader(table, columns)
    left = packed.lines(path)
    while page := [tuple(reader.values(row_text.from_line(line))) for line in islice(left, snapshots.PAGE)]:
        yield page


@contextmanager
def _unpacked(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """The copy of SQLite as a file again, beside the backup: the system's folder for such things may be in memory."""
    with backups.room(folder) as place:
        backups.require_room(folder, manifest.files[backups.SQLITE].bytes, f"Unpacking {manifest.name}")
        path = place / "copy.db"
        try:
            with path.open("wb") as file:
                for piece in packed.unpack(folder / manifest.name / backups.SQLITE):
                    file.write(piece)
        except OSError as error:
            raise LimitExceeded(f"{place} does not take the copy: {error.strerror}.", cure="Free space.") from error
        yield path
