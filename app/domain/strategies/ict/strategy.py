"""ICT's verdict (B2.3 with the corrections of A4), gate by gate.

B2.3's gate on the engulfing candle's strength, 0.6, is always open since A4 wants a body of 1.5: it stands here because the
harmonic beside it would matter again if that were lowered. Its confidence number gave way to A2's levels.
"""

from app.domain.strategies.ict.inputs import NEEDS, IctInputs, read
from app.domain.strategies.strategy import (
    LEAST_STOP,
    Direction,
    Gate,
    Held,
    Levels,
    Signal,
    Strategy,
    Verdict,
    confidence_of,
)
from app.domain.trading.simulation import TREND_FLIP

LEAST_BARS_1D, LEAST_BARS_4H = 21, 30
_TREND_PERCENT = 2.0
_SURE_PERCENT = 10.0
_UNSURE = 0.3
_LEAST_SHAPE = 0.6
_LEAST_SURGE = 1.5
_LEAST_TOTAL = 60
_REWARD = 3.0
_BLOCK, _SWEEP = 20, 10
LONGEST_MS = 20 * 60 * 60_000  # the last of B2.1's looks by a person: nobody looks at night


def judge(of: IctInputs) -> Verdict:
    """The verdict on what was read, and the chain of reasons."""
    way, sure = _trend(of)
    sign = -1 if (of.change_1d or 0) < 0 else 1
    harmonic = of.pattern_score_15m or 0.0 if of.pattern_side_15m == sign else 0.0
    engulfs = of.engulfs_15m == sign
    structure = _BLOCK * (of.block is not None) + _SWEEP * (of.sweep_level_4h is not None)
    points = {
        "trend": 25 * sure,
        "order_block": _BLOCK * (of.block is not None),
        "engulfing": 15 * engulfs,
        "sweep_4h": _SWEEP * (of.sweep_level_4h is not None),
        "sweep_15m": 5 * (of.sweep_level_15m is not None),
        "volume": 5 * (of.surge_15m is not None and of.surge_15m >= _LEAST_SURGE),
        "harmonic": 20 * harmonic + 10 * (harmonic > _LEAST_SHAPE),
        "gap": 5 * (of.gap_top is not None),
    }
    total = min(100, round(sum(points.values())))
    confidence = confidence_of(total, of.status)
    enough = of.bars_1d >= LEAST_BARS_1D and of.bars_4h >= LEAST_BARS_4H
    shape = max(of.engulfing_15m or 0.0 if engulfs else 0.0, harmonic)
    block = {"kind": of.block, "bottom": of.block_bottom, "top": of.block_top, "age_4h": of.block_age_4h}
    swept = {"level": of.sweep_level_4h, "extreme": of.sweep_extreme_4h, "speed": of.sweep_speed_4h}
    needed = {"needed_1d": LEAST_BARS_1D, "needed_4h": LEAST_BARS_4H}
    must = (
        Gate("data", enough, {"bars_1d": of.bars_1d, "bars_4h": of.bars_4h, **needed}),
        Gate("trend", way != "RANGE", {"trend": way, "change_1d": of.change_1d, "needed": _TREND_PERCENT}),
        Gate("order block", of.block is not None, block),
        Gate("sweep", of.sweep_level_4h is not None, swept),
    )
    may = (
        Gate("engulfing", engulfs, {"side": of.engulfs_15m, "needed": sign, "strength": of.engulfing_15m}),
        Gate("shape", shape >= _LEAST_SHAPE, {"strength": shape, "harmonic": of.pattern_15m, "needed": _LEAST_SHAPE}),
        Gate(
            "character",
            not _turned(of, sign),
            {"break": of.break_4h, "side": of.break_side_4h, "level": of.break_level_4h},
        ),
        Gate("score", total >= _LEAST_TOTAL, {"total": total, "needed": _LEAST_TOTAL, **points}),
    )
    worth_watching = all(gate.passed for gate in must)
    signal: Signal = "WATCH" if worth_watching else "HOLD"
    levels: Levels | None = None
    gates: tuple[Gate, ...] = (*must, *may)
    if all(gate.passed for gate in gates):
        levels = _levels(of, sign)
        gates += (Gate("room for a stop", levels is not None, {"entry": of.close_15m, "far6_4h": of.far6_4h}),)
    if levels is not None:
        signal = "BUY" if sign > 0 else "SELL"
    scores = {"1d": sure * 10, "4h": structure / 3, "15m": total / 10}
    return Verdict(way, scores, total, signal, None, confidence, gates, levels)


def leave(of: IctInputs, held: Held) -> str | None:
    """The days have turned, or the structure of 4h has."""
    way, _ = _trend(of)
    against: Direction = "DOWN" if held.sign > 0 else "UP"
    return TREND_FLIP if way == against or _turned(of, held.sign) else None


def _trend(of: IctInputs) -> tuple[Direction, float]:
    """Where twenty days went, and how sure that is, 0 to 1; 0 where it is not known."""
    change = of.change_1d
    if change is None:
        return "RANGE", 0.0
    if abs(change) <= _TREND_PERCENT:
        return "RANGE", _UNSURE
    return "UP" if change > 0 else "DOWN", min(abs(change) / _SURE_PERCENT, 1.0)


def _turned(of: IctInputs, sign: int) -> bool:
    return of.break_4h == "choch" and of.break_side_4h == -sign


def _levels(of: IctInputs, sign: int) -> Levels | None:
    """The stop lies beyond the sweep and the extreme of a day of 4h, or as near as any stop may; the target three times as far."""
    entry, far, swept = of.close_15m, of.far6_4h, of.sweep_extreme_4h
    if entry is None or far is None or swept is None:
        return None
    distance = max(sign * (entry - far), sign * (entry - swept), LEAST_STOP * entry)
    if distance >= entry / _REWARD:
        return None
    return Levels(entry, entry - sign * distance, entry + sign * distance * _REWARD)


STRATEGY = Strategy("ICT", ("1d", "4h", "15m"), NEEDS, IctInputs, read, judge, leave, LONGEST_MS)
