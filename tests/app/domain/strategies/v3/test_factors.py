"""The factors of 1h, each at the number from which on it holds."""

from typing import Any

import pytest

from app.domain.strategies.v3 import factors
from tests.app.domain.strategies.v3.readings import falling, resting, rising


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("vwap", {"vwap_1h": 109.9}, {"vwap_1h": 110.0}),
        ("breakout", {"high20_4h": 109.9}, {"high20_4h": 110.0}),
        ("volume", {"surge_15m": 1.5, "surge_1h": 1.2}, {"surge_15m": 1.49}),
        ("volume", {"surge_15m": 1.5, "surge_1h": 1.2}, {"surge_1h": 1.19}),
        ("oi", {"oi_6h": 2.0}, {"oi_6h": 1.9}),
        ("funding", {"funding": 0.0005}, {"funding": 0.00051}),
        ("funding", {"funding": -0.0005}, {"funding": -0.00051}),
        ("delta", {"delta_1h": 0.0910}, {"delta_1h": 0.0909}),  # buys of 1.2 x sells
    ],
)
def test_of_a_rise(name: str, holds: dict[str, Any], does_not: dict[str, Any]):
    assert factors.of_trend(rising(**holds), "UP")[name] is True
    assert factors.of_trend(rising(**does_not), "UP")[name] is False


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("vwap", {"vwap_1h": 110.1}, {"vwap_1h": 110.0}),
        ("breakout", {"low20_4h": 110.1}, {"low20_4h": 110.0}),
        ("oi", {"oi_6h": -3.0}, {"oi_6h": -2.9}),
        ("delta", {"delta_1h": -0.0910}, {"delta_1h": 0.2}),
    ],
)
def test_of_a_fall(name: str, holds: dict[str, Any], does_not: dict[str, Any]):
    assert factors.of_trend(falling(**holds), "DOWN")[name] is True
    assert factors.of_trend(falling(**does_not), "DOWN")[name] is False


@pytest.mark.parametrize(
    ("name", "holds", "does_not"),
    [
        ("vwap", {"vwap_1h": 109.0}, {"vwap_1h": 108.9}),  # within one percent
        ("touch", {"touches_lower": 2}, {"touches_lower": 1}),
        ("volume", {"surge_1h": 1.7}, {"surge_1h": 1.71}),
        ("oi", {"oi_6h": -2.0}, {"oi_6h": 2.01}),
        ("delta", {"delta_1h": -0.02}, {"delta_1h": 0.021}),
        ("no_breakout", {"new_extreme_1h": 0}, {"new_extreme_1h": -1}),
    ],
)
def test_of_a_box(name: str, holds: dict[str, Any], does_not: dict[str, Any]):
    assert factors.of_range(resting(close_1h=110.0, **holds), "lower")[name] is True
    assert factors.of_range(resting(close_1h=110.0, **does_not), "lower")[name] is False


def test_the_other_side_of_a_box_is_touched_by_itself():
    assert factors.of_range(resting(touches_upper=1, touches_lower=6), "upper")["touch"] is False


def test_on_the_wrong_side_of_vwap_nothing_counts():
    assert factors.count(factors.of_trend(rising(), "UP")) == 6
    assert factors.count(factors.of_trend(rising(vwap_1h=111.0), "UP")) == 0
    assert factors.count(factors.of_trend(rising(vwap_1h=None), "UP")) == 0
