"""How much prices move."""

from typing import NamedTuple

import numpy as np

from app.domain.indicators.average import in_order, sma, smoothed
from app.domain.indicators.recursion import rows_of, windowed
from app.domain.market.candles import Floats


class Bands(NamedTuple):
    """Bollinger's."""

    middle: Floats
    upper: Floats
    lower: Floats


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """The span of a bar and of the jump to it; unknown for the first one, before which there is no close."""
    highs, lows, closes = rows_of(high), rows_of(low), rows_of(close)
    span = np.full(highs.shape, np.nan)
    before = closes[:, :-1]
    span[:, 1:] = np.maximum(highs[:, 1:], before) - np.minimum(lows[:, 1:], before)
    return span.reshape(np.shape(high))


def atr(high: Floats, low: Floats, close: Floats, length: int = 14) -> Floats:
    """Wilder's average of the true range."""
    return smoothed(true_range(high, low, close), length)


def deviation(values: Floats, length: int) -> Floats:
    """The population's standard deviation of the last ``length`` bars; exactly 0 where all are equal, rounded mean or not."""

    def spread(windows: Floats) -> Floats:
        mean = in_order(windows) / length
        total, moves = np.zeros(mean.shape), np.zeros(mean.shape, dtype=np.bool_)
        for bar in range(length):
            off = windows[..., bar] - mean
            total += off * off
            moves |= windows[..., bar] != windows[..., 0]  # so is a NaN, even to itself
        return np.where(moves, np.sqrt(total / length), 0.0)

    return windowed(values, length, spread)


def bollinger(close: Floats, length: int = 20, width: float = 2.0) -> Bands:
    """A mean, and so many standard deviations around it."""
    middle, reach = sma(close, length), width * deviation(close, length)
    return Bands(middle, middle + reach, middle - reach)


def bandwidth(close: Floats, length: int = 20, width: float = 2.0) -> Floats:
    """How wide the bands are, as a share of the price."""
    bands = bollinger(close, length, width)
    return (bands.upper - bands.lower) / bands.middle
