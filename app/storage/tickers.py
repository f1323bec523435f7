"""The rolling 24 hours with mark price and funding: of each minute what was last seen in it."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from app.storage.spans import MOST, Spans
from app.storage.tables import tickers


@dataclass(frozen=True, slots=True)
class TickerRow:
    """One row of ``tickers``. What is not known is None; ``change_24h_percent`` is in percent."""

    pair_id: int
    timeframe: str
    open_time: int
    price: float | None = None
    volume_24h: float | None = None
    quote_volume_24h: float | None = None
    bid: float | None = None
    ask: float | None = None
    bid_volume: float | None = None
    ask_volume: float | None = None
    high_24h: float | None = None
    low_24h: float | None = None
    change_24h: float | None = None
    change_24h_percent: float | None = None
    trades_count: int | None = None
    mark_price: float | None = None
    index_price: float | None = None
    funding_rate: float | None = None
    next_funding_time: int | None = None


_SPANS = Spans(tickers, TickerRow, keeps=True)


def store(db: Connection, rows: Iterable[TickerRow]) -> None:
    """Write rows, in place of those of the same pair and span. What was known of the minute before a restart stays known."""
    _SPANS.store(db, rows)


def read(
    db: Connection,
    pair_id: int,
    timeframe: str,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = MOST,
) -> list[TickerRow]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    return _SPANS.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)


def newest(db: Connection, pair_id: int, timeframe: str = "1m") -> TickerRow | None:
    """The last one."""
    return _SPANS.newest(db, pair_id, timeframe)


def latest(db: Connection, timeframe: str = "1m", *, pair_ids: Collection[int] | None = None) -> dict[int, TickerRow]:
    """The last one of each pair, or of each of these."""
    return _SPANS.latest(db, timeframe, pair_ids)


def between(
    db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
) -> Iterator[tuple[int, list[TickerRow]]]:
    """All pairs' rows of a stretch of time, or these pairs', one pair after the other."""
    return _SPANS.between(db, timeframe, start_ms, end_ms, pair_ids)
