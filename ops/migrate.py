"""Bringing a database to the newest tables. Run by a short-lived command at the start of the fleet, never inside a daemon."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.errors import Misconfigured, Unavailable
from app.storage.database import open_engine, reading, schema_version, transaction

WAIT_S = 120  # for another migrator
STATEMENT_S = 3600  # changing a large table takes its time
_FOLDER = Path(__file__).parent / "migrations"
_LOCK_NUMBER = 7_035_621_104_882_417  # any number will do, as long as every Flotilla uses the same


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database stands, and where this code wants it."""

    current: str | None
    head: str
    state: Literal["empty", "behind", "current", "newer"]


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database to the newest tables; the version before and after. Safe to run twice, and by two at once."""
    engine = open_engine(url, pool_size=2, answer_s=STATEMENT_S, create=True)
    try:
        with _alone(engine), transaction(engine) as db:
            before = schema_version(db)
            where = _status(before)
            if where.state == "newer":
                raise Misconfigured(
                    f"The database is at version {before}, which this Flotilla does not know: a newer one made it.",
                    cure="Update Flotilla, or restore the backup that was made before the update.",
                )
            if where.state != "current":
                config = _config()
                config.attributes["connection"] = db
                command.upgrade(config, "head")
            return before, where.head
    finally:
        engine.dispose()  # closes the connection that holds the lock


def make_if_empty(url: str) -> bool:
    """Make the tables of a database that has none; whether that was so. One that holds something is left as it is."""
    if status_of(url).state != "empty":
        return False
    upgrade(url)
    return True


def is_there(url: str) -> bool:
    """Whether there is anything to open: the file of SQLite may not have been made yet."""
    scheme, _, path = url.partition("?")[0].partition(":///")
    return scheme != "sqlite" or path in {"", ":memory:"} or Path(path).exists()


def status_of(url: str) -> MigrationStatus:
    """Say where a database stands that nobody has opened yet."""
    if not is_there(url):
        return _status(None)
    engine = open_engine(url, pool_size=1)
    try:
        return status(engine)
    finally:
        engine.dispose()


def status(engine: Engine) -> MigrationStatus:
    """Say where the database stands."""
    with reading(engine) as db:
        return _status(schema_version(db))


def _status(current: str | None) -> MigrationStatus:
    scripts = ScriptDirectory.from_config(_config())
    head = scripts.get_current_head()
    if head is None:
        raise Misconfigured("ops/migrations/versions holds no migration.", cure="Install Flotilla again.")
    if current is None:
        return MigrationStatus(current, head, "empty")
    if current not in {script.revision for script in scripts.walk_revisions()}:
        return MigrationStatus(current, head, "newer")
    return MigrationStatus(current, head, "current" if current == head else "behind")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Keep other migrators out, on this machine and, with a server, on any other."""
    if engine.dialect.name == "sqlite":
        with _locked_file(_lock_path(engine)):
            yield
        return
    with reading(engine) as db:
        _wait_for(lambda: _lock_on_server(db))
        db.rollback()  # ends the transaction; the lock belongs to the connection
        yield


def _lock_on_server(db: Connection) -> bool:
    if db.dialect.name == "postgresql":
        return bool(db.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK_NUMBER}).scalar())
    # MySQL's locks are the server's, so two fleets in two of its databases must not wait for each other.
    name = "flotilla_migrate_" + sha256(str(db.engine.url.database).encode()).hexdigest()[:16]
    return db.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": name}).scalar() == 1


def _lock_path(engine: Engine) -> Path:
    path = Path(str(engine.url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The folder {path.parent} for the database cannot be made: {error.strerror}.",
            cure="Make it, or choose another state folder.",
        ) from error
    return path.with_name(f"{path.name}.migrating")


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    try:
        file = path.open("a")
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}.", cure="Check the owner and rights of its folder."
        ) from error
    with file:  # closing it unlocks it, and so does the end of the process
        _wait_for(lambda: _lock_file(file.fileno()))
        yield


def _lock_file(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(locked: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not locked():
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Another migration of this database has been running for more than {WAIT_S} s.",
                cure="Let it finish, or find out why it hangs; then start again.",
            )
        time.sleep(0.1)
