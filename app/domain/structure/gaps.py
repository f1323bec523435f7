"""Fair value gaps: prices that one fast candle left untraded (B2.4)."""

from dataclasses import dataclass

import numpy as np

from app.domain.market.candles import Floats
from app.domain.structure.crossings import first_after


@dataclass(frozen=True, slots=True)
class Gap:
    """Between the candles before and after a fast one. ``direction``: +1 up, -1 down."""

    direction: int
    at: int
    """The fast candle."""
    known_at: int
    bottom: float
    top: float
    mitigated_at: int | None
    """Price first came back to its near edge."""
    joined_at: int | None
    """From here on the next gap says it all: it lies right behind, has the same direction and holds this one."""


def gaps(high: Floats, low: Floats, open_: Floats, close: Floats, *, join: bool = False) -> list[Gap]:
    """Every gap, in the order in which they are known.

    ``join``: a gap right behind one of the same direction reaches over both, whatever was mitigated in between. The earlier one
    stays, for it was there until then, and carries ``joined_at``.
    """
    if len(close) < 3:
        return []
    body = close[1:-1] - open_[1:-1]
    up = (body > 0) & (high[:-2] < low[2:])
    at = np.flatnonzero(up | ((body < 0) & (low[:-2] > high[2:]))) + 1
    rises = up[at - 1]
    bottoms = np.where(rises, high[at - 1], high[at + 1]).tolist()
    tops = np.where(rises, low[at + 1], low[at - 1]).tolist()
    where, directions = at.tolist(), np.where(rises, 1, -1).tolist()
    joined: list[int | None] = [None] * len(where)
    if join:
        for this in range(1, len(where)):
            before = this - 1
            if where[before] + 1 == where[this] and directions[before] == directions[this]:
                joined[before] = where[this] + 1
                bottoms[this] = min(bottoms[before], bottoms[this])
                tops[this] = max(tops[before], tops[this])
    # The near edge is the top of a gap that rose, the bottom of one that fell; mirrored, one search finds both.
    mitigated: list[int | None] = [None] * len(where)
    for direction, series, edges, passes in ((1, low, tops, np.less_equal), (-1, high, bottoms, np.greater_equal)):
        mine = [place for place, each in enumerate(directions) if each == direction]
        bars = first_after(series, [where[place] + 1 for place in mine], passes, [edges[place] for place in mine])
        for place, bar in zip(mine, bars, strict=True):
            mitigated[place] = bar
    return [
        Gap(directions[this], where[this], where[this] + 1, bottoms[this], tops[this], mitigated[this], joined[this])
        for this in range(len(where))
    ]
