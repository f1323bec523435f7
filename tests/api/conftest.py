"""Fixtures: the application on a real database and a real Valkey, alone or with a real supervisord under it."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine

from api.deps import Deps
from api.hub import Hub
from api.main import create_app
from app.cache.bell import Bell
from app.cache.layered import NEAR_S, LayeredCache
from app.cache.market import MarketCache
from app.cache.memory import MemoryCache
from app.cache.pubsub import Listener
from app.cache.redis import RedisCache
from app.errors import FlotillaError
from app.host.fleet_file import read_fleet
from app.host.metrics import Metrics
from app.host.probes import HostProbe
from app.host.supervisor import Supervisor
from app.settings import ROOT, load
from app.storage import processes
from app.storage.database import reading
from app.usecases.look_up import LookUp
from app.usecases.read_market import MarketReader
from app.usecases.reconcile_fleet import reconcile
from tests.builders import NOW, Valkey, wait_for

HERE = Path(__file__).parent
# name: role. The first three carry names that the API treats in a way of their own.
SLEEPERS = {"main-app": "core", "broker": "core", "monitor": "core", "market-feed": "work", "strategy-worker": "work"}


def fleet_conf(folder: Path) -> str:
    """A supervisord.conf with processes that only sleep."""
    head = f"""
[unix_http_server]
file={folder}/run/supervisor.sock
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
directory={ROOT}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    blocks = (
        f"""
[program:{name}]
command={sys.executable} {HERE}/sleeper.py {name} {folder}/run
environment=MEMORY_LIMIT_MB="50",HEARTBEAT_S="5",WHEN_EXHAUSTED="run",ROLE="{role}"
autorestart=true
startsecs=0
stopwaitsecs=5
stdout_logfile={folder}/log/{name}.jsonl
redirect_stderr=true
"""
        for name, role in SLEEPERS.items()
    )
    return head + "".join(blocks)


class Fleet:
    """A supervisord with sleepers, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("run", "log"):
            (folder / name).mkdir()
        self._conf = folder / "supervisord.conf"
        self._conf.write_text(fleet_conf(folder), encoding="utf-8")
        self.specs = read_fleet(self._conf)
        self.supervisor = Supervisor(folder / "run" / "supervisor.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until every process has worked."""
        command = [sys.executable, "-m", "ops.supervise", "-c", str(self._conf)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: set(self.states().values()) == {"RUNNING"}, within_s=30)
        wait_for(lambda: all((self.folder / "run" / name).exists() for name in SLEEPERS), within_s=30)

    def stop(self) -> None:
        """End it with all its processes."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def states(self) -> dict[str, str]:
        """What supervisord says of each process; nothing while it is away."""
        try:
            return {info.name: info.state for info in self.supervisor.processes()}
        except FlotillaError:
            return {}

    def pids(self) -> dict[str, int | None]:
        """The process id of each process."""
        return {info.name: info.pid for info in self.supervisor.processes()}

    @property
    def run(self) -> str:
        """Which run of supervisord this is, as the API tells them apart."""
        try:
            return str((self.folder / "run" / "supervisor.sock").stat().st_mtime_ns)
        except FileNotFoundError:
            return ""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A fleet for the tests of one module, which leave every process running."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:  # a socket's path must be short
        fleet = Fleet(Path(folder))
        fleet.start()
        yield fleet
        fleet.stop()


def make_deps(folder: Path, engine: Engine, redis_url: str, supervisor: Supervisor, stack: ExitStack) -> Deps:
    """The parts list on real handles, with the clock standing still and nothing waited for."""
    settings = load({"FLOTILLA__STATE__DIR": str(folder), "FLOTILLA__CLOCK__TIMEZONE": "Asia/Shanghai"}, root=folder)
    bell = Bell(redis_url)
    stack.callback(bell.close)
    metrics = Metrics()
    far = RedisCache(redis_url)
    stack.callback(far.close)
    market = MarketReader(engine, MarketCache(redis_url))
    stack.callback(market.close)
    probe = HostProbe(folder)
    return Deps(
        settings=settings,
        engine=engine,
        redis=stack.enter_context(Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1)),
        bell=bell,
        look_up=LookUp(engine, LayeredCache(MemoryCache(longest_s=NEAR_S), far)),
        market=market,
        hub=Hub(lambda: Listener(redis_url), metrics=metrics, simulated=settings.simulated, started_ms=1),
        supervisor=supervisor,
        specs=read_fleet(ROOT / "supervisord.conf"),
        metrics=metrics,
        run_dir=folder / "run",
        log_dir=folder / "log",
        notices_dir=folder / "notices",
        now=lambda: NOW,
        host=probe.sample,
        draining=lambda: False,
        patience_s=0.0,
    )


@pytest.fixture
def deps(tmp_path: Path, sqlite_engine: Engine, valkey_url: str) -> Iterator[Deps]:
    """Everything but a supervisord."""
    for name in ("run", "log"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        yield make_deps(tmp_path, sqlite_engine, valkey_url, Supervisor(tmp_path / "run" / "supervisor.sock"), stack)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that a test may break."""
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(deps: Deps) -> FlaskClient:
    """A caller of the application."""
    return create_app(deps).test_client()


@pytest.fixture
def steered(fleet: Fleet, sqlite_engine: Engine, valkey_url: str) -> Iterator[Deps]:
    """Everything, with a real supervisord and a reconciler that runs as in main-app."""
    done = threading.Event()

    def reconciler() -> None:
        while not done.wait(0.1):
            with suppress(FlotillaError):
                reconcile(sqlite_engine, fleet.supervisor, fleet=fleet.run, now=datetime.now(UTC))

    thread = threading.Thread(target=reconciler)
    with ExitStack() as stack:
        deps = make_deps(fleet.folder, sqlite_engine, valkey_url, fleet.supervisor, stack)
        thread.start()
        try:
            wait_for(lambda: all_reported(sqlite_engine), within_s=20)
            yield replace(deps, specs=fleet.specs, now=lambda: datetime.now(UTC), patience_s=20.0)
        finally:
            done.set()
            thread.join()


def all_reported(engine: Engine) -> bool:
    """Whether the reconciler has made its first turn."""
    with reading(engine) as db:
        return len([row for row in processes.rows(db) if row.actual]) == len(SLEEPERS)
