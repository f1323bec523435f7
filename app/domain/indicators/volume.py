"""What was traded, and at which price most of it."""

from typing import NamedTuple

import numpy as np

from app.domain.indicators.average import in_order
from app.domain.indicators.ratio import ratio
from app.domain.indicators.recursion import rows_of, windowed
from app.domain.market.candles import Floats


class Profile(NamedTuple):
    """At which prices a row traded. The value area holds ``share`` of the volume around the fullest price."""

    point_of_control: float
    value_low: float
    value_high: float
    edges: Floats
    volumes: Floats


def typical(high: Floats, low: Floats, close: Floats) -> Floats:
    """The middle of a bar."""
    return (high + low + close) / 3


def vwap(high: Floats, low: Floats, close: Floats, volume: Floats) -> Floats:
    """The volume-weighted price since the row's first known bar; NaN while nothing was traded."""
    traded = _added_up(volume)
    paid = _added_up(typical(high, low, close) * volume)
    return ratio(paid, traded)


def rolling_vwap(high: Floats, low: Floats, close: Floats, volume: Floats, length: int) -> Floats:
    """The same of the last ``length`` bars."""
    return vwma(typical(high, low, close), volume, length)


def vwma(values: Floats, volume: Floats, length: int) -> Floats:
    """The volume-weighted mean of the last ``length`` bars."""
    traded = windowed(volume, length, in_order)
    paid = windowed(values * volume, length, in_order)
    return ratio(paid, traded)


def surge(volume: Floats, length: int = 20) -> Floats:
    """This bar's volume against the mean of the ``length`` bars before it."""
    rows = rows_of(volume)
    usual = np.full(rows.shape, np.nan)
    usual[:, 1:] = windowed(rows, length, in_order)[:, :-1] / length
    return ratio(rows, usual).reshape(np.shape(volume))


def profile(high: Floats, low: Floats, volume: Floats, *, bins: int = 24, share: float = 0.7) -> Profile | None:
    """Of one row: each bar's volume is spread evenly over the prices that it spans. None where nothing was traded."""
    known = ~np.isnan(volume)
    highs, lows, volumes = high[known], low[known], volume[known]
    if not volumes.size or volumes.sum() <= 0:
        return None
    bottom, top = float(lows.min()), float(highs.max())
    if bottom == top:
        return Profile(bottom, bottom, bottom, np.array([bottom, top]), np.array([float(volumes.sum())]))
    edges = np.linspace(bottom, top, bins + 1)
    inside = np.minimum(highs[:, None], edges[1:]) - np.maximum(lows[:, None], edges[:-1])
    span = (highs - lows)[:, None]
    of_point = np.clip(np.searchsorted(edges, highs, side="right") - 1, 0, bins - 1)[:, None] == np.arange(bins)
    shares = ratio(np.maximum(inside, 0.0), span, empty=of_point)
    histogram = (shares * volumes[:, None]).sum(axis=0)
    first = last = fullest = int(histogram.argmax())
    held, wanted = histogram[fullest], share * histogram.sum()
    while held < wanted and (first > 0 or last < bins - 1):
        below = histogram[first - 1] if first > 0 else -1.0
        above = histogram[last + 1] if last < bins - 1 else -1.0
        if above >= below:
            last += 1
        else:
            first -= 1
        held += max(above, below)
    centre = float(edges[fullest] + edges[fullest + 1]) / 2
    return Profile(centre, float(edges[first]), float(edges[last + 1]), edges, histogram)


def _added_up(values: Floats) -> Floats:
    rows = rows_of(values)
    total = np.cumsum(np.nan_to_num(rows), axis=1)
    return np.where(np.isnan(rows), np.nan, total).reshape(np.shape(values))
