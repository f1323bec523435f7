"""How unusual the newest value is."""

import numpy as np

from app.domain.indicators.average import in_order
from app.domain.indicators.recursion import rows_of
from app.domain.market.candles import Floats

LEAST = 6  # A5: fewer samples say nothing
_NOISE = 1e-12  # a spread of so small a share of the mean is what adding up floats leaves


def zscore(values: Floats, length: int, *, least: int = LEAST) -> Floats:
    """How many standard deviations a value is from the mean of the last ``length`` known ones, itself among them."""
    rows = rows_of(values)
    if not rows.shape[1]:
        return np.full(np.shape(values), np.nan)
    before = np.full((len(rows), length - 1), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(np.hstack([before, rows]), length, axis=1)
    known = ~np.isnan(windows)
    count = known.sum(axis=-1)
    some = np.maximum(count, 1)
    mean = in_order(np.where(known, windows, 0.0)) / some
    off = np.where(known, windows - mean[..., None], 0.0)
    spread = np.sqrt(in_order(off * off) / some)
    moves = spread > _NOISE * np.abs(mean)
    found = np.where(moves, (rows - mean) / np.where(moves, spread, 1.0), 0.0)
    return np.where((count >= least) & ~np.isnan(rows), found, np.nan).reshape(np.shape(values))
