"""The parts list of the API: handles are made here once. Nothing is connected yet."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from redis import Redis

from api.deps import Deps
from api.hub import Hub
from api.main import create_app
from app.cache.bell import Bell
from app.cache.layered import NEAR_S, LayeredCache
from app.cache.market import MarketCache
from app.cache.memory import MemoryCache
from app.cache.pubsub import Listener
from app.cache.redis import RedisCache
from app.host.fleet_file import read_fleet
from app.host.metrics import Metrics
from app.host.probes import HostProbe, HostSample
from app.host.supervisor import Supervisor
from app.settings import ROOT, Settings, load
from app.storage.database import open_engine
from app.usecases.look_up import LookUp
from app.usecases.read_market import MarketReader

_SAMPLE_EVERY_S = 1.0


def open_deps(settings: Settings, *, draining: Callable[[], bool]) -> Deps:
    """Open the handles. Nothing is connected yet."""
    metrics = Metrics()
    engine = open_engine(settings.database_url, pool_size=settings.database.pool_size)
    near = MemoryCache(longest_s=NEAR_S, count=metrics.count)
    return Deps(
        settings=settings,
        engine=engine,
        redis=Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1),
        bell=Bell(settings.redis_url),
        supervisor=Supervisor(settings.supervisor_socket, timeout_s=2),
        specs=read_fleet(ROOT / "supervisord.conf"),
        look_up=LookUp(engine, LayeredCache(near, RedisCache(settings.redis_url, count=metrics.count))),
        market=MarketReader(engine, MarketCache(settings.redis_url, count=metrics.count)),
        hub=Hub(
            lambda: Listener(settings.redis_url),
            metrics=metrics,
            simulated=settings.simulated,
            started_ms=time.time_ns() // 1_000_000,
        ),
        metrics=metrics,
        run_dir=settings.run_dir,
        log_dir=settings.log_dir,
        notices_dir=settings.notices_dir,
        now=lambda: datetime.now(UTC),
        host=_sampled(HostProbe(settings.state_dir)),
        draining=draining,
    )


def wsgi_app() -> Flask:
    """The application alone, for another WSGI server: ops/bench measures several."""
    return create_app(open_deps(load(os.environ), draining=lambda: False))


def _sampled(probe: HostProbe) -> Callable[[], HostSample]:
    """A look at the machine, at most one a second: processor use between two looks a moment apart says nothing."""
    last: tuple[float, HostSample] | None = None

    def sample() -> HostSample:
        nonlocal last
        now_s = time.monotonic()
        if last is None or now_s - last[0] >= _SAMPLE_EVERY_S:
            last = (now_s, probe.sample())
        return last[1]

    return sample
