"""What the strategies would say now: between two closes of 15 minutes, on the candles of the last close and what is live since.

Funding and open interest move meanwhile, and 5 minutes later a verdict may be another. It goes into the cache alone: a row is of
a candle that has closed, and trades are made of rows.
"""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine

from app.cache.bell import Bell
from app.cache.market import LiveVerdict
from app.domain.market.market_time import MarketTime
from app.domain.market.timeframes import open_of
from app.domain.strategies.table import STRATEGIES
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import checkpoints, tasks
from app.storage.database import reading, transaction
from app.usecases import begin_judging
from app.usecases.begin_judging import OWNER, QUEUE, ask_in_chunks
from app.usecases.judge import STEP, Judged, judge_all, market_for
from app.usecases.live_settings import live_settings
from app.usecases.strategy_market import Frames, pair_ids

SUMMARY = "Say anew what the strategies would say of some symbols, between two closes."
KIND, NAME = "refresh_judgments", "refresh"
EVERY = "5m"


class RefreshAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload. The moment is of the market's time."""

    symbols: list[str]
    exchanges: list[str]
    as_of_ms: int


def begin_refresh(
    engine: Engine, bell: Bell, *, exchanges: tuple[str, ...], time: MarketTime, trace_id: str | None, now: datetime
) -> int:
    """Ask for it when five minutes have passed that are no close; how many tasks. Nothing while judging still runs."""
    if time.now_ms is None or not exchanges:
        return 0
    as_of_ms = open_of(time.now_ms - begin_judging.grace_ms(time), EVERY)
    with reading(engine) as db:
        last = checkpoints.load(db, OWNER, NAME)
    if as_of_ms == open_of(as_of_ms, STEP) or (last is not None and last["as_of_ms"] >= as_of_ms):
        return 0
    with transaction(engine) as db:
        if any(tasks.is_unfinished(db, kind) for kind in (begin_judging.KIND, KIND)):
            return 0
        asked = ask_in_chunks(db, KIND, exchanges, {"as_of_ms": as_of_ms}, trace_id=trace_id, now=now)
        checkpoints.save(db, OWNER, NAME, {"as_of_ms": as_of_ms}, now)
    for _ in range(asked):
        bell.ring(QUEUE, trace_id=trace_id)
    return asked


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """Check what is asked."""
    if not _asked(payload).symbols:
        raise InvalidInput("There is nothing to judge.", cure="Name symbols.")
    return {}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all
    """Judge."""
    asked = _asked(task.payload)
    ids = pair_ids(db, asked.symbols, asked.exchanges)
    classes, frames = live_settings(db).coin_classes, Frames()
    found: list[LiveVerdict] = []
    for strategy in STRATEGIES.values():
        market = market_for(db, strategy, ids, asked.as_of_ms, classes, frames)
        found += [_live(one, asked.as_of_ms) for one in judge_all(strategy, market)]
    return {"found": found}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all
    """There is nothing to write; the news are what it was for."""
    return Slice({}, 1.0, {"judged": len(state["found"])}, state["found"])


def _live(judged: Judged, as_of_ms: int) -> LiveVerdict:
    verdict = judged.verdict
    return LiveVerdict(
        judged.symbol,
        judged.strategy.name,
        as_of_ms,
        verdict.trend,
        verdict.total,
        verdict.signal,
        verdict.strength,
        verdict.confidence,
        dict(verdict.scores),
        verdict.blocked_by.name if verdict.blocked_by else None,
    )


def _asked(payload: dict[str, Any]) -> RefreshAsked:
    try:
        return msgspec.convert(payload, RefreshAsked)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"This cannot be judged: {error}.") from error
