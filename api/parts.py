"""The parts list of the API: handles are made here once. Nothing is connected yet."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from redis import Redis

from api.deps import Deps
from api.main import create_app
from app.cache.bell import Bell
from app.host.fleet_file import read_fleet
from app.host.metrics import Metrics
from app.host.probes import HostProbe, HostSample
from app.host.supervisor import Supervisor
from app.settings import ROOT, Settings, load
from app.storage.database import open_engine

_SAMPLE_EVERY_S = 1.0


def open_deps(settings: Settings, *, draining: Callable[[], bool]) -> Deps:
    """Open the handles. Nothing is connected yet."""
    return Deps(
        settings=settings,
        engine=open_engine(settings.database_url, pool_size=settings.database.pool_size),
        redis=Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1),
        bell=Bell(settings.redis_url),
        supervisor=Supervisor(settings.supervisor_socket, timeout_s=2),
        specs=read_fleet(ROOT / "supervisord.conf"),
        metrics=Metrics(),
        run_dir=settings.run_dir,
        log_dir=settings.log_dir,
        notices_dir=settings.state_dir / "notices",
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
