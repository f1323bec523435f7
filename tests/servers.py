"""Real database servers for the tests: those that the environment names, else private ones from installed binaries.

A private server lives in a temporary folder, listens on a socket file there, and ends with the tests that started it.
``FLOTILLA_TEST_MARIADB_URL`` and ``FLOTILLA_TEST_POSTGRES_URL`` name running servers instead; their user must be allowed to
create databases.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from ops.bench.own_mariadb import answers

START_S = 60
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


@contextmanager
def mariadb() -> Iterator[URL]:
    """A MariaDB server's address."""
    if given := os.environ.get("FLOTILLA_TEST_MARIADB_URL"):
        yield make_url(given).set(drivername="mysql+pymysql")
        return
    server = binary("mariadbd", "mysqld")
    install = binary("mariadb-install-db", "mysql_install_db")
    with _folder(owner="mysql") as (folder, user):
        data, door = folder / "data", folder / "s"
        common = ["--no-defaults", f"--datadir={data}", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"]
        common += [f"--tmpdir={folder}"]  # one that starts removes the temporary tables of all others in the same place
        _run([install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], user=user)
        careless = ["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--skip-log-bin"]
        # Strange defaults on purpose: the tests then show that our sessions set what they need.
        strange = ["--sql-mode=", "--default-time-zone=+09:30", "--character-set-server=latin1"]
        command = [server, *common, *careless, *strange, "--skip-networking", f"--socket={door}"]
        url = URL.create("mysql+pymysql", username="root", host="localhost", query={"unix_socket": str(door)})
        with _running(command, folder, goodbye="TERM", ready=lambda: _listens(door) and answers(url), user=user):
            yield url


@contextmanager
def postgresql() -> Iterator[URL]:
    """A PostgreSQL server's address."""
    if given := os.environ.get("FLOTILLA_TEST_POSTGRES_URL"):
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    places = os.pathsep.join([*(str(path) for path in reversed(versions)), _PATH])
    server, initdb = binary("postgres", path=places), binary("initdb", path=places)
    with _folder(owner="postgres") as (folder, user):
        data = folder / "data"
        make = ["-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        _run([initdb, *make], user=user)
        careless = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        small = ["-c", "shared_buffers=16MB", "-c", "timezone=Australia/Darwin", "-c", "listen_addresses="]
        command = [server, "-D", str(data), "-k", str(folder), *careless, *small]
        query = {"host": str(folder)}
        url = URL.create("postgresql+psycopg", username="postgres", database="postgres", query=query)
        with _running(
            command,
            folder,
            goodbye="INT",
            ready=lambda: _listens(folder / ".s.PGSQL.5432") and answers(url),
            user=user,
        ):
            yield url


@contextmanager
def database_on(server: URL) -> Iterator[URL]:
    """A new, empty database on this server, dropped at the end."""
    name = f"flotilla_test_{uuid4().hex[:12]}"
    force = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
    _administrate(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name)
    finally:
        _administrate(server, f"DROP DATABASE {name}{force}")


def _administrate(server: URL, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as db:
            db.execute(text(statement))
    finally:
        engine.dispose()


def _listens(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.connect(str(door))
        return True
    return False


def binary(*names: str, path: str = _PATH) -> str:
    """Where one of these programs is. The test is skipped where it is not, and fails in CI."""
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    why = f"There is no {names[0]} on this machine: install it, or name a server in FLOTILLA_TEST_..._URL."
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def _folder(owner: str) -> Iterator[tuple[Path, str | None]]:
    """A folder with a short name (a socket's path is limited), and the user to run as when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="fl-", dir="/tmp"))
    user = None
    if os.geteuid() == 0:
        user = owner if _exists(owner) else "nobody"
        shutil.chown(folder, user)
    try:
        yield folder, user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _run(command: list[str], *, user: str | None = None) -> None:
    done = subprocess.run(_as(user, command), capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"


def _as(user: str | None, command: list[str], *, goodbye: str | None = None) -> list[str]:
    """As that user, for PostgreSQL refuses to run as root; and with a signal to end by, should we be killed."""
    words = [f"--pdeathsig={goodbye}"] if goodbye else []
    if user:
        import pwd

        entry = pwd.getpwnam(user)
        words += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    if not words or (user is None and not shutil.which("setpriv")):
        return command
    return [binary("setpriv"), *words, "--", *command]


@contextmanager
def _running(
    command: list[str], folder: Path, *, goodbye: str, ready: Callable[[], bool], user: str | None = None
) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            _as(user, command, goodbye=goodbye), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
        )
    try:
        until = time.monotonic() + START_S
        while not ready():
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError((folder / "log").read_text(errors="replace"))
            time.sleep(0.05)
        yield
    finally:
        server.send_signal({"TERM": 15, "INT": 2}[goodbye])
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.kill()
        server.wait()
