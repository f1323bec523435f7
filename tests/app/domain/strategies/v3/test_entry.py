"""The entry of 15m: its signs, its trigger, its filters, and the early trend, each at the number from which on it holds."""

from typing import Any

import pytest

from app.domain.strategies.v3 import entry
from tests.app.domain.strategies.v3.readings import falling, resting, rising


@pytest.mark.parametrize(
    ("name", "changes", "sign"),
    [
        ("vwap", {"vwap_15m": 111.0}, -1),
        ("breakout", {"high20_15m": 110.0}, 0),
        ("breakout", {"high20_15m": 112.0, "low20_15m": 111.0}, -1),
        ("volume", {"surge_15m": 1.5}, 1),
        ("volume", {"surge_15m": 1.49}, 0),
        ("oi", {"oi_6h": 2.0}, 1),
        ("oi", {"oi_6h": 1.9}, 0),
        ("oi", {"oi_6h": -2.0}, -1),
        ("delta", {"delta_15m": 0.0910}, 1),
        ("delta", {"delta_15m": 0.0909}, 0),
        ("delta", {"delta_15m": -0.0910}, -1),
    ],
)
def test_a_sign_speaks_for_a_trade_against_it_or_not_at_all(name: str, changes: dict[str, Any], sign: int):
    assert set(entry.signs(rising(), 1).values()) == {1}
    assert entry.signs(rising(**changes), 1)[name] == sign


@pytest.mark.parametrize(
    ("changes", "trigger"),
    [
        ({"low_15m": 109.0}, "pullback to EMA20"),  # 108.9, and a thousandth
        ({"low_15m": 109.1}, "beyond the setup candle"),
        ({"low_15m": 109.1, "setup_high": 110.0}, None),
        ({"low_15m": 108.1, "ema20_15m": 110.1, "setup_high": 110.0}, "pullback to EMA50"),
    ],
)
def test_a_trade_begins_at_an_average_that_held_or_beyond_the_candle_before(
    changes: dict[str, Any], trigger: str | None
):
    assert entry.trigger(rising(**changes), 1) == trigger


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("volume", {"surge_15m": 1.2}, {"surge_15m": 1.19}),
        ("delta", {"delta10_15m": 0.04, "delta10_1h": 0.001}, {"delta10_15m": 0.039}),
        ("delta", {"delta10_15m": 0.04, "delta10_1h": 0.001}, {"delta10_1h": 0.0}),
        ("distance", {"high20_15m": 109.67}, {"high20_15m": 109.68}),  # 0.3 % below the close
        ("distance", {"high20_15m": 110.5}, {"high20_15m": 109.9}),  # nothing was broken
        ("calm", {"atr_growth_15m": 1.49}, {"atr_growth_15m": 1.5}),
        ("room", {"high10_4h": 110.5}, {"high10_4h": 110.49}),  # half an ATR of 4h
        ("room", {"high10_4h": 109.9}, {"high10_4h": 110.0}),
    ],
)
def test_a_breakout_is_believed(name: str, holds: dict[str, Any], does_not: dict[str, Any]):
    assert entry.true_breakout(rising(**holds), 1)[name] is True
    assert entry.true_breakout(rising(**does_not), 1)[name] is False


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("calm", {"bandwidth_15m": 0.049}, {"bandwidth_15m": 0.05}),
        ("volume", {"surge_15m": 1.2}, {"surge_15m": 1.19}),
        ("delta", {"delta_15m": -0.04}, {"delta_15m": 0.039}),
    ],
)
def test_a_false_breakout_is_believed(name: str, holds: dict[str, Any], does_not: dict[str, Any]):
    assert entry.range_checks(resting(**holds), "lower", valid=True)[name] is True
    assert entry.range_checks(resting(**does_not), "lower", valid=True)[name] is False


AT_THE_LIMIT: dict[str, Any] = {
    "macd_1h": 0.1, "macd_before_1h": 0.1, "delta20_1h": 0.05, "adx_1h": 20.0, "adx_4h": 40.0,
}  # fmt: skip
"""Four of the five, and each of them only just."""


@pytest.mark.parametrize(
    "changes",
    [{"macd_1h": 0.09}, {"macd_before_1h": 0.09}, {"delta20_1h": 0.049}, {"adx_1h": 19.9}, {"vwap_1h": 111.0}],
)
def test_a_trend_is_early_by_four_signs_of_five(changes: dict[str, Any]):
    assert entry.early(rising(**AT_THE_LIMIT), 1)
    assert not entry.early(rising(**(AT_THE_LIMIT | changes)), 1)
    assert entry.early(rising(**(AT_THE_LIMIT | changes | {"adx_4h": 39.9})), 1)


def test_a_fall_is_early_alike():
    assert entry.early(falling(), -1)


def test_the_farther_one_of_two_stops_counts():
    near, far = (entry.levels(rising(setup_low=low), 1, "MEDIUM", None) for low in (109.9, 108.0))
    assert near is not None
    assert far is not None

    assert near.stop == pytest.approx(110 - 1.2 * 0.5)
    assert far.stop == 108.0
    assert far.target == pytest.approx(110 + 2 * 2.0)
