"""When ICT gives up an open trade: the days have turned, or the structure of 4h has."""

import pytest

from app.domain.strategies.ict.strategy import STRATEGY, leave
from app.domain.strategies.strategy import Held
from app.domain.trading.simulation import TREND_FLIP
from tests.app.domain.strategies.ict.readings import falling, rising

BOUGHT, SOLD = Held(1, "UP", 0), Held(-1, "DOWN", 0)
CASES = pytest.mark.parametrize(("market", "held"), [(rising, BOUGHT), (falling, SOLD)])


@CASES
def test_a_trade_is_kept_while_the_days_go_its_way(market, held: Held):
    assert leave(market(), held) is None


@CASES
def test_days_that_turned_end_a_trade(market, held: Held):
    assert leave(market(change_1d=-2.1 * held.sign), held) == TREND_FLIP


@CASES
def test_days_that_stand_still_do_not(market, held: Held):
    assert leave(market(change_1d=-2.0 * held.sign), held) is None


@CASES
def test_only_a_change_of_character_against_a_trade_ends_it(market, held: Held):
    assert leave(market(break_4h="choch", break_side_4h=-held.sign), held) == TREND_FLIP
    assert leave(market(break_4h="choch", break_side_4h=held.sign), held) is None
    assert leave(market(break_4h="bos", break_side_4h=-held.sign), held) is None


@CASES
def test_a_trade_outlives_what_it_was_opened_for(market, held: Held):
    """The candle, the sweep and the gap are of one moment; that they are over is no reason to leave."""
    over = {"engulfs_15m": 0, "sweep_level_4h": None, "sweep_extreme_4h": None, "gap_top": None, "gap_bottom": None}

    assert leave(market(**over, block=None, block_top=None, block_bottom=None), held) is None


@CASES
def test_what_is_not_known_ends_no_trade(market, held: Held):
    assert leave(market(change_1d=None, break_4h=None, break_side_4h=0, status="gap"), held) is None


def test_a_trade_lasts_twenty_hours_at_most():
    assert STRATEGY.longest_ms == 20 * 3_600_000
