"""Fixtures: databases on every kind of server that this machine has, and a Valkey."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, Engine, delete

from app.settings import ROOT
from app.storage.database import open_engine, transaction
from app.storage.tables import metadata
from ops.migrate import upgrade
from tests import servers
from tests.builders import Valkey
from tests.turns import turn

# No test, and no process that a test starts, reads the flotilla.toml of whoever runs it.
os.environ["FLOTILLA_CONFIG"] = os.devnull

# How long an example takes is a matter of who else uses this machine.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

DATABASES = ("sqlite", "mariadb", "postgresql")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let each test run when it is its turn."""
    marked = {name: item.get_closest_marker(name) is not None for name in ("alone", "beside")}
    with turn(**marked):
        return (yield)


class Servers:
    """Starts each server when the first test needs it, and keeps one migrated database on it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, URL] = {}
        self._migrated: dict[str, str] = {}

    def server(self, kind: str) -> URL:
        """The server's address."""
        if kind not in self._servers:
            start = {"mariadb": servers.mariadb, "postgresql": servers.postgresql}[kind]
            self._servers[kind] = self._stack.enter_context(start())
        return self._servers[kind]

    def blank(self, kind: str, stack: ExitStack, folder: Path) -> str:
        """A database with nothing in it, for as long as ``stack`` lasts."""
        if kind == "sqlite":
            return f"sqlite:///{folder / 'flotilla.db'}"
        return stack.enter_context(servers.database_on(self.server(kind))).render_as_string(hide_password=False)

    def migrated(self, kind: str, folder: Path) -> str:
        """A database with empty tables."""
        if kind not in self._migrated:
            template = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-")))
            self._migrated[kind] = self.blank(kind, self._stack, template)
            upgrade(self._migrated[kind])
        url = self._migrated[kind]
        if kind == "sqlite":
            shutil.copy(url.removeprefix("sqlite:///"), folder / "flotilla.db")
            return f"sqlite:///{folder / 'flotilla.db'}"
        engine = open_engine(url)
        with transaction(engine) as db:
            for table in reversed(metadata.sorted_tables):
                db.execute(delete(table))
        engine.dispose()
        return url


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of real recorded market data. A user's clone has none: the test is skipped there, and fails in CI."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"The recorded data are missing: {folder}")
        pytest.skip("The recorded data are not in a user's clone.")
    return folder


@pytest.fixture(scope="session")
def database_servers() -> Iterator[Servers]:
    """The servers of this run; stopped at its end."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, database_servers: Servers, tmp_path: Path) -> str:
    """A migrated, empty database: the same test runs on each kind."""
    return database_servers.migrated(request.param, tmp_path)


@pytest.fixture(params=DATABASES)
def blank_database_url(request: pytest.FixtureRequest, database_servers: Servers, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it, not even tables, of each kind."""
    with ExitStack() as stack:
        yield database_servers.blank(request.param, stack, tmp_path)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """``database_url``, opened."""
    engine = open_engine(database_url, pool_size=5)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_url(database_servers: Servers, tmp_path: Path) -> str:
    """A migrated, empty SQLite database, for tests that would learn nothing from the other two."""
    return database_servers.migrated("sqlite", tmp_path)


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    """``sqlite_url``, opened."""
    engine = open_engine(sqlite_url, pool_size=5)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """One Valkey for the whole run."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        server = Valkey(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def valkey_url(valkey_server: Valkey) -> str:
    """The address of a real, empty Valkey."""
    with redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url
