"""How well everything works: machine and processes, what was measured by the minute, each symbol, and whether it is healthy.

``/api/architecture`` and ``/api/observability`` are the documents' names for some of the same, on the same real figures.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import source
from api.routes.health import CheckView, Readiness, metrics_now, ready
from api.routes.route import Answer, AnyRoute, Asks, Call, Nothing, Reply, Route, Spelled, StrategyName
from api.routes.statistics import Figures
from api.routes.system import (
    TRACE,
    Limit,
    Logs,
    LogsAsked,
    NoticeView,
    ProcessView,
    Status,
    read_logs,
    read_notices,
    status,
)
from app.domain.alerts.rules import RULES
from app.domain.market import symbols as spelling
from app.domain.market.market_time import ms_of
from app.domain.market.readings import Status as Freshness
from app.domain.strategies.table import STRATEGIES
from app.errors import FlotillaError, InvalidInput, NotFound, Unavailable
from app.host import acknowledgements, alert_file, feed_report
from app.host.acknowledgements import Acknowledgement
from app.storage import accounts, judgments, monitoring, symbols
from app.storage import statistics as stored
from app.storage.database import reading, transaction
from app.usecases.check_health import told
from app.usecases.judge import STEP
from app.usecases.measure_work import business
from app.usecases.read_fleet import feed_ages
from app.usecases.read_market import REFERENCE_FRESH_MS
from app.usecases.sum_up_trades import sum_up

MetricType = Literal["API_SUCCESS_RATE", "STRATEGY_CALCULATION_RATE", "SYSTEM_HEALTH"]


class HostView(Answer, frozen=True):
    """The machine at this moment. What cannot be known is null."""

    cpu_percent: float | None
    memory_percent: float | None
    disk_free_mb: float | None


class SystemNow(Answer, frozen=True):
    """The machine and every process at this moment."""

    host: HostView
    processes: list[ProcessView]
    problems: list[str]


class SampleView(Answer, frozen=True):
    """What was measured of one part in one minute."""

    at: datetime
    metric_type: MetricType
    component: str
    strategy: str
    timeframe: str
    success_count: int
    total_count: int
    success_rate: Annotated[Decimal | None, Meta(description="In percent.")]
    avg_response_time: Annotated[Decimal | None, Meta(description="In ms.")]
    error_message: str | None


class Samples(Answer, frozen=True):
    """Samples, newest first."""

    samples: list[SampleView]


class SymbolWatch(Answer, frozen=True):
    """How one symbol is served."""

    symbol: str
    price: float | None
    price_exchange: Annotated[
        str | None, Meta(description="Which one said it: another one when the first has no price of the last minute.")
    ]
    price_status: Annotated[Freshness, Meta(description="Whether the price is of the last minute.")]
    judged_at: Annotated[dict[str, datetime | None], Meta(description="The last close that each strategy judged.")]
    open_trades: int
    figures: Annotated[dict[str, Figures], Meta(description="Of each strategy that has closed a trade.")]


class SymbolWatches(Answer, frozen=True):
    """Every symbol that is watched."""

    symbols: list[SymbolWatch]


class HealthNow(Answer, frozen=True):
    """Whether everything works, its parts and its business."""

    status: Literal["healthy", "unhealthy"]
    checks: list[CheckView]


class MetricSeries(Answer, frozen=True):
    """One value of one process."""

    name: str
    kind: str
    process: str
    labels: dict[str, str]
    value: Annotated[float | None, Meta(description="Of a histogram the sum of all durations, in s.")]
    count: Annotated[int | None, Meta(description="Of a histogram: how many.")]


class MetricsNow(Answer, frozen=True):
    """All figures of all processes: what /metrics says, as JSON."""

    series: list[MetricSeries]


class EveryProcess(Answer, frozen=True):
    """Every process."""

    services: list[ProcessView]


class FiguresWritten(Answer, frozen=True):
    """What the closed trades of one account amount to, computed anew."""

    symbol: str
    strategy: StrategyName
    figures: Figures


class SamplesAsked(Asks, frozen=True):
    """Which samples."""

    metric_type: MetricType | None = None
    component: Annotated[str, Meta(max_length=50)] | None = None
    hours: Annotated[int, Meta(ge=1, le=720, description="How far back.")] = 24
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class NewSample(Asks, frozen=True):
    """What somebody else measured: a probe of another machine, a script."""

    metric_type: MetricType
    component: Annotated[str, Meta(min_length=1, max_length=50)]
    success_count: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    total_count: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    avg_response_time: Annotated[float, Meta(ge=0, le=9_999_999, description="In ms.")] | None = None
    error_message: Annotated[str, Meta(max_length=1000)] | None = None


class WhoseFigures(Asks, frozen=True):
    """Of which account."""

    symbol: Spelled
    strategy: StrategyName


class AlertView(Answer, frozen=True):
    """One alert: what its rule says of its subject."""

    rule: str
    subject: str
    status: Literal["ok", "pending", "firing", "resolved"]
    since: datetime | None
    fired_at: datetime | None
    value: Annotated[float | None, Meta(description="The reading that was last told.")]
    acknowledged_by: str | None


class AlertsNow(Answer, frozen=True):
    """The alerts that are not simply well, and what a person was told last."""

    alerts: list[AlertView]
    notices: list[NoticeView]


class AlertKnown(Asks, frozen=True):
    """Which alert somebody knows of: by its rule, or by rule/subject; without a name, all that fire."""

    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class AlertsKnown(Answer, frozen=True):
    """Of which alerts somebody knows now: no reminder and no escalation until they fire anew."""

    acknowledged: list[str]


class TraceAsked(Asks, frozen=True):
    """Which request."""

    trace_id: Annotated[str, Meta(pattern=TRACE)]
    lines: Annotated[int, Meta(ge=1, le=1000)] = 200


def read_system(call: Call[Nothing]) -> Reply[SystemNow]:
    """Read machine and processes."""
    host, whole = call.deps.host(), status(call).data
    view = HostView(host.cpu_percent, host.memory_percent, host.disk_free_mb)
    return Reply(SystemNow(view, whole.processes, whole.problems))


def read_samples(call: Call[SamplesAsked]) -> Reply[Samples]:
    """Read what was measured by the minute."""
    asked = call.asks
    with reading(call.deps.engine) as db:
        found = monitoring.recent(
            db,
            limit=asked.limit,
            metric_type=asked.metric_type,
            component=asked.component,
            since=call.now - timedelta(hours=asked.hours),
        )
    return Reply(Samples([_sample(one) for one in found]))


def add_sample(call: Call[NewSample]) -> Reply[SampleView]:
    """Write down what somebody else measured."""
    asked = call.asks
    if asked.success_count > asked.total_count:
        raise InvalidInput(
            f"{asked.success_count} of {asked.total_count} cannot have gone well.", cure="Count all in total_count."
        )
    rate = None
    if asked.total_count:
        share = Decimal(100) * asked.success_count / asked.total_count
        rate = share.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    average = asked.avg_response_time
    sample = monitoring.Sample(
        asked.metric_type,
        asked.component,
        asked.success_count,
        asked.total_count,
        rate,
        None if average is None else Decimal(repr(average)).quantize(Decimal("0.001")),
        call.now,
        asked.error_message,
    )
    with transaction(call.deps.engine) as db:
        monitoring.add_all(db, [sample])
    return Reply(_sample(sample), 201)


def read_symbols(call: Call[Nothing]) -> Reply[SymbolWatches]:
    """Read how each symbol is served."""
    deps = call.deps
    time = source.market_time(deps.settings, call.now)
    with reading(deps.engine) as db:
        active = [pair.symbol for pair in symbols.listed(db, status="ACTIVE")]
        closes = judgments.last_closes(db, active, STEP.upper())
        busy = [kept.desk for kept in accounts.listed(db, busy=True)]
        rows = stored.listed(db)
    prices = deps.market.reference(source.exchanges(deps.settings), time)
    found = []
    for symbol in active:
        said = prices.get(symbol)
        figures = {
            row.strategy_type: msgspec.convert(row, Figures, from_attributes=True)
            for row in rows
            if row.symbol == symbol
        }
        found.append(
            SymbolWatch(
                symbol,
                said.price if said else None,
                said.exchange if said else None,
                time.status(said.timestamp if said else None, REFERENCE_FRESH_MS),
                {name: closes.get((symbol, name)) for name in STRATEGIES},
                sum(desk.trade is not None and desk.symbol == symbol for desk in busy),
                figures,
            )
        )
    return Reply(SymbolWatches(found))


def write_figures(call: Call[WhoseFigures]) -> Reply[FiguresWritten]:
    """Compute an account's figures anew from its closed trades. What a client says of them is not asked."""
    symbol, strategy = spelling.parse(call.asks.symbol), call.asks.strategy
    with transaction(call.deps.engine) as db:
        kept = accounts.get(db, symbol, strategy)
        if kept is None:
            raise NotFound(f"{strategy} has no account on {symbol}.", cure="Accounts come with the first judgment.")
        figures = sum_up(db, kept.desk, call.now)
    call.deps.look_up.statistics_changed(symbol, strategy)
    return Reply(FiguresWritten(symbol, strategy, msgspec.convert(figures, Figures, from_attributes=True)))


def read_health(call: Call[Nothing]) -> Reply[HealthNow]:
    """Ask every part, and look whether the business goes on."""
    checks = [*ready(call).data.checks, _market_data(call), *_business(call)]
    bad = [check.name for check in checks if not check.ok]
    if not bad:
        return Reply(HealthNow("healthy", checks))
    wrong = Unavailable(
        f"Not healthy: {', '.join(bad)}.", cure="Read the details of each check, or run: flotilla doctor"
    )
    return Reply(HealthNow("unhealthy", checks), error=wrong)


def read_metrics(call: Call[Nothing]) -> Reply[MetricsNow]:
    """Read all figures."""
    found = [
        MetricSeries(
            family.name,
            family.kind,
            snapshot.process,
            one.labels,
            one.value,
            sum(one.buckets) if family.kind == "histogram" else None,
        )
        for snapshot in metrics_now(call).found
        for family in snapshot.families
        for one in family.series
    ]
    return Reply(MetricsNow(found))


def read_services(call: Call[Nothing]) -> Reply[EveryProcess]:
    """Read every process."""
    return Reply(EveryProcess(status(call).data.processes))


def read_trace(call: Call[TraceAsked]) -> Reply[Logs]:
    """Read what all processes said of one request, in order."""
    asked = call.asks
    return read_logs(
        Call(
            call.deps,
            LogsAsked(lines=asked.lines, trace_id=asked.trace_id),
            call.now,
            call.trace_id,
            call.actor,
        )
    )


def read_alerts(call: Call[Limit]) -> Reply[AlertsNow]:
    """Read what is alarming, and what a person was told."""
    states = alert_file.read(call.deps.settings.state_dir).states
    found = [
        AlertView(*alert_file.apart(name), one.status, one.since, one.fired_at, one.value, one.acknowledged_by)
        for name, one in sorted(states.items())
        if one.status != "ok"
    ]
    return Reply(AlertsNow(found, read_notices(call).data.notices))


def acknowledge(call: Call[AlertKnown]) -> Reply[AlertsKnown]:
    """Say that somebody knows of what fires. The monitor takes it up at its next look."""
    asked, settings = call.asks.name, call.deps.settings
    known = [
        Acknowledgement(name, call.actor, one.fired_at)
        for name, one in sorted(alert_file.read(settings.state_dir).states.items())
        if one.status == "firing" and one.fired_at is not None
        if alert_file.is_meant(name, asked)
    ]
    if not known:
        raise NotFound(
            "Nothing fires." if asked is None else f"No alert {asked!r} fires.",
            cure="GET /api/observability/alerts shows what does.",
        )
    try:
        for one in known:
            acknowledgements.ask(settings.run_dir, one)
    except OSError as error:
        raise Unavailable(f"The run folder does not take it: {error.strerror}.", cure="Free space there.") from error
    return Reply(AlertsKnown([alert_file.shown(one.name) for one in known]), 202)


_STALE = next(rule for rule in RULES if rule.name == "feed-stale")


def _market_data(call: Call[Nothing]) -> CheckView:
    ages = feed_ages(feed_report.look(call.deps.settings.run_dir, ms_of(call.now)))
    if not ages:
        return CheckView("market data", ok=True, state="unknown", detail="Nothing was collected yet.")
    old = [f"{name} {age_s:.0f} s" for name, age_s in ages.items() if _STALE.broken_by(age_s)]
    if old:
        return CheckView("market data", ok=False, state="stale", detail=f"The newest data are old: {_some(old)}.")
    return CheckView("market data", ok=True, state="ok", detail="Every exchange is heard.")


def _business(call: Call[Nothing]) -> list[CheckView]:
    time = source.market_time(call.deps.settings, call.now)
    try:
        with reading(call.deps.engine) as db:
            found = business(db, time)
    except FlotillaError as error:
        return [CheckView("business", ok=False, state="unknown", detail=told(error))]
    behind = found.cycles_behind
    judging = "Nothing was judged yet." if behind is None else f"{behind} closes wait to be judged."
    return [
        CheckView("judging", ok=behind is None or behind < 2, state=_word(behind, most=2), detail=judging),
        _named("open interest", found.still_interest, "still", "Unchanged for an hour", "Open interest moves."),
        _named("ledger", found.broken_accounts, "broken", "These accounts do not add up", "The paper ledger adds up."),
        _named(
            "housekeeping", found.failed_chores, "failed", "The newest try failed", "Backup, archive and clean-up work."
        ),
        _named("integrity", found.damaged_tables, "damaged", "Damaged tables", "No damage is known."),
    ]


def _named(name: str, those: Sequence[str] | None, bad: str, what_is: str, all_is_well: str) -> CheckView:
    """A check that names what is bad. What cannot be looked at is not well."""
    if those is None:
        said = "It cannot be looked at: flotilla logs main-app --level WARNING."
        return CheckView(name, ok=False, state="unknown", detail=said)
    return CheckView(
        name, ok=not those, state=bad if those else "ok", detail=f"{what_is}: {_some(those)}." if those else all_is_well
    )


def _word(behind: int | None, *, most: int) -> str:
    if behind is None:
        return "warming"
    return "ok" if behind < most else "behind"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _sample(one: monitoring.Sample) -> SampleView:
    return SampleView(
        one.created_at,
        one.metric_type,  # type: ignore[arg-type]
        one.component,
        one.strategy_type,
        one.timeframe,
        one.success_count,
        one.total_count,
        one.success_rate,
        one.avg_response_time,
        one.error_message,
    )


_AT = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
_PROCESS = ProcessView("monitor", 4711, "RUNNING", "running", 3600, 0, 31.4, 50, 1.2, "sampled", "core", "")
_SAMPLE = SampleView(
    _AT, "API_SUCCESS_RATE", "main-app", "ALL", "ALL", 119, 120, Decimal("99.17"), Decimal("4.2"), None
)
_FIGURES = Figures(
    total_trades=1,
    winning_trades=1,
    losing_trades=0,
    win_rate=Decimal(100),
    total_pnl=Decimal("41.2"),
    avg_pnl_per_trade=Decimal("41.2"),
    best_trade=Decimal("41.2"),
    worst_trade=Decimal("41.2"),
    profit_factor=None,
    max_drawdown=Decimal(0),
    avg_holding_time=42,
)
_WATCH = SymbolWatch("BTC/USDT:USDT", 43250.5, "binance", "ok", {"V3": _AT, "ICT": _AT}, 1, {"V3": _FIGURES})
_CHECK = CheckView("ledger", ok=True, state="ok", detail="The paper ledger adds up.")
_METRIC = MetricSeries("flotilla_up", "gauge", "monitor", {"process": "main-app"}, 1.0, None)
_LINE = {"at": _AT.isoformat(), "level": "INFO", "process": "main-app", "message": "started"}
_NEW = NewSample("API_SUCCESS_RATE", "probe-1", 59, 60, 12.5)
_BASE = "/api/v1/monitoring"


def _asked(
    path: str,
    handler: Any,
    summary: str,
    asks: type[Asks],
    answer: type[Answer],
    example: Answer,
    *raises: type[FlotillaError],
) -> AnyRoute:
    """A route of this file that only reads."""
    tag = "monitoring" if path.startswith(_BASE) else path.split("/")[2]
    statuses = (200, 503) if answer in (HealthNow, Readiness) else (200,)
    return Route("GET", path, handler, tag, summary, asks, answer, statuses=statuses, raises=raises, example=example)


ROUTES: tuple[AnyRoute, ...] = (
    _asked(
        f"{_BASE}/system",
        read_system,
        "Machine and processes at this moment",
        Nothing,
        SystemNow,
        SystemNow(HostView(12.5, 48.1, 20_000.0), [_PROCESS], []),
    ),
    _asked(
        f"{_BASE}/metrics",
        read_samples,
        "What was measured by the minute",
        SamplesAsked,
        Samples,
        Samples([_SAMPLE]),
        Unavailable,
    ),
    Route(
        "POST",
        f"{_BASE}/metrics",
        add_sample,
        "monitoring",
        "Write down what somebody else measured",
        NewSample,
        SampleView,
        statuses=(201,),
        raises=(InvalidInput, Unavailable),
        asks_example=_NEW,
        example=_SAMPLE,
    ),
    _asked(
        f"{_BASE}/symbols",
        read_symbols,
        "How each symbol is served",
        Nothing,
        SymbolWatches,
        SymbolWatches([_WATCH]),
        Unavailable,
    ),
    _asked(
        f"{_BASE}/health",
        read_health,
        "Whether everything works, its business included",
        Nothing,
        HealthNow,
        HealthNow("healthy", [_CHECK]),
    ),
    Route(
        "POST",
        f"{_BASE}/{{symbol}}/statistics",
        write_figures,
        "monitoring",
        "Compute an account's figures anew",
        WhoseFigures,
        FiguresWritten,
        raises=(InvalidInput, NotFound, Unavailable),
        asks_example=WhoseFigures("BTCUSDT", "V3"),
        example=FiguresWritten("BTC/USDT:USDT", "V3", _FIGURES),
    ),
    _asked(
        "/api/architecture/services", read_services, "Every process", Nothing, EveryProcess, EveryProcess([_PROCESS])
    ),
    _asked(
        "/api/architecture/health-check",
        read_health,
        "Whether everything works, its business included",
        Nothing,
        HealthNow,
        HealthNow("healthy", [_CHECK]),
    ),
    _asked(
        "/api/architecture/metrics", read_metrics, "All figures, as JSON", Nothing, MetricsNow, MetricsNow([_METRIC])
    ),
    _asked(
        "/api/architecture/status",
        status,
        "What runs",
        Nothing,
        Status,
        Status(
            is_running=True,
            last_started=_AT,
            cpu_usage=12.5,
            memory_usage=48.1,
            network_latency=None,
            version="0.1.0",
            uptime=1.0,
            modules={},
            processes=[_PROCESS],
            problems=[],
        ),
    ),
    _asked(
        "/api/observability/logs", read_logs, "The newest lines of the logs", LogsAsked, Logs, Logs([_LINE]), NotFound
    ),
    _asked(
        "/api/observability/traces",
        read_trace,
        "What all processes said of one request",
        TraceAsked,
        Logs,
        Logs([_LINE]),
        InvalidInput,
    ),
    _asked(
        "/api/observability/alerts",
        read_alerts,
        "What is alarming, and what a person was told",
        Limit,
        AlertsNow,
        AlertsNow([AlertView("disk-low", "machine", "firing", _AT, _AT, 84.0, None)], []),
    ),
    Route(
        "POST",
        "/api/observability/alerts/acknowledge",
        acknowledge,
        "observability",
        "Say that somebody knows of what fires",
        AlertKnown,
        AlertsKnown,
        statuses=(202,),
        raises=(NotFound, Unavailable),
        asks_example=AlertKnown("process-down/market-feed"),
        example=AlertsKnown(["process-down/market-feed"]),
    ),
    _asked(
        "/api/observability/metrics", read_metrics, "All figures, as JSON", Nothing, MetricsNow, MetricsNow([_METRIC])
    ),
)
