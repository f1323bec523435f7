"""Swings, and the line of them."""

from itertools import pairwise

import numpy as np

from app.domain.structure.swings import Swing, alternating, alternations, swings
from tests.app.domain.structure.bars import LENGTH, Bars, Oracle, flat, market, oracle, rewritten

__all__ = ["market", "oracle"]


def found(*closes: float, length: int = 1) -> list[tuple[str, int, int, float]]:
    bars = flat(*closes)
    return [(each.kind, each.at, each.known_at, each.price) for each in swings(bars.high, bars.low, length)]


def swing(kind, at: int, price: float) -> Swing:
    return Swing(kind, at, at + 1, price)


def test_a_swing_is_known_when_its_right_hand_bars_are_over():
    assert found(1, 2, 5, 3, 2, length=2) == [("high", 2, 4, 5)]
    assert found(5, 4, 1, 3, 6, length=2) == [("low", 2, 4, 1)]
    assert found(1, 2, 5, 3, length=2) == []


def test_of_equal_extremes_within_reach_the_first_one_counts():
    assert found(1, 5, 5, 1) == [("high", 1, 2, 5)]
    assert (
        found(5, 1, 2, 1, 5, length=2) == []
    )  # the second one is not the first, and the first has too little before it
    assert found(9, 9, 1, 2, 1, 9, 9, length=2) == [("low", 2, 4, 1)]


def test_a_bar_can_be_a_high_and_a_low():
    assert swings(np.array([2.0, 3, 2]), np.array([1.0, 0, 1]), 1) == [swing("high", 1, 3), swing("low", 1, 0)]


def test_a_short_series_has_no_swings():
    assert found() == found(1, 2, length=1) == found(1, 2, 3, 2, length=2) == []


def test_of_two_of_a_kind_in_a_row_the_more_extreme_one_stays():
    lower, higher, low = swing("high", 1, 5), swing("high", 4, 6), swing("low", 8, 2)

    assert alternating([lower, higher, low]) == [higher, low]
    assert alternating([higher, lower, low]) == [higher, low]
    assert alternating([low, swing("low", 9, 1), swing("low", 10, 1)]) == [swing("low", 9, 1)]


def test_a_swing_stands_until_the_one_that_replaces_it_is_known():
    lower, higher = swing("high", 1, 5), swing("high", 4, 6)

    assert alternating([lower, higher], 1) == []
    assert alternating([lower, higher], 4) == [lower]
    assert alternating([lower, higher], 5) == [higher]
    assert alternations([lower, higher]) == [(0, lower), (0, higher)]


def test_nothing_is_rewritten(market: Bars):
    assert rewritten(lambda bars: swings(bars.high, bars.low, LENGTH), market) == []


def test_the_line_at_a_bar_is_the_one_of_the_candles_until_then(market: Bars):
    whole = swings(market.high, market.low, LENGTH)
    for bar in range(len(market.close)):
        then = market.until(bar + 1)
        line = alternating(whole, bar)

        assert line == alternating(swings(then.high, then.low, LENGTH))
        assert all(left.kind != right.kind for left, right in pairwise(line))


def test_the_swings_are_those_of_the_oracle_but_for_its_shorter_left_side(oracle: Oracle):
    """It looks at four bars to the left, and counts each of equal extremes until it takes one away."""
    bars = oracle.bars
    ours = swings(bars.high, bars.low, LENGTH)
    theirs = [(each.kind, each.at, each.price) for each in oracle.swings]
    made_up, theirs = {theirs[0], theirs[-1]}, theirs[1:-1]  # at the first and last bar, where nothing can be known
    missing = set(theirs) - {(each.kind, each.at, each.price) for each in ours}

    beyond = 0
    for kind, at, _ in missing:
        series = bars.high if kind == "high" else -bars.low
        beyond += series[at - LENGTH] >= series[at]
        assert series[at - LENGTH : at].max() >= series[at], "It is no first extreme over five bars on both sides."
    line = {(each.kind, each.at, each.price) for each in alternating(ours)}

    assert {at for _, at, _ in made_up} == {0, len(bars.close) - 1}
    assert (len(theirs), len(missing), beyond) == (
        2706,
        160,
        154,
    )  # 154: the fifth bar to the left; 6: an earlier equal one
    assert (len(line), len(line - set(theirs))) == (2414, 4)  # 4: the line chose another one, for want of those


def test_the_line_is_the_one_of_the_oracle_for_the_same_swings(oracle: Oracle):
    """With its own window, before its reduction, our reduction gives its swings: all of them, and no other."""
    bars, right = oracle.bars, LENGTH
    raw = []
    for at in range(2 * right - 1, len(bars.close) - right):
        window = slice(at - right + 1, at + right + 1)
        if bars.high[at] == bars.high[window].max():
            raw.append(Swing("high", at, at + right, float(bars.high[at])))
        elif bars.low[at] == bars.low[window].min():
            raw.append(Swing("low", at, at + right, float(bars.low[at])))

    assert [(each.kind, each.at, each.price) for each in alternating(raw)] == [
        (each.kind, each.at, each.price) for each in oracle.swings[1:-1]
    ]
