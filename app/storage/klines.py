"""Candles that are over. What an exchange said may be corrected by what it says later, and by an import, never by a roll-up.

What a person imported is never purged. So a candle that was imported stays an import, whoever confirms or corrects it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal, TypeAlias

import numpy as np
from sqlalchemy import Connection, func, select
from sqlalchemy.sql.elements import ColumnElement

from app.domain.market.candles import Floats
from app.domain.market.timeframes import length_ms
from app.storage.spans import MOST, Spans
from app.storage.tables import KLINE_SOURCES, klines

Source = Literal["stream", "rest", "rollup", "import"]
Place: TypeAlias = tuple[int, str, int]
"""Pair, timeframe, open time."""
FEW_PAIRS = 300
"""Up to so many are sought one by one; of more, all that there are of that time are read."""


@dataclass(frozen=True, slots=True)
class Kline:
    """One row of ``klines``. What is not known is None; ``marks`` says what is odd about it, with commas."""

    pair_id: int
    timeframe: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trades: int | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None
    source: Source = "stream"
    marks: str | None = None


_MORE_NAMES = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", "marks")
_MORE = attrgetter(*_MORE_NAMES)
_PRICES = attrgetter("open", "high", "low", "close", "volume")
_SPANS = Spans(klines, Kline, yields=("source", "rollup"), sources=KLINE_SOURCES)


def store(db: Connection, rows: Iterable[Kline]) -> list[Kline]:
    """Write candles; those that were new or changed, as they stand now. The same ones again change nothing.

    A candle that says less (an import knows no trades) does not take away what is known of the same volume.
    """
    wanted = {place_of(row): row for row in rows}
    there = at(db, wanted)
    changed = [new for key, row in wanted.items() if (new := _corrected(there.get(key), row)) is not None]
    _SPANS.store(db, changed)
    return changed


def read(
    db: Connection,
    pair_id: int,
    timeframe: str,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = MOST,
) -> list[Kline]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    return _SPANS.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)


def newest(db: Connection, pair_id: int, timeframe: str) -> Kline | None:
    """The last one."""
    return _SPANS.newest(db, pair_id, timeframe)


def between(
    db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int] | None = None
) -> Iterator[tuple[int, list[Kline]]]:
    """All pairs' candles of a stretch of time, or these pairs', one pair after the other."""
    return _SPANS.between(db, timeframe, start_ms, end_ms, pair_ids)


def tables(db: Connection, timeframe: str, start_ms: int, end_ms: int, pair_ids: Collection[int]) -> dict[int, Floats]:
    """These pairs' candles as bare numbers, for those who read many: open time, prices, volume, takers' part of it (NaN: unknown).

    All rows are fetched at once: one by one, fetching takes longer than everything that is then made of them.
    """
    mine = klines.c
    numbers = (mine.open_time, mine.open, mine.high, mine.low, mine.close, mine.volume, mine.taker_buy_volume)
    those = (mine.timeframe == timeframe, mine.open_time >= start_ms, mine.open_time < end_ms)
    query = select(mine.pair_id, *numbers).where(mine.pair_id.in_(pair_ids), *those)
    rows = db.execute(query.order_by(mine.pair_id, mine.open_time)).fetchall()
    table = np.array([tuple(row) for row in rows], dtype=np.float64).reshape(len(rows), 1 + len(numbers))
    wanted = sorted(pair_ids)
    begins = np.searchsorted(table[:, 0], wanted)
    ends = np.searchsorted(table[:, 0], wanted, side="right")
    return {pair_id: table[begin:end, 1:] for pair_id, begin, end in zip(wanted, begins, ends, strict=True)}


def missing(
    db: Connection, pair_id: int, timeframe: str, start_ms: int, end_ms: int, *, limit: int = 1_000
) -> list[tuple[int, int]]:
    """Where candles are missing between two times: each gap's first open time, and where it ends; the oldest ``limit`` gaps.

    The database compares each candle with the one before it, so no more than the gaps comes to us.
    """
    length = length_ms(timeframe)
    start, end = -(-start_ms // length) * length, end_ms // length * length
    if start >= end:
        return []
    mine = klines.c
    there = (
        select(mine.open_time, func.lag(mine.open_time).over(order_by=mine.open_time).label("before"))
        .where(mine.pair_id == pair_id, mine.timeframe == timeframe, mine.open_time >= start, mine.open_time < end)
        .subquery()
    )
    first, last = db.execute(select(func.min(there.c.open_time), func.max(there.c.open_time))).one()
    if first is None:
        return [(start, end)]
    holes = select(there.c.before + length, there.c.open_time).where(there.c.open_time - there.c.before > length)
    inside = db.execute(holes.order_by(there.c.open_time).limit(limit)).all()
    gaps = [(start, int(first)), *((int(a), int(b)) for a, b in inside), (int(last) + length, end)]
    return [gap for gap in gaps if gap[0] < gap[1]][:limit]


def at(db: Connection, places: Iterable[Place]) -> dict[Place, Kline]:
    """The stored ones of these: those of one pair lie in one stretch of an index, those of one minute in one of another."""
    found: dict[Place, Kline] = {}
    times: dict[tuple[int, str], set[int]] = {}
    pairs: dict[tuple[str, int], set[int]] = {}
    for pair_id, timeframe, open_time in places:
        times.setdefault((pair_id, timeframe), set()).add(open_time)
        pairs.setdefault((timeframe, open_time), set()).add(pair_id)
    mine = klines.c
    queries = []
    if len(times) <= len(pairs):
        for (pair_id, timeframe), opened in times.items():
            of_pair = select(*_SPANS.columns).where(mine.pair_id == pair_id, mine.timeframe == timeframe)
            queries += [of_pair.where(is_one) for is_one in _one_of(sorted(opened), length_ms(timeframe))]
    else:
        queries = [
            select(*_SPANS.columns).where(
                mine.timeframe == timeframe,
                mine.open_time == opened,
                mine.pair_id.in_(those) if len(those) <= FEW_PAIRS else mine.source.in_(KLINE_SOURCES),
            )
            for (timeframe, opened), those in pairs.items()
        ]
    for query in queries:
        found |= {place_of(stored): stored for stored in (Kline(*values) for values in db.execute(query))}
    return found


def _one_of(times: list[int], length: int) -> list[ColumnElement[bool]]:
    opened = klines.c.open_time
    if times[-1] - times[0] <= 2 * length * len(times):
        return [opened.between(times[0], times[-1])]
    return [opened.in_(times[begin : begin + 500]) for begin in range(0, len(times), 500)]


def place_of(row: Kline) -> Place:
    """Which one it is."""
    return row.pair_id, row.timeframe, row.open_time


def _corrected(there: Kline | None, new: Kline) -> Kline | None:
    """What to write; None: nothing."""
    if there is None:
        return new
    if new.source == "rollup" and there.source != "rollup":
        return None
    if there.source == "import":
        new = replace(new, source="import")
    less = all(mine is None or mine == theirs for mine, theirs in zip(_MORE(new), _MORE(there), strict=True))
    if less and _PRICES(new) == _PRICES(there):
        # A roll-up that the exchange then confirms becomes its word, so that no later roll-up touches it.
        stronger = there.source == "rollup" or new.source == "import"
        return replace(there, source=new.source) if stronger and new.source != there.source else None
    if new.volume != there.volume:
        return new
    both = zip(_MORE_NAMES, _MORE(new), _MORE(there), strict=True)
    return replace(new, **{name: theirs if mine is None else mine for name, mine, theirs in both})
