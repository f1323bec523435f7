"""Sweeps of a level."""

import numpy as np
import pytest

from app.domain.structure.sweeps import Sweep, sweeps
from tests.app.domain.structure.bars import Bars, bars_of, flat, market, mirrored, rewritten

__all__ = ["market"]
INSIDE = (9, 9.5, 8, 9)


def found(bars: Bars, **words) -> list[Sweep]:
    given = {
        "level": 10.0,
        "side": "above",
        "within": 3,
        "least_speed": 0.2,
        "look_back": 5,
        "atr": np.ones(len(bars.close)),
    }
    return sweeps(bars.high, bars.low, bars.close, **(given | words))


def test_a_wick_beyond_the_level_that_closes_inside_is_a_sweep():
    assert found(bars_of(INSIDE, (9, 11, 9, 10))) == [Sweep("above", 10, 11, 1, 1, 1.0)]


def test_the_mirror_is_a_sweep_below():
    bars = mirrored(bars_of(INSIDE, (9, 11, 9, 10)))

    assert found(bars, level=-10.0, side="below") == [Sweep("below", -10, -11, 1, 1, 1.0)]


def test_a_return_that_takes_longer_is_slower():
    bars = bars_of(INSIDE, (9, 11, 9, 10.5), (10.5, 13, 10.2, 11), (11, 11, 9, 9.5))

    assert found(bars) == [Sweep("above", 10, 13, 1, 3, 1.0)]
    assert found(bars, within=2) == []


def test_what_has_not_come_back_is_no_sweep():
    assert found(bars_of(INSIDE, (9, 11, 9, 10.5))) == []


def test_the_speed_is_measured_by_the_atr_of_the_bar_at_which_it_was_known():
    bars = bars_of(INSIDE, (9, 11, 9, 10))

    assert found(bars, atr=np.array([99, 5.0]))
    assert found(bars, atr=np.array([1, 5.1])) == []
    assert found(bars, atr=np.array([1, np.nan])) == []


def test_price_that_came_from_beyond_did_not_pierce():
    assert found(bars_of((11, 12, 10.5, 11), (11, 11, 9, 9.5))) == []
    assert found(bars_of((9, 11, 9, 9.5))) == []  # where it came from is unknown


def test_the_level_itself_is_inside():
    at_it = (9, 10, 8, 10)

    assert [each.at for each in found(bars_of(at_it, (10, 11, 9, 10)))] == [1]
    assert found(bars_of(INSIDE, at_it)) == []


def test_only_sweeps_that_ended_lately_count():
    bars = bars_of(INSIDE, (9, 11, 9, 10.5), (10, 11, 9, 9), INSIDE, INSIDE)

    assert [each.known_at for each in found(bars, look_back=3)] == [2]
    assert found(bars, look_back=2) == []


def test_nobody_sweeps_a_level_before_it_is_known():
    bars = bars_of(INSIDE, (9, 11, 9, 9), (9, 12, 9, 9))

    assert [each.at for each in found(bars)] == [1, 2]
    assert [each.at for each in found(bars, level_known_at=1)] == [2]


def test_without_candles_nothing_is_swept():
    assert found(flat()) == found(flat(11)) == []


@pytest.mark.parametrize("side", ["above", "below"])
def test_nothing_is_rewritten(market: Bars, side):
    level = float(np.median(market.close))

    def find(bars: Bars) -> list[Sweep]:
        return found(bars, level=level, side=side, atr=bars.span, least_speed=0.02, look_back=len(bars.close))

    assert find(market)
    assert rewritten(find, market) == []


def test_looking_back_less_gives_the_last_ones(market: Bars):
    level = float(np.median(market.close))
    words = {"level": level, "atr": market.span, "least_speed": 0.02}
    everything = found(market, **words, look_back=len(market.close))
    for look_back in range(0, len(market.close), 7):
        late = [each for each in everything if each.known_at >= len(market.close) - look_back]

        assert found(market, **words, look_back=look_back) == late
