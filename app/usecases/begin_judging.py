"""The judging cycle: when candles have closed, one task for each hundred symbols brings them up to that close.

What was judged stands in rows, so a cycle that was missed is caught up, and one that comes twice finds nothing left to do. What
was missed is looked at again for an hour: its candles may have to be fetched first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from app.cache.bell import Bell
from app.domain.market import symbols as spelling
from app.domain.market.market_time import MarketTime
from app.domain.market.timeframes import length_ms, open_of
from app.storage import checkpoints, symbols, tasks
from app.storage.database import reading, transaction
from app.usecases.judge import STEP
from app.usecases.live_settings import live_settings

KIND, QUEUE, OWNER, NAME = "judge", "strategy", "judge", "cycle"
CHUNK = 100
"""Symbols of one task: more hosts share a cycle by them, and so many fit into little memory."""
GRACE_MS = 15_000
_GRACE_REAL_MS = 3_000
_NEWEST = 100  # tasks among which those of the last cycle are: it has one for a hundred symbols
"""On a market that runs faster than ours, candles still take as long as they take here."""
_AGAIN_MS = (60_000, 120_000, 240_000)
"""So long after a close, what came late for it is looked for again: a signal opens nothing once it is five minutes old."""
_LATE_MS = 60 * 60_000
"""A candle may come so late and is still judged."""
_LONGEST_MS = 24 * 60 * 60_000
"""What was missed longer ago is not judged any more: nobody could have acted on it."""


def begin_cycle(
    engine: Engine, bell: Bell, *, exchanges: Sequence[str], time: MarketTime, trace_id: str | None, now: datetime
) -> int:
    """Ask for what has closed since the last cycle, or came late for it; how many tasks. Nothing while that one still runs."""
    if time.now_ms is None or not exchanges:
        return 0
    until_ms = open_of(time.now_ms - grace_ms(time), STEP)
    with reading(engine) as db:
        last = checkpoints.load(db, OWNER, NAME)
    if last is not None and last["until_ms"] >= until_ms and not _is_time_to_look_again(last, time.now_ms):
        return 0
    with transaction(engine) as db:
        asked = 0 if tasks.is_unfinished(db, KIND) else _ask(db, exchanges, until_ms, trace_id=trace_id, now=now)
    for _ in range(asked):
        bell.ring(QUEUE, trace_id=trace_id)
    return asked


def _ask(db: Connection, exchanges: Sequence[str], until_ms: int, *, trace_id: str | None, now: datetime) -> int:
    last = checkpoints.load(db, OWNER, NAME)
    since_ms = until_ms - length_ms(STEP) if last is None else int(last["since_ms"])
    done_ms = since_ms if last is None else int(last["until_ms"])
    if last is not None and done_ms >= until_ms:
        return _ask_again(db, last, exchanges, trace_id=trace_id, now=now)
    missed = _missed(last, done_ms, until_ms)
    first_ms = max(min(done_ms, until_ms - _LATE_MS, missed["from_ms"]), until_ms - _LONGEST_MS, since_ms)
    asked = ask_in_chunks(db, KIND, exchanges, {"from_ms": first_ms, "until_ms": until_ms}, trace_id=trace_id, now=now)
    checkpoints.save(db, OWNER, NAME, {"until_ms": until_ms, "since_ms": since_ms, "missed": missed}, now)
    return asked


def _is_time_to_look_again(last: Mapping[str, Any], now_ms: int) -> bool:
    looks = int(last.get("looks", 0))
    return looks < len(_AGAIN_MS) and now_ms - int(last["until_ms"]) >= _AGAIN_MS[looks]


def _ask_again(
    db: Connection, last: Mapping[str, Any], exchanges: Sequence[str], *, trace_id: str | None, now: datetime
) -> int:
    """Judge the last close again, of which some candles had not come in time. What is judged already costs a glance."""
    until_ms, asked = int(last["until_ms"]), 0
    newest = [task for task in tasks.recent(db, limit=_NEWEST) if task.kind == KIND]
    if any((task.result or {}).get("late") for task in newest if task.payload.get("until_ms") == until_ms):
        span = {"from_ms": until_ms - length_ms(STEP), "until_ms": until_ms}
        asked = ask_in_chunks(db, KIND, exchanges, span, trace_id=trace_id, now=now)
    checkpoints.save(db, OWNER, NAME, {**last, "looks": int(last.get("looks", 0)) + 1}, now)
    return asked


def ask_in_chunks(
    db: Connection, kind: str, exchanges: Sequence[str], span: Mapping[str, int], *, trace_id: str | None, now: datetime
) -> int:
    """Ask for one task for each hundred of the symbols that are judged; how many."""
    active = [pair.symbol for pair in symbols.listed(db, status="ACTIVE")]
    judged = judged_symbols(active, live_settings(db).judged_symbols)
    begins = range(0, len(judged), CHUNK)
    for begin in begins:
        payload = {"symbols": judged[begin : begin + CHUNK], "exchanges": list(exchanges), **span}
        tasks.ask(db, kind=kind, queue=QUEUE, payload=payload, trace_id=trace_id, now=now)
    return len(begins)


def _missed(last: Mapping[str, Any] | None, done_ms: int, until_ms: int) -> dict[str, int]:
    """From where on cycles were missed, and up to which close they are looked at again: the whole fleet may have been down, and
    then the candles of that time are fetched after the first cycle has looked for them.
    """
    before = (last or {}).get("missed")
    again = before is not None and until_ms <= before["again_until_ms"]
    if last is not None and until_ms - done_ms > length_ms(STEP):
        from_ms = min(done_ms, before["from_ms"]) if again and before else done_ms
        return {"from_ms": max(from_ms, until_ms - _LONGEST_MS), "again_until_ms": until_ms + _LATE_MS}
    return dict(before) if again and before else {"from_ms": until_ms, "again_until_ms": until_ms}


def judged_until_ms(cycle: Mapping[str, Any] | None) -> int:
    """Of no close up to there is a judgment still to come, as the last cycle left it."""
    if cycle is None:
        return 0
    missed = cycle.get("missed")
    until_ms = int(cycle["until_ms"])
    return until_ms if missed is None or until_ms >= missed["again_until_ms"] else int(missed["from_ms"])


def grace_ms(time: MarketTime) -> int:
    """How long after a close its candle may still be on its way."""
    return max(GRACE_MS, round(_GRACE_REAL_MS * time.speed))


def judged_symbols(active: Sequence[str], most: int) -> list[str]:
    """The perpetuals among them, by name, as many as are judged."""
    return [name for name in active if spelling.taken_apart(name).is_perpetual][:most]
