"""Engulfing candles."""

import numpy as np
import pytest

from app.domain.structure.candlesticks import engulfing
from tests.app.domain.structure.bars import Bars, market, walk

__all__ = ["market"]


def second(*candles: tuple[float, float]) -> tuple[int, float]:
    open_, close = np.array(candles).T
    found = engulfing(open_, close)
    return int(found.direction[-1]), float(found.strength[-1])


def test_a_rising_candle_engulfs_a_smaller_falling_one():
    assert second((12, 10), (10, 13.0)) == (1, 1.5)


def test_a_falling_candle_engulfs_a_smaller_rising_one():
    assert second((10, 12), (12, 9.0)) == (-1, 1.5)


def test_an_open_a_spread_away_from_the_last_close_hides_no_pattern():
    """Two of three candles of fifteen minutes do not open where the last one closed."""
    assert second((12, 10), (10.1, 15)) == second((12, 10), (9.9, 15)) == (1, 2)
    assert second((10, 12), (11.9, 5)) == (-1, 2)


def test_a_strength_is_two_at_most():
    assert second((12, 10), (9, 20)) == (1, 2)


@pytest.mark.parametrize(
    "candles",
    [
        ((12, 10), (10, 12.9)),  # not 1.5 times as large
        ((10, 12), (9, 14)),  # of the same colour
        ((12, 10), (10.3, 14)),  # begins inside by more than a tenth
        ((12, 10), (5, 11.7)),  # ends inside
        ((10, 12), (11.7, 5)),
        ((10, 10), (9, 12)),  # nothing to engulf
        ((12, 10), (10, 10)),
    ],
)
def test_others_do_not(candles):
    assert second(*candles) == (0, 0)


def test_the_first_candle_has_none_before_it():
    found = engulfing(np.array([1.0]), np.array([2.0]))

    assert (found.direction.tolist(), np.isnan(found.strength).tolist()) == ([0], [True])
    assert engulfing(np.array([]), np.array([])).direction.shape == (0,)


def test_an_unknown_candle_has_an_unknown_strength():
    found = engulfing(np.array([np.nan, 12, 10]), np.array([np.nan, 10, 13.0]))

    assert found.direction.tolist() == [0, 0, 1]
    assert np.isnan(found.strength).tolist() == [True, True, False]


def test_many_symbols_at_once_are_as_each_alone():
    markets = [walk(seed) for seed in range(5)]
    together = engulfing(np.array([each.open for each in markets]), np.array([each.close for each in markets]))

    for row, each in enumerate(markets):
        alone = engulfing(each.open, each.close)
        assert np.array_equal(together.direction[row], alone.direction)
        assert np.array_equal(together.strength[row], alone.strength, equal_nan=True)


def test_nothing_is_rewritten(market: Bars):
    whole = engulfing(market.open, market.close)

    assert set(whole.direction.tolist()) == {-1, 0, 1}
    for end in range(len(market.close)):
        then = engulfing(market.open[:end], market.close[:end])
        assert np.array_equal(then.direction, whole.direction[:end])
        assert np.array_equal(then.strength, whole.strength[:end], equal_nan=True)
