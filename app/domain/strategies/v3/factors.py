"""The factors of 1h, six of them, for a trend or for a range (B1.4, B1.6).

A factor whose input is missing is None: it is not counted, and the verdict says so.
"""

from collections.abc import Mapping
from typing import Literal

from app.domain.strategies.strategy import Direction
from app.domain.strategies.v3.inputs import V3Inputs

Factors = Mapping[str, bool | None]
Side = Literal["upper", "lower"]
BUYS = 0.2 / 2.2  # buys of 1.2 x sells, as a share of both
_SURGE_15M, _SURGE_1H = 1.5, 1.2
_OI_UP, _OI_DOWN = 2.0, -3.0
_FUNDING = 0.0005
_CALM_VOLUME, _CALM_DELTA, _CALM_OI, _NEAR_VWAP = 1.7, 0.02, 2.0, 0.01
TOUCHES = 2


def of_trend(of: V3Inputs, trend: Direction) -> Factors:
    """What speaks for going with the trend."""
    sign = 1 if trend == "UP" else -1
    edge = of.high20_4h if sign > 0 else of.low20_4h
    return {
        "vwap": beyond(of.close_1h, of.vwap_1h, sign),
        "breakout": beyond(of.close_1h, edge, sign),
        "volume": _both(_at_least(of.surge_15m, _SURGE_15M), _at_least(of.surge_1h, _SURGE_1H)),
        "oi": None if of.oi_6h is None else of.oi_6h >= _OI_UP if sign > 0 else of.oi_6h <= _OI_DOWN,
        "funding": None if of.funding is None else abs(of.funding) <= _FUNDING,
        "delta": None if of.delta_1h is None else sign * of.delta_1h >= BUYS,
    }


def of_range(of: V3Inputs, side: Side) -> Factors:
    """What speaks for the box holding on this side. Calm is what makes a breakout false."""
    away = None if of.close_1h is None or not of.vwap_1h else of.close_1h / of.vwap_1h - 1
    touches = of.touches_lower if side == "lower" else of.touches_upper
    return {
        "vwap": None if away is None else abs(away) < _NEAR_VWAP,
        "touch": None if of.upper_1h is None else touches >= TOUCHES,
        "volume": None if of.surge_1h is None else of.surge_1h <= _CALM_VOLUME,
        "oi": None if of.oi_6h is None else abs(of.oi_6h) <= _CALM_OI,
        "delta": None if of.delta_1h is None else abs(of.delta_1h) <= _CALM_DELTA,
        "no_breakout": None if of.close_1h is None else of.new_extreme_1h == 0,
    }


def count(factors: Factors) -> int:
    """F, 0 to 6: nought where the price is on the wrong side of VWAP, or that is not known."""
    return sum(held is True for held in factors.values()) if factors["vwap"] else 0


def beyond(price: float | None, level: float | None, sign: int) -> bool | None:
    """Whether the price is above the level, or below it for a ``sign`` of -1; None where one of them is not known."""
    return None if price is None or level is None else sign * (price - level) > 0


def _at_least(value: float | None, least: float) -> bool | None:
    return None if value is None else value >= least


def _both(one: bool | None, other: bool | None) -> bool | None:
    return None if one is None or other is None else one and other
