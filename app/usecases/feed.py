"""The feed: all collectors, one pipeline, and the loops that write, tell and report what passed through it."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from app.cache.market import CandleNews, CollectorNews, MarketCache
from app.domain.market.market_time import ms_of
from app.domain.market.quality import Quality
from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import Candle
from app.domain.market.watching import LARGEST
from app.errors import FlotillaError
from app.exchanges.exchange import CHANNELS
from app.host import feed_report, posture_file, recoveries
from app.host.feed_report import (
    BookReport,
    BudgetReport,
    CheckReport,
    CollectorReport,
    FeedReport,
    StoreReport,
)
from app.host.metrics import Metrics
from app.storage import collectors
from app.storage.collectors import NewCollector
from app.storage.database import reading, transaction
from app.usecases.collect import Collector
from app.usecases.harvest import Harvest
from app.usecases.ingest import Fresh, Pipeline
from app.usecases.market_shelf import Shelf
from app.usecases.mend_feed import FeedMender
from app.usecases.write_market import Written, write_what_can_be

TELL_EVERY_S = 0.1
REPORT_EVERY_S = 1.0
LOOK_EVERY_S = 1.0
NOTES_EVERY_S = 15.0  # the table of symbols; what it says is forgotten in the cache each time
AWAY_PAUSE_S = 1.0
LAST_WRITE_S = 2.0  # so long a drain waits for a database that is away
AGAIN_S = 5.0  # until a collector that ended by a mistake of ours is begun anew
FAILING_TOLD_S = 120.0  # so long nothing may come before a person is told
SEED_LOOK_S = 0.2
SEED_S = 10.0  # so long the others wait for the first exchange to say which symbols there are
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """One exchange of the settings, and how its collector is made."""

    name: str
    title: str
    make: Callable[[Pipeline, Shelf], Collector]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is wished of the market by the settings."""

    symbols: tuple[str, ...]
    """Watched from the first start on; empty: all of the demo's, or the largest."""
    spots: tuple[str, ...]
    books: int
    simulated: bool


@dataclass(frozen=True, slots=True)
class Handles:
    """What the feed writes to, and its clocks."""

    engine: Engine
    cache: MarketCache
    metrics: Metrics
    run_dir: Path
    now: Callable[[], datetime]
    market_ms: Callable[[], int]
    alarm: Callable[[str, str], bool]
    """Tells a person: an id that is told once, and a sentence. False: it could not be told, and is to be tried again."""
    speed: float = 1.0
    """How fast ``market_ms`` runs."""
    symbol_changed: Callable[[str], None] = lambda _symbol: None
    """Drops what the caches hold of a symbol."""


@dataclass(slots=True)
class _Running:
    collector: Collector
    task: asyncio.Task[None]
    chosen: tuple[str, ...] | None = None
    """The active symbols with which it began."""


@dataclass(slots=True)
class _Store:
    written: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    """Values told to Redis, by how it went."""
    away_since_ms: int | None = None
    error: str = ""
    told_lost: int = 0
    """Of the lost rows, how many a person has been told of."""


class Feed:
    """Runs until cancelled. The database and Redis may come and go."""

    def __init__(
        self, sources: Sequence[Source], scope: Scope, handles: Handles, *, flush_s: float, most_waiting: int
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._scope, self._handles, self._flush_s = scope, handles, flush_s
        first = sources[0].name if sources else None
        self.pipeline = Pipeline(most_waiting=most_waiting, noted=first, speed=handles.speed)
        self._shelf = Shelf(handles.engine, handles.now)
        self._threads = ThreadPoolExecutor(3, "feed")
        self._running: dict[str, _Running] = {}
        self._again_s: dict[str, float] = {}
        self._mistakes: dict[str, str] = {}
        """Why a collector ended that should not have."""
        self._begun = False
        """Somebody has said which symbols are watched, be it ourselves."""
        self._store = _Store()
        self._told_states: dict[str, tuple[str, str]] = {}
        self._counted: dict[tuple[object, ...], float] = {}
        self._failing_since_s: dict[str, float] = {}
        self._failing_told: set[str] = set()
        self._notes_due_s = 0.0
        self._minute = 0
        self._mender = FeedMender(partial(recoveries.tell, handles.run_dir))

    async def run(self) -> None:
        """Collect, write, tell and report. What waits is written before the end."""
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._write_forever, self._tell_forever, self._report_forever, self._steer_forever):
                    group.create_task(loop())
        finally:
            await asyncio.gather(*(self._stop(name) for name in list(self._running)))
            await self._write_the_rest()
            await self._report_rows()
            self._shelf.close()
            self._threads.shutdown(wait=True)

    async def _write_the_rest(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LAST_WRITE_S
        while not await self._write_once(self.pipeline.harvest(self._handles.market_ms())):
            if loop.time() >= until_s:
                self.pipeline.lost += self.pipeline.waiting
                self._tell_of_losses(self._store.error)
                return

    def last_work(self) -> str:
        """What was done, in a word for the heartbeat."""
        if not self._sources:
            return "idle: feed.exchanges is empty"
        return f"{sum(self._store.written.values())} rows of {len(self.pipeline.markets)} markets"

    # --- which collectors run

    async def _steer_forever(self) -> None:
        """Do as the rows of collectors wish. While they cannot be read, go on as before."""
        wishes = dict.fromkeys(self._sources, "running")
        ensured = False
        while True:
            active = None
            self._adapt()
            try:
                if not ensured:
                    await self._apart(self._ensure_rows)
                    ensured = True
                wishes |= await self._apart(self._read_wishes)
                active = await self._shelf.active_symbols()
                if active is None:
                    active = await self._without_symbols()
            except FlotillaError as error:
                self._note_away(error)
            if active is not None:
                await self._begin_anew(tuple(active))
            for name in self._sources:
                await self._steer(name, wanted=wishes[name] == "running")
            await self._report_rows()
            await asyncio.sleep(LOOK_EVERY_S)

    def _adapt(self) -> None:
        """Take on as much as the machine allows, and tell what was mended."""
        now = self._handles.now()
        before, self.pipeline.posture = self.pipeline.posture, posture_file.read(self._handles.run_dir, now)
        if self.pipeline.posture != before:
            _log.warning("the posture changed: %s", self.pipeline.posture)
        collecting = [running.collector for running in self._running.values()]
        self._mender.look(collecting, now, asyncio.get_running_loop().time())

    async def _without_symbols(self) -> list[str] | None:
        """The table of symbols is empty: all were removed, or the database was away when the first start wanted to fill it."""
        if self._begun:
            return []
        first = self._running.get(next(iter(self._sources), ""))
        if first is None or not first.chosen:
            return None
        await self._shelf.add_symbols(first.chosen)
        self._begun = True
        return await self._shelf.active_symbols()

    async def _begin_anew(self, active: tuple[str, ...]) -> None:
        """Stop the collectors that collect other symbols than these; the next look starts them with the right ones."""
        others = [name for name, running in self._running.items() if running.chosen not in (None, active)]
        if others:
            _log.info("the symbols that are watched changed: %s", ", ".join(others))
            await asyncio.gather(*(self._stop(name) for name in others))

    async def _steer(self, name: str, *, wanted: bool) -> None:
        loop = asyncio.get_running_loop()
        running = self._running.get(name)
        if running is not None and running.task.done():
            error = running.task.exception() if not running.task.cancelled() else None
            _log.error("the collector %s ended: %r", name, error, exc_info=error)
            self._mistakes[name] = f"it ended by a mistake of ours and begins anew: {_innermost(error)!r}"
            self._again_s[name] = loop.time() + AGAIN_S
            await self._stop(name)
            running = None
        if wanted and running is None and loop.time() >= self._again_s.get(name, 0.0):
            collector = self._sources[name].make(self.pipeline, self._shelf)

            async def choose(listed: Sequence[str]) -> Sequence[str]:
                chosen = self._running[name].chosen = tuple(await self._choose(name, listed))
                self._mistakes.pop(name, None)
                return chosen

            work = collector.run(choose, self._scope.spots, self._scope.books)
            self._running[name] = _Running(collector, asyncio.create_task(work, name=name))
        elif not wanted and running is not None:
            await self._stop(name)

    async def _stop(self, name: str) -> None:
        running = self._running.pop(name)
        running.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running.task
        await running.collector.close()

    async def _choose(self, name: str, listed: Sequence[str]) -> Sequence[str]:
        """The active symbols; at the very first start those of the settings, which become rows."""
        first = name == next(iter(self._sources))
        wanted = self._scope.symbols or (tuple(listed) if self._scope.simulated else LARGEST)
        try:
            active = await self._shelf.active_symbols()
            if active is None and first and not self._begun:
                await self._shelf.add_symbols(wanted)
            looks = 0 if first or self._begun else round(SEED_S / SEED_LOOK_S)
            while (active := await self._shelf.active_symbols()) is None and looks:
                looks -= 1
                await asyncio.sleep(SEED_LOOK_S)
        except FlotillaError as error:
            self._note_away(error)
            return wanted
        self._begun = self._begun or active is not None
        return active or ()

    def _ensure_rows(self) -> None:
        with transaction(self._handles.engine) as db:
            rows = [NewCollector(source.name, source.name, source.title, CHANNELS) for source in self._sources.values()]
            collectors.ensure(db, rows, self._handles.now())

    def _read_wishes(self) -> dict[str, str]:
        with reading(self._handles.engine) as db:
            return {row.name: row.desired for row in collectors.listed(db) if row.name in self._sources}

    def _watch_states(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Log when an exchange goes and comes; tell a person when it is gone for longer, once a day."""
        now_s = asyncio.get_running_loop().time()
        for name, (state, note) in states.items():
            if state != "failing":
                if self._failing_since_s.pop(name, None) is not None:
                    _log.info("%s is there again", name)
                continue
            if name not in self._failing_since_s:
                self._failing_since_s[name] = now_s
                _log.warning("nothing comes from %s: %s", name, note)
            elif now_s - self._failing_since_s[name] >= FAILING_TOLD_S and name not in self._failing_told:
                day = self._handles.now().date().isoformat()
                if self._handles.alarm(f"feed-failing-{name}-{day}", f"Nothing comes from {name}{_why(note)}"):
                    self._failing_told.add(name)
        self._failing_told &= self._failing_since_s.keys()

    async def _report_rows(self) -> None:
        """Say what the collectors really do, in their rows and on their channel, where it changed."""
        states = {name: self._state(name) for name in self._sources}
        self._watch_states(states)
        changed = {name: state for name, state in states.items() if self._told_states.get(name) != state}
        if not changed:
            return
        news = [
            CollectorNews(exchange=name, timestamp=self._handles.market_ms(), name=name, state=state, note=note)
            for name, (state, note) in changed.items()
        ]

        def report() -> None:
            with transaction(self._handles.engine) as db:
                for name, (state, note) in changed.items():
                    collectors.report(db, name, actual=state, note=note, now=self._handles.now())
            self._handles.cache.tell(news)  # whoever hears it and looks finds it so

        with contextlib.suppress(FlotillaError):
            await self._apart(report)
            self._told_states |= changed

    def _state(self, name: str) -> tuple[str, str]:
        running = self._running.get(name)
        if running is not None:
            return running.collector.state()
        return ("failing", self._mistakes[name]) if name in self._mistakes else ("stopped", "")

    # --- what passes

    async def _write_forever(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s = max(due_s + self._flush_s, loop.time())  # what writing takes is part of the rhythm
            await asyncio.sleep(due_s - loop.time())
            now_s = loop.time()
            due = now_s >= self._notes_due_s
            if due:
                self._notes_due_s = now_s + NOTES_EVERY_S
            harvest = self.pipeline.harvest(self._handles.market_ms(), notes=due)
            if len(harvest) or harvest.notes or harvest.received_ms:
                await self._write_once(harvest)

    async def _write_once(self, harvest: Harvest) -> bool:
        """Whether it was written; else it waits on. Whoever is cancelled meanwhile still knows which of both."""
        work = asyncio.ensure_future(self._apart(lambda: self._write(harvest)))
        try:
            await asyncio.wait([work])
        finally:
            if not work.done():
                await asyncio.wait([work])
            error = work.exception()
            if error is None:
                self._note_written(harvest, work.result())
                if harvest.notes:
                    await self._apart(partial(self._forget, tuple(harvest.notes)))
            elif isinstance(error, FlotillaError):
                self.pipeline.put_back(harvest)
                self._note_away(error)
        if error is None:
            return True
        if not isinstance(error, FlotillaError):
            raise error
        await asyncio.sleep(AWAY_PAUSE_S)
        return False

    def _write(self, harvest: Harvest) -> Written:
        return write_what_can_be(self._handles.engine, harvest, self._handles.now())

    def _forget(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            self._handles.symbol_changed(symbol)

    def _note_written(self, harvest: Harvest, written: Written) -> None:
        store, metrics = self._store, self._handles.metrics
        if store.away_since_ms is not None:
            _log.info("the database takes rows again")
        store.away_since_ms, store.error = None, ""
        store.written.update(written.rows)
        self.pipeline.written(harvest)
        now_ms = self._handles.market_ms()
        for age_ms, count in Counter(now_ms - received_ms for received_ms in harvest.received_ms).items():
            age_s = max(0, age_ms) / 1000 / self._handles.speed
            metrics.observe("flotilla_feed_stored_age_seconds", age_s, times=count)
        self.pipeline.rolled(written.rolled)
        if written.refused:
            self.pipeline.lost += written.refused
            _log.error("the database refused %d rows: %s", written.refused, written.why)
            self._tell_of_losses(f"the database refused them: {written.why}")

    def _note_away(self, error: FlotillaError) -> None:
        store = self._store
        if store.away_since_ms is None:
            store.away_since_ms = self._handles.market_ms()
            _log.warning("the database takes no rows: %s They wait in memory.", error)
        store.error = str(error)
        self._tell_of_losses(f"the database has been away for too long: {error}")

    def _tell_of_losses(self, why: str) -> None:
        """Once a day is enough: the report counts on."""
        lost, store = self.pipeline.lost, self._store
        if lost > store.told_lost:
            day = self._handles.now().date().isoformat()
            if self._handles.alarm(f"feed-lost-{day}", f"The market feed has lost {lost} rows, because {why}"):
                store.told_lost = lost

    async def _tell_forever(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            fresh = self.pipeline.fresh(self._handles.market_ms())
            if fresh.tickers or fresh.candles or fresh.depths:
                await self._apart(partial(self._tell, fresh))

    def _tell(self, fresh: Fresh) -> None:
        """Into Redis. What cannot be told now is not worth telling later: the next values say more."""
        cache = self._handles.cache
        closed = [_candle(news) for news in fresh.candles if news.closed]
        told = (
            (not fresh.tickers or cache.put_tickers(fresh.tickers))
            and (not closed or cache.push_candles(closed))
            and (not fresh.books or cache.put_books(fresh.books))
            and cache.tell([*fresh.tickers, *fresh.candles, *fresh.depths])
        )
        count = len(fresh.tickers) + len(fresh.candles) + len(fresh.depths)
        result = "ok" if told else "trouble"
        self._store.told[result] += count
        self._handles.metrics.count("flotilla_feed_told_total", count, result=result)

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            minute = self._handles.market_ms() // MINUTE_MS
            if minute != self._minute:
                self._minute = minute
                asyncio.get_running_loop().call_later(REPORT_EVERY_S * 6, self._minute_is_over)
            self.pipeline.compare(self._handles.market_ms())
            report = self.report()
            feed_report.write(self._handles.run_dir, report)
            self._measure(report)

    def _minute_is_over(self) -> None:
        for running in self._running.values():
            running.collector.minute_is_over()

    def report(self) -> FeedReport:
        """How everything is."""
        market_ms = self._handles.market_ms()
        running = [each.collector for each in self._running.values()]
        budgets: list[BudgetReport] = [budget for collector in running for budget in collector.budgets()]
        return FeedReport(
            at_ms=ms_of(self._handles.now()),
            market_ms=market_ms,
            simulated=self._scope.simulated,
            collectors=(*(collector.report() for collector in running), *self._stopped_reports(market_ms)),
            budgets=tuple(budgets),
            checks=tuple(
                CheckReport(check, verdict, count, *self.pipeline.examples.get((check, verdict), (None, "")))
                for (check, verdict), count in sorted(self.pipeline.checks.items())
            ),
            books=tuple(self._books(market_ms)),
            store=StoreReport(
                waiting=self.pipeline.waiting,
                written=dict(self._store.written),
                lost=self.pipeline.lost,
                away_since_ms=self._store.away_since_ms,
                error=self._store.error,
                told=dict(self._store.told),
                held_back=self.pipeline.held_back,
                why_held_back=self.pipeline.posture.why_scarce,
            ),
        )

    def _stopped_reports(self, now_ms: int) -> Iterator[CollectorReport]:
        """A collector that does not run has nothing to say, and that is said."""
        for name in self._sources.keys() - self._running.keys():
            unknown = Quality(None, None, None, None, None, None)
            yield CollectorReport(name, name, "stopped", "", now_ms, (), (), {}, {}, unknown)

    def _books(self, now_ms: int) -> Iterator[BookReport]:
        for market in self.pipeline.markets.values():
            if (keeper := market.keeper) is not None:
                yield BookReport(
                    market.exchange,
                    market.symbol,
                    keeper.status(now_ms),
                    keeper.book.bids.known(),
                    keeper.book.asks.known(),
                    keeper.updated_ms,
                    keeper.counts.resyncs,
                )

    def _measure(self, report: FeedReport) -> None:
        metrics = self._handles.metrics
        for collector in report.collectors:
            name = collector.exchange
            metrics.gauge("flotilla_feed_collector_up", collector.state in ("running", "degraded"), exchange=name)
            for channel, count in collector.messages.items():
                self._count_up("flotilla_feed_messages_total", count, exchange=name, channel=channel)
            for what in collector.counters.keys() - set(feed_report.WENT_WELL):
                count = collector.counters[what]
                self._count_up("flotilla_feed_faults_total", count, exchange=name, what=what)
            if collector.quality.score is not None:
                metrics.gauge("flotilla_feed_quality_score", collector.quality.score, exchange=name)
            if (latency_ms := collector.quality.latency_ms_p50) is not None:
                metrics.gauge("flotilla_feed_latency_seconds", latency_ms / 1000, exchange=name)
        for budget in report.budgets:
            metrics.gauge(
                "flotilla_feed_budget_used_ratio",
                budget.used / budget.limit,
                exchange=budget.exchange,
                bucket=budget.bucket,
            )
        metrics.gauge("flotilla_feed_rows_waiting", report.store.waiting)
        self._count_up("flotilla_feed_rows_lost_total", report.store.lost)
        metrics.publish(self._handles.run_dir, "market-feed")

    def _count_up(self, name: str, count: float, **labels: object) -> None:
        """A counter that is counted elsewhere: add what came since the last look."""
        key = (name, *labels.values())
        more = count - self._counted.get(key, 0.0)
        if more > 0:
            self._handles.metrics.count(name, more, **labels)
        self._counted[key] = count

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _innermost(error: BaseException | None) -> BaseException | None:
    """What a task group wraps."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _candle(news: CandleNews) -> Candle:
    values = {name: getattr(news, name) for name in _CANDLE_FIELDS}
    return Candle(time_ms=news.timestamp, received_ms=news.timestamp, **values)


_CANDLE_FIELDS = tuple(name for name in Candle.__struct_fields__ if name not in {"time_ms", "received_ms"})


def _why(note: str) -> str:
    """What a collector notes of its trouble, behind a sentence that says already that nothing comes."""
    rest = note.removeprefix("nothing comes").removeprefix("; ")
    return f": {rest}" if rest else "."
