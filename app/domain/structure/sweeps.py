"""Sweeps: price pierces a level, takes the stops beyond it, and comes back at once (B2.1, B2.3, A4)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.domain.market.candles import Floats

Side: TypeAlias = Literal["above", "below"]

HTF_LOOK_BACK = 5  # B2.3, bars of 4h
HTF_WITHIN = 2  # B2.1: bars to recover; B2.3 names none
HTF_LEAST_SPEED = 0.2  # B2.3, of the ATR a bar; B2.1 had 0.4
LTF_LOOK_BACK = 5  # B2.3, bars of 15m
LTF_WITHIN = 3  # B2.1 and B2.3
LTF_LEAST_SPEED = 0.02  # B2.3; B2.1 had 0.2


@dataclass(frozen=True, slots=True)
class Sweep:
    """An excursion beyond a level that ended where it began."""

    side: Side
    level: float
    extreme: float
    """The farthest price."""
    at: int
    """The bar that pierced the level."""
    known_at: int
    """The bar that closed back inside."""
    speed: float
    """How deep, over how many bars from ``at`` to ``known_at``, both counted: price a bar."""


def sweeps(
    high: Floats,
    low: Floats,
    close: Floats,
    *,
    level: float,
    side: Side,
    atr: Floats,
    within: int,
    least_speed: float,
    look_back: int,
    level_known_at: int = -1,
) -> list[Sweep]:
    """The sweeps of a level that ended in the last ``look_back`` bars, oldest first.

    A bar pierces if it trades beyond the level and the one before closed inside; the level itself is inside. It has to close
    inside again ``within`` bars, its own counted, at no less than ``least_speed`` ATRs a bar. The ATR is that of the bar at which
    the sweep was known; while it is unknown (NaN) nothing qualifies. Bars up to ``level_known_at`` cannot sweep what nobody knew.
    """
    sign = 1 if side == "above" else -1
    begin = max(1, level_known_at + 1, len(close) - look_back - within + 1)
    if begin >= len(close):
        return []
    beyond, closes, edge = (high, close, level) if sign > 0 else (-low, -close, -level)
    found = []
    for at in (np.flatnonzero((beyond[begin:] > edge) & (closes[begin - 1 : -1] <= edge)) + begin).tolist():
        inside = closes[at : at + within] <= edge
        known_at = at + int(inside.argmax())
        if not inside.any() or known_at < len(close) - look_back:
            continue
        extreme = float(beyond[at : known_at + 1].max())
        speed = (extreme - edge) / (known_at - at + 1)
        if speed >= least_speed * atr[known_at]:
            found.append(Sweep(side, level, sign * extreme, at, known_at, speed))
    return found
