"""What the strategies judge, and what they say when asked. A judgment is of a closed candle, is written once, and carries every
number that it rests on; an analysis is of now, and is written nowhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import source
from api.errors import ErrorBody, Problem, status_of
from api.routes.route import Answer, AnyRoute, Asks, Call, Nothing, Reply, Route, Spelled, StrategyName
from app.domain.market import symbols as spelling
from app.domain.market.market_time import ms_of
from app.domain.market.readings import Status
from app.domain.strategies.strategy import Confidence, Direction, Signal, Strategy, Strength
from app.domain.strategies.table import STRATEGIES
from app.errors import FlotillaError, InvalidInput, NotFound, Unavailable
from app.storage import judgments, symbols, tasks
from app.storage.database import reading
from app.storage.judgments import Judgment
from app.usecases import begin_judging
from app.usecases.analyze import Analysis, analyze, last_step, not_watched
from app.usecases.judge import STEP, inputs_of, judge_all
from app.usecases.look_up import LookUp

Timeframe = Literal["1D", "4H", "1H", "15M"]
V3Timeframe = Literal["4H", "1H", "15M"]
IctTimeframe = Literal["1D", "4H", "15M"]
MOST_SYMBOLS = 50


class JudgmentView(Answer, frozen=True):
    """One judgment of one closed candle."""

    id: int
    symbol: str
    strategy: str
    timeframe: Timeframe
    closed_at: Annotated[datetime, Meta(description="When the candle closed, by the market's clock.")]
    trend: Direction
    score: Annotated[Decimal | None, Meta(description="Of this timeframe, 0 to 10.")]
    confidence: Confidence
    total: Annotated[int | None, Meta(description="Of all timeframes together, 0 to 100.")]
    signal: Signal | None
    strength: Strength | None
    inputs: Annotated[dict[str, Any], Meta(description="What it rests on; null is not known.")]


class JudgmentPage(Answer, frozen=True):
    """Judgments, newest first."""

    judgments: list[JudgmentView]
    next_before_id: Annotated[int | None, Meta(description="Pass it as before_id for the next page; null on the last.")]


class LiveView(Answer, frozen=True):
    """What a strategy would say at a moment between two closes, on what is live by then."""

    strategy: StrategyName
    as_of_ms: Annotated[int, Meta(description="By the market's clock.")]
    trend: Direction
    total: int
    signal: Signal
    strength: Strength | None
    confidence: Confidence
    blocked_by: Annotated[str | None, Meta(description="The gate that is closed.")]


class SymbolStatus(Answer, frozen=True):
    """The latest judgment of each timeframe of one symbol; null where none was made yet."""

    symbol: str
    v3: dict[V3Timeframe, JudgmentView | None]
    ict: dict[IctTimeframe, JudgmentView | None]
    now: Annotated[
        list[LiveView], Meta(description="Between two closes: what would be said of it now. In the cache alone.")
    ]


class CurrentStatus(Answer, frozen=True):
    """The latest judgments, by symbol."""

    symbols: list[SymbolStatus]


class StrategyStatus(Answer, frozen=True):
    """How far one strategy has judged."""

    name: StrategyName
    timeframes: list[Timeframe]
    judged_at: Annotated[
        datetime | None,
        Meta(description="The last close of 15M that was judged, by the market's clock; null before the first."),
    ]
    symbols: Annotated[int, Meta(description="How many were judged at that close.")]
    age_s: Annotated[
        float | None, Meta(description="Since that close, in s of the market's time; null where it is not known.")
    ]


class StrategiesStatus(Answer, frozen=True):
    """Whether the strategies judge. A cycle begins at each close of 15M."""

    strategies: list[StrategyStatus]
    cycle_running: Annotated[bool, Meta(description="Whether some symbols still wait to be judged.")]


class GateView(Answer, frozen=True):
    """One condition on the way to a trade, and the numbers that decided."""

    name: str
    passed: bool
    values: dict[str, Any]


class LevelsView(Answer, frozen=True):
    """Where a trade would be entered, given up and won."""

    entry: float
    stop: float
    target: float


class VerdictView(Answer, frozen=True):
    """What follows from the inputs. The gates are the chain of reasons: nothing after the first closed one matters."""

    trend: Direction
    scores: Annotated[dict[str, float], Meta(description="Of each timeframe, 0 to 10.")]
    total: Annotated[int, Meta(description="Of all timeframes together, 0 to 100.")]
    signal: Signal
    strength: Strength | None
    confidence: Confidence
    gates: list[GateView]
    blocked_by: Annotated[GateView | None, Meta(description="Why there is no trade; null where there is one.")]
    levels: LevelsView | None
    inputs: Annotated[dict[str, Any], Meta(description="What it rests on; null is not known.")]


class AnalysisView(Answer, frozen=True):
    """What one strategy says of one symbol now."""

    symbol: str
    strategy: StrategyName
    closed_at_ms: Annotated[int, Meta(description="The close of 15m that is judged, market time in ms since 1970.")]
    candles: Annotated[dict[str, Status], Meta(description="What each timeframe's candles are worth.")]
    verdict: Annotated[VerdictView | None, Meta(description="Null where the newest candles are not all there.")]


class BatchEntry(Answer, frozen=True):
    """One symbol by one strategy: an analysis, or why there is none."""

    symbol: Annotated[str, Meta(description="As it is written here; as it was asked for where nobody can read it.")]
    strategy: StrategyName
    analysis: AnalysisView | None
    error: ErrorBody | None


class Batch(Answer, frozen=True):
    """One entry for each symbol and strategy, in the order of the question."""

    entries: list[BatchEntry]


class V3JudgmentsAsked(Asks, frozen=True):
    """Which judgments of V3."""

    symbol: Spelled | None = None
    timeframe: V3Timeframe | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    before_id: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class IctJudgmentsAsked(Asks, frozen=True):
    """Which judgments of ICT."""

    symbol: Spelled | None = None
    timeframe: IctTimeframe | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    before_id: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class ToAnalyze(Asks, frozen=True):
    """Which symbol."""

    symbol: Spelled


class BatchAsked(Asks, frozen=True):
    """Which symbols, by which strategies; without these, by all."""

    symbols: Annotated[list[Spelled], Meta(min_length=1, max_length=MOST_SYMBOLS)]
    strategies: Annotated[list[StrategyName], Meta(min_length=1, max_length=10)] | None = None


class StatusAsked(Asks, frozen=True):
    """Of how many symbols."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20


def judgments_of(name: StrategyName) -> Callable[[Call[Any]], Reply[JudgmentPage]]:
    """The handler of one strategy's judgments."""

    def read_judgments(call: Call[V3JudgmentsAsked | IctJudgmentsAsked]) -> Reply[JudgmentPage]:
        """Read the newest judgments."""
        asked = call.asks
        with reading(call.deps.engine) as db:
            found = judgments.recent(
                db,
                limit=asked.limit + 1,
                strategy_type=name,
                symbol=None if asked.symbol is None else spelling.parse(asked.symbol),
                timeframe=asked.timeframe,
                before_id=asked.before_id,
            )
        shown = found[: asked.limit]
        return Reply(JudgmentPage([_view(one) for one in shown], shown[-1].id if len(found) > len(shown) else None))

    return read_judgments


def read_current(call: Call[StatusAsked]) -> Reply[CurrentStatus]:
    """Read what was judged last of each watched symbol."""
    look_up = call.deps.look_up
    with reading(call.deps.engine) as db:
        watched = [pair.symbol for pair in symbols.listed(db, status="ACTIVE")][: call.asks.limit]
    found = [
        {
            "symbol": symbol,
            "v3": _latest(look_up, symbol, "V3"),
            "ict": _latest(look_up, symbol, "ICT"),
            "now": [live for name in STRATEGIES if (live := look_up.live_verdict(symbol, name)) is not None],
        }
        for symbol in watched
    ]
    return Reply(msgspec.convert({"symbols": found}, CurrentStatus, from_attributes=True))


def read_status(call: Call[Nothing]) -> Reply[StrategiesStatus]:
    """Read how far the strategies have judged."""
    time = source.market_time(call.deps.settings, call.now)
    found = []
    with reading(call.deps.engine) as db:
        running = tasks.is_unfinished(db, begin_judging.KIND)
        for strategy in STRATEGIES.values():
            last = judgments.last_close(db, strategy.name, STEP.upper())
            count = 0 if last is None else len(judgments.judged(db, strategy.name, STEP.upper(), last))
            age_ms = None if last is None else time.age_ms(ms_of(last))
            found.append(
                {
                    "name": strategy.name,
                    "timeframes": [timeframe.upper() for timeframe in strategy.timeframes],
                    "judged_at": last,
                    "symbols": count,
                    "age_s": None if age_ms is None else age_ms / 1000,
                }
            )
    return Reply(msgspec.convert({"strategies": found, "cycle_running": running}, StrategiesStatus))


def analysis_by(name: StrategyName) -> Callable[[Call[ToAnalyze]], Reply[AnalysisView]]:
    """The handler of one strategy's analysis."""

    def analyze_one(call: Call[ToAnalyze]) -> Reply[AnalysisView]:
        """Judge one symbol now, and say why there is no trade. Nothing is written."""
        symbol, as_of_ms = spelling.parse(call.asks.symbol), _last_step(call)
        found = _analyze(call, [symbol], [STRATEGIES[name]], as_of_ms)
        if not found:
            raise not_watched(symbol)
        return Reply(_analysis(found[0], as_of_ms))

    return analyze_one


def analyze_batch(call: Call[BatchAsked]) -> Reply[Batch]:
    """Judge up to 50 symbols now. One that cannot be judged says why, and holds up no other. Nothing is written."""
    as_of_ms = _last_step(call)
    chosen = [STRATEGIES[name] for name in dict.fromkeys(call.asks.strategies or STRATEGIES)]
    spelled: dict[str, FlotillaError | None] = {}
    for text in call.asks.symbols:
        try:
            spelled[spelling.parse(text)] = None
        except InvalidInput as error:
            spelled[text] = error
    known = [symbol for symbol, trouble in spelled.items() if trouble is None]
    found = {(one.symbol, one.strategy.name): one for one in _analyze(call, known, chosen, as_of_ms)}
    entries = []
    for symbol, trouble in spelled.items():
        for strategy in chosen:
            analysis = found.get((symbol, strategy.name))
            said = None if analysis else _error(call, trouble or not_watched(symbol))
            view = None if analysis is None else _analysis(analysis, as_of_ms)
            entries.append({"symbol": symbol, "strategy": strategy.name, "analysis": view, "error": said})
    return Reply(msgspec.convert({"entries": entries}, Batch, from_attributes=True))


def _last_step(call: Call[Any]) -> int:
    return last_step(source.market_time(call.deps.settings, call.now))


def _analyze(call: Call[Any], those: Sequence[str], strategies: Sequence[Strategy], as_of_ms: int) -> list[Analysis]:
    """The judging itself is done apart: it holds the processor for tens of milliseconds."""
    return analyze(
        call.deps.engine,
        those,
        strategies,
        exchanges=source.exchanges(call.deps.settings),
        as_of_ms=as_of_ms,
        judge=lambda strategy, market: call.deps.apart(partial(judge_all, strategy, market)),
    )


def _error(call: Call[Any], error: FlotillaError) -> ErrorBody:
    return Problem(status_of(type(error)), error).body(call.trace_id)


def _analysis(one: Analysis, as_of_ms: int) -> AnalysisView:
    said = None
    if one.judged is not None:
        verdict = one.judged.verdict
        said = asdict(verdict) | {"blocked_by": verdict.blocked_by, "inputs": msgspec.structs.asdict(one.judged.inputs)}
    row = {
        "symbol": one.symbol,
        "strategy": one.strategy.name,
        "closed_at_ms": as_of_ms,
        "candles": dict(one.candles),
        "verdict": said,
    }
    return msgspec.convert(row, AnalysisView, from_attributes=True)


def _latest(look_up: LookUp, symbol: str, name: StrategyName) -> dict[str, JudgmentView | None]:
    """From the caches, which are told by whoever judges; else from the rows."""
    timeframes = [timeframe.upper() for timeframe in STRATEGIES[name].timeframes]
    found = {timeframe: look_up.judgment(symbol, name, timeframe) for timeframe in timeframes}
    return {timeframe: None if one is None else _view(one) for timeframe, one in found.items()}


def _view(one: Judgment) -> JudgmentView:
    data = one.indicators_data or {}
    try:
        inputs = msgspec.structs.asdict(inputs_of(one))
    except InvalidInput:  # a row that a person wrote: it is shown as far as it can be read
        inputs = {}
    said = {name: data.get(name) for name in ("total", "signal", "strength")}
    row = {
        "id": one.id,
        "symbol": one.symbol,
        "strategy": one.strategy_type,
        "timeframe": one.timeframe,
        "closed_at": one.created_at,
        "trend": one.trend_direction,
        "score": one.score,
        "confidence": one.confidence_level,
    }
    return msgspec.convert({**row, **said, "inputs": inputs}, JudgmentView)


_ONE = JudgmentView(
    id=153,
    symbol="BTC/USDT:USDT",
    strategy="V3",
    timeframe="15M",
    closed_at=datetime.fromisoformat("2026-11-21T12:00:00+00:00"),
    trend="UP",
    score=Decimal("8.00"),
    confidence="HIGH",
    total=78,
    signal="WATCH",
    strength="STRONG",
    inputs={"kind": "mainstream", "status": "ok", "close_15m": 43250.5, "vwap_15m": 43100.2},
)

_ICT = msgspec.structs.replace(
    _ONE, id=156, strategy="ICT", strength=None, inputs={"status": "ok", "change_1d": 4.2, "block": "dwelling"}
)
_STOPPED = GateView("sweep", passed=False, values={"level": None, "extreme": None, "speed": None})
_VERDICT = VerdictView(
    trend="UP",
    scores={"1d": 4.2, "4h": 6.67, "15m": 4.6},
    total=46,
    signal="HOLD",
    strength=None,
    confidence="MEDIUM",
    gates=[GateView("trend", passed=True, values={"trend": "UP", "change_1d": 4.2, "needed": 2.0}), _STOPPED],
    blocked_by=_STOPPED,
    levels=None,
    inputs=_ICT.inputs,
)
_ANALYSIS = AnalysisView("BTC/USDT:USDT", "ICT", 1795262400000, {"1d": "ok", "4h": "ok", "15m": "ok"}, _VERDICT)
_NOT_WATCHED = ErrorBody(
    NotFound.code, "NotFound", str(not_watched("NO/USDT:USDT")), not_watched("NO/USDT:USDT").cure, "0b5c8f0e"
)


def _judgments_route(name: StrategyName, asks: type[V3JudgmentsAsked] | type[IctJudgmentsAsked]) -> AnyRoute:
    return Route(
        "GET",
        f"/api/v1/strategies/{name.lower()}/judgments",
        judgments_of(name),
        "strategies",
        f"The newest judgments of {name}",
        asks,
        JudgmentPage,
        raises=(InvalidInput, Unavailable),
        example=JudgmentPage([_ONE if name == "V3" else _ICT], 153),
    )


def _analyze_route(name: StrategyName) -> AnyRoute:
    return Route(
        "POST",
        f"/api/v1/strategies/{name.lower()}/analyze",
        analysis_by(name),
        "strategies",
        f"What {name} says of a symbol now, and why there is no trade",
        ToAnalyze,
        AnalysisView,
        raises=(InvalidInput, NotFound, Unavailable),
        asks_example=ToAnalyze("BTCUSDT"),
        example=_ANALYSIS,
    )


ROUTES: tuple[AnyRoute, ...] = (
    _judgments_route("V3", V3JudgmentsAsked),
    _judgments_route("ICT", IctJudgmentsAsked),
    Route(
        "GET",
        "/api/v1/strategies/current-status",
        read_current,
        "strategies",
        "The latest judgments, by symbol",
        StatusAsked,
        CurrentStatus,
        raises=(Unavailable,),
        example=CurrentStatus(
            [
                SymbolStatus(
                    "BTC/USDT:USDT",
                    {"4H": None, "1H": None, "15M": _ONE},
                    {"1D": None, "4H": None, "15M": _ICT},
                    [LiveView("V3", 1795262700000, "UP", 74, "WATCH", "STRONG", "HIGH", "entry")],
                )
            ]
        ),
    ),
    Route(
        "GET",
        "/api/v1/strategies/status",
        read_status,
        "strategies",
        "How far the strategies have judged",
        Nothing,
        StrategiesStatus,
        raises=(Unavailable,),
        example=StrategiesStatus([StrategyStatus("ICT", ["1D", "4H", "15M"], _ONE.closed_at, 13, 21.5)], False),
    ),
    _analyze_route("V3"),
    _analyze_route("ICT"),
    Route(
        "POST",
        "/api/v1/strategies/batch-analyze",
        analyze_batch,
        "strategies",
        "What the strategies say of many symbols now",
        BatchAsked,
        Batch,
        raises=(InvalidInput, Unavailable),
        asks_example=BatchAsked(["BTCUSDT", "NOUSDT"], ["ICT"]),
        example=Batch(
            [
                BatchEntry("BTC/USDT:USDT", "ICT", _ANALYSIS, None),
                BatchEntry("NO/USDT:USDT", "ICT", None, _NOT_WATCHED),
            ]
        ),
    ),
)
