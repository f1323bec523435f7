"""Candlestick patterns of two candles."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain.market.candles import Floats

LEAST_BODY_RATIO = 1.5  # A4; B2.3 had 0.5
MOST_STRENGTH = 2.0  # B2.3
_BARE = 0.1  # of the earlier body: a market that never closes opens where it was, but for a tick or a spread


class Engulfing(NamedTuple):
    """Each of the candles' shape; a bar's reading is known at its close."""

    direction: NDArray[np.int8]
    """+1 a rising candle engulfs a falling one, -1 the mirror, 0 neither."""
    strength: Floats
    """How much larger the body is, at most 2; 0 without the pattern, NaN where no candle stands before."""


def engulfing(open_: Floats, close: Floats, *, least_ratio: float = LEAST_BODY_RATIO) -> Engulfing:
    """Bars whose body covers the one before but for a tenth at either end, is of the other colour, and ``least_ratio`` times as
    large. Over (..., bars).

    A candle that opened and closed at one price has no body that could be engulfed.
    """
    direction = np.zeros(np.shape(close), np.int8)
    strength = np.full(np.shape(close), np.nan)
    body = close - open_
    before, now = body[..., :-1], body[..., 1:]
    opposite = before * now < 0
    ratio = np.divide(np.abs(now), np.abs(before), out=np.zeros(now.shape), where=opposite)
    side, bare = np.sign(now), _BARE * np.abs(before)
    begins_below = side * (open_[..., 1:] - close[..., :-1]) <= bare
    ends_beyond = side * (open_[..., :-1] - close[..., 1:]) <= bare
    there = begins_below & ends_beyond & (ratio >= least_ratio)
    direction[..., 1:] = np.where(there, side, 0)
    strength[..., 1:] = np.where(there, np.minimum(ratio, MOST_STRENGTH), np.where(np.isnan(before + now), np.nan, 0.0))
    return Engulfing(direction, strength)
