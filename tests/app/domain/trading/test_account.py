"""The account: conserved to the last digit, whatever happens."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.account import Account, booked, caught_up, check
from app.domain.trading.fills import Book
from app.domain.trading.simulation import LIQUIDATION, MANUAL, Trade, advance, open_trade, request_exit
from app.errors import CorruptData, InvalidInput
from tests.app.domain.trading.trades import USUAL, after, funding, minute, opened, order


def test_an_entry_sets_the_margin_aside_and_pays_the_fee():
    trade = opened(costs=USUAL)
    account = caught_up(Account.opened(10_000), None, trade)

    assert account.margin == trade.margin
    assert account.cash == 10_000 - trade.margin - trade.fees
    assert account.equity == 10_000 - trade.fees


def test_a_closed_trade_leaves_its_result_in_cash():
    trade = after(opened(), minute(0), minute(1, 100, high=104), fundings=(funding(1, 0.0001),))
    account = caught_up(Account.opened(10_000), None, trade)

    assert (account.cash, account.margin, account.realised, account.funding) == (
        Decimal("10199.5"),
        0,
        200,
        Decimal("0.5"),
    )


def test_what_was_booked_is_not_booked_again():
    before = opened()
    later = after(before, minute(0, 100, high=104))
    account = caught_up(Account.opened(10_000), None, before)

    assert caught_up(account, before, later) == caught_up(Account.opened(10_000), None, later)
    assert caught_up(account, before, before) == account


def test_two_trades_are_not_taken_for_one():
    with pytest.raises(InvalidInput, match="two states of one trade"):
        caught_up(Account.opened(10_000), opened(), opened(direction="SHORT"))


@pytest.mark.parametrize("field", ["cash", "margin", "realised", "fees", "funding"])
def test_a_lost_digit_is_found(field: str):
    account = caught_up(Account.opened(10_000), None, after(opened(costs=USUAL), minute(0, 100, low=97)))
    check(account)

    with pytest.raises(CorruptData, match="its bookings say"):
        check(replace(account, **{field: getattr(account, field) + Decimal("0.00000001")}))


def test_an_account_starts_with_something():
    with pytest.raises(InvalidInput, match="starting equity"):
        Account.opened(0)


steps = st.tuples(
    st.floats(-0.02, 0.02),
    st.floats(0, 0.02),
    st.floats(0, 0.02),
    st.floats(-0.003, 0.003),
    st.one_of(st.none(), st.floats(0.1, 60)),
    st.booleans(),
)


def spot_value(trade: Trade) -> Fraction:
    """What the fills brought, counted as buying and selling coins."""
    sign = 1 if trade.direction == "LONG" else -1
    flows = {"entry": -sign, "exit": sign}
    return sum((flows[fill.kind] * Fraction(fill.price) * Fraction(fill.quantity) for fill in trade.fills), Fraction(0))


@given(st.lists(steps, min_size=1, max_size=60), st.floats(0.5, 60_000))
def test_over_any_sequence_of_trades_not_a_digit_is_lost(path: list[tuple], price: float):
    account, trade, trades = Account.opened(10_000), None, []
    for number, (move, up, down, rate, held, leave) in enumerate(path):
        price *= 1 + move
        candle = minute(number, price, high=price * (1 + up), low=price * (1 - down), close=price)
        thin = None if held is None else Book([(99.99, held)], [(100.01, held)])
        if trade is None:
            direction = "LONG" if rate > 0 else "SHORT"
            sides = {"stop_loss": price * 0.97, "take_profit": price * 1.03}
            if direction == "SHORT":
                sides = {"stop_loss": price * 1.03, "take_profit": price * 0.97}
            wanted = order(direction=direction, equity=account.equity, **sides)
            trade = open_trade(wanted, candle, USUAL, thin)
            assert isinstance(trade, Trade), trade
            account = caught_up(account, None, trade)
            check(account)
        before, trade = trade, advance(trade, candle, [funding(number, rate, late_ms=1)], USUAL, thin)
        account = caught_up(account, before, trade)
        check(account)
        assert account.margin == trade.held_margin
        if not trade.active:
            trades.append(trade)
            trade = None
        elif leave:
            trade = request_exit(trade, MANUAL, candle.end_ms)

    result = sum((each.pnl for each in trades), Decimal(0)) + (trade.pnl if trade else 0)
    assert account.equity == account.starting_equity + result
    for each in trades:
        assert account.margin == 0 or trade is not None
        assert sum(fill.quantity for fill in each.fills[1:]) == each.quantity
        assert sum(booking.margin for booking in each.bookings) == 0
        if each.exit_reason != LIQUIDATION:
            assert abs(spot_value(each) - Fraction(each.realised)) <= Fraction(len(each.fills), 10**8)


def test_bookings_are_what_an_account_is_made_of():
    account = Account.opened(10_000)
    trade = after(opened(costs=USUAL), minute(0, 100, low=97), costs=USUAL)
    for booking in trade.bookings:
        account = booked(account, booking)

    assert account.cash == 10_000 + trade.pnl
