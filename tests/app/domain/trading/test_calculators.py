"""The calculators: right where their origin was wrong, and no money made of nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.calculators import dynamic_rolling_plan, leverage_plan, risk_plan, rolling_plan
from app.domain.trading.money import in_full
from app.errors import InvalidInput

# Leverage


def test_the_usual_question_has_the_usual_answer():
    plan = leverage_plan()

    assert (plan.direction, plan.distance_percent, plan.leverage, plan.margin) == ("LONG", 2, 40, 250)
    assert (plan.quantity, plan.notional, plan.affordable) == (Decimal("0.2"), 10_000, True)


def test_a_short_has_the_leverage_of_its_distance():
    plan = leverage_plan(50_000, 51_000)

    assert (plan.direction, plan.leverage, plan.margin) == ("SHORT", 40, 250)


def test_leverage_is_at_most_125():
    assert leverage_plan(50_000, 49_999).leverage == 125


def test_a_margin_above_the_balance_is_told():
    assert not leverage_plan(balance=249).affordable


@pytest.mark.parametrize(
    "wrong", [{"entry": 0}, {"stop": -1}, {"stop": 50_000}, {"max_loss": 0}, {"balance": 0}, {"entry": float("nan")}]
)
def test_a_leverage_plan_of_nothing_is_refused(wrong: dict):
    with pytest.raises(InvalidInput):
        leverage_plan(**wrong)


# Risk


def test_the_size_loses_the_risk_between_entry_and_stop():
    plan = risk_plan(10_000, 50_000, 49_000, 10)

    assert (plan.risk, plan.quantity, plan.notional, plan.margin) == (200, Decimal("0.2"), 10_000, 1_000)
    assert (plan.direction, plan.affordable) == ("LONG", True)


@pytest.mark.parametrize(
    ("stop", "leverage", "liquidation", "holds"),
    [
        (49_000, 10, 45_250, True),
        (10_000, 100, 49_750, False),
        (55_000, 10, 54_750, False),
        (54_700, 10, 54_750, True),
        (1, 1, 250, False),
    ],
)
def test_a_stop_behind_the_liquidation_does_not_hold(stop: int, leverage: int, liquidation: int, holds: bool):
    plan = risk_plan(10_000, 50_000, stop, leverage)

    assert (plan.liquidation_price, plan.stop_holds) == (liquidation, holds)


def test_a_risk_that_needs_more_margin_than_there_is_is_told():
    assert not risk_plan(10_000, 50_000, 49_990, 10).affordable


@pytest.mark.parametrize(("wrong", "what"), [
    ({"risk_fraction": 0}, "risk"),
    ({"risk_fraction": 2}, "0.02 is 2 %"),
    ({"leverage": 0.5}, "leverage"),
    ({"leverage": 126}, "leverage"),
    ({"stop": 50_000}, "stop"),
    ({"balance": -1}, "balance"),
])  # fmt: skip
def test_a_risk_plan_of_nothing_is_refused(wrong: dict, what: str):
    with pytest.raises(InvalidInput, match=what):
        risk_plan(**({"balance": 10_000, "entry": 50_000, "stop": 49_000, "leverage": 10} | wrong))


# Rolling


def test_a_roll_takes_out_the_principal_locks_half_of_the_rest_and_goes_on_with_half_the_leverage():
    plan = rolling_plan(100, 110)
    first = plan.rolls[0]

    assert (first.price, first.profit, first.withdrawn, first.locked) == (102, 200, 200, 100)
    assert (first.margin, first.leverage) == (100, 25)
    assert first.quantity == Decimal("24.50980392")
    assert first.liquidation_price == pytest.approx(Decimal("97.92"))


def test_later_rolls_take_out_what_the_roll_before_put_in():
    second = rolling_plan(100, 110).rolls[1]

    assert second.price == Decimal("106.1")
    assert second.withdrawn == 100
    assert second.locked == pytest.approx(Decimal("50.245098"))
    assert second.leverage == Decimal("12.5")


def test_leverage_decays_to_its_floor_and_no_further():
    plan = rolling_plan(100, 500)

    assert [roll.leverage for roll in plan.rolls[:5]] == [25, Decimal("12.5"), Decimal("6.25"), 5, 5]


def test_a_floor_above_the_leverage_does_not_raise_it():
    assert {roll.leverage for roll in rolling_plan(100, 400, leverage=3).rolls} == {3}


def test_a_target_below_the_entry_is_a_short():
    plan = rolling_plan(100, 90)

    assert (plan.direction, plan.rolls[0].price, plan.profit > 0) == ("SHORT", 98, True)


def test_a_path_against_the_position_liquidates_it_and_costs_the_principal():
    plan = dynamic_rolling_plan(100, 110, prices=[99, 98, 150])

    assert (plan.liquidated, plan.liquidated_step, plan.price) == (True, 1, 98)
    assert (plan.equity, plan.profit, plan.withdrawn, plan.locked) == (0, -200, 0, 0)


def test_a_liquidation_after_a_roll_keeps_what_was_taken_out():
    plan = dynamic_rolling_plan(100, 110, prices=[102, 90])

    assert (plan.liquidated, plan.withdrawn, plan.locked, plan.equity) == (True, 200, 100, 0)
    assert plan.profit == 100


def test_one_can_roll_by_rules_of_ones_own():
    roll = dynamic_rolling_plan(100, 110, trigger=0.5, lock_share=0.2, leverage_decay=0.9, min_leverage=10).rolls[0]

    assert (roll.price, roll.locked, roll.margin, roll.leverage) == (101, 20, 80, 45)


def test_who_locks_everything_is_done_after_one_roll():
    plan = dynamic_rolling_plan(100, 110, lock_share=1)

    assert (len(plan.rolls), plan.price, plan.equity, plan.withdrawn, plan.locked) == (1, 102, 0, 200, 200)


def test_a_path_that_stays_within_ends_with_what_floats():
    plan = dynamic_rolling_plan(100, 110, prices=[101])

    assert (plan.floating, plan.equity, plan.profit, plan.rolls) == (100, 300, 100, ())


def test_the_largest_plan_that_can_be_asked_for_is_exact_too():
    plan = rolling_plan(0.00000001, 999_999_999_999, 999_999_999_999, 50)

    with in_full():
        assert plan.withdrawn + plan.locked + plan.equity == plan.principal + plan.profit


@given(
    direction=st.sampled_from([90, 110]),
    principal=st.floats(0.01, 1e6),
    leverage=st.floats(1, 50),
    trigger=st.floats(0.01, 3),
    lock=st.floats(0, 1),
    decay=st.floats(0.01, 1),
    moves=st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=60),
)
def test_no_money_is_made_of_nothing_or_lost(
    direction: float, principal: float, leverage: float, trigger: float, lock: float, decay: float, moves: list[float]
):
    prices, price = [], 100.0
    for move in moves:
        price *= 1 + move
        prices.append(price)
    rules = {"trigger": trigger, "lock_share": lock, "leverage_decay": decay}
    plan = dynamic_rolling_plan(100, direction, principal, leverage, prices=prices, **rules)

    assert plan.withdrawn + plan.locked + plan.equity == plan.principal + plan.profit
    assert sum(roll.withdrawn for roll in plan.rolls) == plan.withdrawn
    assert sum(roll.locked for roll in plan.rolls) == plan.locked
    assert plan.profit >= -plan.principal


@pytest.mark.parametrize(("wrong", "what"), [
    ({"target": 100}, "target"),
    ({"entry": 0}, "entry"),
    ({"principal": 0}, "principal"),
    ({"leverage": 51}, "leverage must be from 1 to 50"),
    ({"leverage": 0.5}, "leverage must be from 1 to 50"),
    ({"trigger": 0}, "trigger"),
    ({"lock_share": 1.1}, "locked share"),
    ({"leverage_decay": 1.1}, "never grows"),
    ({"min_leverage": 51}, "least leverage"),
    ({"prices": []}, "1 to 10000 prices"),
    ({"prices": [101, -1]}, "price must"),
])  # fmt: skip
def test_rules_that_mean_nothing_are_refused(wrong: dict, what: str):
    with pytest.raises(InvalidInput, match=what):
        dynamic_rolling_plan(**({"entry": 100, "target": 110} | wrong))
