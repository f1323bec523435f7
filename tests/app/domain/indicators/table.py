"""Every indicator as one function of candles, for tests that hold for all of them; and candles of our own making."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from app.domain.indicators import average, momentum, volatility, volume, zscore
from app.domain.market.candles import Floats


class Bars(NamedTuple):
    """Columns of candles: of one symbol, or a matrix of many."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def some(self, rows: object = ..., bars: object = slice(None)) -> "Bars":
        """A part of them."""
        return Bars(*(column[rows][..., bars] for column in self))  # type: ignore[index]


def walk(rows: int, bars: int, seed: int = 1) -> Bars:
    """Random walks with volumes."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (rows, bars)), axis=1))
    reach = np.abs(random.normal(0, 0.004, (2, rows, bars)))
    return Bars(close * (1 + reach[0]), close * (1 - reach[1]), close, random.gamma(2, 50, (rows, bars)))


EVERY: Mapping[str, Callable[[Bars], Floats]] = {
    "sma": lambda b: average.sma(b.close, 20),
    "ema": lambda b: average.ema(b.close, 20),
    "smoothed": lambda b: average.smoothed(b.close, 14),
    "rsi": lambda b: momentum.rsi(b.close),
    "macd line": lambda b: momentum.macd(b.close).line,
    "macd signal": lambda b: momentum.macd(b.close).signal,
    "macd histogram": lambda b: momentum.macd(b.close).histogram,
    "adx": lambda b: momentum.adx(*b[:3]).adx,
    "plus di": lambda b: momentum.adx(*b[:3]).plus_di,
    "minus di": lambda b: momentum.adx(*b[:3]).minus_di,
    "true range": lambda b: volatility.true_range(*b[:3]),
    "atr": lambda b: volatility.atr(*b[:3]),
    "deviation": lambda b: volatility.deviation(b.close, 20),
    "upper band": lambda b: volatility.bollinger(b.close).upper,
    "lower band": lambda b: volatility.bollinger(b.close).lower,
    "bandwidth": lambda b: volatility.bandwidth(b.close),
    "vwap": lambda b: volume.vwap(*b),
    "rolling vwap": lambda b: volume.rolling_vwap(*b, 20),
    "vwma": lambda b: volume.vwma(b.close, b.volume, 20),
    "surge": lambda b: volume.surge(b.volume),
    "zscore": lambda b: zscore.zscore(b.close, 12),
}
