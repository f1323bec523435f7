"""The life of a trade: never in hindsight, never better than the market, the same after a restart."""

from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.fills import Book, Costs
from app.domain.trading.simulation import (
    EMERGENCY,
    LIQUIDATION,
    MANUAL,
    NOTHING_FILLED,
    PASSED_STOP,
    PASSED_TARGET,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME_STOP,
    TOO_LITTLE_EQUITY,
    TOO_SMALL,
    TREND_FLIP,
    Funding,
    Minute,
    Refusal,
    Trade,
    advance,
    open_trade,
    protect,
    request_exit,
)
from app.errors import Conflict, CorruptData, InvalidInput
from tests.app.domain.trading.trades import (
    FREE,
    MINUTE_MS,
    START_MS,
    USUAL,
    after,
    book,
    funding,
    minute,
    opened,
    order,
)

# Opening


def test_a_trade_opens_at_the_open_of_its_minute_and_not_at_what_came_later():
    trade = opened(at=minute(0, 100, high=103, low=99, close=103))

    assert (trade.entry_price, trade.opened_ms, trade.status) == (100, START_MS, "ACTIVE")


def test_a_candle_from_before_the_signal_was_known_opens_nothing():
    with pytest.raises(InvalidInput, match="opened before"):
        open_trade(order(), minute(-1), FREE)


def test_the_first_candle_that_there_is_opens_when_the_one_due_is_missing():
    assert opened(at=minute(3)).opened_ms == START_MS + 3 * MINUTE_MS


def test_a_trade_loses_what_may_be_lost_at_its_stop_from_the_price_really_paid():
    trade = opened(costs=Costs(Decimal(0), Decimal(0), Decimal(100)))

    assert trade.entry_price == 101
    assert trade.quantity == Decimal("33.33333333")
    assert (trade.stop_loss, trade.take_profit) == (98, 104)
    assert trade.risk_amount == Decimal("99.99999999")


def test_leverage_and_margin_are_those_of_the_sizing():
    trade = opened()

    assert (trade.leverage, trade.margin, trade.quantity, trade.risk_amount) == (24, 209, 50, 100)


def test_an_entry_that_was_filled_in_part_is_smaller_in_everything():
    trade = opened(book=Book([(99.99999999, 1)], [(100.00000001, 25)]))

    assert trade.quantity == 25
    assert trade.margin == pytest.approx(Decimal("104.5"))
    assert trade.risk_amount == pytest.approx(Decimal(50))


@pytest.mark.parametrize(("direction", "price", "reason"), [
    ("LONG", 98, PASSED_STOP),
    ("LONG", 104, PASSED_TARGET),
    ("SHORT", 102, PASSED_STOP),
    ("SHORT", 96, PASSED_TARGET),
])  # fmt: skip
def test_an_open_that_has_passed_stop_or_target_is_refused(direction: str, price: float, reason: str):
    refused = open_trade(order(direction=direction), minute(0, price), FREE)

    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.at_ms) == (reason, START_MS)


def test_slippage_beyond_the_target_is_refused():
    refused = open_trade(order(), minute(0, 103.9), Costs(slippage_bps=Decimal(50)))

    assert isinstance(refused, Refusal)
    assert refused.reason == PASSED_TARGET


@pytest.mark.parametrize(("changes", "asks", "reason"), [
    ({"equity": 205}, None, TOO_LITTLE_EQUITY),
    ({"min_quantity": Decimal(51)}, None, TOO_SMALL),
    ({"min_quantity": Decimal(5)}, [(100.1, 4)], TOO_SMALL),
    ({}, [(100.1, 0)], NOTHING_FILLED),
])  # fmt: skip
def test_what_cannot_be_opened_is_refused_with_its_reason(changes: dict, asks: list | None, reason: str):
    refused = open_trade(order(**changes), minute(0), USUAL, asks and book(asks=asks))

    assert isinstance(refused, Refusal)
    assert refused.reason == reason


@pytest.mark.parametrize(
    "changes", [{"stop_loss": 105}, {"direction": "SHORT", "stop_loss": 95}, {"direction": "UP"}, {"take_profit": 0}]
)
def test_an_order_that_means_nothing_is_refused(changes: dict):
    with pytest.raises(InvalidInput):
        order(**changes)


@pytest.mark.parametrize("prices", [(100, 99, 98, 99), (100, 101, 100.5, 101), (0, 0, 0, 0), (100, 101, -1, 100)])
def test_a_candle_that_contradicts_itself_is_refused(prices: tuple[float, ...]):
    with pytest.raises(CorruptData):
        Minute.of(START_MS, *prices)


def test_a_candle_between_two_minutes_is_refused():
    with pytest.raises(CorruptData, match="No minute opens"):
        Minute.of(START_MS + 1, 1, 1, 1, 1)


# Stop and target


def test_nothing_happens_to_a_trade_in_a_quiet_minute():
    trade = opened()

    assert after(trade, minute(0)).bookings == trade.bookings
    assert after(trade, minute(0)).settled_until_ms == START_MS + MINUTE_MS


def test_the_minute_of_the_entry_can_stop_the_trade():
    assert after(opened(), minute(0, 100, low=98)).status == "STOPPED"


def test_a_stop_is_filled_at_its_price_made_worse_by_slippage():
    trade = after(opened(), minute(0, 100, low=97.5), costs=USUAL)

    assert (trade.exit_reason, trade.exit_price, trade.status) == (STOP_LOSS, Decimal("97.951"), "STOPPED")
    assert trade.closed_ms == START_MS + MINUTE_MS - 1


def test_a_stop_that_was_jumped_over_is_filled_at_the_open():
    trade = after(opened(), minute(0), minute(1, 97, high=99))

    assert (trade.exit_reason, trade.exit_price, trade.closed_ms) == (STOP_LOSS, 97, START_MS + MINUTE_MS)


def test_a_target_is_filled_at_exactly_its_price_for_the_makers_fee():
    trade = after(opened(), minute(0), minute(1, 103, high=106), costs=USUAL)

    assert (trade.exit_reason, trade.exit_price, trade.status) == (TAKE_PROFIT, 104, "CLOSED")
    assert (trade.realised, trade.fees, trade.pnl) == (200, Decimal("1.04"), Decimal("198.96"))
    assert trade.fills[-1].liquidity == "maker"


def test_the_percentage_of_a_result_is_on_the_value_at_entry():
    assert after(opened(), minute(0, 100, high=104)).pnl_percentage == Decimal("4.0000")


def test_a_short_wins_when_the_price_falls():
    trade = after(opened(direction="SHORT"), minute(0, 100, low=96))

    assert (trade.exit_reason, trade.realised) == (TAKE_PROFIT, 200)


def test_a_short_is_stopped_above():
    trade = after(opened(direction="SHORT"), minute(0, 100, high=102))

    assert (trade.exit_reason, trade.realised) == (STOP_LOSS, -100)


@given(
    direction=st.sampled_from(["LONG", "SHORT"]),
    open_=st.floats(98.01, 101.99),
    above=st.floats(104, 120),
    below=st.floats(80, 96),
)
def test_a_candle_that_spans_stop_and_target_counts_as_the_stop(
    direction: str, open_: float, above: float, below: float
):
    trade = after(opened(direction=direction), minute(0, open_, high=above, low=below))

    assert (trade.exit_reason, trade.realised) == (STOP_LOSS, -100)


def test_an_open_beyond_the_target_in_a_candle_that_comes_back_to_the_stop_still_counts_as_the_stop():
    assert after(opened(), minute(0), minute(1, 105, low=98)).exit_reason == STOP_LOSS


# Liquidation


def test_the_exchange_takes_a_trade_over_before_its_margin_is_used_up():
    trade = opened()

    assert (trade.liquidation_price, trade.bankruptcy_price) == (Decimal("96.32"), Decimal("95.82"))


@pytest.mark.parametrize(("direction", "price"), [("LONG", 96.3), ("LONG", 1), ("SHORT", 103.7), ("SHORT", 500)])
def test_an_open_beyond_the_liquidation_price_costs_the_margin_and_no_more(direction: str, price: float):
    trade = after(opened(direction=direction), minute(0), minute(1, price))

    assert (trade.exit_reason, trade.status) == (LIQUIDATION, "STOPPED")
    assert (trade.realised, trade.held_margin) == (-209, 0)


def test_slippage_never_takes_a_stop_beyond_the_margin():
    thin = book(bids=[(99.9, 1), (50, 1e9)])
    trade = after(opened(), minute(0, 100, low=97.9), book=thin)

    assert (trade.exit_reason, trade.exit_price, trade.realised) == (LIQUIDATION, Decimal("95.82"), -209)


def test_a_stop_behind_the_liquidation_price_does_not_save_the_trade():
    weaker = replace(opened(), liquidation_price=Decimal("98.5"), bankruptcy_price=Decimal("97.5"))

    assert after(weaker, minute(0, 100, low=97.9)).exit_reason == LIQUIDATION
    assert after(weaker, minute(0, 100, low=98.6)).active


# Exits that are asked for


def test_an_exit_that_was_asked_for_is_filled_at_the_next_open():
    trade = request_exit(after(opened(), minute(0)), TREND_FLIP, START_MS + MINUTE_MS + 1)
    waiting = after(trade, minute(1, 101))
    left = after(waiting, minute(2, 102, high=103))

    assert waiting.active
    assert (left.exit_reason, left.exit_price, left.closed_ms, left.status) == (
        TREND_FLIP,
        102,
        START_MS + 2 * MINUTE_MS,
        "CLOSED",
    )


def test_until_then_the_stop_holds():
    trade = request_exit(opened(), TREND_FLIP, START_MS + MINUTE_MS)

    assert after(trade, minute(0, 100, low=97)).exit_reason == STOP_LOSS


def test_of_two_exits_the_earlier_one_counts():
    trade = request_exit(request_exit(opened(), TREND_FLIP, START_MS + 5 * MINUTE_MS), EMERGENCY, START_MS)
    later = request_exit(request_exit(trade, MANUAL, START_MS), MANUAL, START_MS + 1)

    assert later == trade
    assert after(later, minute(0)).exit_reason == EMERGENCY


@pytest.mark.parametrize("reason", [STOP_LOSS, TAKE_PROFIT, LIQUIDATION, "BOREDOM"])
def test_only_some_exits_can_be_asked_for(reason: str):
    with pytest.raises(InvalidInput, match="not a reason"):
        request_exit(opened(), reason, START_MS)


def test_a_closed_trade_is_left_alone():
    closed = after(opened(), minute(0, 100, low=97))

    assert after(closed, minute(1, 50)) == closed
    with pytest.raises(Conflict):
        request_exit(closed, MANUAL, START_MS)
    with pytest.raises(Conflict):
        protect(closed, 99)


def test_a_trade_is_given_up_at_its_time_stop():
    trade = after(opened(time_stop_ms=START_MS + 2 * MINUTE_MS), minute(0), minute(1), minute(2, 101))

    assert (trade.exit_reason, trade.exit_price, trade.status) == (TIME_STOP, 101, "CLOSED")


def test_a_stop_moves_in_favour_of_the_trade_only():
    trade = protect(opened(), 99)

    assert (trade.stop_loss, trade.risk_amount) == (99, 100)
    assert protect(trade, 98.5) == trade
    assert protect(opened(direction="SHORT"), 101).stop_loss == 101
    assert protect(opened(direction="SHORT"), 103).stop_loss == 102


def test_a_stop_that_was_moved_beyond_the_price_leaves_at_the_next_open():
    assert after(protect(opened(), 103), minute(0, 100)).exit_price == 100


# Exits in part


def test_what_the_book_does_not_hold_is_left_at_the_next_open():
    trade = after(opened(), minute(0, 100, low=97.9), book=book(bids=[(99.99, 20)], asks=[(100.01, 1)]))
    left = after(trade, minute(1, 99, high=105))

    assert (trade.status, trade.exit_reason, trade.remaining) == ("ACTIVE", STOP_LOSS, 30)
    assert trade.held_margin == Decimal("125.4")
    assert (left.status, left.exit_reason, left.held_margin) == ("STOPPED", STOP_LOSS, 0)
    assert left.exit_price == pytest.approx((20 * 98 * Decimal("0.9999") + 30 * 99) / 50)
    assert [fill.quantity for fill in left.fills] == [50, 20, 30]


def test_a_trade_that_is_being_left_has_no_stop_and_no_target_any_more_but_can_be_liquidated():
    trade = request_exit(opened(), TREND_FLIP, START_MS)
    thin = book(bids=[(99.99, 20)], asks=[(100.01, 1)])

    assert after(trade, minute(0, 100, high=105), book=thin).remaining == 30
    assert after(trade, minute(0, 100, low=97.9), book=thin).exit_reason == TREND_FLIP
    assert after(trade, minute(0, 100, low=96), book=thin).exit_reason == LIQUIDATION
    assert after(after(trade, minute(0), book=thin), minute(1, 90)).realised == pytest.approx(Decimal("-125.6"))


def test_the_last_part_sets_free_whatever_margin_is_left_to_the_last_digit():
    thin = book(bids=[(99.99, 10.00000001)])
    trade = after(request_exit(opened(), MANUAL, START_MS), *(minute(number) for number in range(5)), book=thin)

    assert [str(-fill.margin) for fill in trade.fills[1:4]] == ["41.80000004"] * 3
    assert (trade.status, trade.held_margin, sum(fill.margin for fill in trade.fills)) == ("CLOSED", 0, 0)


def test_an_exit_of_which_nothing_was_filled_goes_on():
    trade = after(opened(), minute(0, 100, low=97.9), book=book(bids=[(99.99, 0)]))

    assert (trade.remaining, trade.exit_reason, len(trade.fills)) == (50, STOP_LOSS, 1)
    assert after(trade, minute(1, 99)).exit_price == 99


# Funding


def test_a_long_pays_a_positive_rate_on_the_mark_price_and_a_short_receives_it():
    due = (funding(1, 0.0001, mark=110),)

    assert after(opened(), minute(0), minute(1), fundings=due).funding == Decimal("0.55")
    assert after(opened(direction="SHORT"), minute(0), minute(1), fundings=due).funding == Decimal("-0.55")


def test_without_a_mark_price_the_open_stands_for_it():
    assert after(opened(), minute(0), minute(1, 102), fundings=(funding(1, 0.0001),)).funding == Decimal("0.51")


def test_funding_at_the_moment_of_the_entry_was_not_held_for_but_a_moment_later_it_was():
    assert after(opened(), minute(0), fundings=(funding(0, 0.0001),)).funding == 0
    assert after(opened(), minute(0), fundings=(funding(0, 0.0001, late_ms=5),)).funding == Decimal("0.5")


def test_an_exit_at_an_open_pays_the_funding_of_that_moment_and_none_after_it():
    trade = request_exit(after(opened(), minute(0)), MANUAL, START_MS + MINUTE_MS)

    assert after(trade, minute(1), fundings=(funding(1, 0.0001),)).funding == Decimal("0.5")
    assert after(trade, minute(1), fundings=(funding(1, 0.0001, late_ms=5),)).funding == 0


def test_a_stop_within_a_minute_comes_after_the_funding_of_that_minute():
    trade = after(opened(), minute(0), minute(1, 100, low=97), fundings=(funding(1, 0.0001, late_ms=5),))

    assert (trade.status, trade.funding) == ("STOPPED", Decimal("0.5"))


def test_funding_that_fell_due_in_missing_minutes_is_paid_when_the_next_candle_comes():
    trade = after(opened(), minute(0), minute(9), fundings=(funding(3, 0.0001, late_ms=7), funding(5, 0.0001)))

    assert (trade.funding, trade.missing) == (1, 8)
    assert [booking.at_ms for booking in trade.bookings[1:]] == [START_MS + 3 * MINUTE_MS + 7, START_MS + 5 * MINUTE_MS]


@given(st.sets(st.integers(-3 * MINUTE_MS, 8 * MINUTE_MS), max_size=12), st.sets(st.integers(0, 7), min_size=1))
def test_each_funding_is_paid_once_whatever_minutes_there_are_and_how_often_it_is_told(
    moments: set[int], numbers: set[int]
):
    told = tuple(Funding.of(START_MS + moment, 0.0001) for moment in sorted(moments, key=hash))
    minutes = [minute(number) for number in sorted(numbers)]
    trade = after(opened(), *(each for each in minutes for _ in range(2)), fundings=told + told)
    held = [moment for moment in sorted(moments) if 0 < moment < (max(numbers) + 1) * MINUTE_MS]

    assert [booking.at_ms - START_MS for booking in trade.bookings[1:]] == held


# Time


def test_a_minute_that_was_settled_changes_nothing():
    trade = after(opened(), minute(0), minute(1))

    assert after(trade, minute(1, 50), minute(0, 50)) == trade


def test_after_missing_minutes_the_next_candle_takes_over_with_its_open():
    trade = after(opened(), minute(0), minute(5, 97.5))

    assert (trade.missing, trade.exit_reason, trade.exit_price) == (4, STOP_LOSS, Decimal("97.5"))


def test_what_is_floating_is_what_the_open_part_would_bring():
    assert opened().floating(101) == 50
    assert opened(direction="SHORT").floating(101) == -50


# Restart

steps = st.tuples(
    st.integers(1, 3),
    st.floats(-0.01, 0.01),
    st.floats(0, 0.01),
    st.floats(0, 0.01),
    st.sampled_from([None, None, 3.0, 40.0]),
    st.sampled_from([None, None, None, None, MANUAL, TREND_FLIP]),
)


def lived(path: list[tuple], direction: str, restart_at: int | None) -> Trade:
    """A trade that lives through minutes with gaps, fundings, thin books and exits, with one restart or none."""
    trade, number, price = opened(direction=direction, costs=USUAL), 0, 100.0
    rates = tuple(funding(each, 0.0003, late_ms=each % 3) for each in range(0, 90, 4))
    for index, (skip, move, up, down, held, asked) in enumerate(path):
        if index == restart_at:
            trade = msgspec.json.decode(msgspec.json.encode(trade), type=Trade)
        price = price * (1 + move)
        candle = minute(number, price, high=price * (1 + up), low=price * (1 - down), close=price)
        thin = None if held is None else Book([(99.99, held)], [(100.01, held)])
        trade = advance(trade, candle, rates, USUAL, thin)
        if asked and trade.active:
            trade = request_exit(trade, asked, candle.end_ms + 1)
        if trade.active:
            trade = protect(trade, price * (0.97 if direction == "LONG" else 1.03))
        number += skip
    return trade


@given(st.lists(steps, min_size=1, max_size=25), st.sampled_from(["LONG", "SHORT"]), st.data())
def test_a_restart_in_the_middle_changes_not_a_byte(path: list[tuple], direction: str, data: st.DataObject):
    restart_at = data.draw(st.integers(0, len(path) - 1))
    whole, restarted = lived(path, direction, None), lived(path, direction, restart_at)

    assert msgspec.json.encode(whole) == msgspec.json.encode(restarted)
    assert whole == restarted


@given(st.lists(steps, min_size=1, max_size=25), st.sampled_from(["LONG", "SHORT"]))
def test_whatever_happens_the_loss_of_price_is_never_more_than_the_margin(path: list[tuple], direction: str):
    trade = lived(path, direction, None)

    assert trade.realised >= -trade.margin
    assert all(booking.realised >= booking.margin for booking in trade.bookings if booking.kind == "exit")
    assert 0 <= trade.held_margin <= trade.margin
    assert (trade.held_margin == 0) == (trade.remaining == 0) == (not trade.active) == (trade.closed_ms is not None)
