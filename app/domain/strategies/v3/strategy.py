"""V3's verdict: trend, factors and entry fused (B1.7), gate by gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from app.domain.strategies.strategy import Direction, Gate, Signal, Strategy, Strength, Verdict, confidence_of
from app.domain.strategies.v3 import coins, entry, factors, trend
from app.domain.strategies.v3.coins import Kind
from app.domain.strategies.v3.exits import LONGEST_MS, leave
from app.domain.strategies.v3.factors import Factors, Side
from app.domain.strategies.v3.inputs import NEEDS, V3Inputs, read
from app.domain.strategies.v3.learning import Tilts, learn

Weights = tuple[float, float, float]
_EARLY_WEIGHT = 0.1


def judge(of: V3Inputs) -> Verdict:
    """The verdict on what was read, and the chain of reasons."""
    way, points = trend.direction(of)
    strength_of_trend = trend.score(of, way)
    data = Gate("data", of.bars_4h >= trend.LEAST_BARS, {"bars_4h": of.bars_4h, "needed": trend.LEAST_BARS})
    found = _in_range(of) if way == "RANGE" else _in_trend(of, way)
    weights = _weights(strength_of_trend, found.factor_count, found.entry_score, of.tilts, early=found.early)
    parts = (strength_of_trend / 10, found.factor_count / 6, found.entry_score / 5)
    total = round(100 * sum(part * weight for part, weight in zip(parts, weights, strict=True)))
    confidence = confidence_of(total, of.status)
    along = found.sign * of.structure_15m
    eased = _compensation(total, strength_of_trend, found.entry_score, along, early=found.early)
    strength = _strength(total, strength_of_trend, found.factor_count, found.entry_score, eased)
    where = {"trend": way, "points": points, "needed": trend.THRESHOLD, "T": strength_of_trend}
    class_ = Gate(
        "strength",
        strength is not None or way == "RANGE",
        {"total": total, "T": strength_of_trend, "F": found.factor_count, "E": found.entry_score, "eased": eased},
    )
    before_entry = (data, Gate("trend", True, where), found.factors, class_)
    worth_watching = all(gate.passed for gate in before_entry)
    through = worth_watching and all(gate.passed for gate in found.entry)
    levels = entry.levels(of, found.sign, confidence, found.side) if through else None
    signal: Signal = "HOLD"
    if levels is not None:
        signal = "BUY" if found.sign > 0 else "SELL"
    elif worth_watching and not through and way != "RANGE":
        signal = "WATCH"
    if through and way == "RANGE":
        strength = "MEDIUM" if found.factor_count >= 4 else "WEAK"
    scores = {"4h": float(strength_of_trend), "1h": found.factor_count / 6 * 10, "15m": found.entry_score / 5 * 10}
    gates = (*before_entry, *found.entry)
    if through:
        gates += (Gate("room for a stop", levels is not None, {"entry": of.close_15m, "atr_15m": of.atr_15m}),)
    return Verdict(way, scores, total, signal, strength, confidence, gates, levels)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a trend or a range makes of factors and entry. ``sign`` is the side of a trade: 1 to buy, -1 to sell."""

    sign: int
    side: Side | None
    factors: Gate
    factor_count: int
    entry: tuple[Gate, ...]
    entry_score: int
    early: bool


def _in_trend(of: V3Inputs, way: Direction) -> _Found:
    sign = 1 if way == "UP" else -1
    held = factors.of_trend(of, way)
    count = factors.count(held)
    signs, trigger = entry.signs(of, sign), entry.trigger(of, sign)
    filters = entry.true_breakout(of, sign)
    without_vwap = sum(signs.values()) - signs["vwap"]
    ready = signs["vwap"] > 0 and without_vwap >= 2 and trigger is not None
    gates = (
        Gate(
            "entry", ready, {**signs, "needed": 2, "trigger": trigger, "weighted": _share(coins.TREND_15M, of, signs)}
        ),
        Gate("true breakout", all(filters.values()), filters),
    )
    factor = _factor_gate(held, count, coins.weighted(coins.TREND[of.kind], held))
    return _Found(sign, None, factor, count, gates, sum(value > 0 for value in signs.values()), entry.early(of, sign))


def _in_range(of: V3Inputs) -> _Found:
    side = entry.false_breakout(of) or _nearer(of)
    held = factors.of_range(of, side)
    count = factors.count(held)
    valid = count >= 3 and all(held[name] is not False for name in ("touch", "volume", "delta", "oi", "no_breakout"))
    checks = entry.range_checks(of, side, valid=valid)
    sign = 1 if side == "lower" else -1
    share = _share(coins.RANGE_15M, of, entry.signs(of, sign))
    gates = (Gate("false breakout", all(checks.values()), {"side": side, **checks, "weighted": share}),)
    factor = _factor_gate(held, count, coins.weighted(coins.RANGE[of.kind], held))
    return _Found(sign, side, factor, count, gates, sum(checks.values()), early=False)


def _share(weights: Mapping[Kind, Mapping[str, float]], of: V3Inputs, signs: Mapping[str, int]) -> float | None:
    """The share of the entry's weight that speaks for the trade."""
    share = coins.weighted(weights[of.kind], {name: sign > 0 for name, sign in signs.items()})
    return None if share is None else round(share, 4)


def _factor_gate(held: Factors, count: int, weighted: float | None) -> Gate:
    share = None if weighted is None else round(weighted, 4)
    return Gate("factors", count >= 3, {**held, "F": count, "needed": 3, "weighted": share})


def _nearer(of: V3Inputs) -> Side:
    """The side of the box that the price is nearer to."""
    if of.close_15m is None or of.lower_1h is None or of.upper_1h is None:
        return "lower"
    return "lower" if of.close_15m - of.lower_1h <= of.upper_1h - of.close_15m else "upper"


def _weights(t: int, f: int, e: int, tilts: Tilts | None, *, early: bool) -> Weights:
    if t >= 8:
        chosen = (0.60, 0.30, 0.10)
    elif f >= 5:
        chosen = (0.45, 0.40, 0.15)
    elif e >= 4:
        chosen = (0.50, 0.30, 0.20)
    elif t >= 7 and f >= 4 and e >= 3:
        chosen = (0.45, 0.35, 0.20)
    else:
        chosen = (0.50, 0.35, 0.15)
    if early:
        chosen = _shared(chosen[0] + _EARLY_WEIGHT, chosen[1], chosen[2])
    if tilts is not None:
        trend_tilt, factor_tilt, entry_tilt = tilts
        chosen = _shared(chosen[0] * trend_tilt, chosen[1] * factor_tilt, chosen[2] * entry_tilt)
    return chosen


def _shared(t: float, f: float, e: float) -> Weights:
    """As parts of one."""
    whole = t + f + e
    return t / whole, f / whole, e / whole


def _compensation(total: int, t: int, e: int, structure: float, *, early: bool) -> float:
    found = (1 if total >= 80 else 0.5 if total >= 75 else 0) + (1 if t >= 8 else 0.5 if t >= 7 else 0)
    found += 0.5 * (e >= 4) + 0.5 * (structure >= 2) + 0.5 * early
    return min(2.0, found)


def _strength(total: int, t: int, f: int, e: int, eased: float) -> Strength | None:
    """The class of a total, where the trend and the entry are strong enough for it, and the factors for what a high total, a
    strong trend and the compensation leave of the number that it needs. Halves are needed whole.
    """
    strong, moderate, weak = 5, 4, 3
    if total >= 80:
        strong, moderate, weak = max(3, strong - 2), max(2, moderate - 2), max(1, weak - 1)
    elif total >= 75 or t >= 8:
        strong, moderate = strong - 1, moderate - 1
    strong, moderate, weak = (max(1, ceil(needed - eased)) for needed in (strong, moderate, weak))
    if e < 1:
        return None
    if total >= 70:
        return "STRONG" if t >= 6 and f >= strong else None
    if total >= 45:
        return "MEDIUM" if t >= 5 and f >= moderate else None
    return "WEAK" if total >= 35 and t >= 4 and f >= weak else None


STRATEGY = Strategy("V3", ("4h", "1h", "15m"), NEEDS, V3Inputs, read, judge, leave, LONGEST_MS, learn)
