"""Collect from one exchange: its streams, what it must be asked for, whole books, funding and history.

Everything that comes, by whichever way, goes through one ``Pipeline``. What fails is tried again with patience, is counted, and is
told in the collector's note; nothing here ends the process.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from app.domain.market import symbols
from app.domain.market.market_clock import skew_ms
from app.domain.market.quality import QualityWindow
from app.domain.market.timeframes import MINUTE_MS, open_of
from app.domain.market.values import BookTop, Candle, Depth, Event, Mark, Trade
from app.domain.market.watching import STREAMED, Watch, watch
from app.errors import CorruptData, FlotillaError, InvalidInput, RateLimited
from app.exchanges.connection import Connection
from app.exchanges.exchange import Channel, Exchange, Instrument, RestCall, Session, Wanted
from app.exchanges.rest import Rest
from app.host.feed_report import BudgetReport, CollectorReport, ConnectionReport
from app.storage.klines import Kline
from app.usecases.fill_history import History
from app.usecases.ingest import Pipeline
from app.usecases.market_shelf import Shelf

POLL_EVERY_S: dict[Channel, float] = {
    "open_interest": 15.0,
    "mark": 30.0,
    "ticker": 15.0,
    "top": 5.0,
    "depth": 5.0,
    "trades": 5.0,
    "candles": 20.0,
}
"""How often one symbol is asked for what has no stream."""
BOOKS_EVERY_S = 0.2
FUNDING_EVERY_S = 900.0
FUNDING_LEAST_S = 15.0  # on a market that runs fast: paper trades wait for a rate for an hour of its time
FUNDING_ROWS = 100  # hours, too: nobody pays more often
HISTORY_EVERY_S = 300.0
HISTORY_SOON_S = 15.0
OPEN_INTEREST_BACK_MS = 24 * 60 * MINUTE_MS
OPEN_INTEREST_ROWS = 288
OPEN_INTEREST_PAGE_MS = 100 * 5 * MINUTE_MS  # every exchange gives as much in one answer, where it has it
CLOCK_EVERY_S = 300.0
CLOCK_SOONEST_S = 10.0
MOST_SKEW_MS = 2_000  # also: a message that is so much younger or older than now makes us look at its clock
AGAIN_S = 5.0
CLOSING_MS = 5_000  # a closed candle may take so long to come
SILENT_MS = 30_000
TIMED = frozenset({Trade, Depth, BookTop, Mark})  # whose time is when they happened
CANDLE_FIELDS = tuple(
    name for name in Candle.__struct_fields__ if name not in {"exchange", "symbol", "time_ms", "received_ms", "closed"}
)
BOOK_COUNTS = ("gaps", "late", "duplicate", "out_of_order", "dropped", "resyncs")
_log = logging.getLogger(__name__)

Choose = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Of the perpetuals that an exchange lists, and of all others, what is to be watched."""
Sink = Callable[[list[Event]], None]
Changed = Callable[[bool], None]
Connect = Callable[[Session, Sink, Changed], Connection]


@runtime_checkable
class Learns(Protocol):
    """An exchange that counts contracts, and must know their size before it can say anything in coins."""

    def learn(self, instruments: Sequence[Instrument]) -> None:
        """Remember what the instruments say."""


@runtime_checkable
class Tears(Protocol):
    """An exchange whose trades are asked for, and which sees by itself where some may be lost between two answers."""

    def take_torn(self, symbol: str) -> bool:
        """Whether that happened since this was last asked."""


def channels_of(symbol: str, watched: Watch) -> tuple[Channel, ...]:
    """What is watched of one symbol."""
    always: tuple[Channel, ...] = ("candles", "trades", "top", "ticker")
    perpetual: tuple[Channel, ...] = ("mark", "open_interest") if symbols.taken_apart(symbol).is_perpetual else ()
    return (*always, *perpetual, *(("depth",) if symbol in watched.deep else ()))


def wanted(watched: Watch) -> list[Wanted]:
    """All of it, symbol by symbol."""
    return [
        Wanted(channel, symbol, STREAMED if channel == "candles" else None)
        for symbol in watched.symbols
        for channel in channels_of(symbol, watched)
    ]


class Collector:
    """One exchange. ``run`` collects until it is cancelled."""

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        rest: Rest,
        pipeline: Pipeline,
        shelf: Shelf,
        *,
        now_ms: Callable[[], int],
        connect: Connect,
        speed: float = 1.0,
    ) -> None:
        self.name = name
        self.exchange = exchange
        self._rest, self._pipeline, self._shelf = rest, pipeline, shelf
        self._now_ms, self._connect, self._speed = now_ms, connect, speed
        self._instruments: dict[str, Instrument] = {}
        self._watch = Watch((), (), frozenset())
        self._pair_ids: dict[str, int] = {}
        self._connections: list[tuple[Connection, asyncio.Task[None]]] = []
        self._asking: set[str] = set()
        self._look_at_history = asyncio.Event()
        self._look_at_clock = asyncio.Event()
        self._quality = QualityWindow(speed=speed)
        self._errors_seen = 0
        self._since_ms = now_ms()
        self._history_stands = False
        self._trouble: dict[str, str] = {}
        self.candles_asked = 0
        self._repaired: list[tuple[str, str]] = []

    async def run(self, choose: Choose, spots: Sequence[str], books: int) -> None:
        """Collect. What is watched is chosen when it is known what the exchange trades."""
        try:
            # Tasks that end together: one that ends by a mistake of ours ends all, and the collector starts anew.
            async with asyncio.TaskGroup() as group:
                self._spawn = spawn = group.create_task
                await self._learn()
                perpetuals = [name for name, one in self._instruments.items() if one.settle == "USDT"]
                self._watch_anew(await choose(perpetuals), spots, books)
                await self._first_pairs()
                self._connect_all()
                history = History(self.exchange, self._shelf, self._take_answer, self._now_ms)
                spawn(self._every(BOOKS_EVERY_S, "books", self._ask_for_books))
                spawn(self._watch_the_clock())
                spawn(self._every(1.0, "pairs", self._find_pairs))
                spawn(self._fill_history(history))
                spawn(
                    self._every(max(FUNDING_LEAST_S, FUNDING_EVERY_S / self._speed), "funding", self._ask_for_funding)
                )
                for channel, every_s in POLL_EVERY_S.items():
                    if channel in self.exchange.polled and channel != "open_interest":
                        spawn(self._poll(channel, every_s))
                await self._recall_open_interest()  # before its first poll: a change is against what was there before
                if "open_interest" in self.exchange.polled:
                    spawn(self._poll("open_interest", POLL_EVERY_S["open_interest"]))
                await asyncio.Event().wait()
        finally:
            for symbol in self._watch.symbols:
                self._pipeline.forget(self.exchange.name, symbol)

    async def _learn(self) -> None:
        """Ask what the exchange trades, for as long as it takes."""
        while not self._instruments:
            found: list[Instrument] = []
            for call in self.exchange.instruments():
                answer = await self._attempt("instruments", lambda call=call: call, urgent=True)  # type: ignore[misc]
                if answer is None:
                    break
                found += answer
            else:
                self._instruments = {one.symbol: one for one in found if one.active}
            if not self._instruments:
                await asyncio.sleep(AGAIN_S)
        if isinstance(self.exchange, Learns):
            self.exchange.learn(list(self._instruments.values()))

    def _watch_anew(self, active: Sequence[str], spots: Sequence[str], books: int) -> None:
        self._watch = watch(active, spots, self._instruments.keys(), books=books)
        for symbol in self._watch.symbols:
            self._pipeline.watch(self.exchange.name, symbol, pair_id=None, deep=symbol in self._watch.deep)

    async def _first_pairs(self) -> None:
        """What was stored must be known before anything new comes; a database that is away must not hold up what is live."""
        try:
            await self._find_pairs()
            await self._shelf.note_traded(self.exchange.name, self._instruments.keys())
        except FlotillaError as error:
            self._trouble["pairs"] = f"pairs: {error}"

    def _connect_all(self) -> None:
        for session in self._sessions():
            self._open(session)

    def _sessions(self) -> list[Session]:
        """A symbol that the exchange cannot have, although it lists it, costs only itself."""
        try:
            return self.exchange.sessions(wanted(self._watch))
        except InvalidInput:
            impossible = [symbol for symbol in self._watch.symbols if not self._can_have(symbol)]
        _log.warning("%s cannot have %s", self.exchange.name, ", ".join(impossible))
        self._trouble["symbols"] = f"it cannot have {', '.join(impossible)}"
        for symbol in impossible:
            self._pipeline.forget(self.exchange.name, symbol)
        self._watch = Watch(
            tuple(name for name in self._watch.perpetuals if name not in impossible),
            tuple(name for name in self._watch.spots if name not in impossible),
            self._watch.deep.difference(impossible),
        )
        return self.exchange.sessions(wanted(self._watch)) if impossible else []

    def _can_have(self, symbol: str) -> bool:
        try:
            self.exchange.sessions([one for one in wanted(self._watch) if one.symbol == symbol])
        except InvalidInput:
            return False
        return True

    def _open(self, session: Session) -> None:
        books, trades = (
            [one.symbol for one in session.wanted if one.channel == channel] for channel in ("depth", "trades")
        )
        session.speed = self._speed

        def changed(_open: bool) -> None:
            self._pipeline.reconnected(self.exchange.name, books, trades)
            self._look_at_history.set()

        connection = self._connect(session, self._take, changed)
        self._connections.append((connection, self._spawn(connection.run())))

    def _take(self, events: list[Event]) -> None:
        now_ms = self._now_ms()
        self._pipeline.take(events, now_ms)
        newest = next((event for event in reversed(events) if type(event) in TIMED), None)
        latency_ms = None if newest is None else (newest.received_ms - newest.time_ms) / self._speed
        if latency_ms is not None and not -MOST_SKEW_MS < latency_ms < MOST_SKEW_MS:
            self._look_at_clock.set()
        self._quality.message(now_ms, latency_ms, len(events))

    async def _take_answer(self, call: RestCall) -> list[Candle]:
        """Ask for history and hand it on. Raises Unavailable, so that what could not be had is not taken for missing."""
        answer = await self._rest.call(call)
        self._pipeline.take(answer, self._now_ms(), asked=True)
        self.candles_asked += len(answer)
        return answer

    async def _find_pairs(self) -> None:
        """The ids under which rows are stored; the database may be away at the start."""
        unknown = [symbol for symbol in self._watch.symbols if symbol not in self._pair_ids]
        if not unknown:
            return
        instruments = [self._instruments[symbol] for symbol in unknown]
        remembered = await self._shelf.remember(self.exchange.name, instruments, self._now_ms())
        for symbol, pair_id in remembered.pair_ids.items():
            market = self._pipeline.watch(self.exchange.name, symbol, pair_id=pair_id, deep=symbol in self._watch.deep)
            interest = remembered.interests[symbol]
            self._pipeline.resume(market, remembered.flows.get(symbol), interest, self._now_ms())
            candle = remembered.candles.get(symbol)
            if candle is not None:
                self._pipeline.take([self._candle(symbol, candle)], self._now_ms(), asked=True)
        self._pair_ids |= remembered.pair_ids

    def _candle(self, symbol: str, row: Kline) -> Candle:
        known: dict[str, Any] = {name: getattr(row, name) for name in CANDLE_FIELDS}
        return Candle(self.exchange.name, symbol, row.open_time, self._now_ms(), **known)

    async def _ask_for_books(self) -> None:
        for symbol in self._pipeline.books_wanted(self.exchange.name, round(time.monotonic() * 1_000)):
            for connection, _ in self._connections:
                carries = any(one.symbol == symbol and one.channel == "depth" for one in connection.session.wanted)
                if carries and connection.session.ask_snapshot(symbol):
                    connection.say()
                    break
            else:
                if symbol not in self._asking:
                    self._asking.add(symbol)
                    self._spawn(self._ask_for_book(symbol))

    async def _ask_for_book(self, symbol: str) -> None:
        try:
            answer = await self._attempt("book", partial(self.exchange.book, symbol), urgent=True)
            if answer:
                self._pipeline.take(answer, self._now_ms(), asked=True)
        finally:
            self._asking.discard(symbol)

    async def _poll(self, channel: Channel, every_s: float) -> None:
        """Ask for one symbol after the other, evenly, so that the budget is spent evenly too."""
        while True:
            names = [symbol for symbol in self._watch.symbols if channel in channels_of(symbol, self._watch)]
            for symbol in names:
                pause_s = every_s / len(names) / self._speed * self._pipeline.posture.slower
                answer = await self._attempt(f"poll {channel}", partial(self._question, channel, symbol))
                if answer:
                    if channel == "trades" and isinstance(self.exchange, Tears) and self.exchange.take_torn(symbol):
                        self._pipeline.reconnected(self.exchange.name, (), (symbol,))
                    self._pipeline.take(answer, self._now_ms(), asked=channel == "depth")
                    self._quality.message(self._now_ms(), None, len(answer))
                await asyncio.sleep(pause_s)
            if not names:
                await asyncio.sleep(every_s)

    def _question(self, channel: Channel, symbol: str) -> RestCall:
        match channel:
            case "candles":
                since_ms = open_of(self._now_ms(), STREAMED) - 3 * MINUTE_MS
                return self.exchange.candles(symbol, STREAMED, since_ms, 4)
            case "trades":
                return self.exchange.trades(symbol)
            case "depth":
                return self.exchange.book(symbol)
            case _:
                return self.exchange.poll(channel, symbol)

    async def _fill_history(self, history: History) -> None:
        """At the start, after every reconnection, when a candle did not come, and now and then."""
        while True:
            self._look_at_history.clear()
            gaps = history.gaps
            try:
                came = await history.fill(self._pair_ids, lambda: self._trouble.pop("history", None))
                self._tell_trouble("history", history.trouble)
                if came:
                    _log.info("%s: %d candles were missing and came", self.exchange.name, came)
                if history.gaps > gaps and self._history_stands and came:  # what the exchange lacks too is no repair
                    self._repaired.append((f"{history.gaps - gaps} gaps in its candles", f"{came} candles came"))
                self._history_stands = True
            except FlotillaError as error:
                self._trouble["history"] = f"history: {error}"
                await asyncio.sleep(error.retry_after_s if isinstance(error, RateLimited) else AGAIN_S)
                continue
            try:
                # What was too young to be asked for while others were missing is looked at soon.
                async with asyncio.timeout(HISTORY_SOON_S if came else HISTORY_EVERY_S):
                    await self._look_at_history.wait()
                await asyncio.sleep(AGAIN_S)  # what comes back comes back in parts
            except TimeoutError:
                continue

    async def _ask_for_funding(self) -> None:
        for symbol, pair_id in list(self._pair_ids.items()):
            newest_ms = await self._shelf.newest_funding(pair_id)
            since_ms = self._now_ms() - 30 * 24 * 60 * MINUTE_MS if newest_ms is None else newest_ms + 1
            while since_ms < self._now_ms():
                answer = await self._attempt("funding", partial(self.exchange.funding, symbol, since_ms, FUNDING_ROWS))
                if answer is None:
                    break
                since_ms = self._page(answer, since_ms, FUNDING_ROWS * 60 * MINUTE_MS)

    async def _recall_open_interest(self) -> None:
        """What was there before the first poll, where the exchange keeps it: else every change would have to wait."""
        for symbol in self._watch.perpetuals:
            market = self._pipeline.markets.get((self.exchange.name, symbol))
            newest = market.interest.last if market else None
            since_ms = self._now_ms() - OPEN_INTEREST_BACK_MS
            if newest is not None:
                since_ms = max(since_ms, newest[0] + MINUTE_MS)
            while self._now_ms() - since_ms >= 10 * MINUTE_MS:
                ask = partial(self.exchange.open_interest_history, symbol, since_ms, OPEN_INTEREST_ROWS)
                answer = await self._attempt("open interest", ask)
                if answer is None:
                    break
                since_ms = self._page(answer, since_ms, OPEN_INTEREST_PAGE_MS)

    def _page(self, answer: list[Any], since_ms: int, page_ms: int) -> int:
        """Take what was asked for, and say where the next question begins. A page may be empty: then nothing was listed yet."""
        if answer:
            self._pipeline.take(answer, self._now_ms(), asked=True)
        return max(since_ms + page_ms, answer[-1].time_ms + 1 if answer else 0)

    async def _watch_the_clock(self) -> None:
        """Now and then, and soon when what comes is oddly young or old: that may be its clock, or the way from it to us."""
        while True:
            try:
                await self._compare_clocks()
                self._trouble.pop("clock", None)
                pause_s = CLOCK_SOONEST_S
            except FlotillaError as error:
                self._trouble["clock"] = f"clock: {error}"
                pause_s = error.retry_after_s if isinstance(error, RateLimited) else CLOCK_SOONEST_S
            await asyncio.sleep(pause_s)
            self._look_at_clock.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    CLOCK_SOONEST_S if {"skew", "clock"} & self._trouble.keys() else CLOCK_EVERY_S
                ):
                    await self._look_at_clock.wait()

    async def _compare_clocks(self) -> None:
        asked_ms = self._now_ms()
        [theirs_ms] = await self._rest.call(self.exchange.server_time(), urgent=True)
        off_ms = skew_ms(asked_ms, theirs_ms, self._now_ms())
        if abs(off_ms) > MOST_SKEW_MS * self._speed:
            self._trouble["skew"] = f"its clock is {off_ms / 1000:+.1f} s off ours"
        else:
            self._trouble.pop("skew", None)

    async def _every(self, every_s: float, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again. What fails is told, and tried again: soon, and later and later while it goes on failing."""
        again_s = AGAIN_S
        while True:
            pause_s = every_s
            try:
                await work()
                self._trouble.pop(what, None)
                again_s = AGAIN_S
            except FlotillaError as error:
                self._trouble[what] = f"{what}: {error}"
                pause_s = error.retry_after_s if isinstance(error, RateLimited) else again_s
                again_s = max(AGAIN_S, min(2 * again_s, every_s, 60.0))
            await asyncio.sleep(pause_s)

    async def _attempt(
        self, what: str, question: Callable[[], RestCall | None], *, urgent: bool = False
    ) -> list[Any] | None:
        """Ask; None where there is nothing to ask, or it did not work this time, which is told."""
        try:
            call = question()
            answer = None if call is None else await self._rest.call(call, urgent=urgent)
        except RateLimited as error:
            self._trouble["limit"] = str(error)
            await asyncio.sleep(min(error.retry_after_s, 60.0))
            return None
        except CorruptData as error:
            self._pipeline.unreadable(self.exchange.name, f"{what}: {error}", self._now_ms())
            return None
        except FlotillaError as error:
            self._trouble[what] = f"{what}: {error}"
            await asyncio.sleep(AGAIN_S)
            return None
        self._trouble.pop(what, None)
        self._trouble.pop("limit", None)
        return answer

    def _tell_trouble(self, what: str, trouble: str) -> None:
        if trouble:
            self._trouble[what] = f"{what}: {trouble}"
        else:
            self._trouble.pop(what, None)

    def minute_is_over(self) -> None:
        """Count what the last minute should have brought: one closed candle of each symbol."""
        now_ms = self._now_ms()
        due, newest = (
            open_of(now_ms - round(CLOSING_MS * speed), STREAMED) - MINUTE_MS for speed in (self._speed, 1.0)
        )
        markets = [self._pipeline.markets.get((self.exchange.name, symbol)) for symbol in self._watch.symbols]
        closed = [-1 if market is None else market.closed_ms for market in markets]
        if due > self._since_ms:
            self._quality.due(now_ms, len(closed), sum(each >= due for each in closed))
        if any(each < newest for each in closed):  # without patience: a hole is soon behind what came after it
            self._look_at_history.set()

    def state(self) -> tuple[str, str]:
        """What it is doing, in a word and in a sentence."""
        now_ms = self._now_ms()
        late = now_ms - self._since_ms > SILENT_MS * self._speed
        if not self._watch.symbols:
            word = "failing" if late and self._trouble else "starting"
            return word, "; ".join(self._trouble.values()) or "asking what the exchange trades"
        states = [connection.state() for connection, _ in self._connections]
        waiting = [state for state in states if state.state != "open"]
        told = [*dict.fromkeys(state.note for state in waiting if state.note), *self._trouble.values()]
        newest_ms = self._quality.newest_ms
        silent = newest_ms is None or now_ms - newest_ms > SILENT_MS * self._speed
        if silent and late:
            return "failing", "; ".join(["nothing comes", *told])
        if waiting or told:
            kept = [f"{len(waiting)} of {len(states)} connections are not open"] if waiting else []
            return "degraded", "; ".join([*kept, *told])
        if silent:
            return "starting", "waiting for the first message"
        return "running", "" if self._history_stands else "its history is being filled"

    def streams_away(self) -> str:
        """Which of its streams are away and why; empty while all are open."""
        states = [connection.state() for connection, _ in self._connections]
        notes = dict.fromkeys(state.note or state.state for state in states if state.state != "open")
        away = sum(state.state != "open" for state in states)
        return f"{away} of {len(states)} connections are not open: {'; '.join(notes)}" if away else ""

    def take_repaired(self) -> list[tuple[str, str]]:
        """The holes that were repaired since this was last asked: what was missing, and what came."""
        repaired, self._repaired = self._repaired, []
        return repaired

    def report(self) -> CollectorReport:
        """How it is, for the feed's report."""
        state, note = self.state()
        counters = dict(self._pipeline.counters.get(self.exchange.name, {}))
        for (name, _), market in self._pipeline.markets.items():
            if name == self.exchange.name:
                _add(counters, market.flow, ("duplicate", "late", "out_of_order", "lost", "contradicted"))
                if market.keeper is not None:
                    _add(counters, market.keeper.counts, BOOK_COUNTS)
        for connection, _ in self._connections:
            for what, count in connection.session.counters.items():
                counters[what] = counters.get(what, 0) + count
        states = [connection.state() for connection, _ in self._connections]
        counters["unreadable"] = counters.get("unreadable", 0) + sum(each.unreadable for each in states)
        errors = counters.get("refused", 0) + counters["unreadable"]
        now_ms = self._now_ms()
        if errors > self._errors_seen:
            self._quality.error(now_ms, errors - self._errors_seen)
            self._errors_seen = errors
        return CollectorReport(
            name=self.name,
            exchange=self.exchange.name,
            state=state,
            note=note[:500],
            since_ms=self._since_ms,
            symbols=self._watch.symbols,
            connections=tuple(
                ConnectionReport(
                    each.host,
                    each.state,
                    each.opened_ms,
                    each.last_message_ms,
                    each.messages,
                    each.reconnects,
                    each.note,
                )
                for each in states
            ),
            messages=dict(self._pipeline.messages.get(self.exchange.name, {})),
            counters=counters,
            quality=self._quality.quality(now_ms),
        )

    def budgets(self) -> list[BudgetReport]:
        """What of its rate limits is spent."""
        return [
            BudgetReport(
                each.exchange,
                each.bucket,
                each.used,
                each.limit,
                each.per_s,
                each.banned_until_ms,
                each.waiting,
            )
            for each in self._rest.throttle.states()
        ]

    async def close(self) -> None:
        """Let go of the REST door."""
        await self._rest.close()


def _add(counters: dict[str, int], counted: object, names: Sequence[str]) -> None:
    for name in names:
        counters[name] = counters.get(name, 0) + getattr(counted, name)
