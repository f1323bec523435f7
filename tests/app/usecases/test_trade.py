"""Paper trades on stored judgments and minutes: what is asked is filled, settled in order, and booked to the last digit."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.storage import accounts, checkpoints, statistics, tasks, tickers
from app.storage.database import reading, transaction
from app.storage.tickers import TickerRow
from app.usecases.sum_up_trades import sum_up
from tests.app.domain.strategies.v3.readings import falling, rising
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS
from tests.app.usecases.paper_market import BTC, ETH, MINUTE_MS, PRICE, PaperMarket
from tests.builders import NOW

STOP = Decimal("108.8")
FOURTH = Decimal("0.0001")


@pytest.fixture
def market(engine: Engine) -> PaperMarket:
    """One coin."""
    return PaperMarket(engine)


def opened(market: PaperMarket, **changes: object) -> PaperMarket:
    """A trade up was entered at 110 in the minute after the one after the close."""
    market.judge(inputs=rising(**changes))
    market.minutes(PRICE, PRICE)
    market.trade(2)
    assert [one.status for one in market.trades()] == ["ACTIVE"]
    return market


def test_a_signal_is_entered_a_minute_after_its_candle_closed_at_the_open_made_worse_by_the_costs(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(PRICE, 110.2, 110.4)

    market.trade(2)

    [trade] = market.trades()
    assert trade.entry_price == Decimal("110.2551")  # 5 basis points above the open of the second minute
    assert (trade.direction, trade.stop_loss, trade.status) == ("LONG", STOP, "ACTIVE")
    assert trade.created_at.timestamp() * 1000 == CLOSE_MS + MINUTE_MS
    [entry] = market.fills(trade.id)
    assert entry.assumed["source"] == "bps"
    assert entry.assumed["why"]["close_ms"] == CLOSE_MS
    assert set(entry.assumed["why"]["scores"]) == {"4h", "1h", "15m"}
    assert market.conserved()


def test_nothing_happens_before_the_minute_that_fills_it_is_over(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(PRICE)

    market.trade(1.9)

    assert market.trades() == []
    assert market.account().desk.order is not None


def test_an_order_waits_in_the_account_so_a_restart_does_not_lose_it(market: PaperMarket):
    market.judge(inputs=rising())
    market.trade(0.5)
    market.minutes(PRICE, PRICE)

    market.trade(2)

    assert len(market.trades()) == 1


def test_the_same_moment_twice_changes_nothing(market: PaperMarket):
    opened(market)
    before = market.account()

    again = market.trade(2)

    assert again.events == []
    assert market.account() == before


def test_a_stop_is_taken_before_a_target_in_the_same_minute(market: PaperMarket):
    opened(market).minutes((PRICE, 120.0, 100.0, PRICE), begin=2)

    market.trade(3)

    [trade] = market.trades()
    assert (trade.status, trade.exit_reason) == ("STOPPED", "STOP_LOSS")
    assert market.account().desk.trade is None
    assert market.conserved()


def test_a_target_is_filled_at_its_price_as_maker(market: PaperMarket):
    opened(market).minutes((PRICE, 120.0, PRICE, 115.0), begin=2)

    market.trade(3)

    [trade] = market.trades()
    entry, exit_ = market.fills(trade.id)
    assert (trade.status, trade.exit_reason, trade.exit_price) == ("CLOSED", "TAKE_PROFIT", trade.take_profit)
    assert exit_.fee == (exit_.price * exit_.quantity * Decimal("0.0002")).quantize(Decimal("1e-8"))
    assert trade.pnl == exit_.realised - entry.fee - exit_.fee
    assert market.account().desk.account.equity == 10_000 + trade.pnl


def test_a_trend_that_turns_takes_the_trade_out_a_minute_later(market: PaperMarket):
    opened(market).judge(inputs=falling(), close=1)
    market.minutes(*[PRICE] * 15, begin=2)

    market.trade(17)

    first = market.trades()[0]
    assert first.exit_reason == "TREND_FLIP"
    assert first.closed_at is not None
    assert first.closed_at.timestamp() * 1000 == CLOSE_MS + QUARTER_MS + MINUTE_MS


def test_factors_that_stand_against_a_trade_take_it_out(market: PaperMarket):
    opened(market).judge(inputs=rising(vwap_15m=111.0, delta_15m=-0.3, surge_15m=1.0, oi_6h=0.0), close=1)
    market.minutes(*[PRICE] * 15, begin=2)

    market.trade(17)

    assert market.trades()[0].exit_reason == "FACTOR_STOP"


def test_a_trade_is_given_up_after_three_hours(market: PaperMarket):
    opened(market)
    for close in range(1, 13):
        market.judge(inputs=rising(), close=close)
    market.minutes(*[PRICE] * 200, begin=2)

    market.trade(190)

    [trade, *_] = market.trades()
    assert trade.exit_reason == "TIME_STOP"
    assert trade.closed_at is not None
    assert trade.closed_at - trade.created_at == timedelta(hours=3)


def test_there_is_one_trade_at_a_time_for_each_symbol_and_strategy(market: PaperMarket):
    opened(market).judge(inputs=rising(), close=1)
    market.minutes(*[PRICE] * 16, begin=2)

    market.trade(17)

    assert len(market.trades()) == 1


def test_after_a_trade_the_next_signal_waits_until_the_cooldown_is_over(market: PaperMarket):
    opened(market)
    desk = market.account().desk
    assert desk.cooldown_until_ms == CLOSE_MS + MINUTE_MS + 5 * MINUTE_MS

    with transaction(market.engine) as db:
        kept = market.account()
        assert accounts.change(db, kept, replace(desk, cooldown_until_ms=CLOSE_MS + QUARTER_MS + 1), kept.trade_id)
    market.minutes((PRICE, 120.0, PRICE, 115.0), *[PRICE] * 14, begin=3)
    market.minutes(PRICE, begin=2)
    market.judge(inputs=rising(), close=1)
    market.trade(17)
    assert len(market.trades()) == 1

    market.minutes(*[PRICE] * 15, begin=17)
    market.judge(inputs=rising(), close=2)
    market.trade(32)
    assert len(market.trades()) == 2


def test_a_judgment_that_is_old_opens_nothing(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(*[PRICE] * 10)

    market.trade(6)

    assert market.trades() == []
    assert market.account().desk.order is None


def test_accounts_are_opened_though_judging_lags_behind_a_fast_market(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(*[PRICE] * 40)

    market.trade(31, speed=120.0)

    assert len(market.trades()) == 1


def test_on_a_faster_market_judgments_may_be_older_by_as_much(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(*[PRICE] * 10)

    market.trade(6, speed=2.0)

    assert len(market.trades()) == 1


def test_a_downtime_is_settled_in_order_before_anything_new_opens(market: PaperMarket):
    opened(market)
    path: list[float | tuple[float, float, float, float]] = [PRICE] * 100
    path[40] = (PRICE, PRICE, 108.0, 109.0)
    path[70] = (PRICE, 130.0, PRICE, PRICE)
    market.minutes(*path, begin=2)
    for close in range(1, 7):
        market.judge(inputs=rising(), close=close)
    market.judged_until(6)

    market.trade(92)

    first, second = market.trades()
    assert (first.exit_reason, first.status) == ("STOP_LOSS", "STOPPED")
    assert first.closed_at is not None
    assert first.closed_at.timestamp() * 1000 < CLOSE_MS + 43 * MINUTE_MS
    assert second.created_at.timestamp() * 1000 == CLOSE_MS + 91 * MINUTE_MS  # only the fresh close opened anything


def test_a_missing_minute_is_waited_for_and_given_up_after_an_hour(market: PaperMarket):
    opened(market).minutes(*[PRICE] * 70, begin=3)
    for close in range(1, 5):
        market.judge(inputs=rising(), close=close)

    market.trade(10)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 2 * MINUTE_MS

    market.trade(63)
    trade = market.account().desk.trade
    assert trade is not None
    assert trade.missing == 1
    assert trade.settled_until_ms == CLOSE_MS + 63 * MINUTE_MS


def test_after_a_downtime_of_the_whole_fleet_the_minutes_are_waited_for_until_they_were_fetched(market: PaperMarket):
    opened(market)
    for close in range(1, 13):
        market.judge(inputs=rising(), close=close)
    market.judged_until(12)

    market.trade(180)  # first the worker is back,
    assert market.account().desk.settled_until_ms == CLOSE_MS + 2 * MINUTE_MS
    market.minutes(PRICE, begin=180)  # then the stream,
    market.trade(181)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 2 * MINUTE_MS
    path: list[float | tuple[float, float, float, float]] = [PRICE] * 178
    path[40] = (PRICE, PRICE, 108.0, 109.0)
    market.minutes(*path, begin=2)  # and at last what passed meanwhile
    market.trade(181.5)

    first = market.trades()[0]
    assert first.exit_reason == "STOP_LOSS"
    assert first.closed_at is not None
    assert first.closed_at.timestamp() * 1000 < CLOSE_MS + 43 * MINUTE_MS


def test_what_a_downtime_left_out_for_ever_is_given_up_an_hour_after_the_minutes_came_again(market: PaperMarket):
    opened(market).minutes(*[PRICE] * 61, begin=600)
    market.judged_until(44)

    market.trade(659)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 2 * MINUTE_MS

    market.trade(660)
    assert market.account().desk.settled_until_ms >= CLOSE_MS + 600 * MINUTE_MS
    assert market.trades()[0].exit_reason == "TIME_STOP"


def test_a_hole_before_an_account_had_anything_open_holds_it_up_no_more_than_another_account_does(engine: Engine):
    market = PaperMarket(engine, [BTC, ETH])
    opened(market)
    market.judge(symbol=ETH)
    market.judge(inputs=falling(), symbol=ETH, close=1)
    market.minutes(*[PRICE] * 3, begin=15, symbol=ETH)
    market.trade(16)  # of the one, minutes are awaited since the second

    market.trade(18)

    assert [one.symbol for one in market.trades(status="ACTIVE")] == [BTC, ETH]


def test_an_account_that_waits_for_its_minutes_for_hours_holds_up_no_other(engine: Engine):
    market = PaperMarket(engine, [BTC, ETH])
    market.judge(symbol=ETH)
    market.minutes(PRICE, PRICE, symbol=ETH)
    opened(market)
    market.minutes(*[PRICE] * 500, begin=2, symbol=ETH)
    market.judged_until(28)
    market.judge(inputs=falling(), symbol=ETH, close=28)

    market.trade(420.5)
    market.trade(423)

    assert [one.symbol for one in market.trades()] == [BTC, ETH]
    assert market.account().desk.settled_until_ms == CLOSE_MS + 2 * MINUTE_MS


def test_funding_is_paid_at_its_moment_and_once(market: PaperMarket):
    opened(market).funding(0.001, minute=4)
    market.minutes(*[PRICE] * 8, begin=2)

    market.trade(6)
    market.trade(8)

    [trade] = market.trades()
    entry, paid = market.fills(trade.id)
    assert paid.kind == "FUNDING"
    assert paid.funding == (Decimal("0.001") * Decimal(110) * entry.quantity).quantize(Decimal("1e-8"))
    assert market.conserved()


def test_a_funding_that_fell_due_is_waited_for(market: PaperMarket):
    opened(market).announced(0.001, minute=4)
    market.minutes(*[PRICE] * 8, begin=2)

    market.trade(8)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 4 * MINUTE_MS

    market.funding(0.002, minute=4)
    market.trade(8)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 8 * MINUTE_MS
    assert [row.kind for row in market.fills(market.trades()[0].id)] == ["ENTRY", "FUNDING"]


def test_a_funding_that_fell_due_while_nobody_listened_is_waited_for_too(market: PaperMarket):
    opened(market)
    for minute in (-460, -210):  # every 250 minutes, so the next one is due in minute 40
        market.funding(0.0001, minute=minute)
    for close in range(1, 5):
        market.judge(inputs=rising(), close=close)
    market.minutes(*[PRICE] * 70, begin=2)
    with transaction(market.engine) as db:
        heard = [TickerRow(market.ids[BTC], "1m", CLOSE_MS + minute * MINUTE_MS, price=PRICE) for minute in (1, 60)]
        tickers.store(db, heard)

    market.trade(70)
    assert market.account().desk.settled_until_ms == CLOSE_MS + 40 * MINUTE_MS

    market.funding(0.002, minute=40)
    market.trade(70)
    assert market.account().desk.settled_until_ms > CLOSE_MS + 40 * MINUTE_MS
    assert "FUNDING" in [row.kind for row in market.fills(market.trades()[0].id)]


def test_a_funding_that_never_comes_is_paid_as_it_was_announced(market: PaperMarket):
    opened(market).announced(0.001, minute=4)
    for close in range(1, 5):
        market.judge(inputs=rising(), close=close)
    market.minutes(*[PRICE] * 70, begin=2)

    market.trade(65)

    assert [row.kind for row in market.fills(market.trades()[0].id)] == ["ENTRY", "FUNDING"]


def test_a_recorded_book_that_holds_too_little_fills_a_part(market: PaperMarket):
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.depth(minute=0, worth=2_000.0)

    market.trade(2)

    [trade] = market.trades()
    [entry] = market.fills(trade.id)
    assert entry.assumed["source"] == "book"
    assert Decimal(entry.assumed["wanted"]) > entry.quantity == trade.position_size
    assert trade.position_size * trade.entry_price < Decimal(2_100)
    assert market.conserved()


def test_a_close_that_nobody_could_judge_is_passed_when_it_is_old(market: PaperMarket):
    opened(market).minutes(*[PRICE] * 40, begin=2)
    market.judged_until(1)

    market.trade(17)
    assert market.account().desk.acted_until_ms == CLOSE_MS

    market.trade(21)
    assert market.account().desk.acted_until_ms == CLOSE_MS + QUARTER_MS


def test_a_close_that_was_missed_is_waited_for_as_long_as_it_is_looked_at_again(market: PaperMarket):
    opened(market).minutes(*[PRICE] * 100, begin=2)
    missed = {"from_ms": CLOSE_MS, "again_until_ms": CLOSE_MS + 10 * QUARTER_MS}
    for until, acted in ((6, 0), (10, 6)):
        state = {"until_ms": CLOSE_MS + until * QUARTER_MS, "since_ms": 0, "missed": missed}
        with transaction(market.engine) as db:
            checkpoints.save(db, "judge", "cycle", state, NOW)
        market.trade(97)

        assert market.account().desk.acted_until_ms == CLOSE_MS + acted * QUARTER_MS


def test_a_close_that_is_still_being_judged_is_waited_for(market: PaperMarket):
    opened(market).minutes(*[PRICE] * 40, begin=2)
    market.judged_until(1)
    with transaction(market.engine) as db:
        tasks.ask(db, kind="judge", queue="strategy", payload={}, trace_id=None, now=NOW)

    market.trade(30)

    assert market.account().desk.acted_until_ms == CLOSE_MS


def test_an_order_that_no_minute_fills_is_forgotten_and_told(market: PaperMarket):
    market.judge(inputs=rising())
    market.trade(0.5)
    for close in range(1, 6):
        market.judge(close=close)
    market.judged_until(5)

    market.trade(95)
    assert market.account().desk.busy  # nobody listened, so the minutes may still be fetched
    market.announced(0.0, minute=35)
    done = market.trade(95)  # somebody did, an hour ago, and they did not come

    assert [(event.what, event.refusal and event.refusal.reason) for event in done.events] == [("refused", "EXPIRED")]
    assert not market.account().desk.busy


def test_statistics_are_written_with_the_closing(market: PaperMarket):
    opened(market).minutes((PRICE, 120.0, PRICE, 115.0), begin=2)

    market.trade(3)

    with reading(market.engine) as db:
        figures = statistics.get(db, BTC, "V3")
    assert figures is not None
    assert (figures.total_trades, figures.winning_trades, figures.win_rate) == (1, 1, Decimal(100))
    assert figures.total_pnl == market.trades()[0].pnl


def test_a_drawdown_counts_from_the_equity_before_the_first_trade_that_is_still_kept(market: PaperMarket):
    """The account had doubled by trades that are in the archive."""
    opened(market).minutes((PRICE, PRICE, 100.0, 101.0), begin=2)
    market.trade(3)
    [trade] = market.trades()
    assert trade.pnl is not None
    desk = market.account().desk
    twice = replace(desk.account, cash=desk.account.cash + desk.account.starting_equity)
    with transaction(market.engine) as db:
        before, after = (sum_up(db, replace(desk, account=one), NOW).max_drawdown for one in (desk.account, twice))

    assert (before, after) == ((-trade.pnl / 100).quantize(FOURTH), (-trade.pnl / 200).quantize(FOURTH))


def test_accounts_of_strategies_and_symbols_are_apart(engine: Engine):
    market = PaperMarket(engine, [BTC, ETH])
    market.judge(inputs=rising())
    market.judge(inputs=falling(), symbol=ETH)
    for symbol in (BTC, ETH):
        market.minutes(PRICE, PRICE, symbol=symbol)

    market.trade(2)

    assert {(one.symbol, one.direction) for one in market.trades()} == {(BTC, "LONG"), (ETH, "SHORT")}
    assert market.conserved()


def test_of_two_workers_that_bring_the_same_account_forward_one_does(
    market: PaperMarket, monkeypatch: pytest.MonkeyPatch
):
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(0.5)
    between = accounts.listed
    ran: list[int] = []

    def interrupted(*args: object, **kwargs: object):
        found = between(*args, **kwargs)
        if not ran:
            ran.append(1)
            market.trade(2)
        return found

    monkeypatch.setattr(accounts, "listed", interrupted)
    done = market.trade(2)

    assert done.lost_races == 1
    assert len(market.trades()) == 1
    assert market.conserved()
