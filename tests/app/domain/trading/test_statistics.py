"""Statistics: what closed trades amount to, and what cannot be said of them."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.statistics import MOST_RATIO, ClosedTrade, cumulative, equity_curve, statistics
from app.errors import InvalidInput
from app.storage.tables import symbol_statistics
from app.storage.types import Exact, in_units

MONDAY = datetime(2025, 6, 2, tzinfo=UTC)


def closed(pnl: float | str, *, day: float = 0, minutes: float = 10) -> ClosedTrade:
    """A trade that was closed so many days after Monday, and had been held for some minutes."""
    closed_ms = int((MONDAY + timedelta(days=day)).timestamp() * 1000)
    return ClosedTrade(closed_ms - int(minutes * 60_000), closed_ms, Decimal(str(pnl)))


def test_of_no_trades_nothing_is_said():
    nothing = statistics([], 10_000)

    assert (nothing.total_trades, nothing.winning_trades, nothing.losing_trades, nothing.total_pnl) == (0, 0, 0, 0)
    assert {nothing.win_rate, nothing.avg_pnl_per_trade, nothing.best_trade, nothing.worst_trade} == {None}
    assert {nothing.profit_factor, nothing.max_drawdown, nothing.avg_holding_time} == {None}


def test_wins_losses_and_what_is_neither():
    told = statistics([closed(30), closed(-10), closed(0)], 10_000)

    assert (told.total_trades, told.winning_trades, told.losing_trades) == (3, 1, 1)
    assert told.win_rate == Decimal("33.33")
    assert (told.total_pnl, told.best_trade, told.worst_trade) == (20, 30, -10)
    assert told.avg_pnl_per_trade == Decimal("6.66666667")


def test_the_profit_factor_is_gross_profit_over_gross_loss():
    assert statistics([closed(30), closed(20), closed(-15)], 10_000).profit_factor == Decimal("3.3333")


def test_without_losses_there_is_no_profit_factor():
    assert statistics([closed(30)], 10_000).profit_factor is None


def test_drawdown_is_in_percent_of_the_running_peak():
    told = statistics([closed(1000, day=1), closed(-1100, day=2), closed(600, day=3), closed(-100, day=4)], 10_000)

    assert told.max_drawdown == Decimal("10.0000")


def test_the_peak_starts_at_the_starting_equity():
    assert statistics([closed(-500)], 10_000).max_drawdown == Decimal("5.0000")
    assert statistics([closed(500)], 10_000).max_drawdown == 0


def test_trades_count_in_the_order_of_their_closing():
    rise, fall = closed(1000, day=2), closed(-1000, day=1)

    assert statistics([rise, fall], 10_000).max_drawdown == Decimal("10.0000")
    assert [equity for _, equity in equity_curve([rise, fall], 10_000)] == [10_000, 9_000, 10_000]
    assert [moment for moment, _ in equity_curve([rise, fall], 10_000)] == [None, fall.closed_ms, rise.closed_ms]


def test_holding_time_is_in_whole_minutes():
    assert statistics([closed(1, minutes=10), closed(1, minutes=11.2)], 10_000).avg_holding_time == 11


pnls = st.decimals(-(10**9), 10**9, places=8)


@given(st.lists(st.builds(closed, pnls, day=st.integers(0, 99)), max_size=20))
def test_every_number_fits_its_column(trades: list[ClosedTrade]):
    told = statistics(trades, 10_000)
    for column in symbol_statistics.columns:
        if isinstance(column.type, Exact) and getattr(told, column.name) is not None:
            in_units(getattr(told, column.name), column.type.precision, column.type.scale)


def test_a_ratio_that_no_column_holds_is_told_as_the_most_there_is():
    assert statistics([closed("100000"), closed("-0.00000001")], 10_000).profit_factor == MOST_RATIO


# Day by day


def test_there_is_a_row_for_every_day_whether_or_not_anything_was_traded():
    rows = cumulative([closed(5, day=27.5)], "day", MONDAY + timedelta(days=29))

    assert [row.date for row in rows] == [date(2025, 6, 2) + timedelta(days=day) for day in range(30)]
    assert [(row.trades, row.pnl, row.win_rate) for row in rows[26:29]] == [(0, 0, None), (1, 5, 100), (0, 0, None)]
    assert [row.cumulative_trades for row in rows[26:]] == [0, 1, 1, 1]


def test_rows_add_up():
    rows = cumulative(
        [closed(5, day=0.1), closed(-2, day=0.2), closed(3, day=1.1)], "day", MONDAY + timedelta(days=1.5), count=2
    )

    assert [(row.wins, row.losses, row.win_rate) for row in rows] == [(1, 1, 50), (1, 0, 100)]
    assert [(row.cumulative_wins, row.cumulative_losses, row.cumulative_pnl) for row in rows] == [(1, 1, 3), (2, 1, 6)]
    assert rows[1].cumulative_win_rate == Decimal("66.67")


def test_what_was_closed_before_the_first_row_is_in_the_cumulative_numbers():
    assert cumulative([closed(5, day=-90)], "day", MONDAY, count=1)[0].cumulative_pnl == 5


def test_what_is_closed_later_is_not_known_yet():
    assert cumulative([closed(5, day=0.9)], "day", MONDAY + timedelta(days=0.5), count=1)[0].cumulative_trades == 0


def test_a_week_begins_on_monday():
    rows = cumulative([closed(5, day=-1), closed(7, day=6.9)], "week", MONDAY + timedelta(days=6.95))

    assert [row.date for row in rows] == [date(2025, 5, 12), date(2025, 5, 19), date(2025, 5, 26), date(2025, 6, 2)]
    assert [row.pnl for row in rows] == [0, 0, 5, 7]


def test_a_day_begins_where_its_zone_says():
    shanghai = timezone(timedelta(hours=8))
    late = [closed(5, day=17 / 24)]

    assert [row.pnl for row in cumulative(late, "day", MONDAY + timedelta(days=1), count=2)] == [5, 0]
    assert [row.pnl for row in cumulative(late, "day", MONDAY + timedelta(days=1), count=2, zone=shanghai)] == [0, 5]


@pytest.mark.parametrize(
    ("period", "until", "count"), [("month", MONDAY, 1), ("day", MONDAY.replace(tzinfo=None), 1), ("day", MONDAY, 0)]
)
def test_a_question_that_means_nothing_is_refused(period: str, until: datetime, count: int):
    with pytest.raises(InvalidInput):
        cumulative([], period, until, count=count)


def test_the_thread_s_own_precision_changes_nothing():
    trades = [closed(pnl, day=day) for day, pnl in enumerate(("1234567.12345678", "-2345678.87654321", "3.00000001"))]
    until = MONDAY + timedelta(days=3)
    usual = statistics(trades, 10_000_000), cumulative(trades, "day", until)
    with localcontext(prec=6):
        coarse = statistics(trades, 10_000_000), cumulative(trades, "day", until)

    assert coarse == usual


def test_a_thousand_days_of_all_trades_are_summed_up_while_somebody_waits():
    until = datetime(2026, 11, 21, tzinfo=UTC)
    end_ms = int(until.timestamp() * 1000)
    many = [
        ClosedTrade(end_ms - back - 60_000, end_ms - back, Decimal(1)) for back in range(0, 80_000_000_000, 4_000_000)
    ]
    began = time.process_time()
    rows = cumulative(many, "day", until, count=1_000)

    assert rows[-1].cumulative_trades == rows[-1].cumulative_pnl == len(many) == 20_000
    assert rows[0].cumulative_trades == rows[0].trades + sum(rows[0].date > day_of(one) for one in many)
    assert time.process_time() - began < 4  # it took 8 s when every row looked at every trade


def day_of(one: ClosedTrade) -> date:
    return datetime.fromtimestamp(one.closed_ms / 1000, UTC).date()
