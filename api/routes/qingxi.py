"""Collecting and cleaning: what the collectors do, how good their data are, what was refused and why.

What market-feed is doing comes from its report, which it writes every second; what is wished of it are rows that it carries out.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import source
from api.routes.market import Ms, TickerView, reported, ticker_view, unreported
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route
from app.domain.market import symbols
from app.domain.market.consistency import disagreements
from app.domain.market.market_time import MarketTime
from app.domain.market.quality import Quality
from app.domain.market.values import BookTop
from app.errors import Conflict, FlotillaError, InvalidInput, NotFound, Unavailable
from app.host.feed_report import CollectorReport, FeedReport, FeedState
from app.storage import collectors, refused
from app.storage.collectors import Collector, Desired
from app.storage.database import reading
from app.usecases.steer_collectors import steer_collector

Consistency = Literal["ok", "warning", "critical", "unknown"]
Stage = Literal["received", "refused", "stored", "published"]
COMPARED_MS = 30_000  # of older ones, the age is what differs
_STAGES: tuple[Stage, ...] = ("received", "refused", "stored", "published")
Name = Annotated[str, Meta(min_length=1, max_length=50, description="One of /api/qingxi/collectors/list.")]


class CollectorAsked(Asks, frozen=True):
    """Which collector."""

    name: Name


class RefusedAsked(Asks, frozen=True):
    """Which messages."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    reason: Annotated[str, Meta(max_length=64, description="For this reason only.")] | None = None


class MarketDataAsked(Asks, frozen=True):
    """Whose tops."""

    symbol: Annotated[str, Meta(min_length=2, max_length=40)] | None = None


class FeedAnswer(Answer, frozen=True, kw_only=True):
    """What all answers from the feed's report say: whether it is of now, and how old it is."""

    feed: Annotated[FeedState, Meta(description="stale: market-feed no longer reports; unknown: it has not yet.")]
    age_ms: Annotated[int | None, Meta(description="Of market-feed's report, in ms of our time.")]


class CollectorView(Answer, frozen=True):
    """A collector: what is wished, and what it does. ``actual`` is as the feed last reported it: null before it did, and
    ``unknown`` once it no longer reports.
    """

    name: str
    exchange: str
    title: str
    channels: list[str]
    symbols: Annotated[list[str] | None, Meta(description="null: every active one.")]
    desired: Literal["running", "stopped"]
    actual: str | None
    note: str | None
    wanted_by: str | None
    wanted_at: datetime | None
    reported_at: datetime | None


class CollectorViews(FeedAnswer, frozen=True, kw_only=True):
    """Every collector, by name."""

    collectors: list[CollectorView]


class CollectorWish(Answer, frozen=True):
    """What was written down; market-feed carries it out. ``changed`` is false where the same was wished already."""

    changed: bool
    collector: CollectorView


class ConnectionView(Answer, frozen=True):
    """One stream connection."""

    host: str
    state: str
    opened_ms: Ms
    last_message_ms: Ms
    messages: int
    reconnects: int
    note: str


class QualityView(Answer, frozen=True):
    """How good the data are, over the last minutes; null where there is nothing to measure yet."""

    completeness: float | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    error_share: float | None
    freshness_ms: Annotated[int | None, Meta(description="Age of the newest message, in ms of our time.")]
    score: Annotated[float | None, Meta(description="0 to 100.")]


class CollectorState(Answer, frozen=True):
    """What a collector is doing, by its own report."""

    name: str
    exchange: str
    state: str
    note: str
    since_ms: Ms
    symbols: list[str]
    connections: list[ConnectionView]
    messages: dict[str, int]
    counters: dict[str, int]
    quality: QualityView


class CollectorStates(FeedAnswer, frozen=True, kw_only=True):
    """What every collector is doing."""

    collectors: list[CollectorState]


class CollectorQuality(Answer, frozen=True):
    """A collector's data, in figures."""

    name: str
    exchange: str
    state: str
    quality: QualityView
    counters: Annotated[dict[str, int], Meta(description="gaps, late, duplicate, out_of_order, dropped and others.")]


class BookState(Answer, frozen=True):
    """One order book. Only an ok one feeds anything."""

    exchange: str
    symbol: str
    status: str
    bids: int
    asks: int
    updated_ms: Ms
    resyncs: int


class DataQuality(FeedAnswer, frozen=True, kw_only=True):
    """How good the data are."""

    collectors: list[CollectorQuality]
    books: list[BookState]


class ChannelFlow(Answer, frozen=True):
    """How much comes on one channel."""

    exchange: str
    channel: str
    total: int
    per_s: Annotated[float | None, Meta(description="Over the last minute at most; null at the first look.")]


class StageFlow(Answer, frozen=True):
    """How much passes one stage; null where the feed does not count it."""

    stage: Stage
    total: int | None
    per_s: float | None


class TableFlow(Answer, frozen=True):
    """How much is written into one table."""

    table: str
    rows: int
    per_s: float | None


class DataFlow(FeedAnswer, frozen=True, kw_only=True):
    """Messages a second by channel and stage, and how writing goes."""

    channels: list[ChannelFlow]
    stages: list[StageFlow]
    tables: list[TableFlow]
    waiting: Annotated[int | None, Meta(description="Rows that wait to be written.")]
    lost: Annotated[int | None, Meta(description="Rows that could not be kept.")]
    away_since_ms: Annotated[
        int | None, Meta(description="Since when the database does not take them, in market time.")
    ]
    held_back: Annotated[int | None, Meta(description="Rows that were not stored because the disk is scarce.")]
    why_held_back: Annotated[str | None, Meta(description="Empty while everything is stored.")]


class CleaningCheck(Answer, frozen=True):
    """One cleaning check: how often it refused or marked something, and the newest example."""

    check: str
    verdict: Annotated[str, Meta(description="refuse or mark.")]
    count: int
    last_ms: Ms
    last: str


class CleanStats(FeedAnswer, frozen=True, kw_only=True):
    """What cleaning did, check by check. Null: the feed has not said."""

    refused: int | None
    marked: int | None
    checks: list[CleaningCheck]


class SymbolTops(Answer, frozen=True):
    """One symbol on every exchange, and whether they agree."""

    symbol: str
    tops: list[TickerView]
    consistency: Annotated[Consistency, Meta(description="unknown: fewer than two whose price can be trusted.")]
    disagreements: Annotated[list[str], Meta(description="In words, the worst first.")]


class MarketData(Answer, frozen=True):
    """The newest tops, by symbol."""

    symbols: list[SymbolTops]


class QingxiStats(FeedAnswer, frozen=True, kw_only=True):
    """All of it, added up. Null: the feed has not said."""

    collectors: dict[str, int]
    books: dict[str, int]
    messages: int | None
    counters: dict[str, int]
    written: dict[str, int]
    lost: int | None
    streams: Annotated[int, Meta(description="Open push streams.")]


class RefusedView(Answer, frozen=True):
    """A message that was refused, and why."""

    at: datetime
    exchange: str
    channel: str
    reason: str
    symbol: str | None
    detail: str | None


class RefusedViews(Answer, frozen=True):
    """Refused messages that were kept, newest first."""

    refused: list[RefusedView]


def read_list(call: Call[Nothing]) -> Reply[CollectorViews]:
    """Read the collectors: what is wished of each, and what it last said of itself."""
    with reading(call.deps.engine) as db:
        rows = collectors.listed(db)
    known = source.exchanges(call.deps.settings)
    _, feed, age_ms = reported(call)
    return Reply(
        CollectorViews(feed=feed, age_ms=age_ms, collectors=[_view(row, feed) for row in rows if row.exchange in known])
    )


def start(call: Call[CollectorAsked]) -> Reply[CollectorWish]:
    """Wish that a collector runs."""
    return _steer(call, "running")


def stop(call: Call[CollectorAsked]) -> Reply[CollectorWish]:
    """Wish that a collector rests."""
    return _steer(call, "stopped")


def read_status(call: Call[Nothing]) -> Reply[CollectorStates]:
    """Read what the collectors are doing, by market-feed's own report."""
    report, feed, age_ms = reported(call)
    return Reply(CollectorStates(feed=feed, age_ms=age_ms, collectors=_states(call, report)))


def read_one_status(call: Call[CollectorAsked]) -> Reply[CollectorStates]:
    """Read what one collector is doing."""
    report, feed, age_ms = reported(call)
    found = [one for one in _states(call, report) if one.name == call.asks.name]
    if not found:
        with reading(call.deps.engine) as db:
            if collectors.get(db, call.asks.name) is None:
                raise NotFound(f"There is no collector {call.asks.name!r}.", cure="GET /api/qingxi/collectors/list")
    return Reply(CollectorStates(feed=feed, age_ms=age_ms, collectors=found))


def read_quality(call: Call[Nothing]) -> Reply[DataQuality]:
    """Read how good the data are: completeness, latency, errors and freshness, and the state of every book."""
    report, feed, age_ms = reported(call)
    figures = [
        CollectorQuality(one.name, one.exchange, one.state, _quality(one.quality), one.counters)
        for one in _collectors(report)
    ]
    books = [msgspec.convert(book, BookState, from_attributes=True) for book in (report.books if report else ())]
    return Reply(DataQuality(feed=feed, age_ms=age_ms, collectors=figures, books=books))


def read_flow(call: Call[Nothing]) -> Reply[DataFlow]:
    """Read how many messages a second pass each channel and stage."""
    report, feed, age_ms = reported(call)
    if report is None:
        unknown = dict.fromkeys(("waiting", "lost", "away_since_ms", "held_back", "why_held_back"))
        nothing: dict[str, Any] = {"channels": [], "tables": []} | unknown
        return Reply(
            DataFlow(feed=feed, age_ms=age_ms, stages=[StageFlow(stage, None, None) for stage in _STAGES], **nothing)
        )
    channels: Counter[tuple[str, str]] = Counter()
    for one in report.collectors:
        for channel, count in one.messages.items():
            channels[one.exchange, channel] += count
    totals: dict[Stage, int | None] = {
        "received": sum(channels.values()),
        "refused": _counters(report).get("refused", 0),
        "stored": sum(report.store.written.values()),
        "published": report.store.told.get("ok", 0) if report.store.told else None,
    }
    known = {f"stage {stage}": total for stage, total in totals.items() if total is not None}
    known |= {f"channel {exchange} {channel}": total for (exchange, channel), total in channels.items()}
    known |= {f"table {table}": rows for table, rows in report.store.written.items()}
    rates = call.deps.feed_rates.per_s(report.at_ms, known)
    return Reply(
        DataFlow(
            feed=feed,
            age_ms=age_ms,
            channels=[
                ChannelFlow(exchange, channel, total, rates[f"channel {exchange} {channel}"])
                for (exchange, channel), total in sorted(channels.items())
            ],
            stages=[StageFlow(stage, totals[stage], rates.get(f"stage {stage}")) for stage in _STAGES],
            tables=[
                TableFlow(table, rows, rates[f"table {table}"]) for table, rows in sorted(report.store.written.items())
            ],
            waiting=report.store.waiting,
            lost=report.store.lost,
            away_since_ms=report.store.away_since_ms,
            held_back=report.store.held_back,
            why_held_back=report.store.why_held_back,
        )
    )


def read_clean_stats(call: Call[Nothing]) -> Reply[CleanStats]:
    """Read what each cleaning check refused or marked, with the newest example."""
    report, feed, age_ms = reported(call)
    checks = [msgspec.convert(one, CleaningCheck, from_attributes=True) for one in (report.checks if report else ())]
    sums = {v: sum(c.count for c in checks if c.verdict == v) if report else None for v in ("refuse", "mark")}
    return Reply(CleanStats(feed=feed, age_ms=age_ms, refused=sums["refuse"], marked=sums["mark"], checks=checks))


def read_market_data(call: Call[MarketDataAsked]) -> Reply[MarketData]:
    """Read the newest tops of every symbol on every exchange, and whether the exchanges agree."""
    settings = call.deps.settings
    symbol = None if call.asks.symbol is None else symbols.parse(call.asks.symbol)
    time = source.market_time(settings, call.now)
    tops: dict[str, list[TickerView]] = {}
    for pair, ticker in call.deps.market.tickers(source.exchanges(settings), symbol):
        tops.setdefault(pair.symbol, []).append(ticker_view(pair.exchange, pair.symbol, ticker, time))
    resting = _resting(call)
    return Reply(MarketData([_compared(name, views, resting, time) for name, views in sorted(tops.items())]))


def read_stats(call: Call[Nothing]) -> Reply[QingxiStats]:
    """Read the totals."""
    report, feed, age_ms = reported(call)
    mine = _collectors(report)
    return Reply(
        QingxiStats(
            feed=feed,
            age_ms=age_ms,
            collectors=dict(Counter(one.state for one in mine)),
            books=dict(Counter(book.status for book in (report.books if report else ()))),
            messages=sum(sum(one.messages.values()) for one in mine) if report else None,
            counters=_counters(report) if report else {},
            written=report.store.written if report else {},
            lost=report.store.lost if report else None,
            streams=call.deps.hub.clients,
        )
    )


def read_refused(call: Call[RefusedAsked]) -> Reply[RefusedViews]:
    """Read refused messages that were kept for inspection."""
    with reading(call.deps.engine) as db:
        rows = refused.recent(db, call.asks.limit, reason=call.asks.reason)
    return Reply(RefusedViews([msgspec.convert(row, RefusedView, from_attributes=True) for row in rows]))


def _steer(call: Call[CollectorAsked], desired: Desired) -> Reply[CollectorWish]:
    row, changed = steer_collector(
        call.deps.engine,
        call.asks.name,
        desired,
        call.asking,
        exchanges=source.exchanges(call.deps.settings),
    )
    return Reply(CollectorWish(changed, _view(row, reported(call).state)), 202 if changed else 200)


def _resting(call: Call[Any]) -> set[str]:
    """Exchanges whose collectors do not run, so that what is known of them is what was."""
    report = reported(call).report
    resting = {one.exchange for one in _collectors(report) if one.state not in ("running", "degraded")}
    with reading(call.deps.engine) as db:
        return resting | {row.exchange for row in unreported(collectors.listed(db), report)}


def _compared(symbol: str, views: list[TickerView], resting: set[str], time: MarketTime) -> SymbolTops:
    """Whether the exchanges agree, of those that are collected now and whose price can be trusted."""
    tops = [
        BookTop(
            view.exchange,
            symbol,
            view.timestamp,
            view.timestamp,
            bid=view.bid,
            ask=view.ask,
            bid_quantity=0,
            ask_quantity=0,
        )
        for view in views
        if view.exchange not in resting
        and time.status(view.timestamp, COMPARED_MS) == "ok"
        and view.bid is not None
        and view.ask is not None
        and view.timestamp is not None
    ]
    if len(tops) < 2:
        return SymbolTops(symbol, views, "unknown", [])
    found = disagreements(tops)
    worst: Consistency = "ok"
    if found:
        worst = "critical" if any(one.severity == "CRITICAL" for one in found) else "warning"
    return SymbolTops(symbol, views, worst, [one.sentence for one in found])


def _collectors(report: FeedReport | None) -> Iterable[CollectorReport]:
    return report.collectors if report else ()


def _counters(report: FeedReport) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in report.collectors:
        total.update(one.counters)
    return dict(sorted(total.items()))


def _view(row: Collector, feed: FeedState) -> CollectorView:
    """What a feed that was killed wrote into its row stands there for ever, and is not so."""
    view = msgspec.convert(row, CollectorView, from_attributes=True)
    return view if feed == "ok" or view.actual is None else msgspec.structs.replace(view, actual="unknown")


def _states(call: Call[Any], report: FeedReport | None) -> list[CollectorState]:
    """What the feed reports, and those that were stopped and that it says nothing of. The database may be away."""
    known = source.exchanges(call.deps.settings)
    states = [_state(one) for one in _collectors(report)]
    try:
        with reading(call.deps.engine) as db:
            rows = collectors.listed(db)
    except Unavailable:
        return states
    return states + [
        CollectorState(row.name, row.exchange, "stopped", row.note or "", None, [], [], {}, {}, _NO_QUALITY)
        for row in unreported(rows, report)
        if row.exchange in known
    ]


def _state(report: CollectorReport) -> CollectorState:
    return msgspec.convert(report, CollectorState, from_attributes=True)


def _quality(quality: Quality) -> QualityView:
    return msgspec.convert(quality, QualityView, from_attributes=True)


_AT = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
_MS = 1_795_262_400_000
_BTC = "BTC/USDT:USDT"
_COLLECTOR = CollectorView(
    "binance", "binance", "Binance", ["candles", "trades"], None, "running", "running", None, "fleet", _AT, _AT
)
_QUALITY = QualityView(0.999, 45.0, 120.0, 0.0, 210, 97.5)
_NO_QUALITY = QualityView(None, None, None, None, None, None)
_LINK = ConnectionView("fstream.binance.com", "open", _MS, _MS, 120_000, 0, "")
_COUNTERS = {"gaps": 0, "late": 2}
_STATE = CollectorState("binance", "binance", "running", "", _MS, [_BTC], [_LINK], {"trades": 9}, _COUNTERS, _QUALITY)
_TOP = TickerView(exchange="binance", symbol=_BTC, status="ok", age_ms=210, timestamp=_MS, bid=43249.5, ask=43251.0)
_GONE = (NotFound, Unavailable)


def _reading(path: str, handler: Any, summary: str, example: Any, **more: Any) -> Route[Any, Any]:
    route: Any = Route
    made: Route[Any, Any] = route(
        "GET", f"/api/qingxi/{path}", handler, "qingxi", summary, answer=type(example), example=example,
        **({"asks": Nothing} | more),
    )  # fmt: skip
    return made


def _wish(
    path: str, handler: Any, summary: str, raises: tuple[type[FlotillaError], ...]
) -> Route[CollectorAsked, CollectorWish]:
    return Route(
        "POST",
        f"/api/qingxi/collectors/{path}",
        handler,
        "qingxi",
        summary,
        CollectorAsked,
        CollectorWish,
        statuses=(200, 202),
        raises=raises,
        asks_example=CollectorAsked("binance"),
        example=CollectorWish(changed=True, collector=_COLLECTOR),
    )


ROUTES = (
    _reading(
        "collectors/list",
        read_list,
        "The collectors",
        CollectorViews(feed="ok", age_ms=400, collectors=[_COLLECTOR]),
        raises=(Unavailable,),
        quiet=True,
    ),
    _wish("start", start, "Wish that a collector runs", (*_GONE, Conflict)),
    _wish("stop", stop, "Wish that a collector rests", _GONE),
    _wish("{name}/start", start, "The same as collectors/start", (*_GONE, Conflict)),
    _wish("{name}/stop", stop, "The same as collectors/stop", _GONE),
    _reading(
        "collectors/status",
        read_status,
        "What the collectors are doing",
        CollectorStates(feed="ok", age_ms=400, collectors=[_STATE]),
        quiet=True,
    ),
    _reading(
        "collectors/{name}/status",
        read_one_status,
        "What one collector is doing",
        CollectorStates(feed="ok", age_ms=400, collectors=[_STATE]),
        asks=CollectorAsked,
        raises=_GONE,
    ),
    _reading(
        "data/quality",
        read_quality,
        "How good the data are",
        DataQuality(
            feed="ok",
            age_ms=400,
            collectors=[CollectorQuality("binance", "binance", "running", _QUALITY, _COUNTERS)],
            books=[BookState("binance", _BTC, "ok", 1000, 1000, _MS, 0)],
        ),
        quiet=True,
    ),
    _reading(
        "data/flow",
        read_flow,
        "Messages a second by channel and stage",
        DataFlow(
            feed="ok",
            age_ms=400,
            channels=[ChannelFlow("binance", "trades", 90_000, 310.5)],
            stages=[StageFlow("received", 90_000, 310.5)],
            tables=[TableFlow("trade_flow", 1_200, 12.5)],
            waiting=0,
            lost=0,
            away_since_ms=None,
            held_back=0,
            why_held_back="",
        ),
        quiet=True,
    ),
    _reading(
        "clean-stats",
        read_clean_stats,
        "What cleaning refused and marked",
        CleanStats(
            feed="ok", age_ms=400, refused=2, marked=0, checks=[CleaningCheck("crossed", "refuse", 2, _MS, "...")]
        ),
    ),
    _reading(
        "market-data",
        read_market_data,
        "The newest tops, and whether the exchanges agree",
        MarketData([SymbolTops(_BTC, [_TOP], "ok", [])]),
        asks=MarketDataAsked,
        raises=(InvalidInput, Unavailable),
        quiet=True,
    ),
    _reading(
        "stats",
        read_stats,
        "The totals",
        QingxiStats(
            feed="ok",
            age_ms=400,
            collectors={"running": 1},
            books={"ok": 13},
            messages=90_000,
            counters=_COUNTERS,
            written={"klines": 900},
            lost=0,
            streams=4,
        ),
    ),
    _reading(
        "refused",
        read_refused,
        "Messages that were refused, and why",
        RefusedViews([RefusedView(_AT, "binance", "trades", "price-jump", _BTC, "...")]),
        asks=RefusedAsked,
        raises=(Unavailable,),
    ),
)
