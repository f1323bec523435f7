"""Looking for damage, as thoroughly as the database's ordinary user may.

SQLite looks at each page, row and foreign key of a table; MySQL and MariaDB have CHECK TABLE; PostgreSQL keeps its own tool for
superusers, so every row is read there once from the table and once along each index, which is where damage shows itself.
"""

import time
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    Text,
    cast,
    column,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.exc import DatabaseError, DBAPIError

LIMIT_S = 2.0  # for one table: shorter than database.ANSWER_S, after which a server counts as gone
_OTHER_WAYS = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit")  # than along an index; jit only costs time
_DAMAGE = ("XX", "22021")  # PostgreSQL: anything internal, such as XX001; text that is not text


def table_names(db: Connection) -> list[str]:
    """Every table that there is, also those that we do not know."""
    return sorted(inspect(db).get_table_names())


def check_table(db: Connection, name: str) -> list[str] | None:
    """What is wrong with this table; nothing when it is sound. None: it is too big to be looked at in one go."""
    if db.dialect.name == "sqlite":
        return _check_on_sqlite(db, name)
    if db.dialect.name == "postgresql":
        return _check_on_postgresql(db, name)
    return _check_on_mysql(db, name)


def _check_on_sqlite(db: Connection, name: str) -> list[str] | None:
    driver: Any = db.connection.dbapi_connection
    until = time.monotonic() + LIMIT_S
    driver.set_progress_handler(lambda: int(time.monotonic() > until), 10_000)
    quoted = _quoted(db, name)
    try:
        problems = [line for (line,) in db.exec_driver_sql(f"PRAGMA quick_check({quoted})") if line != "ok"]
        orphans = db.exec_driver_sql(f"PRAGMA foreign_key_check({quoted})").all()
    except DatabaseError as error:
        return None if str(error.orig) == "interrupted" else [str(error.orig)]
    finally:
        driver.set_progress_handler(None, 0)
    return problems + [f"row {row[1]} refers to a row of {row[2]} that is not there" for row in orphans]


def _check_on_mysql(db: Connection, name: str) -> list[str] | None:
    can_stop = getattr(db.dialect, "is_mariadb", False)
    limit = f"SET STATEMENT max_statement_time={LIMIT_S} FOR " if can_stop else ""
    started_s = time.monotonic()
    try:
        said = db.exec_driver_sql(f"{limit}CHECK TABLE {_quoted(db, name)}").all()
    except DBAPIError as error:
        if can_stop or not error.connection_invalidated:
            raise
        return None  # MySQL cannot be told to stop, so our patience ended and with it the connection
    if can_stop and time.monotonic() - started_s >= LIMIT_S:
        return None  # MariaDB 10.11 says OK when it was stopped on the way, so only the time can tell
    return [f"{kind}: {line}" for _, _, kind, line in said if kind.lower() in ("error", "warning")]


def _check_on_postgresql(db: Connection, name: str) -> list[str] | None:
    rows = table(name).alias("t")
    looks = {"the table": select(func.sum(func.length(cast(literal_column("t"), Text)))).select_from(rows)}
    for index, columns in _indexes(db, name).items():
        along: Select[int] = (
            select(literal_column("1", Integer)).select_from(rows).order_by(*map(column, columns)).offset(0)
        )
        looks[f"index {index}"] = select(func.count()).select_from(along.subquery())
    until = time.monotonic() + LIMIT_S
    problems = []
    for what, look in looks.items():
        left_ms = max(1, int((until - time.monotonic()) * 1000))
        db.execute(text(f"SET LOCAL statement_timeout = {left_ms}"))
        if what != "the table":
            for way in _OTHER_WAYS:
                db.execute(text(f"SET LOCAL {way} = off"))
        try:
            with db.begin_nested():
                db.execute(look)
        except DBAPIError as error:
            state = str(getattr(error.orig, "sqlstate", ""))
            if state == "57014":  # the statement took longer than it may
                return None
            if not state.startswith(_DAMAGE):
                raise
            problems.append(f"{what}: {str(error.orig).splitlines()[0]}")
    return problems


def _indexes(db: Connection, name: str) -> dict[str, list[str]]:
    """The columns of each index; those of an expression are left out."""
    inspector = inspect(db)
    found = {
        str(index["name"]): [part for part in index["column_names"] if part] for index in inspector.get_indexes(name)
    }
    key = inspector.get_pk_constraint(name)
    found[str(key["name"])] = list(key["constrained_columns"])
    return {index: columns for index, columns in found.items() if columns}


def _quoted(db: Connection, name: str) -> str:
    return db.dialect.identifier_preparer.quote_identifier(name)
