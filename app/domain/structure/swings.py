"""Swings: the bars at which price turned.

A swing is known only when the bars to its right are over. The definition that many use marks it at its own bar, and later takes
away the smaller one of two of the same kind: both would rewrite the past.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from app.domain.market.candles import Floats

Kind: TypeAlias = Literal["high", "low"]


@dataclass(frozen=True, slots=True)
class Swing:
    """A high or low that no bar nearby exceeds."""

    kind: Kind
    at: int
    known_at: int
    price: float


def swings(high: Floats, low: Floats, length: int) -> list[Swing]:
    """The extremes over ``length`` bars on both sides, in the order in which they are known.

    Of equal extremes within reach the first one counts. A bar that is both is a high, then a low.
    """
    found = [(at, 0, price) for at, price in _peaks(high, length)]
    found += [(at, 1, -price) for at, price in _peaks(-low, length)]
    found.sort()
    return [Swing("low" if is_low else "high", at, at + length, price) for at, is_low, price in found]


def alternations(found: Iterable[Swing]) -> list[tuple[int, Swing]]:
    """How the line of alternating swings grew: each step says which swing stands at which place from its ``known_at`` on.

    A swing of the other kind is put to the end. One of the same kind replaces the last one if it is more extreme, and is
    left out if not. Steps are never taken back, so any use of them is causal.
    """
    steps: list[tuple[int, Swing]] = []
    place, last = -1, None
    for swing in found:
        if last is None or swing.kind != last.kind:
            place += 1
        elif not (swing.price > last.price if swing.kind == "high" else swing.price < last.price):
            continue
        steps.append((place, swing))
        last = swing
    return steps


def alternating(found: Sequence[Swing], bar: int | None = None) -> list[Swing]:
    """High, low, high, low, as known at the close of ``bar`` (None: of all of them): the more extreme of two of a kind in a row.

    The last one may still be replaced at a later bar; those before it stand.
    """
    line: list[Swing] = []
    for place, swing in alternations(swing for swing in found if bar is None or swing.known_at <= bar):
        line[place:] = [swing]
    return line


def _peaks(series: Floats, length: int) -> list[tuple[int, float]]:
    if len(series) <= 2 * length:
        return []
    most = sliding_window_view(series, length).max(axis=-1)
    middle = series[length:-length]
    at = np.flatnonzero((middle > most[: len(middle)]) & (middle >= most[length + 1 :])) + length
    return list(zip(at.tolist(), series[at].tolist(), strict=True))
