"""How fast, and which way."""

from typing import NamedTuple

import numpy as np

from app.domain.indicators.average import ema, smoothed
from app.domain.indicators.ratio import ratio
from app.domain.indicators.recursion import first_known, rows_of
from app.domain.indicators.volatility import true_range
from app.domain.market.candles import Floats


class Macd(NamedTuple):
    """The distance of two averages, its own average, and how far it is from that."""

    line: Floats
    signal: Floats
    histogram: Floats


class Adx(NamedTuple):
    """How strong a trend is, and the strength of both directions."""

    adx: Floats
    plus_di: Floats
    minus_di: Floats


def rsi(close: Floats, length: int = 14) -> Floats:
    """Wilder's relative strength, 0 to 100; 50 where nothing moved."""
    change = _since_last(close)
    gain = smoothed(np.maximum(change, 0.0), length)
    loss = smoothed(np.maximum(-change, 0.0), length)
    both = gain + loss
    return 100.0 * ratio(gain, both, empty=0.5)


def macd(close: Floats, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Both averages begin by themselves. TA-Lib begins the fast one with the slow one, so its first values differ a little."""
    line = ema(close, fast) - ema(close, slow)
    average = ema(line, signal)
    return Macd(line, average, line - average)


def adx(high: Floats, low: Floats, close: Floats, length: int = 14) -> Adx:
    """Wilder's directional movement."""
    up, down = _since_last(high), -_since_last(low)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    unknown = np.isnan(up)
    span = smoothed(np.where(unknown, np.nan, true_range(high, low, close)), length)
    plus_di = 100.0 * ratio(smoothed(np.where(unknown, np.nan, plus), length), span, empty=0.0)
    minus_di = 100.0 * ratio(smoothed(np.where(unknown, np.nan, minus), length), span, empty=0.0)
    both = plus_di + minus_di
    spread = 100.0 * ratio(np.abs(plus_di - minus_di), both, empty=0.0)
    return Adx(smoothed(spread, length), plus_di, minus_di)


def _since_last(values: Floats) -> Floats:
    rows = rows_of(values)
    change = np.full(rows.shape, np.nan)
    change[:, 1:] = rows[:, 1:] - rows[:, :-1]
    change[np.arange(rows.shape[1]) <= first_known(rows)[:, None]] = np.nan
    return change.reshape(np.shape(values))
