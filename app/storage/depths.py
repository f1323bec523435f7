"""Order books in a few numbers: how much rests on each side, and how near."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from app.storage.spans import MOST, Spans
from app.storage.tables import depth_summaries


@dataclass(frozen=True, slots=True)
class DepthRow:
    """One row of ``depth_summaries``. A minute whose book was not ``ok`` has no numbers.

    ``bid_quote_10`` is the value in the quote coin of the best 10 bids, ``bid_quote_1pct`` that of all within 1 % of the mid.
    An hour has the means of its minutes, and the best prices of its last one.
    """

    pair_id: int
    timeframe: str
    open_time: int
    status: Literal["ok", "warming", "stale", "gap"]
    bid: float | None = None
    ask: float | None = None
    mid: float | None = None
    spread_percent: float | None = None
    bid_levels: int | None = None
    ask_levels: int | None = None
    bid_quote_10: float | None = None
    ask_quote_10: float | None = None
    bid_quote_50: float | None = None
    ask_quote_50: float | None = None
    bid_quote_1pct: float | None = None
    ask_quote_1pct: float | None = None
    imbalance: float | None = None


_SPANS = Spans(depth_summaries, DepthRow)


def store(db: Connection, rows: Iterable[DepthRow]) -> None:
    """Write rows, in place of those of the same pair and span."""
    _SPANS.store(db, rows)


def read(
    db: Connection,
    pair_id: int,
    timeframe: str,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = MOST,
) -> list[DepthRow]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    return _SPANS.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)


def newest(db: Connection, pair_id: int, timeframe: str = "1m") -> DepthRow | None:
    """The last one."""
    return _SPANS.newest(db, pair_id, timeframe)


def between(
    db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
) -> Iterator[tuple[int, list[DepthRow]]]:
    """All pairs' rows of a stretch of time, or these pairs', one pair after the other."""
    return _SPANS.between(db, timeframe, start_ms, end_ms, pair_ids)
