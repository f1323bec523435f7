"""The entry of 15m (B1.6), its filters against false breakouts and for early trends (B1.8), and where it is given up.

B1.8's two levels in units of price are here in units of ATR, which every coin has: the early trend's histogram of 0.5 becomes a
tenth of an hour's ATR, and "within 3 % of the high" becomes half an ATR of 4h below it: about as far as a target lies.
"""

from app.domain.strategies.strategy import LEAST_STOP, Confidence, Levels
from app.domain.strategies.v3.factors import BUYS, Side, beyond
from app.domain.strategies.v3.inputs import V3Inputs

SURGE = 1.5
_NEAR_AVERAGE = 0.001
_LEAST_SURGE, _LEAST_DELTA, _LEAST_DISTANCE, _MOST_GROWTH = 1.2, 0.04, 0.003, 1.5
_ROOM = 0.5
_EARLY_PULL, _EARLY_DELTA = 0.1, 0.05
_ATR_STOP = 1.2
_CALM_BANDWIDTH = 0.05
REWARD = {"HIGH": 2.5, "MEDIUM": 2.0, "LOW": 1.5}


def signs(of: V3Inputs, sign: int) -> dict[str, int]:
    """VWAP's side and four factors: 1 for the trade, -1 against it, 0 neither or not known."""
    oi = of.oi_6h or 0.0
    delta = of.delta_15m or 0.0
    broke = _beyond(of.close_15m, of.high20_15m if sign > 0 else of.low20_15m, sign)
    broke_against = _beyond(of.close_15m, of.low20_15m if sign > 0 else of.high20_15m, -sign)
    return {
        "vwap": _beyond(of.close_15m, of.vwap_15m, sign) - _beyond(of.close_15m, of.vwap_15m, -sign),
        "breakout": broke - broke_against,
        "volume": int(of.surge_15m is not None and of.surge_15m >= SURGE),
        "oi": (sign * oi >= 2) - (sign * oi <= -2),
        "delta": (sign * delta >= BUYS) - (sign * delta <= -BUYS),
    }


def trigger(of: V3Inputs, sign: int) -> str | None:
    """What lets a trend's trade begin now: a pullback to an average that held, or a close beyond the candle before."""
    near, close = of.low_15m if sign > 0 else of.high_15m, of.close_15m
    if near is None or close is None:
        return None
    for name, average in (("pullback to EMA20", of.ema20_15m), ("pullback to EMA50", of.ema50_15m)):
        if average is None:
            continue
        touched = sign * (near - average) <= average * _NEAR_AVERAGE
        if touched and sign * (close - average) > 0:
            return name
    setup = of.setup_high if sign > 0 else of.setup_low
    return "beyond the setup candle" if _beyond(close, setup, sign) else None


def true_breakout(of: V3Inputs, sign: int) -> dict[str, bool]:
    """The filter of trends: all must hold. What is not known does not hold."""
    near, far = of.delta10_15m, of.delta10_1h
    level = of.high20_15m if sign > 0 else of.low20_15m
    edge = of.high10_4h if sign > 0 else of.low10_4h
    close, reach = of.close_15m, of.atr_4h
    broke = level is not None and close is not None and _beyond(close, level, sign)
    return {
        "volume": of.surge_15m is not None and of.surge_15m >= _LEAST_SURGE,
        "delta": near is not None and far is not None and sign * near >= _LEAST_DELTA and sign * far > 0,
        "distance": not broke
        or (level is not None and close is not None and abs(close / level - 1) >= _LEAST_DISTANCE),
        "calm": of.atr_growth_15m is not None and of.atr_growth_15m < _MOST_GROWTH,
        "room": close is not None
        and edge is not None
        and reach is not None
        and not 0 <= sign * (edge - close) < _ROOM * reach,
    }


def false_breakout(of: V3Inputs) -> Side | None:
    """Which side of the hour's box was left by the candle before, and taken back by this one."""
    if of.lower_1h is None or of.upper_1h is None or of.setup_close is None or of.close_15m is None:
        return None
    if of.setup_close < of.lower_1h < of.close_15m:
        return "lower"
    return "upper" if of.setup_close > of.upper_1h > of.close_15m else None


def range_checks(of: V3Inputs, side: Side, *, valid: bool) -> dict[str, bool]:
    """What makes a trade of a false breakout; also E in a range, 0 to 5."""
    return {
        "false breakout": false_breakout(of) == side,
        "box": valid,
        "calm": of.bandwidth_15m is not None and of.bandwidth_15m < _CALM_BANDWIDTH,
        "volume": of.surge_15m is not None and of.surge_15m >= _LEAST_SURGE,
        "delta": of.delta_15m is not None and abs(of.delta_15m) >= _LEAST_DELTA,
    }


def early(of: V3Inputs, sign: int) -> bool:
    """A trend that begins: four of five (B1.8)."""
    pulls = (of.macd_1h, of.macd_before_1h)
    return (
        all(pull is not None and sign * pull >= _EARLY_PULL for pull in pulls)
        + (of.delta20_1h is not None and sign * of.delta20_1h >= _EARLY_DELTA)
        + (_beyond(of.close_1h, of.vwap_1h, sign) and sign * (of.macd_1h or 0.0) > 0)
        + (of.adx_1h is not None and of.adx_1h >= 20)
        + (of.adx_4h is not None and of.adx_4h < 40)
    ) >= 4


def levels(of: V3Inputs, sign: int, confidence: Confidence, box: Side | None) -> Levels | None:
    """Stop and target. The stop is the farther one of the structure's and of 1.2 ATR, never nearer than half a percent."""
    entry, reach = of.close_15m, of.atr_15m
    if entry is None or reach is None:
        return None
    structure = of.setup_low if sign > 0 else of.setup_high
    if box is not None:
        edge = of.lower_1h if box == "lower" else of.upper_1h
        structure = None if edge is None else edge - sign * reach
    far = 0.0 if structure is None else sign * (entry - structure)
    distance = max(far, _ATR_STOP * reach, LEAST_STOP * entry)
    reward = distance * REWARD[confidence]
    if (distance if sign > 0 else reward) >= entry:  # no price is so low
        return None
    return Levels(entry, entry - sign * distance, entry + sign * reward)


def _beyond(price: float | None, level: float | None, sign: int) -> bool:
    return beyond(price, level, sign) is True  # here what is not known does not hold
