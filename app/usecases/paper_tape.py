"""What the pairs of open paper trades did: minutes, fundings and depths, as far as they are whole.

A minute that is missing is waited for until others have come for an hour, and a funding that fell due, for an hour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from sqlalchemy import Connection

from app.domain.market.timeframes import MINUTE_MS
from app.domain.paper.desk import Desk
from app.domain.trading.fills import Book
from app.domain.trading.simulation import Funding, Minute
from app.storage import depths, funding, klines, tickers
from app.storage.pairs import Pair
from app.storage.tickers import TickerRow

SPAN_MS = 6 * 60 * MINUTE_MS
"""Of a long downtime so much is settled at a time, so that it fits into memory."""
_LATE_MS = 60 * MINUTE_MS
_HEARD_MS = 5 * MINUTE_MS
"""Within so long, one of many pairs has a ticker if anybody listened: these are not fetched later."""

_Top: TypeAlias = tuple[float | None, float | None, float | None, float | None]
"""Bid, ask, and what rests within 1 % of each."""


@dataclass(frozen=True, slots=True)
class Tape:
    """What one pair did, whole up to ``until_ms``."""

    minutes: Sequence[Minute]
    fundings: Sequence[Funding]
    books: Mapping[int, _Top]
    until_ms: int

    def between(self, start_ms: int, end_ms: int) -> Iterable[Minute]:
        """The minutes that lie whole within a span."""
        return (minute for minute in self.minutes if start_ms <= minute.open_ms and minute.end_ms <= end_ms)

    def book_before(self, open_ms: int) -> Book | None:
        """Made when it is asked for: the levels of hours of many pairs would not fit into memory, and few are walked."""
        top = self.books.get(open_ms - MINUTE_MS)
        return None if top is None else Book.of_summary(*top)


@dataclass(frozen=True, slots=True)
class _Span:
    """What is read at one time. Nothing after ``now_ms`` is known."""

    start_ms: int
    end_ms: int
    now_ms: int


def read_tapes(
    db: Connection, busy: Sequence[Desk], those: Mapping[str, Pair], *, until_ms: int, now_ms: int
) -> dict[str, Tape]:
    """What happened to the pairs of these accounts, from where they stand on."""
    if not busy:
        return {}
    since: dict[str, int] = {}
    for desk in busy:
        since[desk.symbol] = min(desk.settled_until_ms, since.get(desk.symbol, desk.settled_until_ms))
    start_ms = min(since.values())
    span = _Span(start_ms, min(until_ms, start_ms + SPAN_MS), now_ms)
    names = {those[desk.symbol].id: desk.symbol for desk in busy}
    rows = klines.tables(db, "1m", start_ms, span.end_ms, names)
    books = {
        pair_id: {
            row.open_time: (row.bid, row.ask, row.bid_quote_1pct, row.ask_quote_1pct)
            for row in of_pair
            if row.status == "ok"
        }
        for pair_id, of_pair in depths.between(db, "1m", start_ms - MINUTE_MS, span.end_ms, names)
    }
    told = dict(tickers.between(db, "1m", start_ms - 2 * MINUTE_MS, span.end_ms, names))
    found = {}
    for pair_id, name in names.items():
        minutes = [Minute.of(int(row[0]), *row[1:5]) for row in rows[pair_id].tolist()]
        fundings, wait_ms = _fundings(db, pair_id, told.get(pair_id, ()), span)
        whole_ms = [span.end_ms, _stop(db, pair_id, those, minutes, since[name], span), wait_ms]
        until = min(at_ms for at_ms in whole_ms if at_ms is not None)
        found[name] = Tape(minutes, fundings, books.get(pair_id, {}), until)
    return found


def _fundings(db: Connection, pair_id: int, told: Sequence[TickerRow], span: _Span) -> tuple[list[Funding], int | None]:
    """What fell due within the span, and the minute of the first one that has not come yet and may."""
    rates = {
        row.time_ms // MINUTE_MS: Funding.of(row.time_ms, row.rate, row.mark_price)
        for row in funding.read(db, pair_id, since_ms=span.start_ms - MINUTE_MS, until_ms=span.end_ms)
    }
    waited_for = []
    for row in told:
        due_ms = row.next_funding_time
        if due_ms is None or not span.start_ms <= due_ms < span.end_ms or due_ms // MINUTE_MS in rates:
            continue
        if span.now_ms - due_ms < _LATE_MS:
            waited_for.append(due_ms // MINUTE_MS * MINUTE_MS)
        elif row.funding_rate is not None:  # what was announced last stands for what never came
            rates[due_ms // MINUTE_MS] = Funding.of(due_ms, row.funding_rate, row.mark_price)
    missed_ms = _missed_funding(db, pair_id, [row.open_time for row in told], span)
    if missed_ms is not None:
        waited_for.append(missed_ms)
    return list(rates.values()), min(waited_for, default=None)


def _missed_funding(db: Connection, pair_id: int, heard: Sequence[int], span: _Span) -> int | None:
    """When a rate fell due while nobody listened, which may still be fetched; None: there is none to wait for.

    No ticker announced it, so it is reckoned from the last two that are known. An hour after the listening began again it is
    given up.
    """
    ends = [span.start_ms, *heard, span.end_ms]
    holes = [(a, b) for a, b in pairwise(ends) if b - a > _HEARD_MS and span.now_ms - b < _LATE_MS]
    if not holes:
        return None
    known = [row.time_ms for row in funding.read(db, pair_id, limit=2)]
    if len(known) < 2:  # no perpetual, or a new one
        return None
    due_ms = 2 * known[1] - known[0]
    return next((due_ms // MINUTE_MS * MINUTE_MS for a, b in holes if a <= due_ms < b), None)


def _stop(
    db: Connection,
    pair_id: int,
    those: Mapping[str, Pair],
    minutes: Sequence[Minute],
    since_ms: int,
    span: _Span,
) -> int | None:
    """The first minute from ``since_ms`` on that is missing and may still come; None: there is none within the span.

    The hour of waiting counts from the first minute that came after the hole, not from the hole: a fleet that was down for a night
    has to fetch the night first. Where none came after it, the others tell whether anybody listened.
    """
    at_ms, now_ms, end_ms = since_ms, span.now_ms, span.end_ms
    for minute in minutes:
        if minute.open_ms > at_ms and now_ms - minute.open_ms < _LATE_MS:
            return at_ms
        at_ms = max(at_ms, minute.end_ms)
    if at_ms >= end_ms:
        return None
    if now_ms - at_ms < _LATE_MS:
        return at_ms
    if next_one := klines.read(db, pair_id, "1m", since_ms=end_ms, limit=1):
        return at_ms if now_ms - next_one[0].open_time < _LATE_MS else None
    late_ms = now_ms - _LATE_MS
    heard_ms = max(at_ms + 2 * MINUTE_MS, late_ms - _HEARD_MS)
    ids = [pair.id for pair in those.values()]
    return None if any(tickers.between(db, "1m", heard_ms, late_ms, ids)) else at_ms
