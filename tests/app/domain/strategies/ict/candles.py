"""Markets to be read: each timeframe drawn by hand, or all of them rolled up from one series of 15m."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.feather

from app.domain.market.candles import NAMES, Candles, Floats, roll_up
from app.domain.market.readings import WARMING
from app.domain.market.timeframes import length_ms
from app.domain.strategies.ict.inputs import NEEDS, IctInputs, read
from app.domain.strategies.market import Market, frame

AS_OF_MS = 20_000 * length_ms("1d")
QUARTER_MS = length_ms("15m")


def drawn(**bars: Sequence[Sequence[float]]) -> IctInputs:
    """What is read of one symbol whose candles are these, as rows of open, high, low, close, volume; ``d1``, ``h4``, ``m15``.

    A timeframe that is not drawn stands still at 100.
    """
    return read(market(series(**bars)))[0]


def series(**bars: Sequence[Sequence[float]]) -> dict[str, Candles]:
    """The same as candles that end at ``AS_OF_MS``."""
    named = {"1d": bars.get("d1"), "4h": bars.get("h4"), "15m": bars.get("m15")}
    return {
        timeframe: ending(timeframe, still(NEEDS[timeframe]) if rows is None else rows)
        for timeframe, rows in named.items()
    }


def ending(timeframe: str, rows: Sequence[Sequence[float]], end_ms: int = AS_OF_MS) -> Candles:
    """Rows as candles of which the last one has just closed."""
    begin_ms = end_ms - len(rows) * length_ms(timeframe)
    return Candles.from_rows([(begin_ms + place * length_ms(timeframe), *row) for place, row in enumerate(rows)])


def market(one: Mapping[str, Candles], as_of_ms: int = AS_OF_MS) -> Market:
    """One symbol at one moment."""
    frames = {timeframe: frame([one[timeframe]], timeframe, bars, as_of_ms) for timeframe, bars in NEEDS.items()}
    return Market(("A/USDT:USDT",), as_of_ms, frames, (WARMING,), (WARMING,))


def still(count: int) -> list[list[float]]:
    """A market in which nothing happens: no bar has a body or a wick."""
    return [[100.0, 100.0, 100.0, 100.0, volume] for volume in volumes(count)]


def volumes(count: int) -> list[float]:
    """One bar in three trades much, so that nowhere do two in a row make price dwell."""
    return [100.0 if place % 3 == 2 else 1.0 for place in range(count)]


def path(*points: float, bars: int, wick: float = 0.0) -> list[list[float]]:
    """Price that goes straight from point to point, ``bars`` candles each; a point is the close of its candle."""
    closes = np.concatenate([[points[0]], *(np.linspace(a, b, bars + 1)[1:] for a, b in pairwise(points))])
    opens = np.append(closes[0], closes[:-1])
    tops, bottoms = np.maximum(opens, closes) + wick, np.minimum(opens, closes) - wick
    return [list(row) for row in zip(opens, tops, bottoms, closes, volumes(len(closes)), strict=True)]


def wandering(seed: int, days: int = 30) -> Candles:
    """A market of 15m that wanders around 1000, so little that a share of a price is nearly the same everywhere."""
    random = np.random.default_rng(seed)
    count = days * 96
    close = 1_000 + np.cumsum(random.normal(0, 0.3, count))
    opened = np.append(1_000.0, close[:-1])
    high = np.maximum(opened, close) + np.abs(random.normal(0, 0.15, count))
    low = np.minimum(opened, close) - np.abs(random.normal(0, 0.15, count))
    times = AS_OF_MS - QUARTER_MS * np.arange(count, 0, -1)
    return of_columns(times, opened, high, low, close, random.exponential(10, count))


def recorded_15m(folder: Path, symbol: str) -> Candles:
    """What Binance said in spring 2025."""
    table = pyarrow.feather.read_table(folder / "klines_binance_usdm" / f"{symbol}_USDT_USDT-15m-futures.feather")
    times = table["date"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return of_columns(times, *(table[name].to_numpy() for name in NAMES[:5]))


def of_columns(times: np.ndarray, *columns: Floats) -> Candles:
    """Candles of which nothing is known but prices and volume."""
    unknown = np.full(len(times), np.nan)
    return Candles.from_arrays(times, np.array([*columns, *([unknown] * (len(NAMES) - len(columns)))]))


def all_of(quarters: Candles) -> dict[str, Candles]:
    """All timeframes of a series of 15m."""
    return {name: quarters if name == "15m" else roll_up(quarters, name, made_of="15m") for name in NEEDS}


def until(quarters: Candles, bars: int) -> Candles:
    """As if nothing had come since."""
    return Candles.from_arrays(quarters.open_time_ms[:bars], quarters.columns()[:, :bars])
