"""The trend of 4h: its points, and its score."""

from typing import Any

import pytest

from app.domain.strategies.v3 import trend
from tests.app.domain.strategies.v3.readings import falling, rising

NOTHING: dict[str, Any] = {"run_4h": 1, "adx_4h": 20.0, "expansion_4h": 1.05, "ma20_4h": 109.8}
"""Besides the three averages, nothing speaks for the trend: each at the number that is just not enough."""


@pytest.mark.parametrize(
    ("changes", "points"),
    [
        ({}, 3),
        ({"run_4h": 2}, 4),
        ({"adx_4h": 20.1}, 4),
        ({"adx_4h": 20.1, "minus_di_4h": 31.0}, 3),  # the other side leads
        ({"expansion_4h": 1.0501}, 4),
        ({"ma20_4h": 109.45}, 4),  # half a percent below the close
        ({"ma50_4h": 99.0}, 2),
    ],
)
def test_each_sign_of_a_trend_is_a_point(changes: dict[str, Any], points: int):
    way, found = trend.direction(rising(**(NOTHING | changes)))

    assert found == points
    assert way == ("UP" if points >= 4 else "RANGE")


def test_a_fall_counts_alike():
    assert trend.direction(falling()) == ("DOWN", trend.direction(rising())[1])


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({}, 9),
        ({"funding": 0.0006}, 10),
        ({"funding": -0.0006}, 10),
        ({"funding": 0.0005}, 9),
        ({"ma200_4h": 104.0}, 8),  # two of three averages
        ({"adx_4h": 30.0}, 8),
        ({"adx_4h": 20.0}, 7),
        ({"macd_4h": -0.1}, 7),  # it is there, and against the trend
        ({"macd_4h": 0.0}, 6),
        ({"bandwidth_4h": 0.02}, 8),
        ({"delta_4h": 0.1}, 8),
        ({"delta_4h": -0.2}, 9),
    ],
)
def test_the_score_counts_alignment_strength_pull_width_delta_and_funding(changes: dict[str, Any], score: int):
    assert trend.score(rising(**changes), "UP") == score


def test_a_fall_scores_as_much_as_a_rise():
    """The origin gave a falling histogram one point of three."""
    assert trend.score(falling(), "DOWN") == trend.score(rising(), "UP")
