"""What the handlers may use: open handles, places and the clock, made once in ``api/serving.py`` or by a test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from redis import Redis
from sqlalchemy import Engine

from api.feed_rates import FeedRates
from api.hub import Hub
from app.cache.bell import Bell
from app.domain.fleet import ProcessSpec
from app.host.metrics import Metrics
from app.host.probes import HostSample
from app.host.supervisor import Supervisor
from app.settings import Settings
from app.usecases.look_up import LookUp
from app.usecases.read_market import MarketReader

T = TypeVar("T")


class Apart(Protocol):
    """Does what neither waits for a socket nor ends soon, such as reading long files, where it holds up nobody."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Do it and come back with its result."""


def here(work: Callable[[], T], /) -> T:
    """Do it in place: right wherever each request has a thread of its own."""
    return work()


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts list of the API. Handles connect when they are used, so that the API outlives whatever is away."""

    settings: Settings
    engine: Engine
    redis: Redis
    bell: Bell
    look_up: LookUp
    market: MarketReader
    hub: Hub
    supervisor: Supervisor
    specs: tuple[ProcessSpec, ...]
    metrics: Metrics
    run_dir: Path
    log_dir: Path
    notices_dir: Path
    now: Callable[[], datetime]
    host: Callable[[], HostSample]
    draining: Callable[[], bool]
    apart: Apart = here
    feed_rates: FeedRates = field(default_factory=FeedRates)
    patience_s: float = 3.0  # how long a request waits for a process to do as wished, before it answers 202
