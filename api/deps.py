"""What the handlers may use: open handles, places and the clock, made once in ``api/serving.py`` or by a test."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.domain.fleet import ProcessSpec
from app.host.metrics import Metrics
from app.host.probes import HostSample
from app.host.supervisor import Supervisor
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts list of the API. Handles connect when they are used, so that the API outlives whatever is away."""

    settings: Settings
    engine: Engine
    redis: Redis
    bell: Bell
    supervisor: Supervisor
    specs: tuple[ProcessSpec, ...]
    metrics: Metrics
    run_dir: Path
    log_dir: Path
    notices_dir: Path
    now: Callable[[], datetime]
    host: Callable[[], HostSample]
    draining: Callable[[], bool]
    patience_s: float = 3.0  # how long a request waits for a process to do as wished, before it answers 202
