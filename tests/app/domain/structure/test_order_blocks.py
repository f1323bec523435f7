"""Both kinds of order blocks."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.structure.order_blocks import DwellingBlock, OrderBlock, dwelling_blocks, order_blocks
from app.domain.structure.swings import Swing, swings
from tests.app.domain.structure.bars import LENGTH, Bars, Oracle, bars_of, flat, market, mirrored, oracle, rewritten

__all__ = ["market", "oracle"]
# The high of 12 at bar 1 is known at bar 2, and broken by the close of bar 4. In between, bar 3 has the lowest low.
BROKEN = ((10, 11, 10, 11, 9), (11, 12, 11, 11, 9), (11, 11, 9, 10, 3), (10, 10.5, 8, 10, 4), (10, 14, 10, 13, 2))
FOUND = OrderBlock(1, 3, 4, 8, 10.5, volume=9, strength_percent=50, mitigated_at=None, removed_at=None)


def found(bars: Bars, length: int = 1) -> list[OrderBlock]:
    return order_blocks(bars.high, bars.low, bars.close, bars.volume, swings(bars.high, bars.low, length))


def upward(*rows) -> list[OrderBlock]:
    return [each for each in found(bars_of(*BROKEN, *rows)) if each.direction > 0]


def test_the_lowest_candle_below_a_broken_high_is_the_block():
    assert upward() == [FOUND]


def test_a_falling_block_is_its_mirror():
    assert [each for each in found(mirrored(bars_of(*BROKEN))) if each.direction < 0] == [
        replace(FOUND, direction=-1, bottom=-10.5, top=-8)
    ]


def test_a_wick_beyond_the_high_is_no_break():
    assert found(bars_of(*BROKEN[:4], (10, 14, 10, 12, 2))) == []


def test_of_equally_low_candles_the_last_one_is_the_block():
    assert [each.at for each in found(bars_of(*BROKEN[:3], (10, 10.5, 9, 10, 4), BROKEN[4]))] == [3]


def test_without_volume_the_strength_is_unknown():
    assert found(bars_of(*((*row[:4], 0) for row in BROKEN)))[0].strength_percent is None


def test_a_block_that_price_went_through_is_mitigated_and_then_removed_by_its_return():
    touched, through, back = (13, 13, 8, 9), (9, 10.5, 7, 8), (8, 11, 8, 10)

    assert upward(touched)[0].mitigated_at is None
    assert (upward(touched, through)[0].mitigated_at, upward(touched, through)[0].removed_at) == (6, None)
    assert (upward(touched, through, back)[0].mitigated_at, upward(touched, through, back)[0].removed_at) == (6, 7)


def test_a_break_by_the_very_next_bar_has_its_block_at_the_bar_before():
    bars = flat(1, 2, 1, 3)

    assert [each.at for each in order_blocks(*bars[:2], bars.close, bars.volume, [Swing("high", 2, 2, 1)])] == [2]


def test_no_candles_have_no_blocks():
    bars = flat()

    assert found(bars) == dwelling_blocks(*bars[:2], *bars[3:], bars.close) == []


def test_no_block_is_rewritten(market: Bars):
    assert found(market, 3)
    assert rewritten(lambda bars: found(bars, 3), market) == []


def test_every_order_block_of_the_oracle_is_found_in_its_swings(oracle: Oracle):
    """Of those that still count we have two more: a close broke the last known high just after a higher one, which nobody could
    know yet, and which for it is the last one already. Its bars of mitigation are ours, but for rising ones it writes the bar
    before. Its volumes are empty, and so is our strength.
    """
    bars = oracle.bars
    theirs = oracle.rows("ob")
    found = order_blocks(bars.high, bars.low, bars.close, bars.volume, oracle.swings)
    ours = [each for each in found if each.removed_at is None]
    by_place = {each.at: each for each in ours}

    for at, (direction, top, bottom, volume, mitigated_at, _) in theirs.items():
        block = by_place[at]
        early = 1 if direction > 0 else 0
        assert block.direction == direction
        assert (abs(block.top - top) < 1e-8, abs(block.bottom - bottom) < 1e-8) == (True, True)
        assert (block.volume, block.strength_percent) == (volume, None)
        assert mitigated_at == (0 if block.mitigated_at is None else block.mitigated_at - early)
    more = [each for each in ours if each.at not in theirs]
    assert (len(theirs), len(more)) == (66, 2)
    for block in more:
        assert any(
            each.kind == "high" and each.at < block.known_at < each.known_at and each.price > block.top
            for each in oracle.swings
        )


def test_of_our_own_swings_nearly_every_block_that_counts_is_the_oracles(oracle: Oracle):
    """Its swings differ by the fifth bar to the left, and it drops a lower high that was broken before a higher one was known."""
    theirs = oracle.rows("ob")
    ours = [each for each in found(oracle.bars, LENGTH) if each.removed_at is None]
    both = [
        each for each in ours if each.at in theirs and [each.direction, each.top, each.bottom] == theirs[each.at][:3]
    ]

    assert (len(theirs), len(ours), len(both)) == (66, 71, 64)


# --- dwelling ---------------------------------------------------------------------------------------------------------------

STILL = [(100.0, 101.0, 99.5, 100.0, 10.0)] * 5  # 1.5 high


def dwelling(*rows, atr: float = 2.0) -> list[DwellingBlock]:
    bars = bars_of(*rows)
    return dwelling_blocks(bars.high, bars.low, bars.close, bars.volume, np.full(len(rows), atr))


def test_five_bars_in_a_narrow_zone_are_a_block():
    block = DwellingBlock(0, 4, 99.5, 101, None, None)

    assert dwelling(*STILL) == [block]
    assert block.mid == 100.25
    assert dwelling(*STILL[:4]) == []


def test_a_block_is_at_least_a_quarter_of_the_atr_high():
    assert dwelling(*STILL, atr=6.0)
    assert dwelling(*STILL, atr=6.1) == []
    assert dwelling(*STILL, atr=np.nan) == []


def test_a_block_is_at_most_three_percent_high():
    assert dwelling((100, 102.5, 99.5, 100, 10), *STILL[1:])
    assert dwelling((100, 102.6, 99.5, 100, 10), *STILL[1:]) == []


@pytest.mark.parametrize("place", [3, 4])
def test_both_last_bars_have_to_be_traded(place: int):
    def with_volume(volume: float) -> list[DwellingBlock]:
        return dwelling(*(row if at != place else (*row[:4], volume) for at, row in enumerate(STILL)))

    assert with_volume(5.5)  # 0.604 of the average, its own counted
    assert with_volume(5.4) == []  # 0.595


def test_a_block_is_used_up_by_a_close_and_not_by_a_wick():
    above, below = (100, 103, 99, 102, 10), (100, 103, 99, 99.4, 10)
    wick = (100, 103, 99, 101, 10)

    assert dwelling(*STILL, wick)[0] == DwellingBlock(0, 4, 99.5, 101, None, None)
    assert dwelling(*STILL, wick, above, below)[0] == DwellingBlock(0, 4, 99.5, 101, 7, 6)


def test_no_dwelling_block_is_rewritten(market: Bars):
    def find(bars: Bars) -> list[DwellingBlock]:
        return dwelling_blocks(bars.high, bars.low, bars.close, bars.volume, bars.span)

    assert find(market)
    assert rewritten(find, market) == []
