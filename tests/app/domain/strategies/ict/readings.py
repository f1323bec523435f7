"""A market in words: inputs of ICT in which the days rise and everything speaks for a trade. Tests change what matters."""

from typing import Any

from app.domain.strategies.ict.inputs import IctInputs

CENTRE = 110.0
_RISING: dict[str, Any] = {
    "status": "ok",
    "bars_1d": 25,
    "bars_4h": 250,
    "change_1d": 12.0,
    "close_15m": 110.0,
    "atr_4h": 1.0,
    "far6_4h": 107.0,
    "block": "dwelling",
    "block_bottom": 108.0,
    "block_top": 109.0,
    "block_age_4h": 8,
    "gap_bottom": 108.8,
    "gap_top": 109.3,
    "break_4h": "bos",
    "break_side_4h": 1,
    "break_level_4h": 109.5,
    "sweep_level_4h": 108.0,
    "sweep_extreme_4h": 107.4,
    "sweep_speed_4h": 0.6,
    "sweep_level_15m": 109.2,
    "sweep_speed_15m": 0.4,
    "engulfs_15m": 1,
    "engulfing_15m": 1.8,
    "surge_15m": 1.7,
    "pattern_15m": None,
    "pattern_side_15m": 0,
    "pattern_score_15m": None,
}
_SIGNED = {"change_1d", "break_side_4h", "engulfs_15m", "pattern_side_15m"}
_PRICED = {"close_15m", "far6_4h", "break_level_4h", "sweep_level_4h", "sweep_extreme_4h", "sweep_level_15m"}
_EDGES = {"block_bottom": "block_top", "gap_bottom": "gap_top"}
_TURNED = {"block_top": "block_bottom", "gap_top": "gap_bottom"} | _EDGES


def rising(**changes: Any) -> IctInputs:
    """A buy, but for what is changed."""
    return IctInputs(**(_RISING | changes))


def falling(**changes: Any) -> IctInputs:
    """Its mirror: every price on the other side of 110, every sign turned, bottoms and tops changed."""
    return IctInputs(**(mirrored(_RISING) | changes))


def mirrored(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same market upside down."""
    return {_TURNED.get(name, name): _turned(name, value) for name, value in inputs.items()}


def _turned(name: str, value: Any) -> Any:
    if value is None or name not in _SIGNED | _PRICED | set(_TURNED):
        return value
    return -value if name in _SIGNED else 2 * CENTRE - value
