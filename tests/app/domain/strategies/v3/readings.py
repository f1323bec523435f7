"""A market in words: inputs of V3 in which a trend runs up and everything speaks for a trade. Tests change what matters."""

import re
from typing import Any

from app.domain.strategies.v3.inputs import V3Inputs

_RISING: dict[str, Any] = {
    "kind": "mainstream",
    "status": "ok",
    "bars_4h": 250,
    "close_4h": 110.0,
    "ma20_4h": 105.0,
    "ma50_4h": 103.0,
    "ma200_4h": 100.0,
    "run_4h": 6,
    "adx_4h": 35.0,
    "plus_di_4h": 30.0,
    "minus_di_4h": 10.0,
    "bandwidth_4h": 0.05,
    "expansion_4h": 1.2,
    "macd_4h": 0.4,
    "delta_4h": 0.15,
    "atr_4h": 1.0,
    "high20_4h": 109.0,
    "low20_4h": 99.0,
    "high10_4h": 109.0,
    "low10_4h": 103.0,
    "funding": 0.0001,
    "oi_6h": 3.0,
    "close_1h": 110.0,
    "vwap_1h": 107.0,
    "surge_1h": 1.5,
    "delta_1h": 0.2,
    "delta10_1h": 0.1,
    "delta20_1h": 0.1,
    "macd_1h": 0.3,
    "macd_before_1h": 0.2,
    "adx_1h": 25.0,
    "upper_1h": 112.0,
    "lower_1h": 104.0,
    "touches_upper": 2,
    "touches_lower": 0,
    "new_extreme_1h": 1,
    "close_15m": 110.0,
    "high_15m": 110.2,
    "low_15m": 109.0,
    "setup_close": 109.2,
    "setup_high": 109.5,
    "setup_low": 108.8,
    "vwap_15m": 108.0,
    "ema20_15m": 108.9,
    "ema50_15m": 108.0,
    "high20_15m": 109.5,
    "low20_15m": 106.0,
    "surge_15m": 1.8,
    "delta_15m": 0.2,
    "delta10_15m": 0.1,
    "bandwidth_15m": 0.03,
    "atr_15m": 0.5,
    "atr_growth_15m": 1.1,
    "structure_15m": 2.0,
}
_CENTRE = 110.0
_PAIRS = (("high", "low"), ("upper", "lower"), ("plus", "minus"))
_OPPOSITE = {word: other for pair in _PAIRS for word, other in (pair, pair[::-1])}
_OTHER_SIDE = re.compile("|".join(sorted(_OPPOSITE, key=len, reverse=True)))


def rising(**changes: Any) -> V3Inputs:
    """A buy, but for what is changed."""
    return V3Inputs(**(_RISING | changes))


def falling(**changes: Any) -> V3Inputs:
    """Its mirror: every price on the other side of 110, every sign turned, highs and lows changed."""
    signed = {"run_4h", "macd_4h", "delta_4h", "delta_1h", "delta10_1h", "delta20_1h", "macd_1h", "macd_before_1h"}
    signed |= {"new_extreme_1h", "delta_15m", "delta10_15m", "structure_15m"}
    priced = ("close", "ma20", "ma50", "ma200", "high", "low", "vwap", "upper", "lower", "setup", "ema")
    turned = {
        _OTHER_SIDE.sub(lambda word: _OPPOSITE[word[0]], name): -value
        if name in signed
        else 2 * _CENTRE - value
        if name.startswith(priced)
        else value
        for name, value in _RISING.items()
    }
    return V3Inputs(**(turned | {"oi_6h": -4.0} | changes))


def resting(**changes: Any) -> V3Inputs:
    """No trend: the last candle but one closed below the hour's box, and the last one took it back."""
    still = {
        "ma20_4h": 110.5, "ma50_4h": 110.2, "ma200_4h": 110.6, "close_4h": 110.3, "run_4h": -1, "adx_4h": 12.0,
        "expansion_4h": 0.9, "vwap_1h": 110.2, "upper_1h": 113.0, "lower_1h": 109.5, "touches_lower": 3,
        "new_extreme_1h": 0, "surge_1h": 1.0, "delta_1h": 0.01, "oi_6h": 0.5, "setup_close": 109.3, "close_15m": 109.9,
        "surge_15m": 1.3, "delta_15m": 0.06, "structure_15m": 0.0,
    }  # fmt: skip
    return V3Inputs(**(_RISING | still | changes))
