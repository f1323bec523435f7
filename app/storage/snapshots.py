"""All rows of a database as they were at one moment, while others go on writing; and putting them into an empty one.

SQLite has an online backup, which copies pages. The servers are read by ourselves, in one transaction that sees one moment: so
no tool of theirs need be installed, and what one kind of database holds can be put into another.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, select

from app.errors import CorruptData, LimitExceeded
from app.storage import row_text
from app.storage.bulk import Upsert, upsert_rows
from app.storage.database import reading
from app.storage.insert import pass_the_ids
from app.storage.tables import metadata

PAGE = 1_000
_PAGES_OF_SQLITE = 1_000  # 4 MB: so often it is told how far it is
Row = tuple[Any, ...]


def tables() -> list[Table]:
    """Every table, those first to which others refer."""
    return metadata.sorted_tables


def copy_sqlite(engine: Engine, path: Path, tell: Callable[[float], None]) -> None:
    """Copy a SQLite database into a file, as it is now. Writers do not wait, and do not make it begin anew.

    Raises LimitExceeded where the file finds no room, CorruptData where the database cannot be read.
    """
    with reading(engine) as db:
        db.exec_driver_sql("SELECT count(*) FROM sqlite_master").all()  # the moment: its reads see no later one
        source: Any = db.connection.driver_connection
        target = sqlite3.connect(path)
        try:
            source.backup(
                target, pages=_PAGES_OF_SQLITE, progress=lambda _, left, total: tell(1 - left / max(1, total))
            )
            target.execute("PRAGMA journal_mode = DELETE").close()  # one file, without companions
        except sqlite3.OperationalError as error:
            raise LimitExceeded(f"{path.parent} does not take the copy: {error}.", cure="Free space.") from error
        except sqlite3.DatabaseError as error:
            raise CorruptData(f"The database cannot be copied: {error}.", cure="See: flotilla doctor") from error
        finally:
            target.close()


def damage_of_sqlite(path: Path) -> list[str]:
    """What SQLite finds wrong with a file, looking at every page of it."""
    db = sqlite3.connect(path)
    try:
        return [line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok"]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        db.close()


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """Read, and see nothing that is written meanwhile."""
    with reading(engine) as db:
        if db.dialect.name != "sqlite":  # whose transactions are like that anyway
            db.execution_options(isolation_level="REPEATABLE READ")
        yield db


def pages(db: Connection, table: Table, columns: Sequence[str]) -> Iterator[list[Row]]:
    """All rows of a table, in the order of its key. Tables whose key is of two columns are small, and come whole."""
    query = select(*(table.c[name] for name in columns))
    key = list(table.primary_key)
    if len(key) != 1:
        if rows := [tuple(row) for row in db.execute(query.order_by(*key))]:
            yield rows
        return
    (along,) = key
    place = list(columns).index(along.name)
    query = query.order_by(along).limit(PAGE)
    rows = [tuple(row) for row in db.execute(query)]
    while rows:
        yield rows
        rows = [tuple(row) for row in db.execute(query.where(along > rows[-1][place]))]


def count(db: Connection, table: Table) -> int:
    """How many rows it has."""
    return db.execute(select(func.count()).select_from(table)).scalar_one()


def filled(db: Connection) -> list[str]:
    """The tables that have rows."""
    return [str(table.name) for table in tables() if db.execute(select(1).select_from(table).limit(1)).first()]


def empty(db: Connection, table: Table) -> None:
    """Delete all rows of a table."""
    db.execute(delete(table))


def put(db: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Put rows into a table that was empty, changed only where this kind of database could not keep them as they are."""
    if db.dialect.name == "postgresql":
        rows = [tuple(row_text.fitting(row, db.dialect.name)) for row in rows]
    key = tuple(str(column.name) for column in table.primary_key)
    upsert_rows(db, Upsert(table, tuple(columns), key, once=True), rows)


def finish(db: Connection) -> None:
    """Let every table count on behind the ids that it was given."""
    for table in tables():
        pass_the_ids(db, table)
