"""Fair value gaps."""

import pytest

from app.domain.structure.gaps import Gap, gaps
from tests.app.domain.structure.bars import Bars, Oracle, bars_of, market, mirrored, oracle, rewritten

__all__ = ["market", "oracle"]
# Open, high, low, close: the second candle leaves 11 to 13 untraded, the fifth one comes back to it.
RISING = ((10, 11, 9, 10), (10, 15, 10, 14), (14, 16, 13, 15), (15, 17, 14, 16), (16, 16, 13, 13))


def found(bars: Bars, *, join: bool = False) -> list[Gap]:
    return gaps(bars.high, bars.low, bars.open, bars.close, join=join)


def test_a_rising_gap_lies_between_the_candles_around_a_rising_one():
    assert found(bars_of(*RISING)) == [Gap(1, 1, 2, 11, 13, 4, None)]


def test_a_falling_gap_is_its_mirror():
    assert found(mirrored(bars_of(*RISING))) == [Gap(-1, 1, 2, -13, -11, 4, None)]


def test_a_gap_is_open_until_price_is_back_at_its_near_edge():
    assert found(bars_of(*RISING[:4]))[0].mitigated_at is None


def test_the_candle_in_the_middle_has_to_go_the_same_way():
    assert found(bars_of(RISING[0], (14, 15, 10, 10), RISING[2])) == []
    assert found(bars_of(RISING[0], (14, 15, 10, 14), RISING[2])) == []


def test_two_candles_that_touch_leave_no_gap():
    assert found(bars_of(RISING[0], RISING[1], (14, 16, 11, 15))) == []
    assert found(bars_of(*RISING[:2])) == []


def test_gaps_in_a_row_can_be_joined_and_the_earlier_one_says_when():
    run = ((10, 11, 9, 10), (10, 15, 10, 14), (14, 17, 13, 16), (16, 19, 16, 18))
    alone = found(bars_of(*run))
    joined = found(bars_of(*run), join=True)

    assert alone == [Gap(1, 1, 2, 11, 13, None, None), Gap(1, 2, 3, 15, 16, None, None)]
    assert joined == [Gap(1, 1, 2, 11, 13, None, 3), Gap(1, 2, 3, 11, 16, None, None)]


@pytest.mark.parametrize("join", [False, True])
def test_nothing_is_rewritten(market: Bars, join: bool):
    assert found(market)
    assert rewritten(lambda bars: found(bars, join=join), market) == []


@pytest.mark.parametrize(("name", "count"), [("fvg", 5020), ("fvg_consecutive", 3756)])
def test_the_gaps_are_those_of_the_oracle_to_the_bit_and_to_the_bar(oracle: Oracle, name: str, count: int):
    ours = [each for each in found(oracle.bars, join="consecutive" in name) if each.joined_at is None]

    assert len(ours) == count
    assert {each.at: [each.direction, each.top, each.bottom, each.mitigated_at or 0] for each in ours} == oracle.rows(
        name
    )
