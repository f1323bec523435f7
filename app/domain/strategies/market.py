"""The market as it was known at one moment: closed candles of many symbols side by side, and what is measured live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.domain.indicators.ratio import ratio
from app.domain.market.candles import Candles, Floats
from app.domain.market.readings import Reading, Status
from app.domain.market.timeframes import last_closed, length_ms


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One timeframe: matrices of symbols x bars, newest last, NaN where there is nothing. ``delta`` is what takers bought more
    than they sold, as a share of what they traded in the bar.

    What stands before a hole is not there: an average over a hole would be of other hours than it says.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    delta: Floats
    known: tuple[int, ...]
    """Bars without a hole up to the newest one, of each symbol; 0 where that one has not come."""
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """What strategies read. Readings are per symbol; only those that are ``ok`` count."""

    symbols: tuple[str, ...]
    as_of_ms: int
    frames: Mapping[str, Frame]
    funding: tuple[Reading, ...]
    interest_6h: tuple[Reading, ...]
    """The change of open interest over six hours, in percent."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """What a person says of coins, in place of a strategy's own table."""
    learned: tuple[tuple[float, ...] | None, ...] = ()
    """What the strategy's own closed trades taught it of each symbol; empty where it learns nothing."""


def frame(candles: Sequence[Candles], timeframe: str, bars: int, as_of_ms: int) -> Frame:
    """Put the symbols' candles side by side, up to the last one that is over at ``as_of_ms``."""
    length, newest = length_ms(timeframe), last_closed(as_of_ms, timeframe)
    shape = (len(candles), bars)
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.full(shape, np.nan) for name in (*names, "delta")}
    known, statuses = [], []
    for row, one in enumerate(candles):
        places = (one.open_time_ms - newest) // length + bars - 1
        wanted = (places >= 0) & (places < bars)
        there = places[wanted]
        begin, status = _whole_from(there, bars)
        chosen = np.flatnonzero(wanted)[begin:]
        at = places[chosen]
        for name in names:
            columns[name][row, at] = getattr(one, name)[chosen]
        columns["delta"][row, at] = _delta(one, chosen)
        known.append(len(chosen))
        statuses.append(status)
    return Frame(**columns, known=tuple(known), statuses=tuple(statuses))


def _whole_from(there: np.ndarray, bars: int) -> tuple[int, Status]:
    """From which one on no candle is missing, and what the series is worth. Without its newest candle it is worth nothing."""
    if not len(there):
        return 0, "warming"
    if there[-1] != bars - 1:
        return len(there), "stale"
    holes = np.flatnonzero(np.diff(there) > 1)
    if len(holes):
        return int(holes[-1]) + 1, "gap"
    return 0, "ok" if len(there) == bars else "warming"


def _delta(candles: Candles, chosen: np.ndarray) -> Floats:
    """Nought where nothing was traded; NaN where the exchange does not say who took."""
    volume, bought = candles.volume[chosen], candles.taker_buy_volume[chosen]
    return ratio(2 * bought - volume, volume, empty=0.0)
