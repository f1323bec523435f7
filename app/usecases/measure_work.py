"""How well the work is done, once a minute: rows of ``system_monitoring`` for people, gauges for alerts.

Whoever works counts as it works and publishes what it counted; here that is taken up by the minute, and what only the database
knows is looked at: whether the strategies judge, whether open interest moves, whether the paper ledger adds up.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.domain.market.market_time import MarketTime, moment_of, ms_of
from app.domain.market.timeframes import length_ms, open_of
from app.domain.strategies.table import STRATEGIES
from app.domain.trading.account import check
from app.errors import CorruptData, FlotillaError
from app.host.metrics import Metrics, Snapshot, read_all
from app.storage import accounts, checkpoints, judgments, monitoring, open_interest, symbols, tasks, trades
from app.storage.accounts import Kept
from app.storage.database import file_is_gone, reading, transaction
from app.storage.monitoring import Sample
from app.storage.server import ServerFigures, server_figures
from app.usecases import begin_judging
from app.usecases.judge import STEP
from app.usecases.live_settings import live_settings
from app.usecases.read_fleet import of_health
from app.usecases.task_table import KINDS

OWNER, NAME = "measure-work", "counted"
_STILL_MS = length_ms("1h")
_REQUESTS, _SECONDS = "flotilla_http_requests_total", "flotilla_http_request_seconds"
_CALLS = "flotilla_exchange_request_seconds"
CHORES = tuple(kind.name for kind in KINDS.values() if kind.queue == "cleaner")
_MOST_MS = 10_000_000
"""What the column holds; a cycle that was begun before a night without a fleet takes longer, and says nothing of how fast it is."""
Counted = dict[str, float]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Business:
    """What only the database knows. None: nothing can be said of it now."""

    judged_age_s: float | None
    """Since the last close that was judged, in seconds of ours."""
    cycles_behind: int | None
    """Closes that should have been judged by now, and are not."""
    still_interest: tuple[str, ...] | None
    """Symbols whose open interest has been the same for an hour."""
    broken_accounts: tuple[str, ...] | None
    """Paper accounts that do not add up, or cannot even be read."""
    failed_chores: tuple[str, ...] | None
    """Kinds of housekeeping, such as the nightly backup, whose newest try failed."""
    damaged_tables: tuple[str, ...] | None
    """Of the database, as its newest check found them."""


_NOTHING_KNOWN = Business(None, None, None, None, None, None)
_LOOKS = 4  # of ``business``


def measure(
    engine: Engine, run_dir: Path, metrics: Metrics, *, time: MarketTime, now: datetime, judging: bool = True
) -> Business:
    """Write the minute's rows and set the gauges. Raises Unavailable while the database is away; counts are not lost then.

    ``judging`` says whether anything is to be judged at all: then it is known since when that is waited for.
    """
    counted = _counted(read_all(run_dir, now.timestamp()).found)
    metrics.gauge("flotilla_database_gone", file_is_gone(engine))
    found = _looked_at(engine, metrics, time)
    with reading(engine) as db:
        last = checkpoints.load(db, OWNER, NAME) or {}
        cycle = _cycle(db, last, now)
    before: Counted = last.get("counts", {})
    rows = [*_of_api(counted, before, now), *_of_exchanges(counted, before, now), *cycle]
    rows += _of_database(engine, metrics, now)
    with transaction(engine) as db:
        monitoring.add_all(db, rows)
        until_ms = (checkpoints.load(db, begin_judging.OWNER, begin_judging.NAME) or {}).get("until_ms")
        state = {"counts": counted, "cycle_ms": until_ms if cycle else last.get("cycle_ms")}
        state["since_ms"] = (last.get("since_ms") or time.now_ms) if judging else None
        checkpoints.save(db, OWNER, NAME, state, now)
    return found


def business(db: Connection, time: MarketTime) -> Business:
    """Look at what should happen by itself. What cannot be looked at is not known, and keeps nothing else from being so."""
    refused: list[DBAPIError] = []
    judged = _try(db, lambda: _judging(db, time), refused)
    still = _try(db, lambda: _still(db, time), refused)
    broken = _try(db, lambda: tuple(_broken(db)), refused)
    chores = _try(db, lambda: _chores(db), refused)
    if len(refused) == _LOOKS:
        raise refused[0]
    return Business(*judged or (None, None), still, broken, *chores or (None, None))


def _try(db: Connection, look: Callable[[], T], refused: list[DBAPIError]) -> T | None:
    """One look; None where it stumbled over what is stored. Raises only when the connection is lost."""
    try:
        return look()
    except DBAPIError as error:  # such as of a table that is damaged
        if error.connection_invalidated:
            raise
        db.rollback()  # PostgreSQL answers nothing more within a transaction in which a statement has failed
        refused.append(error)
        _log.warning("a measurement failed: %s", error.orig)
    except Exception:  # noqa: BLE001 - whatever is stored, the other measurements are worth having
        _log.exception("a measurement failed")
    return None


def _looked_at(engine: Engine, metrics: Metrics, time: MarketTime) -> Business:
    """The business, published. While the database is away nothing is known: an old figure would look new."""
    try:
        with reading(engine) as db:
            found = business(db, time)
    except FlotillaError:
        _publish(metrics, _NOTHING_KNOWN)
        _publish_server(metrics, None, engine)
        raise
    _publish(metrics, found)
    return found


def _publish(metrics: Metrics, found: Business) -> None:
    metrics.gauge("flotilla_judged_age_seconds", _known(found.judged_age_s))
    metrics.gauge("flotilla_judging_cycles_behind", _known(found.cycles_behind))
    metrics.gauge("flotilla_open_interest_still", _count(found.still_interest))
    metrics.gauge("flotilla_ledger_broken", _count(found.broken_accounts))
    for kind in CHORES:
        failed = found.failed_chores
        metrics.gauge("flotilla_chore_failed", math.nan if failed is None else kind in failed, kind=kind)
    metrics.gauge("flotilla_database_damaged_tables", _count(found.damaged_tables))


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _count(names: tuple[str, ...] | None) -> float:
    return math.nan if names is None else len(names)


def _judging(db: Connection, time: MarketTime) -> tuple[float | None, int | None]:
    """How far the strategy is behind that is behind most. One that has judged nothing is as far as its first cycle is away."""
    since_ms = _awaited_since_ms(db)
    known = [
        since_ms if close is None else ms_of(close)
        for close in (judgments.last_close(db, name, STEP.upper()) for name in STRATEGIES)
    ]
    oldest_ms = min((one for one in known if one is not None), default=None)
    if time.now_ms is None or oldest_ms is None:
        return None, None
    due_ms = open_of(time.now_ms - begin_judging.grace_ms(time), STEP)
    return (time.now_ms - oldest_ms) / 1000 / time.speed, max(0, (due_ms - oldest_ms) // length_ms(STEP))


def _awaited_since_ms(db: Connection) -> int | None:
    """From when on judgments are due: from the first cycle, or, if none was ever begun, since it was first looked for one."""
    for owner, name in ((begin_judging.OWNER, begin_judging.NAME), (OWNER, NAME)):
        since_ms = (checkpoints.load(db, owner, name) or {}).get("since_ms")
        if since_ms is not None:
            return int(since_ms)
    return None


def _still(db: Connection, time: MarketTime) -> tuple[str, ...] | None:
    """It moves with every trade of a perpetual: one value for an hour means that nobody measures any more."""
    if time.now_ms is None:
        return None
    watched = {pair.symbol for pair in symbols.listed(db, status="ACTIVE")}
    return tuple(name for name in open_interest.unchanged(db, time.now_ms - _STILL_MS, time.now_ms) if name in watched)


def _broken(db: Connection) -> Iterator[str]:
    """Accounts whose money is not what their bookings say, or that cannot be read, which says nothing of the others."""
    for symbol, strategy, kept in accounts.each(db):
        if kept is None or not _adds_up(db, kept):
            yield f"{strategy} {symbol}"


def _adds_up(db: Connection, kept: Kept) -> bool:
    try:
        check(kept.desk.account)
    except CorruptData:
        return False
    return _is_booked(db, kept)


def _is_booked(db: Connection, kept: Kept) -> bool:
    """Whether the open trade, the rows that filled it, and what is set aside for it say the same."""
    trade = kept.desk.trade
    if trade is None:
        return kept.desk.account.margin == 0
    if kept.trade_id is None or kept.desk.account.margin != trade.held_margin:
        return False
    rows = trades.fills(db, kept.trade_id)
    return [(row.time_ms, row.price, row.quantity, row.fee, row.funding) for row in rows] == [
        (one.at_ms, one.price, one.quantity, one.fee, one.funding) for one in trade.bookings
    ]


def _chores(db: Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ended = [task for kind in CHORES if (task := tasks.last_ended(db, kind)) is not None]
    failed = tuple(task.kind for task in ended if task.status == "failed")
    checked = next((task.result for task in ended if task.kind == "check_database"), None)
    return failed, tuple((checked or {}).get("damaged", ()))


def _cycle(db: Connection, last: Mapping[str, object], now: datetime) -> list[Sample]:
    """How many of the symbols each strategy could judge in the last cycle that is over, once for each cycle."""
    cycle = checkpoints.load(db, begin_judging.OWNER, begin_judging.NAME)
    if cycle is None or cycle["until_ms"] == last.get("cycle_ms") or tasks.is_unfinished(db, begin_judging.KIND):
        return []
    close = moment_of(cycle["until_ms"])
    active = [pair.symbol for pair in symbols.listed(db, status="ACTIVE")]
    wanted = begin_judging.judged_symbols(active, live_settings(db).judged_symbols)
    took_ms = tasks.took_ms(db, begin_judging.KIND)
    return [
        _sample(
            "STRATEGY_CALCULATION_RATE",
            "strategy-worker",
            len(judgments.judged(db, name, STEP.upper(), close) & set(wanted)),
            len(wanted),
            now,
            average_ms=took_ms,
            strategy=name,
            timeframe=STEP.upper(),
        )
        for name in STRATEGIES
        if wanted
    ]


def _of_database(engine: Engine, metrics: Metrics, now: datetime) -> list[Sample]:
    """What the database says of itself. That it did not say it in time costs nothing else; an old figure would look new."""
    try:
        with reading(engine) as db:
            said: ServerFigures | None = server_figures(db)
    except FlotillaError:
        said = None
    _publish_server(metrics, said, engine)
    took_ms = said.query_s * 1000 if said else None
    return [_sample("SYSTEM_HEALTH", "database", int(said is not None), 1, now, average_ms=took_ms)]


def _publish_server(metrics: Metrics, said: ServerFigures | None, engine: Engine) -> None:
    metrics.gauge("flotilla_database_bytes", said.bytes if said else math.nan)
    metrics.gauge("flotilla_database_query_seconds", said.query_s if said else math.nan)
    if engine.dialect.name != "sqlite":
        metrics.gauge("flotilla_database_connections", said.connections or 0 if said else math.nan)


def _of_api(counted: Counted, before: Counted, now: datetime) -> Iterator[Sample]:
    total, bad = _more(counted, before, f"{_REQUESTS} "), _more(counted, before, f"{_REQUESTS} 5")
    if total:
        spent_s, times = _more(counted, before, f"{_SECONDS} sum"), _more(counted, before, f"{_SECONDS} count")
        average_ms = spent_s / times * 1000 if times else None
        yield _sample("API_SUCCESS_RATE", "main-app", round(total - bad), round(total), now, average_ms=average_ms)


def _of_exchanges(counted: Counted, before: Counted, now: datetime) -> Iterator[Sample]:
    """Their REST calls; how good their streams are is the quality of ``/api/qingxi/data/quality``."""
    for exchange in sorted({name.split(" ")[1] for name in counted if name.startswith(f"{_CALLS} ")}):
        call = f"{_CALLS} {exchange} "
        total, good = _more(counted, before, f"{call}count"), _more(counted, before, f"{call}count ok")
        if total:
            average_ms = _more(counted, before, f"{call}sum") / total * 1000
            yield _sample("API_SUCCESS_RATE", exchange, round(good), round(total), now, average_ms=average_ms)


def _more(counted: Counted, before: Counted, begin: str) -> float:
    """What was counted since the last look. A counter that fell began anew with its process."""
    return sum(
        value - before[name] if value >= before.get(name, 0) and name in before else value
        for name, value in counted.items()
        if name.startswith(begin)
    )


def _counted(snapshots: tuple[Snapshot, ...]) -> Counted:
    """The counters that are taken up, each under the words that tell it from the others."""
    found: Counted = {}
    for family in (family for snapshot in snapshots for family in snapshot.families):
        for one in family.series:
            if of_health(one.labels):  # as for the alerts
                continue
            if family.name == _REQUESTS:
                parts = {f"{_REQUESTS} {one.labels.get('status', '')}": one.value or 0.0}
            elif family.name == _SECONDS:
                parts = {f"{_SECONDS} sum": one.value or 0.0, f"{_SECONDS} count": float(sum(one.buckets))}
            elif family.name == _CALLS:
                call, result = f"{_CALLS} {one.labels.get('exchange', '')}", one.labels.get("result", "")
                parts = {f"{call} sum {result}": one.value or 0.0, f"{call} count {result}": float(sum(one.buckets))}
            else:
                continue
            for name, value in parts.items():
                found[name] = found.get(name, 0.0) + value
    return found


def _sample(
    kind: str,
    component: str,
    good: int,
    total: int,
    now: datetime,
    *,
    average_ms: float | None = None,
    strategy: str = "ALL",
    timeframe: str = "ALL",
) -> Sample:
    rate = (Decimal(100) * good / total).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP) if total else None
    known = average_ms is not None and average_ms < _MOST_MS
    average = Decimal(repr(average_ms)).quantize(Decimal("0.001")) if known else None
    return Sample(kind, component, good, total, rate, average, now, None, strategy, timeframe)
