"""Candles of 5m and above, made of closed lower ones wherever all their parts are stored.

They are made after what they are made of was stored, in short transactions of their own, so that the minute in which a day ends
holds up no other writer. The same rows again make the same candles: whoever was cut off in between calls it again, and what a
killed process left out is found missing and asked for (``fill_history``).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection, Engine

from app.domain.market.timeframes import length_ms, open_of
from app.domain.market.watching import MADE_OF
from app.storage import klines
from app.storage.database import reading, transaction
from app.storage.klines import Kline, Place, place_of

MOST_PARTS = 8_000
"""Candles that one transaction adds up: those of about a hundred pairs when an hour ends."""


@dataclass(slots=True)
class Made:
    """What came into being."""

    changed: int = 0
    """Candles that are new, or other than before."""
    news: list[Kline] = field(default_factory=list)
    """Of these, the ones that a candle of the stream completed. History is nobody's news."""


def make_higher(engine: Engine, rows: Collection[Kline], *, only_anew: bool = False) -> Made:
    """Make what these stored candles complete, and make anew what was made of what they were before.

    ``only_anew``: nothing that is not there already. What an exchange said of a higher candle itself always stays.
    """
    result, below = Made(), list(rows)
    streamed = {place_of(row) for row in below if row.source == "stream"}
    while below:
        spans = _spans(below)
        with reading(engine) as db:
            standing = klines.at(db, spans)
        wanted = [
            place
            for place, is_due in spans.items()
            if (standing[place].source == "rollup" if place in standing else is_due and not only_anew)
        ]
        streamed = {place for place in wanted if _last_part(place) in streamed}
        below = []
        for some in _portions(wanted):
            with transaction(engine) as db:
                made = list(_made(db, some))
                changed = klines.store(db, made)
            below += made  # also what was there already: what is made of it may not be
            result.changed += len(changed)
            result.news += [row for row in changed if place_of(row) in streamed]
    return result


def summed(pair_id: int, timeframe: str, open_time: int, parts: list[Kline]) -> Kline:
    """One candle of several. What one part does not know, the whole does not know."""

    def total(name: str) -> float | None:
        values = [getattr(part, name) for part in parts]
        return None if None in values else sum(values)

    trades = total("trades")
    return Kline(
        pair_id,
        timeframe,
        open_time,
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum(part.volume for part in parts),
        total("quote_volume"),
        None if trades is None else int(trades),
        total("taker_buy_volume"),
        total("taker_buy_quote_volume"),
        "rollup",
    )


def _spans(rows: Iterable[Kline]) -> dict[Place, bool]:
    """What these are parts of, and whether it is time to make it: with its last part, or with one that came late."""
    spans: dict[Place, bool] = {}
    for row in rows:
        late = row.source in ("rest", "import")
        for timeframe, base in MADE_OF.items():
            if base == row.timeframe:
                place = (row.pair_id, timeframe, open_of(row.open_time, timeframe))
                spans[place] = spans.get(place, False) or late or _last_part(place) == place_of(row)
    return spans


def _last_part(place: Place) -> Place:
    pair_id, timeframe, open_time = place
    base = MADE_OF[timeframe]
    return pair_id, base, open_time + length_ms(timeframe) - length_ms(base)


def _portions(places: Iterable[Place]) -> Iterator[list[Place]]:
    """So many at once as are added up in a moment, pair by pair."""
    some: list[Place] = []
    parts = 0
    for place in sorted(places):
        some.append(place)
        parts += length_ms(place[1]) // length_ms(MADE_OF[place[1]])
        if parts >= MOST_PARTS:
            yield some
            some, parts = [], 0
    if some:
        yield some


def _made(db: Connection, places: Iterable[Place]) -> Iterator[Kline]:
    """Those of which every part is there. Gaps are left to the repair."""
    for (timeframe, start_ms, end_ms), pair_ids in _stretches(places).items():
        base = MADE_OF[timeframe]
        due = length_ms(timeframe) // length_ms(base)
        for pair_id, rows in klines.between(db, base, start_ms, end_ms, pair_ids):
            for open_time, some in groupby(rows, lambda row: open_of(row.open_time, timeframe)):  # noqa: B023 - used at once
                parts = list(some)
                if len(parts) == due:
                    yield summed(pair_id, timeframe, open_time, parts)


def _stretches(places: Iterable[Place]) -> dict[tuple[str, int, int], list[int]]:
    """Spans that follow each other as one, and the pairs that have the same ones together: each is one query."""
    stretches: dict[tuple[str, int, int], list[int]] = {}
    for (pair_id, timeframe), those in groupby(sorted(places), lambda place: place[:2]):
        length = length_ms(timeframe)
        times = [open_time for _, _, open_time in those]
        begins = [time for place, time in enumerate(times) if place == 0 or times[place - 1] != time - length]
        ends = [time + length for place, time in enumerate(times, 1) if times[place : place + 1] != [time + length]]
        for start_ms, end_ms in zip(begins, ends, strict=True):
            stretches.setdefault((timeframe, start_ms, end_ms), []).append(pair_id)
    return stretches
