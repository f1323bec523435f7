"""Trades, added up: who bought and who sold in each span of time, for CVD. The feed writes the present minute again and again."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Connection, case, func, select

from app.domain.market.timeframes import HOUR_MS
from app.storage.spans import MOST, Spans
from app.storage.tables import trade_flow, trading_pairs


@dataclass(frozen=True, slots=True)
class Flow:
    """One row of ``trade_flow``. ``buy`` and ``sell`` are the takers'; a status of ``gap`` says that trades were lost."""

    pair_id: int
    timeframe: str
    open_time: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    buy_volume: float | None
    sell_volume: float | None
    buy_quote: float | None
    sell_quote: float | None
    trades: int | None
    largest_quote: float | None
    first_id: int | None
    last_id: int | None
    status: Literal["ok", "gap", "repaired"] = "ok"


class CvdInput(NamedTuple):
    """What CVD needs of a span."""

    open_time: int
    buy_volume: float | None
    sell_volume: float | None
    status: str


class FlowSum(NamedTuple):
    """Takers' volumes of several spans of one pair; ``rows`` of them there were, and ``gaps`` among these lost trades."""

    buy_volume: float
    sell_volume: float
    rows: int
    gaps: int


_SPANS = Spans(trade_flow, Flow)


def store(db: Connection, rows: Iterable[Flow]) -> None:
    """Write sums, in place of those of the same pair and span."""
    _SPANS.store(db, rows)


def read(
    db: Connection,
    pair_id: int,
    timeframe: str,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = MOST,
) -> list[Flow]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    return _SPANS.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)


def newest(db: Connection, pair_id: int, timeframe: str) -> Flow | None:
    """The last one."""
    return _SPANS.newest(db, pair_id, timeframe)


def latest(db: Connection, timeframe: str) -> dict[int, Flow]:
    """The last one of each pair."""
    return _SPANS.latest(db, timeframe)


def between(
    db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
) -> Iterator[tuple[int, list[Flow]]]:
    """All pairs' sums of a stretch of time, or these pairs', one pair after the other."""
    return _SPANS.between(db, timeframe, start_ms, end_ms, pair_ids)


def without_sum(db: Connection, hour: int) -> list[int]:
    """Pairs that have minutes in an hour which has no sum. One look along the index for each pair."""
    minute, whole = trade_flow.alias(), trade_flow.alias()
    has_minutes = (
        select(minute.c.id)
        .where(minute.c.pair_id == trading_pairs.c.id, minute.c.timeframe == "1m")
        .where(minute.c.open_time >= hour, minute.c.open_time < hour + HOUR_MS)
        .exists()
    )
    has_sum = (
        select(whole.c.id)
        .where(whole.c.pair_id == trading_pairs.c.id, whole.c.timeframe == "1h", whole.c.open_time == hour)
        .exists()
    )
    return list(db.execute(select(trading_pairs.c.id).where(~has_sum, has_minutes)).scalars())


def cvd_inputs(
    db: Connection, pair_id: int, *, since_ms: int, until_ms: int | None = None, timeframe: str = "1m"
) -> list[CvdInput]:
    """What CVD adds up, oldest first. A minute without a row had no trade, or was not watched: the candles tell."""
    mine = trade_flow.c
    query = select(mine.open_time, mine.buy_volume, mine.sell_volume, mine.status).where(
        mine.pair_id == pair_id, mine.timeframe == timeframe, mine.open_time >= since_ms
    )
    if until_ms is not None:
        query = query.where(mine.open_time < until_ms)
    return [CvdInput(*row) for row in db.execute(query.order_by(mine.open_time))]


def bars(
    db: Connection, pair_ids: Collection[int], length_ms: int, *, since_ms: int, until_ms: int, timeframe: str
) -> list[tuple[int, int, float, float]]:
    """The takers' volumes of these pairs in each span of that length: pair, where it begins, bought, sold."""
    mine = trade_flow.c
    begin = mine.open_time - mine.open_time % length_ms
    query = (
        select(mine.pair_id, begin, func.sum(mine.buy_volume), func.sum(mine.sell_volume))
        .where(mine.pair_id.in_(pair_ids), mine.timeframe == timeframe)
        .where(mine.open_time >= since_ms, mine.open_time < until_ms)
        .group_by(mine.pair_id, begin)
    )
    return [(int(pair_id), int(at), float(buy or 0), float(sell or 0)) for pair_id, at, buy, sell in db.execute(query)]


def sums(db: Connection, *, since_ms: int, until_ms: int, timeframe: str = "1m") -> dict[int, FlowSum]:
    """The takers' volumes of all pairs over a stretch of time, added up by the database."""
    mine = trade_flow.c
    gaps = func.sum(case((mine.status == "gap", 1), else_=0))
    query = (
        select(mine.pair_id, func.sum(mine.buy_volume), func.sum(mine.sell_volume), func.count(), gaps)
        .where(mine.timeframe == timeframe, mine.open_time >= since_ms, mine.open_time < until_ms)
        .group_by(mine.pair_id)
    )
    return {
        int(pair_id): FlowSum(float(buy or 0), float(sell or 0), int(rows), int(lost))
        for pair_id, buy, sell, rows, lost in db.execute(query)
    }
