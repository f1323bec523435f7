"""Candles as arrays, made into higher timeframes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.domain.market.timeframes import length_ms
from app.errors import CorruptData, InvalidInput

Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
NAMES = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume")
_NEEDED = 5  # up to the volume; of the others an exchange may not know


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """One symbol, one timeframe, oldest first, closed. Valid once built; the arrays are read-only. NaN is unknown, and stands only
    in the last three.
    """

    open_time_ms: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    quote_volume: Floats
    trades: Floats
    taker_buy_volume: Floats

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float | None]]) -> Self:
        """From rows of open time in ms, open, high, low, close, volume and, as far as known, the other three."""
        if not rows:
            return cls.from_arrays(np.empty(0, np.int64), np.empty((len(NAMES), 0)))
        width = len(NAMES) + 1
        table = np.full((len(rows), width), np.nan)
        for place, row in enumerate(rows):
            table[place, : len(row)] = [np.nan if number is None else number for number in row]
        if not np.isfinite(table[:, 0]).all():
            raise CorruptData("Candles contain a time that is not a number.")
        return cls.from_arrays(table[:, 0].astype(np.int64), table[:, 1:].T)

    @classmethod
    def from_arrays(cls, open_time_ms: Times, columns: NDArray[np.float64]) -> Self:
        """From open times and one row a column, as ``NAMES`` orders them. Raises CorruptData for what cannot be candles."""
        times = np.array(open_time_ms, dtype=np.int64)
        table = np.array(columns, dtype=np.float64).reshape(len(NAMES), len(times))
        opens, highs, lows, closes, volumes = table[:_NEEDED]
        if not np.isfinite(table[:_NEEDED]).all():
            raise CorruptData("Candles contain a value that is not a number.")
        if (np.diff(times) <= 0).any():
            raise CorruptData("Candles are out of order or repeated.")
        if (lows <= 0).any() or (volumes < 0).any():
            raise CorruptData("Candles contain a price that is not positive, or a negative volume.")
        if (highs < np.maximum(opens, closes)).any() or (lows > np.minimum(opens, closes)).any():
            raise CorruptData("Candles open or close outside of their own high and low.")
        times.setflags(write=False)
        table.setflags(write=False)
        return cls(times, *table)

    def __len__(self) -> int:
        return len(self.open_time_ms)

    def columns(self) -> NDArray[np.float64]:
        """One row a column, as ``NAMES`` orders them."""
        return np.array([getattr(self, name) for name in NAMES])


def roll_up(candles: Candles, timeframe: str, *, made_of: str = "1m") -> Candles:
    """The candles of a higher timeframe of which every part is there: neither the one that runs nor one with a hole.

    What is unknown in one part (NaN) is unknown in the sum.
    """
    part, whole = length_ms(made_of), length_ms(timeframe)
    if whole % part or whole == part:
        raise InvalidInput(f"{timeframe} candles cannot be made of {made_of} ones.")
    times = candles.open_time_ms
    if (times % part).any():
        raise CorruptData(f"Candles do not begin where {made_of} ones do.")
    if not len(times):
        return candles
    opens = times - times % whole
    starts = np.flatnonzero(np.diff(opens, prepend=opens[0] - whole))
    ends = np.append(starts[1:], len(times))
    columns = np.array(
        [
            candles.open[starts],
            np.maximum.reduceat(candles.high, starts),
            np.minimum.reduceat(candles.low, starts),
            candles.close[ends - 1],
            *(np.add.reduceat(getattr(candles, name), starts) for name in NAMES[4:]),
        ]
    )
    complete = ends - starts == whole // part  # times are in order, once each and aligned: the count alone says it
    return Candles.from_arrays(opens[starts][complete], columns[:, complete])
