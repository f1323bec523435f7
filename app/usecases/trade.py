"""Trading on paper: what the strategies judged is carried out on every account, minute by minute of the market's time.

An account goes forward over stored candles alone, never over a moment that is not known yet: a minute that is missing is waited
for until others have come for an hour, and a funding rate that fell due, for an hour. So a fleet that was down settles what
happened meanwhile, in order, before it opens anything new. A trade, what filled it and its account are written in one transaction.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection, Engine

from app.domain.market.market_time import MarketTime, moment_of, ms_of
from app.domain.market.timeframes import MINUTE_MS, length_ms, open_of
from app.domain.paper.desk import Basis, Desk, Terms, Told, answered, settled
from app.domain.strategies.strategy import Inputs, Verdict
from app.domain.strategies.table import STRATEGIES
from app.domain.trading.account import Account, check
from app.domain.trading.money import exact
from app.domain.trading.simulation import EXPIRED, Refusal, Trade
from app.errors import InvalidInput
from app.storage import (
    accounts,
    audit,
    checkpoints,
    judgments,
    tasks,
    trades,
)
from app.storage.accounts import Kept
from app.storage.database import reading, transaction
from app.storage.pairs import Pair
from app.storage.trades import FillRow
from app.usecases import begin_judging
from app.usecases.judge import STEP, inputs_of
from app.usecases.live_settings import LiveSettings, live_settings
from app.usecases.paper_tape import SPAN_MS, Tape, read_tapes
from app.usecases.strategy_market import first_pairs
from app.usecases.sum_up_trades import sum_up

CHUNK = 100
"""Symbols of one transaction: others write, too."""
_STEP_MS = length_ms(STEP)
_FRESH_MS = 5 * MINUTE_MS
"""A judgment older than this opens nothing: its price is gone."""


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a trade, as it is told after it was written. ``trade_id`` is None for an order that was refused."""

    what: Literal["opened", "changed", "closed", "refused"]
    symbol: str
    strategy: str
    trade_id: int | None
    trade: Trade | None
    refusal: Refusal | None


def _to_nobody(events: Sequence[Event]) -> None:
    """Where nobody listens."""


@dataclass(slots=True)
class Traded:
    """What one call did, and when by our clock."""

    at: datetime
    events: list[Event] = field(default_factory=list)
    lost_races: int = 0


@dataclass(frozen=True, slots=True)
class _Clock:
    """By the market's time. ``judged_until_ms``: no judgment of a close up to there is still to come."""

    now_ms: int
    fresh_ms: int
    judged_until_ms: int

    @property
    def until_ms(self) -> int:
        return open_of(self.now_ms, "1m")

    @property
    def last_close_ms(self) -> int:
        return open_of(self.now_ms, STEP)

    @property
    def oldest_fresh_ms(self) -> int:
        """The oldest close that is fresh; the next one to come where none is."""
        return -(-(self.now_ms - self.fresh_ms) // _STEP_MS) * _STEP_MS

    def is_fresh(self, close_ms: int) -> bool:
        return self.now_ms - close_ms <= self.fresh_ms


@dataclass(frozen=True, slots=True)
class _Moved:
    kept: Kept
    desk: Desk
    told: Sequence[Told]


def trade(
    engine: Engine,
    *,
    exchanges: Sequence[str],
    time: MarketTime,
    now: datetime,
    tell: Callable[[Sequence[Event]], None] = _to_nobody,
) -> Traded:
    """Bring every account forward to now; what happened. ``tell`` is given the news of each piece as it is written, and what
    has none as well: after a long downtime it says that we are still at it. ``now`` is our time, for the audit log.
    """
    done = Traded(now)
    if time.now_ms is None or not exchanges:
        return done
    with reading(engine) as db:
        clock = _clock(db, time.now_ms, time.speed)
        terms = live_settings(db)
        new = _unopened(db)
        waiting = accounts.waiting(db, clock.last_close_ms)
    if new:
        with transaction(engine) as db:
            accounts.open_all(db, [_opened(*key, terms, close_ms - _STEP_MS) for key, close_ms in new.items()])
    names = sorted({symbol for symbol, _ in (*new, *waiting)})
    for begin in range(0, len(names), CHUNK):
        for events in _bring_forward(engine, names[begin : begin + CHUNK], exchanges, clock, terms, done):
            done.events += events
            tell(events)
    return done


def _bring_forward(
    engine: Engine, names: Sequence[str], exchanges: Sequence[str], clock: _Clock, terms: LiveSettings, done: Traded
) -> Iterator[list[Event]]:
    """Bring these symbols' accounts forward, a span of time after the other, until no more is known."""
    moved: list[_Moved] | None = None
    while moved is None or moved:
        with reading(engine) as db:
            moved, idle = _look(db, names, exchanges, clock, terms)
        if moved or idle:
            with transaction(engine) as db:
                events = [event for one in moved for event in _write(db, one, done)]
                accounts.pass_by(db, idle)
            yield events


def _look(
    db: Connection, names: Collection[str], exchanges: Sequence[str], clock: _Clock, terms: LiveSettings
) -> tuple[list[_Moved], list[Desk]]:
    """The accounts that something happens to, and the idle ones that have only to be told that a close went by."""
    there = accounts.listed(db, names)
    those = first_pairs(db, names, exchanges)
    busy = [kept.desk for kept in there if kept.desk.busy and kept.desk.symbol in those]
    late_ms = clock.until_ms - SPAN_MS  # one that is far behind must not hold up the others
    tapes = {
        late: read_tapes(
            db,
            [desk for desk in busy if (desk.settled_until_ms < late_ms) is late],
            those,
            until_ms=clock.until_ms,
            now_ms=clock.now_ms,
        )
        for late in (False, True)
    }
    # What everybody has answered is not judged again at each look.
    answered_ms = min((kept.desk.acted_until_ms for kept in there), default=clock.last_close_ms)
    judged = _judged(db, names, max(clock.oldest_fresh_ms - 1, answered_ms), clock.last_close_ms)
    if busy:
        after_ms = min(desk.acted_until_ms for desk in busy)
        until_ms = min(clock.last_close_ms, after_ms + SPAN_MS + _STEP_MS)
        judged |= _judged(db, {desk.symbol for desk in busy}, after_ms, until_ms)
    moved, idle = [], []
    for kept in there:
        desk = kept.desk
        pair = those.get(desk.symbol)
        tape = tapes[desk.settled_until_ms < late_ms].get(desk.symbol) or Tape((), (), {}, desk.settled_until_ms)
        after, told = _forward(desk, tape, judged, clock, terms_of(terms, pair))
        if told or after.busy or desk.busy:
            if after != desk:
                moved.append(_Moved(kept, after, told))
        elif after.acted_until_ms != desk.acted_until_ms:
            idle.append(after)
    return moved, idle


def _forward(
    desk: Desk,
    tape: Tape,
    judged: Mapping[tuple[str, str, int], tuple[Inputs, Verdict]],
    clock: _Clock,
    terms: Terms,
) -> tuple[Desk, list[Told]]:
    """Minutes and closes in their order, as far as they are known."""
    told: list[Told] = []
    while True:
        if not desk.busy:  # what is over and no longer fresh could open nothing
            skipped = max(desk.acted_until_ms, clock.oldest_fresh_ms - _STEP_MS)
            desk = replace(desk, acted_until_ms=skipped, settled_until_ms=max(desk.settled_until_ms, skipped))
        close_ms = desk.acted_until_ms + _STEP_MS
        if desk.busy:
            end_ms = min(close_ms, tape.until_ms)
            desk, news = settled(
                desk, tape.between(desk.settled_until_ms, end_ms), tape.fundings, terms, tape.book_before
            )
            if news is not None:
                told.append(news)
            if desk.busy:
                desk = replace(desk, settled_until_ms=max(desk.settled_until_ms, end_ms))
                if desk.settled_until_ms < close_ms:
                    return desk, told
        found = judged.get((desk.symbol, desk.strategy, close_ms))
        over = clock.judged_until_ms >= close_ms and not clock.is_fresh(close_ms)
        if close_ms > clock.last_close_ms or (found is None and not over):
            return desk, told
        strategy = STRATEGIES[desk.strategy]
        before, desk = desk, answered(desk, strategy, found, close_ms, terms, fresh=clock.is_fresh(close_ms))
        if before.order is not None and not desk.busy:
            late = Refusal(EXPIRED, "No minute came that could fill it, and by now its reason is old.", close_ms)
            told.append(Told(None, 0, before.basis, late))


def _clock(db: Connection, now_ms: int, speed: float) -> _Clock:
    cycle = checkpoints.load(db, begin_judging.OWNER, begin_judging.NAME)
    running = tasks.is_unfinished(db, begin_judging.KIND)
    judged_until_ms = 0 if running else begin_judging.judged_until_ms(cycle)
    return _Clock(now_ms, round(_FRESH_MS * max(1.0, speed)), judged_until_ms)


def _unopened(db: Connection) -> dict[tuple[str, str], int]:
    """Who was judged lately and has no account yet, with the close of that judgment. Judging may lag behind a fast market."""
    there = accounts.keys(db)
    found: dict[tuple[str, str], int] = {}
    for name in STRATEGIES:
        close = judgments.last_close(db, name, STEP.upper())
        if close is not None:
            judged = judgments.judged(db, name, STEP.upper(), close)
            found |= {(symbol, name): ms_of(close) for symbol in judged if (symbol, name) not in there}
    return found


def _opened(symbol: str, strategy: str, terms: LiveSettings, since_ms: int) -> Desk:
    return Desk(symbol, strategy, Account.opened(terms.starting_equity), since_ms, since_ms)


def terms_of(settings: LiveSettings, pair: Pair | None) -> Terms:
    """What a trade on this pair may be, and costs."""
    return Terms(
        settings.costs(pair.exchange if pair else ""),
        settings.max_loss_amount,
        settings.cooldown_minutes * MINUTE_MS,
        exact(pair.quantity_step) if pair and pair.quantity_step else None,
        exact(pair.min_amount) if pair and pair.min_amount else None,
    )


def _judged(
    db: Connection, names: Collection[str], after_ms: int, until_ms: int
) -> dict[tuple[str, str, int], tuple[Inputs, Verdict]]:
    """What the stored judgments come to. One that this version cannot read is as if it were not there."""
    found = {}
    after, until = (moment_of(time_ms) for time_ms in (after_ms, until_ms))
    for row in judgments.of_closes(db, names, STEP.upper(), after, until):
        try:
            inputs = inputs_of(row)
        except InvalidInput:
            continue
        close_ms = ms_of(row.created_at)
        found[row.symbol, row.strategy_type, close_ms] = inputs, STRATEGIES[row.strategy_type].judge(inputs)
    return found


def _write(db: Connection, moved: _Moved, done: Traded) -> list[Event]:
    """Write an account and what its trades did. What somebody else changed meanwhile is left for the next time."""
    if not accounts.change(db, moved.kept, moved.desk, moved.kept.trade_id):
        done.lost_races += 1
        return []
    check(moved.desk.account)
    events, trade_id = [], moved.kept.trade_id
    for told in moved.told:
        if told.refusal is not None or told.trade is None:
            _trace_refusal(db, moved.desk, told, done.at)
            events.append(Event("refused", moved.desk.symbol, moved.desk.strategy, None, None, told.refusal))
            continue
        is_new = trade_id is None
        if trade_id is None:
            trade_id = _add(db, told.trade)
        else:
            trades.move_levels(db, trade_id, stop_loss=told.trade.stop_loss, take_profit=told.trade.take_profit)
        trades.add_fills(db, _fills(trade_id, told.trade, told.known, told.basis))
        what: Literal["opened", "changed", "closed"] = "opened" if is_new else "changed"
        if not told.trade.active:
            what = "closed"
            _close(db, trade_id, told.trade, moved.desk)
        if is_new or len(told.trade.bookings) > told.known:
            events.append(Event(what, told.trade.symbol, told.trade.strategy, trade_id, told.trade, None))
        if not told.trade.active:
            trade_id = None
    if trade_id != moved.kept.trade_id:
        accounts.change(db, replace(moved.kept, revision=moved.kept.revision + 1), moved.desk, trade_id)
    return events


def _trace_refusal(db: Connection, desk: Desk, told: Told, now: datetime) -> None:
    """A person who ordered finds here why nothing came of it."""
    if told.refusal is None or told.basis is None or told.basis.actor is None:
        return
    audit.record(
        db,
        now=now,
        actor="strategy-worker",
        action="order_refused",
        subject=f"{desk.strategy} {desk.symbol}",
        before={"asked_by": told.basis.actor},
        after={
            "reason": told.refusal.reason,
            "message": told.refusal.message,
            "market_time": moment_of(told.refusal.at_ms).isoformat(),
        },
    )


def _add(db: Connection, trade: Trade) -> int:
    return trades.add(
        db,
        symbol=trade.symbol,
        strategy_type=trade.strategy,
        direction=trade.direction,
        entry_price=trade.entry_price,
        stop_loss=trade.stop_loss,
        take_profit=trade.take_profit,
        leverage=trade.leverage,
        margin_required=trade.margin,
        risk_amount=trade.risk_amount,
        position_size=trade.quantity,
        now=moment_of(trade.opened_ms),
    )


def _fills(trade_id: int, trade: Trade, known: int, basis: Basis | None) -> list[FillRow]:
    rows = []
    for number, booking in enumerate(trade.bookings[known:], known):
        why = {"why": asdict(basis)} if number == 0 and basis is not None else {}
        row = FillRow(
            trade_id,
            number,
            booking.kind.upper(),
            booking.at_ms,
            booking.price,
            booking.quantity,
            booking.margin,
            booking.realised,
            booking.fee,
            booking.funding,
            booking.reason,
            msgspec.to_builtins(booking.assumed | why),
        )
        rows.append(row)
    return rows


def _close(db: Connection, trade_id: int, trade: Trade, desk: Desk) -> None:
    if trade.exit_price is None or trade.closed_ms is None or trade.exit_reason is None:
        raise AssertionError(f"Trade {trade_id} is {trade.status} without an exit.")
    trades.close(
        db,
        trade_id,
        status=trade.status,
        exit_price=trade.exit_price,
        exit_reason=trade.exit_reason,
        pnl=trade.pnl,
        pnl_percentage=trade.pnl_percentage,
        now=moment_of(trade.closed_ms),
    )
    sum_up(db, desk, moment_of(trade.closed_ms))
