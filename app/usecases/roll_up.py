"""Minutes into hours, and the hours of flow into days, before the minutes are purged.

Only hours that are over by the market's own time are made, one a slice. The same hour again comes to the same rows, so an hour
whose minutes were repaired later is simply made again: each run looks once more at the pairs that had a gap in an hour of the
last day, or minutes and no sum of them.
Candles are rolled up where they are written; here those hours are filled in whose minutes came late. A wrong candle is worse
than none, so one with a missing minute is not made: the exchange is asked for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import Connection

from app.domain.market.market_time import ms_of
from app.domain.market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, open_of
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import checkpoints, depths, flow, klines, old_rows, open_interest, tasks, tickers
from app.storage.depths import DepthRow
from app.storage.flow import Flow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.tickers import TickerRow
from app.usecases.higher_candles import summed

SUMMARY = "Roll the market's minutes up into hours, and the hours of flow into days."
GRACE_MS = 2 * MINUTE_MS
"""A minute is still repaired, and the last trades come, a little after it is over."""
OWNER, NAME = "market", "roll_up"
MOVES_OUT = ("archive", "purge")
"""The kinds of tasks that take away what is past its time."""
_TABLES = ("klines", "trade_flow", "tickers", "depth_summaries", "open_interest")
_MEANS = ("spread_percent", "bid_quote_10", "ask_quote_10", "bid_quote_50", "ask_quote_50")
_MORE_MEANS = ("bid_quote_1pct", "ask_quote_1pct", "imbalance")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Hour:
    """The rows of one hour, and of the day that ended with it or holds it."""

    klines: list[Kline]
    flows: list[Flow]
    days: list[Flow]
    tickers: list[TickerRow]
    depths: list[DepthRow]
    interests: list[OpenInterestRow]


def until_ms(db: Connection) -> int:
    """Minutes before this stand in the sums of their hours; 0 before the first run."""
    state = checkpoints.load(db, OWNER, NAME)
    return 0 if state is None else int(state["until_ms"])


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: it goes on where the last one ended."""
    if payload:
        raise InvalidInput("A roll-up takes no payload: it goes on where the last one ended.")
    return {"hours": None, "made": 0}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all kinds
    """Find out which hours there are to make; then read one and add it up."""
    if state["hours"] is None:
        again, first, end = _due(db)
        state = state | {"hours": [again, first, end], "first": len(again) + (end - first) // HOUR_MS}
    again, first, end = state["hours"]
    if again:
        return state | {"rows": _read(db, *again[0])}
    return state | {"rows": _read(db, first) if first < end else None}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:
    """Write the hour, and that it is done."""
    rows = state["rows"]
    again, first, end = state["hours"]
    made = int(state["made"])
    if isinstance(rows, Hour):
        _write(db, rows)
        made += 1
        again, first = (again[1:], first) if again else ([], first + HOUR_MS)
    if not again and first:
        checkpoints.save(db, OWNER, NAME, {"until_ms": first}, now)
    left = len(again) + (end - first) // HOUR_MS
    if not left:
        _purge_what_ages_faster(db, task, now)
    after = {"hours": [again, first, end], "first": state["first"], "made": made}
    return Slice(after, 1 - left / max(1, state["first"]), None if left else {"hours": made})


def _purge_what_ages_faster(db: Connection, task: Task, now: datetime) -> None:
    """Nightly is not often enough where a market's day is over within minutes: only a sped-up one is ahead of our clock."""
    newest = old_rows.newest_minute(db)
    ahead = newest is not None and newest > ms_of(now) + HOUR_MS
    for kind in MOVES_OUT:
        if ahead and not tasks.is_waiting(db, kind, task.queue):
            tasks.ask(db, kind=kind, queue=task.queue, payload={}, trace_id=task.trace_id, now=now)


def _due(db: Connection) -> tuple[list[tuple[int, list[int]]], int, int]:
    """Hours to make again with the pairs concerned, the first that is new, and where what is over ends."""
    newest = old_rows.newest_minute(db)
    done = until_ms(db)
    if newest is None:
        return [], done, done
    end = open_of(newest + MINUTE_MS - GRACE_MS, "1h")
    if not done:
        oldest = [each for each in (old_rows.oldest_minute(db, table) for table in _TABLES) if each is not None]
        return [], open_of(min(oldest), "1h"), max(end, open_of(min(oldest), "1h"))
    again = {hour: set(flow.without_sum(db, hour)) for hour in range(done - DAY_MS, done, HOUR_MS)}
    for pair_id, rows in flow.between(db, "1h", done - DAY_MS, done):
        for row in rows:
            if row.status == "gap":
                again[row.open_time].add(pair_id)
    return [(hour, sorted(those)) for hour, those in again.items() if those], done, max(done, end)


def _read(db: Connection, hour: int, pair_ids: Collection[int] | None = None) -> Hour:
    """Add the hour of all pairs up, or of these, table by table and pair by pair: its minutes are never in memory together."""
    until = hour + HOUR_MS
    made, quiet = [], {}
    for pair_id, minutes in klines.between(db, "1m", hour, until, pair_ids):
        quiet[pair_id] = _quiet(minutes)
        if len(minutes) == 60:
            made.append(summed(pair_id, "1h", hour, minutes))
    flows = {
        pair_id: _flow(rows, "1h", hour, 60, quiet.get(pair_id, set()))
        for pair_id, rows in flow.between(db, "1m", hour, until, pair_ids)
    }
    before = dict(open_interest.between(db, "1h", hour - HOUR_MS, hour, pair_ids))
    interests = open_interest.between(db, "1m", hour, until, pair_ids)
    return Hour(
        klines=made,
        flows=list(flows.values()),
        days=_days(db, hour, flows, pair_ids),
        tickers=[_at(rows[-1], hour) for _, rows in tickers.between(db, "1m", hour, until, pair_ids)],
        depths=[_depth(rows, hour) for _, rows in depths.between(db, "1m", hour, until, pair_ids)],
        interests=[_interest(rows[-1], hour, before.get(pair_id, ())) for pair_id, rows in interests],
    )


def _write(db: Connection, hour: Hour) -> None:
    klines.store(db, hour.klines)
    flow.store(db, [*hour.flows, *hour.days])
    tickers.store(db, hour.tickers)
    depths.store(db, hour.depths)
    open_interest.store(db, hour.interests)


def _days(db: Connection, hour: int, hours: dict[int, Flow], pair_ids: Collection[int] | None) -> list[Flow]:
    """The day of this hour, where it ends with it, or was made already."""
    day = open_of(hour, "1d")
    if hour + HOUR_MS < day + DAY_MS and until_ms(db) < day + DAY_MS:
        return []
    there = dict(flow.between(db, "1h", day, day + DAY_MS, pair_ids))
    candles = dict(klines.between(db, "1h", day, day + DAY_MS, pair_ids))
    made = []
    for pair_id in there.keys() | hours.keys():
        rows = {row.open_time: row for row in there.get(pair_id, ())}
        if pair_id in hours:
            rows[hour] = hours[pair_id]
        parts = [rows[open_time] for open_time in sorted(rows)]
        made.append(_flow(parts, "1d", day, 24, _quiet(candles.get(pair_id, ()))))
    return made


def _quiet(candles: Sequence[Kline]) -> set[int]:
    """Spans that are known to have had no trade, so that no row of flow is missing there."""
    return {row.open_time for row in candles if row.volume == 0}


def _flow(parts: Sequence[Flow], timeframe: str, open_time: int, due: int, quiet: set[int]) -> Flow:
    """Several spans as one. A span that is missing, and is not known to have been quiet, is a gap."""
    seen = {part.open_time for part in parts}
    statuses = {part.status for part in parts}
    gap = "gap" in statuses or len(seen | quiet) < due
    traded = [part for part in parts if part.close is not None]
    return Flow(
        parts[0].pair_id,
        timeframe,
        open_time,
        traded[0].open if traded else None,
        max((part.high for part in traded if part.high is not None), default=None),
        min((part.low for part in traded if part.low is not None), default=None),
        traded[-1].close if traded else None,
        _total(parts, "buy_volume"),
        _total(parts, "sell_volume"),
        _total(parts, "buy_quote"),
        _total(parts, "sell_quote"),
        _total(parts, "trades"),
        max((part.largest_quote for part in parts if part.largest_quote is not None), default=None),
        min((part.first_id for part in parts if part.first_id is not None), default=None),
        max((part.last_id for part in parts if part.last_id is not None), default=None),
        "gap" if gap else "repaired" if "repaired" in statuses else "ok",
    )


def _total(parts: Sequence[Flow], name: str) -> Any:
    """The sum; what one part does not know, the whole does not know."""
    values = list(map(attrgetter(name), parts))
    return None if None in values else sum(values)


def _at(last: TickerRow, hour: int) -> TickerRow:
    """The last minute of an hour stands for it."""
    names = TickerRow.__slots__[3:]  # what comes after the key
    return TickerRow(last.pair_id, "1h", hour, *(getattr(last, name) for name in names))


def _depth(rows: Sequence[DepthRow], hour: int) -> DepthRow:
    """The means of the minutes with a book that could be trusted, and the best prices of the last one."""
    good = [row for row in rows if row.status == "ok"]
    if not good:
        return DepthRow(rows[0].pair_id, "1h", hour, "gap")
    last = good[-1]
    means = {name: _mean(good, name) for name in (*_MEANS, *_MORE_MEANS)}
    return DepthRow(
        last.pair_id,
        "1h",
        hour,
        "ok" if len(good) == 60 else "gap",
        last.bid,
        last.ask,
        last.mid,
        bid_levels=last.bid_levels,
        ask_levels=last.ask_levels,
        **means,
    )


def _mean(rows: Sequence[DepthRow], name: str) -> float | None:
    values = [value for value in map(attrgetter(name), rows) if value is not None]
    return sum(values) / len(values) if values else None


def _interest(last: OpenInterestRow, hour: int, before: Sequence[OpenInterestRow]) -> OpenInterestRow:
    """What was open at the end of the hour, and how that changed since the end of the one before, where it is known."""
    change = None
    if before and before[-1].quantity > 0:
        change = (last.quantity - before[-1].quantity) / before[-1].quantity * 100
    return OpenInterestRow(last.pair_id, "1h", hour, last.quantity, last.value, change)
