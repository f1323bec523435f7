"""Opening a database and its transactions. What goes wrong on the way comes out as one of our own errors.

Every process keeps few connections: the server is small. SQLite runs in WAL mode, where readers never wait for the writer. A
write begins with BEGIN IMMEDIATE, because a transaction that reads first and wants to write later is refused at once when
another one wrote in between, while one that says so at the start waits its turn.
"""

import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import FlotillaError, InvalidInput, Misconfigured, Unavailable
from app.storage.types import SUM_ON_SQLITE, ExactSum, UtcDateTime, to_json

# A process that is silent for 10 s is taken for stuck. So that a database that hangs is not blamed on those who use it, the
# longest turn stays below that: a statement that finds out whether a kept connection still lives, and connecting anew.
BUSY_S = 3  # how long a write waits for another one, or for a connection, before it says that the database is busy
LOCK_S = 2  # the same on a server: shorter than ANSWER_S, so that it is the server that says what was waited for
CONNECT_S = 2
ANSWER_S = 3  # for one statement
_LOOK_AGAIN_S = 0.01
_WRITES = "flotilla_writes"
_SQLITE = {
    "journal_mode": "WAL",
    "synchronous": "NORMAL",  # in WAL mode: a killed process loses nothing; a power cut at most the last moments
    "foreign_keys": "ON",
    "busy_timeout": BUSY_S * 1000,
    "cache_size": -2000,  # kB for each connection: the system's page cache does the rest, on a server with 1 GB
    "journal_size_limit": 16 * 1024 * 1024,
}
_MYSQL = (
    f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_S}, "
    "sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
)
_POSTGRESQL = f"-c timezone=UTC -c client_encoding=UTF8 -c lock_timeout={LOCK_S}s"


def open_engine(url: str, *, pool_size: int = 3, answer_s: int = ANSWER_S, create: bool = False) -> Engine:
    """Prepare a database for use. It connects at the first transaction, so this works while a server is still away.

    A server that takes more than ``answer_s`` for one statement counts as unavailable. Only with ``create`` a file of SQLite that
    is not there is made: in the place of one that was moved away, an empty one would look as if all were well.
    """
    try:
        address = make_url(url)
        options = _options(address, answer_s)
        engine = create_engine(
            address, pool_size=pool_size, max_overflow=0, pool_timeout=BUSY_S, json_serializer=to_json, **options
        )
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is not a number
        raise Misconfigured("database.url is not the address of a database.") from error
    if engine.dialect.name == "sqlite":
        if not create:
            event.listen(engine, "do_connect", _connect_to_what_is_there)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "connect", partial(_note_the_file, weakref.ref(engine)))
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        from app.storage.postgresql import PatientConnection

        opener = PatientConnection.opener(answer_s)
        event.listen(engine, "do_connect", lambda _dialect, _record, args, options: opener.connect(*args, **options))
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Write: all that happens inside is kept together when the block ends, or not at all when it raises."""
    with _in_our_words(engine), engine.connect() as db:
        db.execution_options(**{_WRITES: True})
        with db.begin():
            yield db


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Read. On SQLite it waits for nobody. Nothing written here is kept."""
    with _in_our_words(engine), engine.connect() as db:
        yield db


def file_is_gone(engine: Engine) -> bool:
    """Whether SQLite's file was moved, deleted or replaced since it was opened: whoever has it open goes on with the old one."""
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or path == ":memory:":
        return False
    now = _identity(path)
    return now is None or now != _FILES.get(engine, now)


def schema_version(db: Connection) -> str | None:
    """Which migration this database stands at; None before the first one."""
    if not inspect(db).has_table("alembic_version"):
        return None
    return db.execute(text("SELECT version_num FROM alembic_version")).scalar()


def server_time(db: Connection) -> datetime:
    """What the database server thinks the time is, to the second."""
    return db.execute(select(func.now(type_=UtcDateTime))).scalar_one()


def shown_url(url: URL) -> str:
    """The address without user and password, for messages."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        return f"sqlite:///{url.database or ''}"
    port = f":{url.port}" if url.port else ""
    return f"{backend}://{url.host or 'localhost'}{port}/{url.database or ''}"


def _options(url: URL, answer_s: int) -> dict[str, Any]:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return {"connect_args": {"timeout": BUSY_S}}
    server = {"pool_pre_ping": True, "pool_recycle": 1800}
    if backend == "postgresql":
        connect = {
            "connect_timeout": CONNECT_S,
            "options": f"{_POSTGRESQL} -c statement_timeout={answer_s}s",
            "tcp_user_timeout": answer_s * 1000,  # a server that was cut off from the network never says goodbye
        }
        return {**server, "connect_args": connect}
    if backend in ("mysql", "mariadb"):
        connect = {
            "charset": "utf8mb4",
            "init_command": _MYSQL,
            "connect_timeout": CONNECT_S,
            "read_timeout": answer_s,
            "write_timeout": answer_s,
        }
        return {**server, "connect_args": connect, "isolation_level": "READ COMMITTED"}
    raise Misconfigured(
        f"{backend} is not a database that Flotilla knows.", cure="Use SQLite, MySQL, MariaDB or PostgreSQL."
    )


_FILES: weakref.WeakKeyDictionary[Engine, tuple[int, int]] = weakref.WeakKeyDictionary()
"""Which file each engine opened first."""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _note_the_file(engine: "weakref.ref[Engine]", _connection: Any, _record: object) -> None:
    known = engine()
    if known is not None and known.url.database and (found := _identity(known.url.database)):
        _FILES.setdefault(known, found)


def _connect_to_what_is_there(
    _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
) -> sqlite3.Connection | None:
    path, *rest = args
    if path == ":memory:":
        return None  # the usual way
    made: sqlite3.Connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", *rest, **(options | {"uri": True}))
    return made


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: _begin_sqlite does
    is_new = connection.execute("PRAGMA page_count").fetchone() == (0,)
    if is_new:  # later it is too late, and would wait for the writer
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").close()  # so that free pages can be handed back
    for name, value in _SQLITE.items():
        connection.execute(f"PRAGMA {name} = {value}").close()
    connection.create_aggregate(SUM_ON_SQLITE, 1, ExactSum)


def _begin_sqlite(db: Connection) -> None:
    if not db.get_execution_options().get(_WRITES):
        db.exec_driver_sql("BEGIN")
        return
    # SQLite's own waiting would hold up the whole process; this lets the other greenlets of main-app go on meanwhile.
    connection: Any = db.connection.driver_connection
    connection.execute("PRAGMA busy_timeout = 0").close()
    try:
        for _ in range(round(BUSY_S / _LOOK_AGAIN_S)):
            try:
                connection.execute("BEGIN IMMEDIATE").close()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
                time.sleep(_LOOK_AGAIN_S)
            else:
                return
        db.exec_driver_sql("BEGIN IMMEDIATE")  # once more: what it raises is told in our own words
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_SQLITE['busy_timeout']}").close()


@contextmanager
def _in_our_words(engine: Engine) -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(
            f"All {engine.pool.size()} connections to {shown_url(engine.url)} are in use.",  # type: ignore[attr-defined]
            cure="Try again in a moment; if it lasts, set database.pool_size higher.",
        ) from error
    except DBAPIError as error:
        known = _explained(engine.url, error)
        if known is None:
            raise
        raise known from error
    except StatementError as error:
        if isinstance(error.orig, FlotillaError):  # a column type refused a value
            raise error.orig from None
        raise


def _explained(url: URL, error: DBAPIError) -> FlotillaError | None:
    """The driver's complaint as one of our errors; None when it is our own mistake and should be seen as such."""
    reason = _reason(url, error)
    if _misses_a_table(error):
        return Misconfigured(f"The database lacks a table or column ({reason}).", cure="Run: flotilla migrate")
    if isinstance(error, (IntegrityError, DataError)) or _number(error) in _MYSQL_CHECKS:
        return InvalidInput(f"The database refused a value: {reason}.")
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # it did not understand us
        return None
    if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated:
        return Unavailable(f"The database {shown_url(url)} does not serve us: {reason}.", cure=_cure(url))
    if type(error) is DatabaseError and url.get_backend_name() == "sqlite":
        return Misconfigured(
            f"The database file {url.database} is damaged: {reason}.",
            cure="Run: flotilla stop, then flotilla backup restore NAME --force; it sets the damaged file aside.",
        )
    return None


_MYSQL_CHECKS = {3819, 4025}  # a CHECK refused a row: MySQL, MariaDB
_MYSQL_MISSES = {1054, 1146}  # unknown column, unknown table


def _misses_a_table(error: DBAPIError) -> bool:
    if _number(error) in _MYSQL_MISSES:
        return True
    if getattr(error.orig, "sqlstate", None) in ("42P01", "42703"):  # PostgreSQL: undefined table, undefined column
        return True
    return str(error.orig).startswith(("no such table", "no such column"))


def _number(error: DBAPIError) -> int | None:
    """MySQL's error number."""
    first = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return first if isinstance(first, int) else None


def _reason(url: URL, error: DBAPIError) -> str:
    """The first line of what the driver says, without a password."""
    last = error.orig.args[-1] if error.orig is not None and error.orig.args else error.orig
    lines = str(last).strip().splitlines() or [type(error.orig).__name__]
    password = url.password
    return (lines[0].replace(str(password), "***") if password else lines[0]).rstrip(".")


def _cure(url: URL) -> str:
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return "Its file is not there: put it back, or run flotilla backup restore NAME. A first start makes one in its folder."
    if url.get_backend_name() == "sqlite":
        return "Check that its folder exists, can be written and has space; a busy database answers when tried again."
    return "Check that the server runs and that database.url is right; it is tried again."
