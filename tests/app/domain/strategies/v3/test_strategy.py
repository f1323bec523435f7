"""V3's verdict, gate by gate."""

from typing import Any

import msgspec
import pytest

from app.domain.strategies.strategy import Verdict
from app.domain.strategies.v3.inputs import V3Inputs
from app.domain.strategies.v3.strategy import judge
from tests.app.domain.strategies.v3.readings import falling, resting, rising


def stopped_at(inputs: V3Inputs) -> str | None:
    blocked = judge(inputs).blocked_by
    return None if blocked is None else blocked.name


def test_a_trend_in_which_everything_agrees_is_bought():
    verdict = judge(rising())

    assert (verdict.trend, verdict.signal, verdict.strength, verdict.confidence) == ("UP", "BUY", "STRONG", "HIGH")
    assert verdict.scores == {"4h": 9.0, "1h": 10.0, "15m": 10.0}
    assert verdict.blocked_by is None


def test_its_mirror_is_sold():
    verdict, bought = judge(falling()), judge(rising())

    assert (verdict.trend, verdict.signal, verdict.strength) == ("DOWN", "SELL", "STRONG")
    assert (verdict.total, verdict.scores) == (bought.total, bought.scores)
    assert verdict.levels is not None
    assert bought.levels is not None
    assert verdict.levels.stop - 110 == pytest.approx(110 - bought.levels.stop)
    assert 110 - verdict.levels.target == pytest.approx(bought.levels.target - 110)


@pytest.mark.parametrize(
    ("changes", "gate", "signal"),
    [
        ({"bars_4h": 199}, "data", "HOLD"),
        ({"close_1h": 106.0}, "factors", "HOLD"),  # on the wrong side of VWAP nothing else counts
        ({"oi_6h": None, "delta_1h": 0.0, "surge_1h": 1.0, "funding": 0.001}, "factors", "HOLD"),
        ({"vwap_15m": 111.0}, "entry", "WATCH"),
        ({"delta_15m": 0.0, "surge_15m": 1.3, "oi_6h": 1.0}, "entry", "WATCH"),
        ({"setup_high": 110.5, "low_15m": 109.9}, "entry", "WATCH"),  # neither a pullback nor beyond the candle before
        ({"surge_15m": 1.1}, "true breakout", "WATCH"),
        ({"delta10_1h": -0.01}, "true breakout", "WATCH"),
        ({"high20_15m": 109.9}, "true breakout", "WATCH"),  # beyond, but by less than 0.3 %
        ({"atr_growth_15m": 1.5}, "true breakout", "WATCH"),
        ({"high10_4h": 110.4}, "true breakout", "WATCH"),  # less than half an ATR below it
    ],
)
def test_each_gate_stops_a_trade_and_says_so(changes: dict, gate: str, signal: str):
    verdict = judge(rising(**changes))

    assert (stopped_at(rising(**changes)), verdict.signal) == (gate, signal)
    assert verdict.levels is None


LATE: dict[str, Any] = {"adx_1h": 10.0, "delta20_1h": 0.0, "structure_15m": 0.0}
"""No early trend and no structure, which would both ease what is needed."""
FEWER_T: dict[int, dict[str, Any]] = {
    9: {}, 8: {"adx_4h": 25.0}, 7: {"adx_4h": 15.0}, 6: {"macd_4h": 0.0}, 5: {"macd_4h": 0.0, "adx_4h": 25.0},
    4: {"macd_4h": 0.0, "adx_4h": 15.0},
}  # fmt: skip
FEWER_F: dict[int, dict[str, Any]] = {
    6: {}, 5: {"high20_4h": 111.0}, 4: {"high20_4h": 111.0, "delta_1h": 0.0},
    3: {"high20_4h": 111.0, "delta_1h": 0.0, "surge_1h": 1.0},
}  # fmt: skip
FEWER_E: dict[int, dict[str, Any]] = {
    5: {}, 4: {"delta_15m": 0.0}, 3: {"delta_15m": 0.0, "high20_15m": 111.0},
    2: {"delta_15m": 0.0, "high20_15m": 111.0, "vwap_15m": 110.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("t", "f", "e", "total", "strength"),
    [
        (9, 6, 5, 94, "STRONG"),  # 0.60 / 0.30 / 0.10
        (8, 3, 4, 71, "STRONG"),  # needs four, eased by one and a half
        (8, 3, 2, 67, "MEDIUM"),
        (7, 5, 3, 74, "STRONG"),  # 0.45 / 0.40 / 0.15
        (7, 4, 4, 71, "STRONG"),  # 0.50 / 0.30 / 0.20
        (7, 4, 3, 67, "MEDIUM"),  # 0.45 / 0.35 / 0.20
        (6, 4, 5, 70, None),  # strong needs five, eased by a half: five still; and 70 is no MEDIUM any more
        (6, 4, 3, 62, "MEDIUM"),  # 0.50 / 0.35 / 0.15
        (6, 3, 3, 56, None),  # MEDIUM needs four
        (5, 6, 3, 72, None),  # too much for MEDIUM, and STRONG needs T of six
        (4, 4, 2, 49, None),  # too much for WEAK, and MEDIUM needs T of five
        (4, 3, 2, 44, "WEAK"),
    ],
)
def test_the_three_scores_are_fused_by_the_table(t: int, f: int, e: int, total: int, strength: str | None):
    verdict = judge(rising(**(LATE | FEWER_T[t] | FEWER_F[f] | FEWER_E[e])))

    assert verdict.scores == pytest.approx({"4h": t, "1h": f / 6 * 10, "15m": e / 5 * 10})
    assert (verdict.total, verdict.strength) == (total, strength)


def test_only_structure_along_the_trend_eases_what_is_needed():
    """T6 F4 E5 needs five factors to be strong, and four where a half more is taken off."""
    scores = LATE | FEWER_T[6] | FEWER_F[4]
    eased = {
        structure: judge(rising(**(scores | {"structure_15m": structure}))).strength for structure in (2.0, 0.0, -2.0)
    }

    assert eased == {2.0: "STRONG", 0.0: None, -2.0: None}


def test_an_early_trend_weighs_more_and_eases_what_is_needed():
    def judged(t: int, more: dict[str, Any]) -> Verdict:
        return judge(rising(**(FEWER_T[t] | FEWER_F[3] | {"structure_15m": 0.0} | more)))

    assert [judged(9, more).total for more in (LATE, {})] == [79, 80]  # 0.6 of 1 becomes 0.7 of 1.1
    assert [judged(7, more).gates[3].values["eased"] for more in (LATE, {})] == [1.0, 1.5]


def test_a_trend_needs_four_points():
    weak = {"run_4h": 1, "adx_4h": 15.0, "expansion_4h": 1.0, "ma200_4h": 104.0}  # two of the averages, and momentum

    assert judge(rising(**weak)).trend == "RANGE"
    assert judge(rising(**(weak | {"run_4h": 2}))).trend == "UP"


def test_a_false_breakout_of_a_range_is_traded():
    """The origin never traded one: its analyser gave no reason."""
    verdict = judge(resting())

    assert (verdict.trend, verdict.signal) == ("RANGE", "BUY")
    assert verdict.levels is not None
    assert verdict.levels.stop == pytest.approx(109.5 - 0.5)  # one ATR below the box


@pytest.mark.parametrize(
    "changes",
    [
        {"setup_close": 109.6},
        {"close_15m": 109.4},
        {"touches_lower": 1},
        {"oi_6h": 2.5},
        {"bandwidth_15m": 0.06},
        {"surge_15m": 1.1},
        {"delta_15m": 0.03},
        {"vwap_1h": 113.0},
    ],
)
def test_a_range_is_left_alone_when_one_thing_is_missing(changes: dict):
    assert judge(resting(**changes)).signal == "HOLD"


@pytest.mark.parametrize("status", ["warming", "stale", "gap"])
def test_a_judgment_on_a_poor_input_is_never_sure(status: str):
    assert judge(rising(status=status)).confidence == "MEDIUM"


def test_what_is_not_known_speaks_for_nobody():
    unknown = rising(oi_6h=None, funding=None, delta_1h=None)
    factors = next(gate for gate in judge(unknown).gates if gate.name == "factors")

    assert (factors.values["oi"], factors.values["funding"], factors.values["delta"]) == (None, None, None)
    assert factors.values["F"] == 3


def test_nothing_known_is_no_trade():
    nothing = {name: None for name, value in msgspec.structs.asdict(rising()).items() if isinstance(value, float)}
    verdict = judge(rising(**(nothing | {"structure_15m": 0.0, "bars_4h": 0})))

    assert (verdict.trend, verdict.signal) == ("RANGE", "HOLD")


def test_where_stop_or_target_would_be_below_nought_there_is_no_trade():
    fell, rose = falling(), rising()
    assert fell.close_15m is not None
    assert rose.close_15m is not None

    assert judge(msgspec.structs.replace(fell, setup_high=fell.close_15m * 1.35)).levels is not None
    assert judge(msgspec.structs.replace(fell, setup_high=fell.close_15m * 1.4)).levels is None
    assert judge(msgspec.structs.replace(rose, atr_15m=rose.close_15m)).levels is None
    assert stopped_at(msgspec.structs.replace(rose, atr_15m=rose.close_15m)) == "room for a stop"


def test_the_reward_follows_the_confidence():
    sure, unsure = judge(rising()), judge(rising(status="gap"))
    assert sure.levels is not None
    assert unsure.levels is not None
    risks = [levels.entry - levels.stop for levels in (sure.levels, unsure.levels)]
    rewards = [levels.target - levels.entry for levels in (sure.levels, unsure.levels)]

    assert rewards == pytest.approx([2.5 * risks[0], 2.0 * risks[1]])


def test_the_stop_is_never_nearer_than_half_a_percent():
    verdict = judge(rising(setup_low=109.9, atr_15m=0.01))

    assert verdict.levels is not None
    assert verdict.levels.stop == pytest.approx(110 * 0.995)


def test_stored_inputs_come_to_the_same_verdict():
    stored = msgspec.json.encode(rising(oi_6h=None))

    assert judge(msgspec.json.decode(stored, type=V3Inputs)) == judge(rising(oi_6h=None))
