"""The process "market-feed": the only one that talks to exchanges. It collects what they say, checks it, stores it and tells it."""

import asyncio
import gc
import logging
import os
import time
from datetime import UTC, datetime
from functools import partial

import msgspec
import uvloop

from app.cache.keys import SYMBOL
from app.cache.market import MarketCache
from app.cache.redis import RedisCache
from app.domain.market import symbols
from app.domain.market.market_clock import MarketClock
from app.domain.market.venue import DEMO, venue_of
from app.errors import FlotillaError
from app.exchanges.connection import Connection
from app.exchanges.demo.addresses import urls_for
from app.exchanges.exchange import Session
from app.exchanges.rest import Outcome, Rest
from app.exchanges.table import EXCHANGES, make
from app.exchanges.throttle import Bans, Throttle
from app.host import lifecycle, market_clock_file
from app.host.metrics import Metrics
from app.notify import outbox
from app.notify.outbox import Notice
from app.settings import Settings, load
from app.storage.database import open_engine
from app.usecases.collect import Changed, Collector, Sink
from app.usecases.feed import Feed, Handles, Scope, Source
from app.usecases.ingest import Pipeline
from app.usecases.market_shelf import Shelf

DEMO_VENUES = tuple(EXCHANGES)
_TURN_S = 0.5
_log = logging.getLogger(__name__)


def exchanges_of(settings: Settings) -> tuple[str, ...]:
    """The exchanges that are collected from, as they are stored. The demo stands for its three venues."""
    if settings.simulated:
        return tuple(DEMO + venue for venue in DEMO_VENUES)
    return settings.feed.exchanges


def addresses(settings: Settings, name: str) -> dict[str, str]:
    """Where an exchange is: its section of the settings, or the demo exchange."""
    venue = venue_of(name)
    if settings.simulated:
        return urls_for(settings.demo.port)[venue]
    section = getattr(settings, venue, None)
    return {} if section is None else msgspec.structs.asdict(section)


def real_ms() -> int:
    """Our clock."""
    return time.time_ns() // 1_000_000


def market_clock(settings: Settings) -> MarketClock | None:
    """The market's clock: ours, or the demo exchange's. None while that still says what it was before its present start."""
    if not settings.simulated:
        return MarketClock(0, 0, 1.0)
    clock = market_clock_file.read(market_clock_file.path_in(settings.state_dir))
    return clock if clock is not None and clock.speed == settings.demo.speed else None


class Sources:
    """Makes collectors: the parts list of each."""

    def __init__(self, settings: Settings, clock: MarketClock, metrics: Metrics) -> None:
        self._settings, self._clock, self._metrics = settings, clock, metrics

    def now_ms(self) -> int:
        """The market's time."""
        return self._clock.now_ms(real_ms())

    def of(self, name: str) -> Source:
        """How one exchange is collected from."""

        def collector(pipeline: Pipeline, shelf: Shelf) -> Collector:
            exchange = make(name, addresses(self._settings, name))
            folder, proxies = self._settings.state_dir / "bans", self._settings.feed.proxies
            throttle = Throttle(name, exchange.limits, folder, real_ms)
            rest = Rest(exchange, throttle, now_ms=self.now_ms, proxies=proxies, answered=partial(self._answered, name))
            # A handshake that was refused is no reason to ask nothing by REST, nor the other way round.
            bans = Bans(folder / f"{name}-stream.json", real_ms)

            def connect(session: Session, sink: Sink, changed: Changed) -> Connection:
                return Connection(
                    session,
                    sink,
                    now_ms=self.now_ms,
                    changed=changed,
                    bans=bans,
                    proxies=proxies,
                    tried=partial(self._tried, name),
                )

            return Collector(
                name, exchange, rest, pipeline, shelf, now_ms=self.now_ms, connect=connect, speed=self._clock.speed
            )

        return Source(name, f"{name} {'(simulated)' if self._settings.simulated else '(live)'}", collector)

    def _tried(self, exchange: str, connected: bool) -> None:
        result = "ok" if connected else "failed"
        self._metrics.count("flotilla_exchange_connections_total", exchange=exchange, result=result)

    def _answered(self, exchange: str, outcome: Outcome, took_s: float) -> None:
        self._metrics.observe("flotilla_exchange_request_seconds", took_s, exchange=exchange, result=outcome)


async def collect(life: lifecycle.Life, settings: Settings) -> None:
    """Collect until asked to drain. The turns of this loop are the heartbeat, so a loop that something blocks is seen."""
    while (clock := market_clock(settings)) is None:
        if life.draining.is_set():
            return
        life.beat("waits for the demo exchange to say what its clock is")
        await asyncio.sleep(_TURN_S)
    metrics = Metrics()
    sources = Sources(settings, clock, metrics)
    engine = open_engine(settings.database_url, pool_size=max(3, settings.database.pool_size))
    cache, symbols_cached = MarketCache(settings.redis_url), RedisCache(settings.redis_url)
    handles = Handles(
        engine=engine,
        cache=cache,
        metrics=metrics,
        run_dir=settings.run_dir,
        now=lambda: datetime.now(UTC),
        market_ms=sources.now_ms,
        symbol_changed=lambda symbol: symbols_cached.forget(SYMBOL, symbol=symbol),
        alarm=lambda notice_id, text: _alarm(settings, notice_id, text),
        speed=clock.speed,
    )
    scope = Scope(
        tuple(symbols.parse(name) for name in settings.feed.symbols),
        tuple(symbols.parse(name, spot=True) for name in settings.feed.spot_symbols),
        settings.feed.books,
        settings.simulated,
    )
    feed = Feed(
        [sources.of(name) for name in exchanges_of(settings)],
        scope,
        handles,
        flush_s=settings.feed.flush_ms / 1000,
        most_waiting=settings.feed.keep_waiting,
    )
    work = asyncio.create_task(feed.run())
    try:
        while not life.draining.is_set() and not work.done():
            life.beat(feed.last_work())
            await asyncio.sleep(_TURN_S)
    finally:
        work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            pass
        finally:
            cache.close()
            symbols_cached.close()
            engine.dispose()


def _alarm(settings: Settings, notice_id: str, text: str) -> bool:
    """Tell a person, by a file of the outbox, which needs neither database nor broker."""
    try:
        outbox.post(settings.notices_dir, Notice(notice_id, datetime.now(UTC), "critical", "market-feed", text))
    except (OSError, FlotillaError) as error:
        _log.error("%s (and nobody can be told: %s)", text, error)
        return False
    return True


def main() -> None:
    """Read the settings and collect."""
    settings = load(os.environ)
    life = lifecycle.begin("market-feed", settings.run_dir, level=settings.log.level)
    gc.freeze()
    uvloop.run(collect(life, settings))


if __name__ == "__main__":
    main()
