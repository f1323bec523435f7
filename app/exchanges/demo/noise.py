"""Noise that can be asked for at any index: a hash of (key, index), so no draw depends on the draws before it."""

from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Whole: TypeAlias = NDArray[np.int64] | NDArray[np.int32] | NDArray[np.int8]
"""Kept in as little memory as it needs."""
Words: TypeAlias = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_U30, _U27, _U31, _U11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_U16, _U32, _U48, _LOW = np.uint64(16), np.uint64(32), np.uint64(48), np.uint64(0xFFFF)
_IRWIN_HALL = 1 / (65536 * (4 / 12) ** 0.5)
"""Four uniform numbers of 16 bits, summed, have this deviation."""


def key(*parts: str | int) -> int:
    """A key of 64 bits. Python's own hash() differs from process to process."""
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


def words(of: int, index: Ints) -> Words:
    """64 random bits for each index (splitmix64)."""
    bits = index.astype(np.uint64)
    bits *= _STEP
    bits += np.uint64(of)
    bits ^= bits >> _U30
    bits *= _MIX_1
    bits ^= bits >> _U27
    bits *= _MIX_2
    bits ^= bits >> _U31
    return bits


def uniform(of: int, index: Ints) -> Floats:
    """From 0 to below 1."""
    return np.asarray((words(of, index) >> _U11) * 2.0**-53, dtype=np.float64)


def normal(of: int, index: Ints) -> Floats:
    """Nearly normal, mean 0, deviation 1, never beyond 3.5: the sum of four uniform numbers."""
    bits = words(of, index)
    total = (bits & _LOW) + (bits >> _U16 & _LOW) + (bits >> _U32 & _LOW) + (bits >> _U48)
    return np.asarray((total.astype(np.float64) - 131070.0) * _IRWIN_HALL, dtype=np.float64)


def one(of: int, index: int) -> float:
    """``uniform`` for a single index."""
    mask = 0xFFFFFFFFFFFFFFFF
    bits = (index * 0x9E3779B97F4A7C15 + of) & mask
    bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) & mask
    bits ^= bits >> 31
    return (bits >> 11) * 2.0**-53


def wave(of: int, start: int, count: int, period: int) -> Floats:
    """A line through normal draws that stand ``period`` apart: its value at ``start``, ``start + 1``, ..."""
    first = start // period
    last = (start + count - 1) // period
    knots = normal(of, np.arange(first, last + 2))
    rise = np.diff(knots)
    if last - first < 3 and period > count:  # the whole period would be more than what is asked for
        cell, part = np.divmod(np.arange(start, start + count), period)
        cell -= first
        return np.asarray(knots[cell] + rise[cell] * (part / period), dtype=np.float64)
    line = knots[:-1, None] + rise[:, None] * (np.arange(period) / period)
    return line.ravel()[start - first * period :][:count]


def wave_at(of: int, index: Ints, period: int) -> Floats:
    """``wave`` at any indices."""
    cell, part = np.divmod(index, period)
    low, high = normal(of, cell), normal(of, cell + 1)
    return np.asarray(low + (high - low) * (part / period), dtype=np.float64)
