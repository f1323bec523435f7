"""Pools of liquidity."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.structure.liquidity import Pool, pools
from app.domain.structure.swings import Swing, alternating, swings
from tests.app.domain.structure.bars import LENGTH, Bars, Oracle, flat, market, mirrored, oracle, rewritten

__all__ = ["market", "oracle"]
# Prices range over 100, so a band is 1 to both sides. Highs of 50 and 50.5 at bars 3 and 5.
START = (0, 100, 20, 50, 20, 50.5, 20)


def found(bars: Bars, kind="high", length: int = 1) -> list[Pool]:
    return [each for each in pools(swings(bars.high, bars.low, length), bars.high, bars.low) if each.kind == kind]


def test_two_highs_near_each_other_are_a_pool():
    assert found(flat(*START)) == [Pool("high", 50.25, 51, 5, 6, (3, 5), None, None)]


def test_two_lows_near_each_other_are_its_mirror():
    assert found(mirrored(flat(*START)), "low") == [Pool("low", -50.25, -51, 5, 6, (3, 5), None, None)]


def test_a_high_farther_away_is_none():
    assert found(flat(*START[:5], 48.9, 20)) == []


def test_a_pool_is_swept_when_price_reaches_the_end_of_its_band():
    assert found(flat(*START, 50.9))[0].swept_at is None
    assert found(flat(*START, 51))[0].swept_at == 7


def test_a_pool_grows_and_the_smaller_one_says_when():
    small, large = found(flat(*START, 49.6, 20))

    assert small == Pool("high", 50.25, 51, 5, 6, (3, 5), None, 8)
    assert (large.members, large.level, large.at, large.known_at) == ((3, 5, 7), pytest.approx(50.0333333), 7, 8)


def test_a_pool_that_was_swept_does_not_grow():
    assert [each.members for each in found(flat(*START, 60, 20, 50, 20))] == [(3, 5)]


def test_a_high_that_reaches_the_end_of_the_band_sweeps_it():
    assert found(flat(*START[:5], 51, 20)) == []


def test_the_band_is_as_wide_as_the_range_was_when_the_pool_became_known():
    later = flat(*START[:5], 51.2, 20, 200, 20)

    assert found(later) == []


def test_nothing_is_rewritten(market: Bars):
    def find(bars: Bars) -> list[Pool]:
        return pools(swings(bars.high, bars.low, 3), bars.high, bars.low)

    assert find(market)
    assert rewritten(find, market) == []


def told(found: list[Pool]) -> dict[tuple[int, int], list[float]]:
    """By kind and first member, as the oracle has it."""
    return {
        (1 if each.kind == "high" else -1, each.members[0]): [each.level, each.at, each.swept_at or 0]
        for each in found
        if each.grown_at is None
    }


def theirs(oracle: Oracle) -> dict[tuple[int, int], list[float]]:
    return {(int(row[0]), at): row[1:] for at, row in oracle.rows("liquidity").items()}


def test_every_pool_of_the_oracle_is_found_if_the_range_is_known_from_the_start(oracle: Oracle):
    """It uses the range of the whole series from the first bar on. A candle before the first that spans it gives us the same."""
    bars = oracle.bars
    shifted = [replace(each, at=each.at + 1, known_at=each.known_at + 1) for each in oracle.swings]
    ours = told(pools(shifted, np.append(bars.high.max(), bars.high), np.append(bars.low.min(), bars.low)))
    back = {(kind, at - 1): [level, end - 1, max(0, swept - 1)] for (kind, at), (level, end, swept) in ours.items()}
    expected = theirs(oracle)

    assert len(expected) == 498
    assert back.keys() == expected.keys()
    for key, row in expected.items():
        assert np.allclose(back[key], row, rtol=0, atol=2e-7), "It keeps levels in 32 bits."


def test_with_the_range_known_so_far_the_bands_are_narrower_and_half_of_the_oracles_pools_remain(oracle: Oracle):
    bars = oracle.bars
    ours, expected = told(pools(oracle.swings, bars.high, bars.low)), theirs(oracle)
    same = [
        key for key in expected.keys() & ours.keys() if np.allclose(ours[key][:2], expected[key][:2], rtol=0, atol=2e-7)
    ]

    assert (len(expected), len(ours), len(same)) == (498, 528, 260)
    assert len(told(pools(alternating(swings(bars.high, bars.low, LENGTH)), bars.high, bars.low))) == 488


def test_the_order_is_the_one_in_which_they_are_known(market: Bars):
    known = [each.known_at for each in pools(swings(market.high, market.low, 3), market.high, market.low)]

    assert known == sorted(known)


def test_a_swing_belongs_to_one_pool():
    members = [Swing("high", at, at + 1, price) for at, price in ((1, 50.0), (3, 51.5), (5, 50.8))]
    prices = np.array([0, 50.0, 0, 51.5, 0, 50.8, 0, 100, 0])

    assert [each.members for each in pools(members, prices, prices, band_share=0.02)] == [(3, 5)]
