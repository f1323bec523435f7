"""Division where there may be nothing to divide by."""

import numpy as np

from app.domain.market.candles import Floats


def ratio(part: Floats, whole: Floats, *, empty: float | Floats = np.nan) -> Floats:
    """``part`` / ``whole``; ``empty`` where the whole is nought. What is not known stays so."""
    return np.where(whole == 0, empty, part / np.where(whole == 0, 1.0, whole))
