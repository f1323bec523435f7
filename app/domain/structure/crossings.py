"""When a series first passes a level."""

from collections.abc import Sequence

import numpy as np

from app.domain.market.candles import Floats

_WIDTH = 64  # most levels are passed soon; what is left is looked for in steps that double
_MOST = 1 << 21  # values compared at once


def first_after(series: Floats, known_at: Sequence[int], passes: np.ufunc, levels: Sequence[float]) -> list[int | None]:
    """For each level the first bar after its ``known_at`` at which the series passes it; None: not so far.

    ``passes`` compares the series with the level: ``np.greater`` and its like.
    """
    found: list[int | None] = [None] * len(levels)
    begin, beyond = np.array(known_at, np.int64) + 1, np.array(levels, np.float64)
    left, width = np.flatnonzero(begin < len(series)), _WIDTH
    while len(left):
        bars = begin[left, None] + np.arange(min(width, max(1, _MOST // len(left))))
        hit = passes(series[np.minimum(bars, len(series) - 1)], beyond[left, None]) & (bars < len(series))
        place = hit.argmax(axis=1)
        there = hit[np.arange(len(left)), place]
        for level, bar in zip(left[there].tolist(), bars[there, place[there]].tolist(), strict=True):
            found[level] = bar
        begin[left] = bars[:, -1] + 1
        left, width = left[~there & (begin[left] < len(series))], 2 * width
    return found
