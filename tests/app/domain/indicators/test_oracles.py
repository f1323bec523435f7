"""Agreement with others: recorded results of Stock.Indicators, and TA-Lib on prices of our own making."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talib

from app.domain.indicators import average, momentum, volatility, volume
from app.domain.market.candles import Floats
from tests.app.domain.indicators.table import Bars, walk

NEAR = 1e-8


@pytest.fixture(scope="module")
def quotes(recorded: Path) -> Bars:
    with (recorded / "oracle_indicators" / "quotes" / "default.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return Bars(*(np.array([float(row[name]) for row in rows]) for name in ("high", "low", "close", "volume")))


RECORDED: dict[tuple[str, str], Callable[[Bars], Floats]] = {
    ("sma", "sma"): lambda b: average.sma(b.close, 20),
    ("ema", "ema"): lambda b: average.ema(b.close, 20),
    ("smma", "smma"): lambda b: average.smoothed(b.close, 20),
    ("rsi", "rsi"): lambda b: momentum.rsi(b.close),
    ("macd", "macd"): lambda b: momentum.macd(b.close).line,
    ("macd", "signal"): lambda b: momentum.macd(b.close).signal,
    ("macd", "histogram"): lambda b: momentum.macd(b.close).histogram,
    ("adx", "adx"): lambda b: momentum.adx(*b[:3]).adx,
    ("adx", "pdi"): lambda b: momentum.adx(*b[:3]).plus_di,
    ("adx", "mdi"): lambda b: momentum.adx(*b[:3]).minus_di,
    ("tr", "tr"): lambda b: volatility.true_range(*b[:3]),
    ("atr", "atr"): lambda b: volatility.atr(*b[:3]),
    ("bb", "upperBand"): lambda b: volatility.bollinger(b.close).upper,
    ("bb", "lowerBand"): lambda b: volatility.bollinger(b.close).lower,
    ("bb", "width"): lambda b: volatility.bandwidth(b.close),
    ("stdev", "stdDev"): lambda b: volatility.deviation(b.close, 14),
    ("vwap", "vwap"): lambda b: volume.vwap(*b),
    ("vwma", "vwma"): lambda b: volume.vwma(b.close, b.volume, 14),
}


@pytest.mark.parametrize(("file", "column"), RECORDED)
def test_readings_are_those_that_are_recorded(file: str, column: str, quotes: Bars, recorded: Path):
    path = recorded / "oracle_indicators" / "results" / f"{file}.standard.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    wanted = np.array([np.nan if row[column] is None else row[column] for row in said])

    np.testing.assert_allclose(RECORDED[file, column](quotes), wanted, rtol=NEAR, atol=NEAR, equal_nan=True)


# TA-Lib begins MACD's fast average with its slow one, and ADX with one bar less; both fade by themselves.
FADED = {"macd": 400, "adx": 500}
TA_LIB: dict[str, tuple[Callable[[Bars], Floats], Callable[[Bars], Floats]]] = {
    "sma": (lambda b: average.sma(b.close, 20), lambda b: talib.SMA(b.close, 20)),
    "ema": (lambda b: average.ema(b.close, 50), lambda b: talib.EMA(b.close, 50)),
    "rsi": (lambda b: momentum.rsi(b.close), lambda b: talib.RSI(b.close, 14)),
    "macd": (lambda b: momentum.macd(b.close).histogram, lambda b: talib.MACD(b.close)[2]),
    "adx": (lambda b: momentum.adx(*b[:3]).adx, lambda b: talib.ADX(*b[:3], 14)),
    "atr": (lambda b: volatility.atr(*b[:3]), lambda b: talib.ATR(*b[:3], 14)),
    "upper band": (lambda b: volatility.bollinger(b.close).upper, lambda b: talib.BBANDS(b.close, 20)[0]),
    "deviation": (lambda b: volatility.deviation(b.close, 20), lambda b: talib.STDDEV(b.close, 20)),
}


@pytest.mark.parametrize("name", TA_LIB)
def test_readings_are_those_of_ta_lib(name: str):
    bars = walk(1, 1_500, seed=7).some(0)
    ours, theirs = (read(bars) for read in TA_LIB[name])
    settled = slice(FADED.get(name, 0), None)

    np.testing.assert_allclose(ours[settled], theirs[settled], rtol=NEAR, atol=NEAR, equal_nan=True)
