"""ICT's verdict, gate by gate."""

import itertools

import msgspec
import pytest

from app.domain.strategies.ict.inputs import IctInputs
from app.domain.strategies.ict.strategy import STRATEGY, judge
from app.domain.strategies.strategy import Gate
from tests.app.domain.strategies.ict.readings import falling, mirrored, rising

NO_BLOCK = {"block": None, "block_bottom": None, "block_top": None, "block_age_4h": None}
NO_SWEEP = {"sweep_level_4h": None, "sweep_extreme_4h": None, "sweep_speed_4h": None}
NO_GAP = {"gap_bottom": None, "gap_top": None}
NO_SWEEP_15M = {"sweep_level_15m": None, "sweep_speed_15m": None}
BAT = {"pattern_15m": "BAT", "pattern_side_15m": 1, "pattern_score_15m": 0.5}
PLAIN = NO_GAP | NO_SWEEP_15M | {"surge_15m": 1.0}
"""What may be missing and still be traded."""


def gate(of: IctInputs, name: str) -> Gate:
    return next(gate for gate in judge(of).gates if gate.name == name)


def parts(of: IctInputs) -> dict[str, float]:
    values = gate(of, "score").values
    return {name: value for name, value in values.items() if name not in ("total", "needed")}


def test_a_rise_in_which_everything_agrees_is_bought():
    verdict = judge(rising())

    assert (verdict.trend, verdict.signal, verdict.confidence, verdict.total) == ("UP", "BUY", "HIGH", 85)
    assert verdict.strength is None
    assert verdict.scores == {"1d": 10.0, "4h": 10.0, "15m": 8.5}
    assert verdict.blocked_by is None
    assert tuple(verdict.scores) == STRATEGY.timeframes


def test_its_mirror_is_sold():
    verdict, bought = judge(falling()), judge(rising())

    assert (verdict.trend, verdict.signal, verdict.confidence) == ("DOWN", "SELL", "HIGH")
    assert (verdict.total, verdict.scores) == (bought.total, bought.scores)
    assert verdict.levels is not None
    assert bought.levels is not None
    assert verdict.levels.stop - 110 == pytest.approx(110 - bought.levels.stop)
    assert 110 - verdict.levels.target == pytest.approx(bought.levels.target - 110)


BLOCKED = [
    ({"bars_1d": 20}, "data", "HOLD", {"bars_1d": 20, "needed_1d": 21}),
    ({"bars_4h": 29}, "data", "HOLD", {"bars_4h": 29, "needed_4h": 30}),
    ({"change_1d": 2.0}, "trend", "HOLD", {"trend": "RANGE", "change_1d": 2.0, "needed": 2.0}),
    ({"change_1d": None}, "trend", "HOLD", {"trend": "RANGE", "change_1d": None}),
    (NO_BLOCK, "order block", "HOLD", {"kind": None, "bottom": None, "top": None, "age_4h": None}),
    (NO_SWEEP, "sweep", "HOLD", {"level": None, "extreme": None, "speed": None}),
    ({"engulfs_15m": 0, "engulfing_15m": 0.0}, "engulfing", "WATCH", {"side": 0, "needed": 1, "strength": 0.0}),
    ({"engulfs_15m": -1}, "engulfing", "WATCH", {"side": -1, "needed": 1, "strength": 1.8}),
    ({"engulfing_15m": 0.59}, "shape", "WATCH", {"strength": 0.59, "harmonic": None, "needed": 0.6}),
    (
        {"break_4h": "choch", "break_side_4h": -1},
        "character",
        "WATCH",
        {"break": "choch", "side": -1, "level": 109.5},
    ),
    (PLAIN | {"change_1d": 5.0}, "score", "WATCH", {"total": 58, "needed": 60, "trend": 12.5, "gap": 0}),
    ({"far6_4h": None}, "room for a stop", "WATCH", {"entry": 110.0, "far6_4h": None}),
    ({"far6_4h": 70.0}, "room for a stop", "WATCH", {"far6_4h": 70.0}),  # three times as far is more than the price
]


@pytest.mark.parametrize(("changes", "name", "signal", "values"), BLOCKED)
def test_each_gate_stops_a_trade_alone_and_says_with_which_numbers(changes: dict, name: str, signal: str, values: dict):
    verdict = judge(rising(**changes))
    blocked = verdict.blocked_by

    assert blocked is not None
    assert (blocked.name, verdict.signal, verdict.levels) == (name, signal, None)
    assert values.items() <= blocked.values.items()
    closed = {gate.name for gate in verdict.gates if not gate.passed}
    assert closed <= {name, "shape", "score"}  # what is missing has no shape, and is missing in the score as well


@pytest.mark.parametrize(
    ("changes", "name", "signal"), [case[:3] for case in BLOCKED if case[0].get("change_1d", 1) is not None]
)
def test_its_mirror_is_stopped_at_the_same_gate(changes: dict, name: str, signal: str):
    upright = rising(**changes)
    verdict = judge(IctInputs(**mirrored(msgspec.structs.asdict(upright))))

    assert verdict.blocked_by is not None
    assert (verdict.blocked_by.name, verdict.signal, verdict.total) == (name, signal, judge(upright).total)


def test_the_gates_stand_in_the_order_of_the_rules():
    names = [gate.name for gate in judge(rising()).gates]

    assert names == [
        "data", "trend", "order block", "sweep", "engulfing", "shape", "character", "score", "room for a stop"
    ]  # fmt: skip


def test_every_part_of_the_score_counts_what_the_rules_say():
    assert parts(rising()) == {
        "trend": 25, "order_block": 20, "engulfing": 15, "sweep_4h": 10, "sweep_15m": 5, "volume": 5, "harmonic": 0, "gap": 5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "part", "points"),
    [
        ({"change_1d": 7.0}, "trend", 17.5),
        ({"change_1d": 1.0}, "trend", 7.5),
        ({"change_1d": None}, "trend", 0),
        (NO_BLOCK, "order_block", 0),
        ({"engulfs_15m": -1}, "engulfing", 0),
        (NO_SWEEP, "sweep_4h", 0),
        (NO_SWEEP_15M, "sweep_15m", 0),
        ({"surge_15m": 1.49}, "volume", 0),
        ({"surge_15m": 1.5}, "volume", 5),
        ({"surge_15m": None}, "volume", 0),
        (NO_GAP, "gap", 0),
        (BAT, "harmonic", 10),
        (BAT | {"pattern_score_15m": 0.6}, "harmonic", 12),
        (BAT | {"pattern_score_15m": 0.65}, "harmonic", 23),
        (BAT | {"pattern_side_15m": -1}, "harmonic", 0),
    ],
)
def test_what_is_missing_counts_nothing_and_touches_no_other_part(changes: dict, part: str, points: float):
    whole, found = parts(rising()), parts(rising(**changes))

    assert found[part] == pytest.approx(points)
    assert {name: value for name, value in found.items() if name != part} == {
        name: value for name, value in whole.items() if name != part
    }


def test_the_score_ends_at_a_hundred():
    verdict = judge(rising(**(BAT | {"pattern_score_15m": 0.9})))

    assert sum(parts(rising(**(BAT | {"pattern_score_15m": 0.9}))).values()) == 113
    assert (verdict.total, verdict.scores["15m"]) == (100, 10.0)


@pytest.mark.parametrize(
    ("changes", "total", "confidence"),
    [
        (PLAIN | {"change_1d": 10.0}, 70, "HIGH"),
        (PLAIN | {"change_1d": 9.6}, 69, "MEDIUM"),
        (PLAIN | NO_BLOCK | {"change_1d": 8.0}, 45, "MEDIUM"),
        (PLAIN | NO_BLOCK | {"change_1d": 7.6}, 44, "LOW"),
    ],
)
def test_the_confidence_follows_the_total(changes: dict, total: int, confidence: str):
    verdict = judge(rising(**changes))

    assert (verdict.total, verdict.confidence) == (total, confidence)


@pytest.mark.parametrize("status", ["warming", "stale", "gap"])
def test_a_judgment_on_a_poor_input_is_never_sure(status: str):
    verdict = judge(rising(status=status))

    assert (verdict.confidence, verdict.signal) == ("MEDIUM", "BUY")


@pytest.mark.parametrize(
    ("changes", "scores"),
    [
        ({"change_1d": 5.0}, {"1d": 5.0, "4h": 10.0, "15m": 7.2}),
        ({"change_1d": 1.0}, {"1d": 3.0, "4h": 10.0, "15m": 6.8}),
        ({"change_1d": None}, {"1d": 0.0, "4h": 10.0, "15m": 6.0}),
        (NO_SWEEP, {"1d": 10.0, "4h": 20 / 3, "15m": 7.5}),
        (NO_BLOCK, {"1d": 10.0, "4h": 10 / 3, "15m": 6.5}),
        (NO_BLOCK | NO_SWEEP, {"1d": 10.0, "4h": 0.0, "15m": 5.5}),
    ],
)
def test_each_timeframe_has_a_score_of_its_own(changes: dict, scores: dict[str, float]):
    assert judge(rising(**changes)).scores == pytest.approx(scores)


@pytest.mark.parametrize(("change", "trend"), [(2.01, "UP"), (2.0, "RANGE"), (-2.0, "RANGE"), (-2.01, "DOWN")])
def test_the_days_have_a_direction_beyond_two_percent(change: float, trend: str):
    assert judge(rising(change_1d=change)).trend == trend


def test_a_range_is_held_whatever_else_speaks_for_a_trade():
    verdict = judge(rising(change_1d=0.0, **BAT))

    assert (verdict.trend, verdict.signal, verdict.levels) == ("RANGE", "HOLD", None)


@pytest.mark.parametrize(("market", "against"), [(rising, -1), (falling, 1)])
def test_only_a_change_of_character_against_the_trend_makes_one_watch(market, against: int):
    traded = judge(market()).signal

    assert judge(market(break_4h="choch", break_side_4h=against)).signal == "WATCH"
    assert judge(market(break_4h="choch", break_side_4h=-against)).signal == traded
    assert judge(market(break_4h="bos", break_side_4h=against)).signal == traded
    assert judge(market(break_4h=None, break_side_4h=0, break_level_4h=None)).signal == traded


def test_a_harmonic_does_not_stand_for_an_engulfing_candle_but_lends_it_shape():
    thin = {"engulfing_15m": 0.5}

    assert judge(rising(engulfs_15m=0, **(BAT | {"pattern_score_15m": 0.8}))).blocked_by == gate(
        rising(engulfs_15m=0, **(BAT | {"pattern_score_15m": 0.8})), "engulfing"
    )
    assert judge(rising(**(BAT | thin | {"pattern_score_15m": 0.6}))).signal == "BUY"
    assert judge(rising(**(BAT | thin | {"pattern_score_15m": 0.6, "pattern_side_15m": -1}))).signal == "WATCH"


@pytest.mark.parametrize(
    ("changes", "stop"),
    [
        ({"far6_4h": 107.0, "sweep_extreme_4h": 107.4}, 107.0),
        ({"far6_4h": 107.6, "sweep_extreme_4h": 107.4}, 107.4),
        ({"far6_4h": 109.9, "sweep_extreme_4h": 109.8}, 110 * 0.995),  # never nearer than half a percent
    ],
)
def test_the_stop_lies_beyond_the_sweep_and_the_last_six_candles_and_the_target_three_times_as_far(
    changes: dict, stop: float
):
    levels = judge(rising(**changes)).levels

    assert levels is not None
    assert (levels.entry, levels.stop) == (110.0, pytest.approx(stop))
    assert levels.target == pytest.approx(110 + 3 * (110 - stop))


def test_nothing_known_is_no_trade():
    counts = {
        "status": "warming",
        "bars_1d": 0,
        "bars_4h": 0,
        "break_side_4h": 0,
        "engulfs_15m": 0,
        "pattern_side_15m": 0,
    }
    nothing = {name: counts.get(name) for name in IctInputs.__struct_fields__}
    verdict = judge(IctInputs(**nothing))

    assert (verdict.trend, verdict.signal, verdict.total, verdict.confidence) == ("RANGE", "HOLD", 0, "LOW")
    assert verdict.scores == {"1d": 0.0, "4h": 0.0, "15m": 0.0}


OPTIONAL = (NO_BLOCK, NO_SWEEP, NO_GAP, NO_SWEEP_15M, {"surge_15m": None}, {"far6_4h": None}, BAT, {"engulfs_15m": 0})
TURNED = {"UP": "DOWN", "BUY": "SELL", "WATCH": "WATCH", "HOLD": "HOLD"}


def test_whatever_is_missing_a_market_upside_down_is_judged_upside_down():
    """All 256 ways in which something is not there."""
    for picked in itertools.product((False, True), repeat=len(OPTIONAL)):
        missing = [changes for pick, changes in zip(picked, OPTIONAL, strict=True) if pick]
        upright = rising(**{name: value for changes in missing for name, value in changes.items()})
        one, other = judge(upright), judge(IctInputs(**mirrored(msgspec.structs.asdict(upright))))

        assert (TURNED[one.trend], TURNED[one.signal]) == (other.trend, other.signal), upright
        assert (one.total, one.scores, one.confidence) == (other.total, other.scores, other.confidence), upright
        assert [gate.passed for gate in one.gates] == [gate.passed for gate in other.gates], upright


def test_stored_inputs_come_to_the_same_verdict():
    for one in (rising(), falling(**NO_GAP), rising(change_1d=None)):
        stored = msgspec.json.encode(one)

        assert judge(msgspec.json.decode(stored, type=IctInputs)) == judge(one)
