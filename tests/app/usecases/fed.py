"""A feed in a thread of the test, over real sockets from a demo exchange in another, into a real database."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine, Row, text

from app.cache.market import MarketCache
from app.domain.market.timeframes import MINUTE_MS
from app.exchanges.connection import Connection, Pace
from app.exchanges.demo.addresses import urls_for
from app.exchanges.exchange import Exchange, Session
from app.exchanges.rest import Rest
from app.exchanges.table import make
from app.exchanges.throttle import Throttle
from app.host.feed_report import FeedReport
from app.host.metrics import Metrics
from app.storage import pairs
from app.storage.database import reading
from app.usecases.collect import Changed, Collector, Sink
from app.usecases.feed import Feed, Handles, Scope, Source
from app.usecases.ingest import Pipeline
from app.usecases.market_shelf import Shelf
from tests.app.exchanges.demo.served import Served, real_ms
from tests.builders import wait_for

BTC = "BTC/USDT:USDT"
NOWHERE = "unix:///nowhere/valkey.sock"
HURRIED = Pace(first_pause_s=0.05, longest_pause_s=0.5, healthy_s=1.0, overlap_s=1.0)
SILENT_S = 3.0
_T = TypeVar("_T")


class Fed:
    """``stop`` drains it. ``alarms`` is what a person would be told."""

    def __init__(
        self,
        served: Served,
        engine: Engine,
        folder: Path,
        *,
        venues: Sequence[str] = ("binance",),
        symbols: Sequence[str] = (BTC,),
        spots: Sequence[str] = (),
        books: int = 13,
        redis: str = NOWHERE,
        most_waiting: int = 20_000,
        bend: Callable[[Exchange], Exchange] = lambda exchange: exchange,
    ) -> None:
        self.served, self.engine, self.folder = served, engine, folder
        self.alarms: list[tuple[str, str]] = []
        self.collectors: list[Collector] = []
        self._bend, self._cache = bend, MarketCache(redis)
        handles = Handles(
            engine=engine,
            cache=self._cache,
            metrics=Metrics(),
            run_dir=folder,
            now=lambda: datetime.now(UTC),
            market_ms=served.now_ms,
            alarm=lambda notice_id, said: not self.alarms.append((notice_id, said)),
            speed=served.speed,
        )
        scope = Scope(tuple(symbols), tuple(spots), books, simulated=True)
        sources = [self._source(venue) for venue in venues]
        self.feed = Feed(sources, scope, handles, flush_s=0.05, most_waiting=most_waiting)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.feed.run())
        self.ended: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _source(self, venue: str) -> Source:
        name = f"demo-{venue}"

        def made(pipeline: Pipeline, shelf: Shelf) -> Collector:
            exchange = self._bend(make(name, urls_for(self.served.port)[venue]))
            throttle = Throttle(name, exchange.limits, self.folder / "bans", real_ms)
            rest = Rest(exchange, throttle, now_ms=self.served.now_ms, timeout_s=3.0)

            def connect(session: Session, sink: Sink, changed: Changed) -> Connection:
                session.silent_s = SILENT_S
                return Connection(
                    session, sink, now_ms=self.served.now_ms, changed=changed, pace=HURRIED, bans=throttle.bans
                )

            collector = Collector(
                name, exchange, rest, pipeline, shelf,
                now_ms=self.served.now_ms, connect=connect, speed=self.served.speed,
            )  # fmt: skip
            self.collectors.append(collector)
            return collector

        return Source(name, name, made)

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.ended = error
        finally:
            self._loop.close()

    def stop(self) -> None:
        """Drain it, and fail where it had ended by itself."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(20)
        assert not self._thread.is_alive()
        self._cache.close()
        if self.ended is not None:
            raise self.ended

    def look(self, what: Callable[["Fed"], _T]) -> _T:
        """Ask inside its loop, where nothing changes meanwhile."""

        async def ask() -> _T:
            return what(self)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(10)

    def report(self) -> FeedReport:
        """How everything is."""
        return self.look(lambda fed: fed.feed.report())

    def wait(self, what: Callable[["Fed"], _T], within_s: float = 40.0) -> _T:
        """Until something is so."""
        return wait_for(lambda: self.look(what), within_s=within_s)

    # --- what is looked at

    def books(self) -> set[str]:
        """The states that books are in."""
        return {book.status for book in self.feed.report().books}

    def counter(self, name: str, venue: str = "binance") -> int:
        """One counter of one collector."""
        [found] = [one for one in self.feed.report().collectors if one.exchange == f"demo-{venue}"]
        return found.counters.get(name, 0)

    def states(self) -> dict[str, str]:
        """What the collectors are doing."""
        return {one.exchange: one.state for one in self.feed.report().collectors}

    def settle(self) -> None:
        """Until all that is watched is whole: books, history and collectors."""
        self.wait(lambda fed: bool(fed.books()) and fed.books() == {"ok"})
        self.wait(lambda fed: bool(fed.states()) and set(fed.states().values()) <= {"running"})

    # --- what is stored

    def pair_id(self, symbol: str = BTC, venue: str = "binance") -> int:
        """Under which its rows stand."""
        with reading(self.engine) as db:
            return pairs.pair_id(db, f"demo-{venue}", symbol)

    def rows(self, statement: str, **values: object) -> Sequence[Row[tuple[object, ...]]]:
        """What the database says."""
        with reading(self.engine) as db:
            return db.execute(text(statement), values).all()

    def pass_minutes(self, count: int = 1) -> int:
        """Let so many whole minutes of the market pass; the last one that is over."""
        until = self.served.now_ms() // MINUTE_MS + count + 1
        wait_for(lambda: self.served.now_ms() // MINUTE_MS >= until, within_s=60)
        return (until - 1) * MINUTE_MS
