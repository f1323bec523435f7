"""Taker flow: each trade once, lost ones noticed, and the delta says what it stands on."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.market.readings import Reading
from app.domain.market.values import Candle, Trade
from app.domain.orderflow.flow import CVD_WINDOW_MS, Flow, FlowKeeper, cvd, repaired

MINUTE_MS = 60_000
START_MS = 1_700_000_040_000


def trade(number: int, minute: float = 0, *, price: float = 10.0, quantity: float = 1.0, side: str = "buy",
          counted: bool = True) -> Trade:  # fmt: skip
    time_ms = START_MS + int(minute * MINUTE_MS)
    return Trade(
        "binance", "BTC/USDT:USDT", time_ms, 0, price=price, quantity=quantity, side=side, id=number, counted=counted
    )  # type: ignore[arg-type]


def keeper(*trades: Trade, warm: bool = True) -> FlowKeeper:
    """A keeper that was there before the first of these minutes began."""
    made = FlowKeeper("binance", "BTC/USDT:USDT")
    if warm:
        made.add(trade(0, -1))
        made.changed()
    for each in trades:
        made.add(each)
    return made


def flow(minute: int, delta: float = 1.0, status: str = "ok") -> Flow:
    return Flow(
        "binance", "BTC/USDT:USDT", START_MS + minute * MINUTE_MS, 10, 10, 10, 10,
        buy_volume=max(delta, 0), sell_volume=max(-delta, 0), buy_quote=0, sell_quote=0, trades=1, largest_quote=0,
        first_id=None, last_id=None, status=status,  # type: ignore[arg-type]
    )  # fmt: skip


# --- the minutes


def test_a_minute_sums_its_trades_by_the_takers_side():
    made = keeper(
        trade(1, 0.1, price=10, quantity=2),
        trade(2, 0.2, price=12, quantity=1, side="sell"),
        trade(3, 0.3, price=9, quantity=3),
        trade(4, 0.9, price=11, quantity=1, side="sell"),
    )
    (minute,) = made.changed()

    assert (minute.open_time, minute.open, minute.high, minute.low, minute.close) == (START_MS, 10, 12, 9, 11)
    assert (minute.buy_volume, minute.sell_volume, minute.buy_quote, minute.sell_quote) == (5, 2, 47, 23)
    assert (minute.trades, minute.largest_quote, minute.first_id, minute.last_id) == (4, 27, 1, 4)
    assert (minute.status, minute.delta) == ("ok", 3)


def test_only_what_changed_is_told_and_once():
    made = keeper(trade(1, 0), trade(2, 1))

    assert [each.open_time for each in made.changed()] == [START_MS, START_MS + MINUTE_MS]
    assert made.changed() == []
    made.add(trade(3, 1))
    assert [each.trades for each in made.changed()] == [2]


def test_the_first_minute_was_joined_in_its_middle():
    made = keeper(trade(1, 0.5), trade(2, 1), warm=False)

    assert [each.status for each in made.changed()] == ["gap", "ok"]


def test_a_trade_that_comes_twice_counts_once():
    made = keeper(trade(1), trade(2), trade(2), trade(1))

    assert (made.changed()[0].trades, made.duplicate) == (2, 2)


def test_a_lost_trade_marks_its_minute():
    made = keeper(trade(1), trade(3))

    assert (made.changed()[0].status, made.lost) == ("gap", 1)


def test_a_lost_trade_between_two_minutes_marks_both():
    made = keeper(trade(1, 0), trade(3, 1), trade(4, 2))

    assert [each.status for each in made.changed()] == ["gap", "gap", "ok"]


def test_a_lost_trade_that_comes_after_all_heals_its_minute():
    made = keeper(trade(1, 0, price=10), trade(3, 0.5, price=12))
    made.changed()
    made.add(trade(2, 0.2, price=15))
    (minute,) = made.changed()

    assert (minute.status, minute.trades, minute.high, minute.close) == ("ok", 3, 15, 12)
    assert (made.lost, made.out_of_order, made.duplicate) == (0, 1, 0)


def test_a_late_trade_goes_into_its_own_minute():
    made = keeper(trade(1, 0), trade(3, 1))
    made.changed()
    made.add(trade(2, 0.9))

    assert [(each.trades, each.status) for each in made.changed()] == [(2, "ok"), (1, "ok")]


def test_a_trade_of_a_minute_that_is_no_longer_kept_is_counted_as_late():
    made = keeper(trade(1, 0), *(trade(number + 1, number) for number in range(2, 8)))
    made.changed()
    made.add(trade(2, 1))

    assert (made.late, made.changed()) == (1, [])


def test_more_lost_trades_than_can_be_remembered_stay_lost():
    made = keeper(trade(1), trade(50_000))
    made.add(trade(2))

    assert (made.changed()[0].status, made.duplicate, made.lost) == ("gap", 1, 49_998)


def test_without_counted_ids_a_cut_marks_what_it_touched():
    made = keeper()
    for number, minute in ((7, 0), (3, 0.5), (9, 1)):
        made.add(trade(number, minute, counted=False))
    assert [each.status for each in made.changed()][-1] == "ok"

    made.reconnected()
    made.add(trade(11, 2, counted=False))
    made.add(trade(12, 3, counted=False))
    assert [(each.open_time - START_MS, each.status) for each in made.changed()] == [
        (MINUTE_MS, "gap"), (2 * MINUTE_MS, "gap"), (3 * MINUTE_MS, "ok"),
    ]  # fmt: skip


def test_with_counted_ids_a_cut_that_lost_nothing_marks_nothing():
    made = keeper(trade(1, 0))
    made.reconnected()
    made.add(trade(2, 1))

    assert [each.status for each in made.changed()] == ["ok", "ok"]


def test_a_restart_goes_on_with_the_stored_minute():
    before = keeper(trade(1, 0.1, quantity=2), trade(2, 0.2))
    (stored,) = before.changed()
    made = FlowKeeper("binance", "BTC/USDT:USDT")
    made.resume(stored, START_MS + MINUTE_MS // 2)
    made.add(trade(2, 0.2))
    made.add(trade(3, 0.3, side="sell"))

    (minute,) = made.changed()
    assert (minute.buy_volume, minute.sell_volume, minute.trades, minute.status) == (3, 1, 3, "ok")
    assert (minute.first_id, minute.last_id) == (1, 3)


def test_a_restart_that_missed_trades_says_so():
    before = keeper(trade(1, 0.1))
    (stored,) = before.changed()
    made = FlowKeeper("binance", "BTC/USDT:USDT")
    made.resume(stored, START_MS + 3 * MINUTE_MS)
    made.add(trade(9, 3))

    assert [each.status for each in made.changed()] == ["gap", "gap"]


def resumed(stored: Flow, minutes_later: float) -> FlowKeeper:
    made = FlowKeeper("binance", "BTC/USDT:USDT")
    made.resume(stored, stored.open_time + int(minutes_later * MINUTE_MS))
    return made


@pytest.mark.parametrize("counted", [True, False])
def test_a_stored_minute_that_ended_while_nobody_listened_is_marked_however_long_ago_that_was(counted: bool):
    stored = flow(0)

    assert [(each.open_time, each.status) for each in resumed(stored, 1.1).changed()] == [(START_MS, "gap")]
    made = resumed(stored, 700)
    made.add(trade(9, 700, counted=counted))
    assert [each.status for each in made.changed()] == ["gap", "gap"]


def test_a_minute_that_was_repaired_before_the_restart_is_not_filled_on():
    for numbers, status in (((5, 6), "ok"), ((6,), "gap")):
        made = resumed(flow(0, status="repaired"), 1.1)
        for number in numbers:
            made.add(trade(number, 0.9 if number == 5 else 1.2))

        assert [(each.open_time - START_MS, each.status) for each in made.changed()] == [(MINUTE_MS, status)]


def test_trades_that_came_before_the_stored_minute_was_known_are_kept():
    made = FlowKeeper("binance", "BTC/USDT:USDT")
    made.add(trade(8, 2, quantity=3))
    made.resume(flow(0), START_MS + 2 * MINUTE_MS)
    made.add(trade(9, 2.1))

    assert [(each.buy_volume, each.status) for each in made.changed()] == [(1, "gap"), (4, "gap")]


def test_an_exchange_that_counts_anew_is_not_ignored_for_ever():
    made = keeper(trade(5_000, 0))
    made.changed()
    made.add(trade(3, 1.5))
    made.add(trade(4, 1.6))

    assert [(each.trades, each.status) for each in made.changed()] == [(1, "gap"), (2, "gap")]


def test_without_counted_ids_a_trade_that_two_connections_told_counts_once():
    made = keeper(*(trade(number, 0.1, counted=False) for number in (7, 3, 9, 7, 3, 11, 9)))

    (*_, minute) = made.changed()
    assert (minute.trades, made.duplicate) == (4, 3)


def test_the_memory_of_uncounted_ids_is_bounded():
    made = keeper(*(trade(number, 0.1, counted=False) for number in range(3_000)))

    assert len(made._recent) == 1_000


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whatever_is_doubled_or_moved_the_sums_are_those_of_the_trades(seed: int):
    chance = random.Random(seed)
    trades = [
        trade(number, number / 20, quantity=chance.randint(1, 9), side=chance.choice(("buy", "sell")), price=chance.randint(5, 15))
        for number in range(1, 120)
    ]  # fmt: skip
    stream = [each for each in trades for _ in range(chance.choice((1, 1, 1, 2)))]
    for _ in range(5):
        place = chance.randrange(1, len(stream))
        stream[place - 1], stream[place] = stream[place], stream[place - 1]
    if stream[0].id != 1 or stream[1].id not in (1, 2):
        return
    stored: dict[int, Flow] = {}
    made = keeper()
    for each in stream:
        made.add(each)
        if chance.random() < 0.2:
            stored.update({minute.open_time: minute for minute in made.changed()})
    stored.update({minute.open_time: minute for minute in made.changed()})

    plain = keeper(*trades)
    plain_minutes = {minute.open_time: minute for minute in plain.changed()}
    for open_time, minute in stored.items():
        expected = plain_minutes[open_time]
        assert (minute.buy_volume, minute.sell_volume, minute.trades) == (
            expected.buy_volume,
            expected.sell_volume,
            expected.trades,
        )
        assert (minute.open, minute.high, minute.low, minute.close) == (
            expected.open,
            expected.high,
            expected.low,
            expected.close,
        )
        assert minute.status == "ok"
    assert made.lost == 0


# --- repair


def candle(**said: float | None) -> Candle:
    values = {"open": 10.0, "high": 13.0, "low": 9.0, "close": 12.0, "volume": 8.0, "quote_volume": 88.0, "trades": 5}
    return Candle("binance", "BTC/USDT:USDT", START_MS, 0, timeframe="1m", **values | said)  # type: ignore[arg-type]


def test_a_minute_that_lost_trades_is_repaired_from_its_candle():
    lost = keeper(trade(1, 0.1, quantity=3), trade(3, 0.2)).changed()[0]
    minute = repaired(candle(taker_buy_volume=6.0, taker_buy_quote_volume=66.0), lost)

    assert minute is not None
    assert (minute.status, minute.buy_volume, minute.sell_volume, minute.delta) == ("repaired", 6, 2, 4)
    assert (minute.buy_quote, minute.sell_quote, minute.trades, minute.largest_quote, minute.last_id) == (
        66,
        22,
        5,
        None,  # the largest that was seen need not be the largest that was
        3,
    )


def closed(minute: int = 0) -> Candle:
    return Candle(
        "binance", "BTC/USDT:USDT", START_MS + minute * MINUTE_MS, 0, timeframe="1m", open=10, high=12, low=9, close=11,
        volume=30.0, quote_volume=300.0, trades=30, taker_buy_volume=20.0, taker_buy_quote_volume=200.0, closed=True,
    )  # fmt: skip


def test_a_loss_that_only_the_next_minutes_trade_shows_is_repaired_from_the_candle_that_came_before_it():
    made = keeper(trade(1, 0.1))
    assert made.settle(closed()) is None

    made.add(trade(30, 1.1))
    made.add(trade(31, 1.2))
    assert [(each.status, each.buy_volume) for each in made.changed()] == [("repaired", 20), ("gap", 2)]


def test_a_minute_of_which_nobody_knows_yet_whether_the_cut_lost_something_is_taken_from_its_candle():
    made = keeper(trade(1, 0.1))
    made.reconnected()
    mended = made.settle(closed())
    made.add(trade(30, 1.1))

    assert mended is not None
    assert (mended.status, mended.buy_volume) == ("repaired", 20)
    assert [each.open_time - START_MS for each in made.changed()] == [MINUTE_MS]


def test_a_minute_that_its_candle_said_is_not_marked_by_what_waited_to_be_told_while_later_minutes_came():
    made = keeper(trade(1, 0.1), trade(3, 0.2))  # two was lost, and nobody has asked what changed since
    for minute in range(1, 9):
        made.add(trade(3 + minute, minute + 0.1))
    mended = made.settle(closed())
    for minute in range(1, 9):
        made.settle(plain(minute, 1.0))

    assert mended is not None
    assert (mended.status, mended.first_id, mended.last_id) == ("repaired", 1, 3)
    assert START_MS not in [each.open_time for each in made.changed()]


def test_a_minute_that_its_candle_said_is_not_marked_by_trades_that_come_long_after_the_candle():
    made = keeper(warm=False)
    for minute in range(9):
        made.settle(closed(minute))
    made.add(trade(1, 0.9))  # joined in its middle: alone it would be a gap
    made.add(trade(2, 1.1))

    assert made.changed() == []


def plain(minute: int, volume: float) -> Candle:
    """Of an exchange that does not say what takers bought."""
    return msgspec.structs.replace(
        closed(minute), volume=volume, taker_buy_volume=None, taker_buy_quote_volume=None, trades=None
    )


def test_a_minute_with_less_volume_than_its_candle_lost_trades_whatever_the_ids_say():
    made = keeper(trade(7, 0.1, counted=False, quantity=2))
    made.settle(plain(0, 5.0))
    assert [each.status for each in made.changed()] == ["ok"]  # the last trades may still be on their way

    made.add(trade(9, 1.1, counted=False))
    assert [(each.open_time - START_MS, each.status) for each in made.changed()] == [(0, "gap"), (MINUTE_MS, "ok")]
    assert made.contradicted == 1


def test_a_minute_with_the_volume_of_its_candle_is_whole():
    made = keeper(*(trade(number, 0.1 + number / 100, counted=False, quantity=0.1) for number in range(3)))
    made.settle(plain(0, 0.3))
    made.add(trade(9, 1.1, counted=False))

    assert [each.status for each in made.changed()] == ["ok", "ok"]


def test_a_late_trade_that_completes_the_volume_heals_its_minute():
    made = keeper(trade(7, 0.1, counted=False, quantity=2), trade(9, 1.1, counted=False))
    made.settle(plain(0, 5.0))
    assert made.changed()[0].status == "gap"

    made.add(trade(8, 0.9, counted=False, quantity=3))
    assert [(each.status, each.buy_volume) for each in made.changed()] == [("ok", 5)]
    assert made.contradicted == 0


def test_the_next_closed_candle_says_too_that_a_minute_is_over():
    made = keeper(trade(7, 0.1, counted=False))
    made.settle(plain(0, 5.0))
    made.changed()
    made.settle(plain(1, 0.0))

    assert [each.status for each in made.changed()] == ["gap"]


def test_a_minute_that_its_candle_contradicts_is_taken_from_it_where_it_says_what_takers_bought():
    made = keeper(trade(1, 0.1), trade(2, 1.1))
    repaired_now = made.settle(closed())

    assert repaired_now is not None
    assert (repaired_now.status, repaired_now.buy_volume) == ("repaired", 20)
    assert [each.open_time - START_MS for each in made.changed()] == [MINUTE_MS]


def test_what_takers_paid_is_shared_out_where_it_is_not_said():
    minute = repaired(candle(taker_buy_volume=4.0), None)

    assert minute is not None
    assert (minute.buy_quote, minute.sell_quote) == (44, 44)


def test_without_taker_volume_there_is_no_repair():
    assert repaired(candle(), None) is None


# --- the delta


def test_the_delta_is_the_sum_over_whole_minutes():
    flows = [flow(minute, delta=2.0 if minute % 2 else -1.0) for minute in range(20)]
    now_ms = START_MS + 19 * MINUTE_MS + 30_000

    assert cvd(flows, 10 * MINUTE_MS, now_ms) == Reading(pytest.approx(5 * 2.0 - 5), "ok")


def test_a_short_series_warms_up():
    assert cvd([], CVD_WINDOW_MS, START_MS) == Reading(None, "warming")
    assert cvd([flow(0), flow(1)], CVD_WINDOW_MS, START_MS + 90_000) == Reading(2.0, "warming")


@pytest.mark.parametrize("status", ["gap", None])
def test_a_lost_minute_is_a_gap(status: str | None):
    flows = [flow(minute) for minute in range(20)]
    flows[15:16] = [flow(15, status=status)] if status else []

    assert cvd(flows, 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS).status == "gap"
    assert cvd(flows, 3 * MINUTE_MS, START_MS + 20 * MINUTE_MS).status == "ok"  # it lies before this window


def test_a_repaired_minute_is_as_good_as_any():
    flows = [flow(minute, status="repaired" if minute == 15 else "ok") for minute in range(20)]

    assert cvd(flows, 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS).status == "ok"


def test_a_minute_without_trades_is_no_gap_when_it_is_known():
    flows = [flow(minute) for minute in range(20) if minute != 15]

    assert cvd(flows, 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS, quiet=[START_MS + 15 * MINUTE_MS]).status == "ok"


def test_a_series_that_ends_long_ago_is_stale():
    flows = [flow(minute) for minute in range(20)]

    assert cvd(flows, 10 * MINUTE_MS, START_MS + 25 * MINUTE_MS).status == "stale"
    assert cvd(flows, 10 * MINUTE_MS, START_MS + 60 * MINUTE_MS) == Reading(None, "stale")
