"""Judging a slice of symbols, candle close by candle close, by every strategy. What is judged already is left as it is."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection

from app.domain.market.market_time import moment_of, ms_of
from app.domain.market.timeframes import length_ms, open_of
from app.domain.strategies.market import Market
from app.domain.strategies.strategy import Inputs, Learned, Lesson, Strategy, Verdict
from app.domain.strategies.table import STRATEGIES
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput, NotFound
from app.storage import judgments, klines, trades
from app.storage.judgments import Judgment, NewJudgment
from app.usecases.live_settings import live_settings
from app.usecases.strategy_market import Frames, market_of, pair_ids

SUMMARY = "Judge some symbols by every strategy, from one candle close to another."
STEP = "15m"
"""A cycle stands at the close of each of these; longer candles close with some of them."""
VERSION = 1
_MEMORY = timedelta(days=90)
_CENTS = Decimal("0.01")


class JudgeAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload. Closes after ``from_ms`` and up to ``until_ms``, in ms of the market's time."""

    symbols: list[str]
    exchanges: list[str]
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One symbol by one strategy: what was read, and what follows from it."""

    symbol: str
    strategy: Strategy
    inputs: Inputs
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Rederived:
    """A stored judgment beside what its inputs come to now."""

    stored: Judgment
    verdict: Verdict
    differences: tuple[str, ...]


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """Check what is asked."""
    asked = _asked(payload)
    if not asked.symbols or asked.from_ms >= asked.until_ms:
        raise InvalidInput("There is nothing to judge.", cure="Name symbols, and an until_ms after from_ms.")
    return {"done_ms": open_of(asked.from_ms, STEP), "judged": 0, "late": 0}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all
    """Judge the next close."""
    asked = _asked(task.payload)
    close_ms = state["done_ms"] + length_ms(STEP)
    if close_ms > asked.until_ms:
        return {**state, "rows": []}
    rows, late, classes = [], 0, live_settings(db).coin_classes
    frames: dict[tuple[int, frozenset[str]], Frames] = {}  # both strategies read most of them
    for strategy in STRATEGIES.values():
        for at_ms, timeframes in _last_closes(strategy, close_ms).items():
            there = judgments.judged(db, strategy.name, timeframes[-1].upper(), moment_of(at_ms))
            missing = set(asked.symbols) - there
            ids = pair_ids(db, missing, asked.exchanges) if missing else {}
            come = _come(db, ids, at_ms)
            known = frames.setdefault((at_ms, frozenset(come)), {})
            found = judge_all(strategy, market_for(db, strategy, come, at_ms, classes, known)) if come else []
            late += len(ids) - len(found) if at_ms == close_ms else 0
            rows += [row for one in found for row in rows_of(one, at_ms, timeframes)]
    return {"done_ms": close_ms, "judged": state["judged"] + len(rows), "late": state["late"] + late, "rows": rows}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all
    """Write it down."""
    judgments.keep(db, state["rows"])
    asked = _asked(task.payload)
    new = {(row.symbol, row.strategy_type, row.timeframe) for row in state["rows"]}
    symbols = {symbol for symbol, *_ in new}
    closes = sorted({row.created_at for row in state["rows"]})
    there = [row for close in closes for row in judgments.of_close(db, symbols, close)]
    news = [one for one in there if (one.symbol, one.strategy_type, one.timeframe) in new]
    kept = {name: value for name, value in state.items() if name != "rows"}
    first, last = open_of(asked.from_ms, STEP), open_of(asked.until_ms, STEP)
    progress = min(1.0, (state["done_ms"] - first) / max(1, last - first))
    over = state["done_ms"] + length_ms(STEP) > asked.until_ms
    return Slice(kept, progress, {"judged": state["judged"], "late": state["late"]} if over else None, news)


def _last_closes(strategy: Strategy, close_ms: int) -> dict[int, tuple[str, ...]]:
    """When the newest candles closed that were over at a close, and of which timeframes. Each is judged as of its own close:
    those of before are missing only of a symbol that is new, or whose candles came late.
    """
    found: dict[int, tuple[str, ...]] = {}
    for timeframe in strategy.timeframes:
        at_ms = open_of(close_ms, timeframe)
        found[at_ms] = (*found.get(at_ms, ()), timeframe)
    return found


def _come(db: Connection, ids: Mapping[str, int], close_ms: int) -> dict[str, int]:
    """Those whose candle of this close is there. After a downtime it is there of none at first, for a day of closes."""
    tables = klines.tables(db, STEP, close_ms - length_ms(STEP), close_ms, tuple(ids.values())) if ids else {}
    return {symbol: pair_id for symbol, pair_id in ids.items() if len(tables[pair_id])}


def market_for(
    db: Connection,
    strategy: Strategy,
    ids: Mapping[str, int],
    as_of_ms: int,
    classes: Mapping[str, str],
    known: Frames | None = None,
) -> Market:
    """All that a strategy reads of these pairs at a close; of frames, what is not ``known`` already."""
    learned = _learned(db, strategy, list(ids), as_of_ms, classes)
    return replace(market_of(db, ids, as_of_ms, strategy.needs, known), classes=classes, learned=learned)


def _learned(
    db: Connection, strategy: Strategy, symbols: Sequence[str], as_of_ms: int, classes: Mapping[str, str]
) -> Learned:
    """What the strategy knows from its closed trades. A day's lessons count from its midnight on, an hour after the last one:
    so it does not matter how far the paper trades have got at the moment of judging.
    """
    if strategy.learn is None:
        return ()
    until = moment_of(open_of(as_of_ms, "1d") - length_ms("1h"))
    lessons = []
    for symbol, pnl, assumed in trades.entries(db, strategy.name, until - _MEMORY, until):
        scores = assumed.get("why", {}).get("scores")
        if scores:  # a person's own trade says nothing of the strategy
            lessons.append(Lesson(symbol, scores, pnl > 0))
    return strategy.learn(lessons, symbols, classes)


def judge_all(strategy: Strategy, market: Market) -> list[Judged]:
    """Judge each symbol whose newest candles are all there; of the others nothing can be said yet."""
    known = zip(*(market.frames[timeframe].known for timeframe in strategy.needs), strict=True)
    read = zip(market.symbols, known, strategy.read(market), strict=True)
    return [Judged(symbol, strategy, inputs, strategy.judge(inputs)) for symbol, bars, inputs in read if all(bars)]


def rows_of(judged: Judged, as_of_ms: int, timeframes: Sequence[str]) -> list[NewJudgment]:
    """One row for each of these timeframes, whose candles closed at this moment."""
    verdict, strategy = judged.verdict, judged.strategy
    data = {
        "v": VERSION,
        "total": verdict.total,
        "signal": verdict.signal,
        **({"strength": verdict.strength} if verdict.strength else {}),
        "inputs": _written(judged.inputs),
    }
    return [
        NewJudgment(
            judged.symbol,
            strategy.name,
            timeframe.upper(),
            verdict.trend,
            Decimal(repr(verdict.scores[timeframe])).quantize(_CENTS),
            verdict.confidence,
            data,
            moment_of(as_of_ms),
        )
        for timeframe in timeframes
    ]


def _written(inputs: Inputs) -> list[Any]:
    """As short as it can be read again: what stands at the end and is as usual need not be said."""
    values: list[Any] = msgspec.to_builtins(inputs)
    for usual in reversed(inputs.__struct_defaults__):
        if values[-1] != usual:
            break
        values.pop()
    return values


def inputs_of(stored: Judgment) -> Inputs:
    """What a stored judgment rests on. Raises InvalidInput for one that this version did not write."""
    strategy, data = STRATEGIES.get(stored.strategy_type), stored.indicators_data or {}
    if strategy is not None and data.get("v") == VERSION:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(data.get("inputs"), strategy.inputs)
    raise InvalidInput(
        f"Judgment {stored.id} was not made by a strategy of this version.", cure="It cannot be judged again."
    )


def rederive(db: Connection, judgment_id: int) -> Rederived:
    """Judge the stored inputs again, and compare bit for bit. Raises NotFound, InvalidInput."""
    stored = judgments.get(db, judgment_id)
    if stored is None:
        raise NotFound(f"There is no judgment {judgment_id}.", cure="GET /api/v1/strategies/v3/judgments lists them.")
    inputs = inputs_of(stored)
    strategy = STRATEGIES[stored.strategy_type]
    verdict = strategy.judge(inputs)
    as_of_ms = ms_of(stored.created_at)
    [again] = rows_of(Judged(stored.symbol, strategy, inputs, verdict), as_of_ms, [stored.timeframe.lower()])
    names = ("trend_direction", "score", "confidence_level", "indicators_data")
    return Rederived(stored, verdict, tuple(name for name in names if getattr(again, name) != getattr(stored, name)))


def _asked(payload: dict[str, Any]) -> JudgeAsked:
    try:
        return msgspec.convert(payload, JudgeAsked)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"This cannot be judged: {error}.") from error
