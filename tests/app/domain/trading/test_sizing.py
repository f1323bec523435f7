"""Sizing: from what may be lost to leverage, margin and quantity."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.sizing import MAX_LOSSES, size, sized
from app.errors import InvalidInput


def test_two_percent_away_and_a_hundred_to_lose_is_leverage_24_and_a_margin_of_209():
    plan = size(100, 98)

    assert (plan.distance, plan.leverage, plan.margin, plan.quantity) == (Decimal("0.02"), 24, 209, 50)


def test_without_the_cap_it_is_leverage_40_and_a_margin_of_125():
    plan = size(100, 98, most=125)

    assert (plan.leverage, plan.margin) == (40, 125)


def test_a_stop_above_the_entry_is_as_far_as_one_below():
    assert size(100, 102) == size(100, 98)


def test_leverage_is_never_below_1():
    assert size(100, 300).leverage == 1


def test_the_quantity_is_snapped_down_and_the_risk_with_it():
    plan = size(100, 93, quantity_step=0.1)

    assert plan.quantity == Decimal("14.2")
    assert plan.risk_amount == Decimal("99.4")


def test_fewer_coins_than_may_be_traded_are_refused():
    with pytest.raises(InvalidInput, match="too few to trade: the least is 60"):
        size(100, 98, min_quantity=60)


def test_a_quantity_that_snaps_to_nothing_is_refused():
    with pytest.raises(InvalidInput, match="too few to trade"):
        size(100, 98, quantity_step=100)


def test_a_stop_at_the_entry_is_refused():
    with pytest.raises(InvalidInput, match="must lie away from the entry"):
        size(100, 100)


@pytest.mark.parametrize("loss", [0, 30, -100, 1000])
def test_only_four_losses_may_be_chosen(loss: int):
    with pytest.raises(InvalidInput, match="20, 50, 100 or 200"):
        size(100, 98, loss)


def test_a_price_of_which_hardly_a_digit_is_booked_is_refused():
    """Half a percent of 4.55e-6 is two steps of the last decimal: the rounding would be most of the loss."""
    with pytest.raises(InvalidInput, match="too low to be traded on paper") as refused:
        size(0.00000455, 0.00000453)

    assert "1000PEPE/USDT:USDT" in refused.value.cure
    assert size(0.0000046, 0.0000044).quantity == 500_000_000  # twenty steps


def test_a_cap_below_1_is_refused():
    with pytest.raises(InvalidInput, match="at least 1"):
        size(100, 98, most=0)


@given(
    entry=st.decimals("0.001", 100_000, places=8),
    away=st.decimals("0.005", "0.9", places=4),
    loss=st.sampled_from(MAX_LOSSES),
    most=st.integers(1, 125),
)
def test_never_more_is_lost_than_was_allowed_and_the_margin_covers_it(
    entry: Decimal, away: Decimal, loss: Decimal, most: int
):
    stop = (entry * (1 - away)).quantize(Decimal("0.00000001"))
    plan = sized(entry, stop, loss, most=most)

    assert plan.quantity * (entry - stop) <= loss
    assert plan.margin >= plan.risk_amount
    assert plan.margin * plan.leverage >= plan.quantity * entry
    assert (plan.margin - 1) * plan.leverage * (entry - stop) < loss * entry
