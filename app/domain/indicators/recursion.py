"""Running values, bar by bar: the one loop that averages and Wilder's smoothing stand on.

Bars lie along the last axis, symbols along the first, if there is one. A row may begin with NaN: its history is shorter, and its
warm-up counts from its first known bar. A NaN after that is not foreseen: whoever has a hole blanks everything before it.
Each row is computed in the same order of operations whoever stands beside it, so that a symbol alone gets the same bits.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.domain.market.candles import Floats

_FEW = 8  # rows for which plain floats are faster than arrays of so few numbers


def rows_of(values: Floats) -> Floats:
    """The same as a matrix."""
    return np.atleast_2d(np.asarray(values, dtype=np.float64))


def first_known(rows: Floats) -> NDArray[np.int64]:
    """The first bar of each row that is known; the number of bars where none is."""
    known = ~np.isnan(rows)
    if not rows.shape[1]:
        return np.zeros(len(rows), dtype=np.int64)
    return np.asarray(np.where(known.any(axis=1), known.argmax(axis=1), rows.shape[1]), dtype=np.int64)


def running(values: Floats, length: int, keep: float, take: float) -> Floats:
    """``keep`` x the value before + ``take`` x this one, begun with the mean of the first ``length`` known ones."""
    rows = rows_of(values)
    count, bars = rows.shape
    result = np.full(rows.shape, np.nan)
    if bars >= length:
        (_one_by_one if count < _FEW else _together)(rows, length, keep, take, result)
    return result.reshape(np.shape(values))


def _one_by_one(rows: Floats, length: int, keep: float, take: float, result: Floats) -> None:
    for row, first in enumerate(first_known(rows)):
        begin = first + length
        if begin > rows.shape[1]:
            continue
        numbers = rows[row].tolist()
        value = 0.0
        for number in numbers[first:begin]:  # not sum(): from Python 3.12 on it rounds otherwise than _together does
            value += number
        value /= length
        found = [value]
        for number in numbers[begin:]:
            value = keep * value + take * number
            found.append(value)
        result[row, begin - 1 :] = found


def _together(rows: Floats, length: int, keep: float, take: float, result: Floats) -> None:
    by_bar = np.ascontiguousarray(rows.T)
    found = np.full(by_bar.shape, np.nan)
    begins = first_known(rows) + length - 1
    seeds = np.full(len(rows), np.nan)
    total = np.zeros(len(rows))
    for bar, numbers in enumerate(by_bar):
        total = np.where(bar <= begins, total + np.nan_to_num(numbers), total)
        value = keep * seeds + take * numbers
        seeds = np.where(bar == begins, total / length, value)
        found[bar] = seeds
    result[:] = found.T


def windowed(values: Floats, length: int, work: Callable[[Floats], Floats]) -> Floats:
    """What ``work`` makes of each ``length`` bars in a row; NaN until there are so many.

    It sees them through a view, and should take one place of all windows after the other: a copy is ``length`` times the matrix.
    """
    rows = rows_of(values)
    result = np.full(rows.shape, np.nan)
    if rows.shape[1] >= length:
        windows = np.lib.stride_tricks.sliding_window_view(rows, length, axis=1)
        result[:, length - 1 :] = work(windows)
    return result.reshape(np.shape(values))
