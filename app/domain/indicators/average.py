"""Averages of prices."""

import numpy as np

from app.domain.indicators.recursion import running, windowed
from app.domain.market.candles import Floats


def sma(values: Floats, length: int) -> Floats:
    """The plain mean of the last ``length`` bars."""
    return windowed(values, length, lambda windows: in_order(windows) / length)


def ema(values: Floats, length: int) -> Floats:
    """The exponential average, begun with the plain mean of the first ``length`` bars, as everybody's charts do."""
    weight = 2 / (length + 1)
    return running(values, length, 1 - weight, weight)


def smoothed(values: Floats, length: int) -> Floats:
    """Wilder's average: each bar weighs one ``length``-th."""
    return running(values, length, (length - 1) / length, 1 / length)


def in_order(windows: Floats) -> Floats:
    """Sums along the last axis, oldest first: NumPy's own order depends on the shape, and with it the last bits."""
    total = np.zeros(windows.shape[:-1])
    for bar in range(windows.shape[-1]):
        total = total + windows[..., bar]
    return total
