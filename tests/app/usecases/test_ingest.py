"""What an exchange says, through the pipeline into rows and news."""

import pytest

from app.domain.orderflow.open_interest import OpenInterestState
from app.domain.posture import Posture
from app.usecases.harvest import Harvest
from app.usecases.ingest import Market, Pipeline
from tests.app.usecases.market_values import (
    EXCHANGE,
    MINUTE,
    NOON_MS,
    SYMBOL,
    candle,
    change,
    interest,
    mark,
    ticker,
    top,
    trade,
    whole_book,
)

PAIR = 7


@pytest.fixture
def pipeline() -> Pipeline:
    """It watches one symbol whose pair is known, with a deep book."""
    pipeline = Pipeline(most_waiting=100, noted=EXCHANGE)
    pipeline.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=True)
    return pipeline


def the_market(pipeline: Pipeline) -> Market:
    return pipeline.markets[EXCHANGE, SYMBOL]


def flows(harvest: Harvest) -> dict[int, tuple[float | None, float | None, str]]:
    return {row.open_time: (row.buy_volume, row.sell_volume, row.status) for row in harvest.flows.values()}


def test_trades_become_the_flow_of_their_minute(pipeline: Pipeline):
    before = NOON_MS - MINUTE  # the first minute is joined in its middle
    pipeline.take([trade(1, before), trade(2), trade(3, side="sell", quantity=0.5), trade(4)], NOON_MS)

    found = flows(pipeline.harvest(NOON_MS))

    assert found == {before: (2.0, 0.0, "gap"), NOON_MS: (4.0, 0.5, "ok")}


def test_a_minute_is_written_again_when_more_trades_come(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2)], NOON_MS)
    pipeline.harvest(NOON_MS)
    pipeline.take([trade(3)], NOON_MS)

    assert flows(pipeline.harvest(NOON_MS)) == {NOON_MS: (4.0, 0.0, "ok")}


def test_a_trade_that_comes_twice_counts_once(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2), trade(2)], NOON_MS)

    assert flows(pipeline.harvest(NOON_MS))[NOON_MS][0] == 2.0
    assert the_market(pipeline).flow.duplicate == 1


def test_a_minute_with_lost_trades_is_repaired_from_its_closed_candle(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2), trade(9)], NOON_MS)
    holed = flows(pipeline.harvest(NOON_MS))
    pipeline.take([candle(NOON_MS)], NOON_MS + MINUTE)

    assert holed[NOON_MS][2] == "gap"
    assert flows(pipeline.harvest(NOON_MS + MINUTE)) == {NOON_MS: (6.0, 4.0, "repaired")}


def test_a_trade_that_comes_after_the_repair_changes_nothing(pipeline: Pipeline):
    pipeline.take([trade(1), candle()], NOON_MS + MINUTE)
    pipeline.harvest(NOON_MS + MINUTE)
    pipeline.take([trade(2)], NOON_MS + MINUTE)

    assert flows(pipeline.harvest(NOON_MS + MINUTE)) == {}


def test_the_last_trades_of_a_minute_may_come_after_its_candle(pipeline: Pipeline):
    pipeline.take(
        [trade(1, NOON_MS - MINUTE), trade(2), candle(NOON_MS, volume=4.0, taker_buy_volume=4.0)], NOON_MS + MINUTE
    )
    assert flows(pipeline.harvest(NOON_MS))[NOON_MS] == (2.0, 0.0, "ok")

    pipeline.take([trade(3), trade(4, NOON_MS + MINUTE)], NOON_MS + MINUTE)
    assert flows(pipeline.harvest(NOON_MS))[NOON_MS] == (4.0, 0.0, "ok")


@pytest.mark.parametrize(
    ("bought", "expected"), [(6.0, (6.0, 4.0, "repaired")), (None, (2.0, 0.0, "gap"))], ids=["said", "unsaid"]
)
def test_a_minute_over_with_another_volume_than_its_candle_lost_trades(
    pipeline: Pipeline, bought: float | None, expected: tuple[float, float, str]
):
    last = candle(NOON_MS, taker_buy_volume=bought, taker_buy_quote_volume=None)
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2), trade(3, NOON_MS + MINUTE)], NOON_MS + MINUTE)
    pipeline.harvest(NOON_MS)
    pipeline.take([last], NOON_MS + MINUTE)

    assert flows(pipeline.harvest(NOON_MS)) == {NOON_MS: expected}


def test_minutes_that_passed_while_nobody_listened_come_from_their_candles(pipeline: Pipeline):
    pipeline.take([candle(NOON_MS - 3 * MINUTE), candle(NOON_MS - 2 * MINUTE)], NOON_MS, asked=True)

    assert [status for _, _, status in flows(pipeline.harvest(NOON_MS)).values()] == ["repaired", "repaired"]


def test_only_closed_candles_are_stored_and_a_running_one_is_told(pipeline: Pipeline):
    pipeline.take([candle(NOON_MS - MINUTE), candle(NOON_MS, closed=False)], NOON_MS + 5)

    assert [row.open_time for row in pipeline.harvest(NOON_MS).klines.values()] == [NOON_MS - MINUTE]
    assert [(news.timestamp, news.closed) for news in pipeline.fresh(NOON_MS + 5).candles] == [
        (NOON_MS - MINUTE, True),
        (NOON_MS, False),
    ]


def test_history_is_stored_and_not_told(pipeline: Pipeline):
    pipeline.take([candle(NOON_MS - 9 * MINUTE)], NOON_MS, asked=True)

    assert [row.source for row in pipeline.harvest(NOON_MS).klines.values()] == ["rest"]
    assert pipeline.fresh(NOON_MS).candles == []


def test_open_interest_changes_against_the_minute_before(pipeline: Pipeline):
    values = [interest(100.0, NOON_MS - MINUTE), interest(104.0), interest(105.0, NOON_MS + 15_000)]
    pipeline.take(values, NOON_MS + 20_000)

    changes = [row.change_percent for row in pipeline.harvest(NOON_MS).open_interest.values()]
    assert changes == [None, 5.0]


def test_after_a_restart_the_next_change_is_computed_against_what_was_stored(pipeline: Pipeline):
    pipeline.resume(the_market(pipeline), None, OpenInterestState(((NOON_MS - 5 * MINUTE, 100.0),)), NOON_MS)
    pipeline.take([interest(110.0)], NOON_MS)

    assert [row.change_percent for row in pipeline.harvest(NOON_MS).open_interest.values()] == [10.0]


def test_after_a_restart_the_begun_minute_goes_on_from_what_was_stored(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2)], NOON_MS)
    [stored] = [row for row in pipeline.harvest(NOON_MS).flows.values() if row.open_time == NOON_MS]
    after = Pipeline(most_waiting=100)
    market = after.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    after.resume(market, stored, OpenInterestState(), NOON_MS)
    after.take([trade(3)], NOON_MS)

    assert flows(after.harvest(NOON_MS)) == {NOON_MS: (4.0, 0.0, "ok")}


def test_trades_that_were_missed_over_a_restart_mark_the_minute(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2)], NOON_MS)
    [stored] = [row for row in pipeline.harvest(NOON_MS).flows.values() if row.open_time == NOON_MS]
    after = Pipeline(most_waiting=100)
    market = after.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    after.resume(market, stored, OpenInterestState(), NOON_MS)
    after.take([trade(5)], NOON_MS)

    assert flows(after.harvest(NOON_MS))[NOON_MS][2] == "gap"


def test_a_minute_that_ended_while_nobody_listened_is_marked_and_repaired(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2)], NOON_MS)
    [stored] = [row for row in pipeline.harvest(NOON_MS).flows.values() if row.open_time == NOON_MS]
    after = Pipeline(most_waiting=100)
    market = after.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    after.resume(market, stored, OpenInterestState(), NOON_MS + 9 * MINUTE)
    marked = flows(after.harvest(NOON_MS + 9 * MINUTE))
    after.take([candle(NOON_MS)], NOON_MS + 9 * MINUTE, asked=True)

    assert marked == {NOON_MS: (2.0, 0.0, "gap")}
    assert flows(after.harvest(NOON_MS + 9 * MINUTE)) == {NOON_MS: (6.0, 4.0, "repaired")}


def test_open_interest_that_came_before_what_is_stored_was_known_stays(pipeline: Pipeline):
    pipeline.take([interest(110.0)], NOON_MS)
    pipeline.resume(the_market(pipeline), None, OpenInterestState(((NOON_MS - 5 * MINUTE, 100.0),)), NOON_MS)
    pipeline.take([interest(121.0, NOON_MS + 1)], NOON_MS + 1)

    assert [row.change_percent for row in pipeline.harvest(NOON_MS).open_interest.values()] == [pytest.approx(21.0)]


def test_a_value_that_we_stumble_over_costs_nothing_but_itself(pipeline: Pipeline):
    pipeline.take([trade(1), change(12, 11, bids=None), trade(2)], NOON_MS)

    harvest = pipeline.harvest(NOON_MS)
    assert flows(harvest) == {NOON_MS: (4.0, 0.0, "gap")}
    assert [(row.reason, row.channel) for row in harvest.refused] == [("stumbled", "depth")]
    assert pipeline.counters_of(EXCHANGE)["stumbled"] == 1


def test_what_is_refused_is_counted_kept_for_inspection_and_goes_no_further(pipeline: Pipeline):
    pipeline.take([trade(1, price=-5.0)], NOON_MS)

    harvest = pipeline.harvest(NOON_MS)
    assert harvest.flows == {}
    assert [(row.reason, row.symbol, row.channel) for row in harvest.refused] == [("price", SYMBOL, "trades")]
    assert pipeline.counters_of(EXCHANGE)["refused"] == 1
    assert pipeline.checks["price", "refuse"] == 1


def test_what_is_odd_is_kept_and_marked(pipeline: Pipeline):
    pipeline.take([candle(NOON_MS - 5 * MINUTE), candle(NOON_MS - MINUTE)], NOON_MS)

    rows = list(pipeline.harvest(NOON_MS).klines.values())
    assert [row.marks for row in rows] == [None, "candle-gap"]
    assert pipeline.checks["candle-gap", "mark"] == 1


def test_a_book_is_asked_for_until_it_comes_and_then_summarised(pipeline: Pipeline):
    pipeline.take([change(12, 11)], NOON_MS)
    asked = pipeline.books_wanted(EXCHANGE, NOON_MS)
    pipeline.take([whole_book(11)], NOON_MS, asked=True)

    [row] = pipeline.harvest(NOON_MS).depths.values()
    assert asked == [SYMBOL]
    assert pipeline.books_wanted(EXCHANGE, NOON_MS + 10_000) == []
    assert (row.status, row.bid, row.ask, row.bid_levels) == ("ok", 99.9, 100.1, 3)


def test_a_book_with_a_gap_feeds_nothing_until_it_is_whole_again(pipeline: Pipeline):
    pipeline.take([change(12, 11)], NOON_MS)
    pipeline.take([whole_book(11)], NOON_MS)
    pipeline.harvest(NOON_MS)
    pipeline.take([change(20, 19)], NOON_MS + 300)

    [news] = pipeline.fresh(NOON_MS + 300).depths
    assert (news.status, news.bid, news.ask) == ("gap", None, None)


def test_a_new_connection_makes_its_books_untrusted(pipeline: Pipeline):
    pipeline.take([change(12, 11)], NOON_MS)
    pipeline.take([whole_book(11)], NOON_MS)
    pipeline.reconnected(EXCHANGE, [SYMBOL], [SYMBOL])
    pipeline.take([change(13, 12)], NOON_MS)

    assert pipeline.books_wanted(EXCHANGE, NOON_MS) == [SYMBOL]


def test_the_ticker_row_joins_what_several_channels_say(pipeline: Pipeline):
    rates = [mark(), mark(mark_price=None, funding_rate=0.0001)]
    pipeline.take([ticker(100.0), top(), *rates, trade(1, price=100.4)], NOON_MS)

    [row] = pipeline.harvest(NOON_MS).tickers.values()
    assert (row.price, row.bid, row.mark_price, row.funding_rate, row.quote_volume_24h) == (
        100.4,
        99.9,
        100.2,
        0.0001,
        5e8,
    )
    assert row.index_price is None


def test_rows_of_a_symbol_wait_until_its_pair_is_known():
    pipeline = Pipeline(most_waiting=100)
    pipeline.watch(EXCHANGE, SYMBOL, pair_id=None, deep=False)
    pipeline.take([trade(1)], NOON_MS)
    without = len(pipeline.harvest(NOON_MS))
    pipeline.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    pipeline.take([trade(2)], NOON_MS)

    assert without == 0
    assert flows(pipeline.harvest(NOON_MS))[NOON_MS][0] == 4.0


def test_what_could_not_be_written_waits_under_what_came_since(pipeline: Pipeline):
    pipeline.take([trade(1, NOON_MS - MINUTE), trade(2)], NOON_MS)
    failed = pipeline.harvest(NOON_MS)
    pipeline.take([trade(3)], NOON_MS)
    again = pipeline.harvest(NOON_MS)
    pipeline.put_back(again)
    pipeline.put_back(failed)

    assert flows(pipeline.harvest(NOON_MS)) == {NOON_MS - MINUTE: (2.0, 0.0, "gap"), NOON_MS: (4.0, 0.0, "ok")}
    assert pipeline.lost == 0


def test_more_than_may_wait_is_lost_and_counted_and_candles_go_last():
    pipeline = Pipeline(most_waiting=3)
    pipeline.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    pipeline.take([trade(1), ticker()], NOON_MS)
    pipeline.take([candle(NOON_MS - number * MINUTE) for number in range(1, 4)], NOON_MS, asked=True)
    full = pipeline.harvest(NOON_MS)
    pipeline.put_back(full)

    kept = pipeline.harvest(NOON_MS)
    assert (len(kept.klines), len(kept), pipeline.lost) == (3, 3, 5)


def test_while_the_disk_is_scarce_what_is_worth_least_is_not_stored_and_counted(pipeline: Pipeline):
    pipeline.posture, impossible = Posture(scarce=True), trade(9, price=-1.0)
    pipeline.take([trade(1), ticker(), candle(NOON_MS - MINUTE), impossible], NOON_MS)
    harvest = pipeline.harvest(NOON_MS)

    assert (len(harvest.klines), len(harvest.flows), len(harvest.tickers), harvest.refused) == (1, 2, 1, [])
    assert (pipeline.held_back, pipeline.lost) == (1, 0)
    pipeline.posture = Posture()
    pipeline.take([impossible], NOON_MS)
    assert len(pipeline.harvest(NOON_MS).refused) == 1


def test_of_the_flow_that_must_be_lost_the_minute_stays_that_may_be_stored_in_part():
    pipeline = Pipeline(most_waiting=2)
    pipeline.watch(EXCHANGE, SYMBOL, pair_id=PAIR, deep=False)
    pipeline.take([trade(1)], NOON_MS)
    stored_in_part = pipeline.harvest(NOON_MS)
    pipeline.written(stored_in_part)
    pipeline.take([candle(NOON_MS - 9 * MINUTE)], NOON_MS, asked=True)
    pipeline.take([trade(number + 2, NOON_MS + number * MINUTE) for number in range(6)], NOON_MS + 6 * MINUTE)
    pipeline.put_back(pipeline.harvest(NOON_MS + 6 * MINUTE))

    kept = flows(pipeline.harvest(NOON_MS + 6 * MINUTE))
    assert NOON_MS in flows(stored_in_part)
    assert kept[NOON_MS][0] == 4.0
    assert len(kept) == 2


def test_what_nobody_watches_any_more_is_passed_over(pipeline: Pipeline):
    pipeline.take([trade(1)], NOON_MS)
    pipeline.forget(EXCHANGE, SYMBOL)
    pipeline.take([trade(2)], NOON_MS)

    assert flows(pipeline.harvest(NOON_MS)) == {NOON_MS: (2.0, 0.0, "gap")}


def test_only_the_first_exchange_speaks_for_the_table_of_symbols(pipeline: Pipeline):
    pipeline.watch("demo-okx", SYMBOL, pair_id=8, deep=False)
    pipeline.take([ticker(100.0), ticker(105.0, exchange="demo-okx")], NOON_MS)

    assert {name: note.last_price for name, note in pipeline.harvest(NOON_MS).notes.items()} == {SYMBOL: 100.0}
    assert pipeline.harvest(NOON_MS, notes=False).notes == {}


def test_exchanges_that_disagree_are_told_once_when_it_begins(pipeline: Pipeline):
    pipeline.watch("demo-okx", SYMBOL, pair_id=8, deep=False)
    pipeline.take([top(99.9, 100.1), top(103.9, 104.1, exchange="demo-okx")], NOON_MS)
    for _ in range(3):
        pipeline.compare(NOON_MS)

    assert pipeline.checks["exchanges-disagree-price-critical", "mark"] == 1
    assert "differ by 4.00 %" in pipeline.examples["exchanges-disagree-price-critical", "mark"][1]


def test_each_exchange_has_counts_of_its_own(pipeline: Pipeline):
    pipeline.watch("demo-okx", SYMBOL, pair_id=8, deep=False)
    pipeline.take([top(), top(exchange="demo-okx"), top()], NOON_MS)

    assert {name: counts["top"] for name, counts in pipeline.messages.items()} == {EXCHANGE: 2, "demo-okx": 1}


def test_a_candle_that_two_connections_close_is_told_once(pipeline: Pipeline):
    pipeline.take([candle(), candle(), candle(NOON_MS, closed=False)], NOON_MS + MINUTE)

    assert [news.closed for news in pipeline.fresh(NOON_MS + MINUTE).candles] == [True]


def test_a_price_is_as_old_as_what_told_it(pipeline: Pipeline):
    pipeline.take([trade(1)], NOON_MS)
    pipeline.take([mark(NOON_MS + 5_000)], NOON_MS + 5_000)

    assert pipeline.fresh(NOON_MS + 5_000).tickers[0].timestamp == NOON_MS


def test_a_frozen_price_that_is_repeated_has_the_age_of_its_own_word(pipeline: Pipeline):
    pipeline.take([ticker(100.0, NOON_MS), top(at_ms=NOON_MS)], NOON_MS + 30_000)

    assert pipeline.fresh(NOON_MS + 30_000).tickers[0].timestamp == NOON_MS


def test_of_many_refusals_of_a_kind_some_are_kept_and_all_are_counted(pipeline: Pipeline):
    for _ in range(500):
        pipeline.take([trade(1, price=-5.0)], NOON_MS)

    assert len(pipeline.harvest(NOON_MS).refused) == 10
    assert pipeline.counters_of(EXCHANGE)["refused"] == 500
