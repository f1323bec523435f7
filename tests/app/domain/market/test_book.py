"""The book against a plain dict, its bound, and its keeper; on books of our own and on recorded ones."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.market import book as book_module
from app.domain.market.book import (
    ASK_AGAIN_MS,
    CHECK_DEPTH_MS,
    MOST_LEVELS,
    SHALLOW,
    Book,
    BookKeeper,
    quote_within_levels,
    quote_within_percent,
)
from app.domain.market.depth_sync import ASKED, FUTURES, LINKED, SPOT, WHOLE, DepthSync, SyncRule
from app.domain.market.values import Depth, Level
from tests.app.domain.market.recorded_depth import binance_depth, binance_frames

NOW_MS = 1_700_000_000_000


def book(bids: list[Level], asks: list[Level], most: int = MOST_LEVELS, *, windowed: bool = False) -> Book:
    made = Book(most, windowed=windowed)
    made.replace(bids, asks)
    return made


def ladder(best: float, step: float, count: int, quantity: float = 1.0) -> list[Level]:
    return [(best + step * place, quantity) for place in range(count)]


def depth(last_id: int, bids: list[Level], asks: list[Level], *, time_ms: int = NOW_MS, **more: object) -> Depth:
    return Depth("binance", "BTC/USDT:USDT", time_ms, time_ms, last_id=last_id, bids=bids, asks=asks, **more)  # type: ignore[arg-type]


def keeper(rule: SyncRule = FUTURES, *, bids: int = 200, asks: int = 200) -> BookKeeper:
    made = BookKeeper("binance", "BTC/USDT:USDT", rule)
    made.receive(depth(10, ladder(99, -1, bids), ladder(100, 1, asks), snapshot=True), NOW_MS)
    return made


def change(last_id: int, bids: list[Level] = (), asks: list[Level] = (), **more: object) -> Depth:  # type: ignore[assignment]
    return depth(last_id, list(bids), list(asks), previous_id=last_id - 1, **more)


# --- the book


def test_the_best_prices_follow_every_change():
    made = book([(99, 1), (98, 2)], [(100, 3), (101, 4)])
    assert (made.best_bid, made.best_ask, made.mid) == (99, 100, 99.5)

    made.apply([(99, 0)], [(99.5, 1)])
    assert (made.best_bid, made.best_ask) == (98, 99.5)

    made.apply([(99, 5)], [(99.5, 0), (100, 0)])
    assert (made.best_bid, made.best_ask, made.bids.quantities[99], made.bids.quantities.get(100, 0)) == (99, 101, 5, 0)
    assert made.spread_percent == pytest.approx(2.0)


def test_levels_come_best_first():
    made = book([(98, 2), (99, 1), (97, 0)], [(101, 4), (100, 3)])

    assert made.bids.levels() == [(99, 1), (98, 2)]
    assert made.asks.levels(1) == [(100, 3)]
    assert made.asks.levels(5) == [(100, 3), (101, 4)]


def test_a_book_may_have_one_side_or_none():
    made = book([], [])
    assert (made.best_bid, made.best_ask, made.mid, made.spread_percent, made.crossed) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert made.imbalance() is None

    made.apply([(99, 1)], [])
    assert (made.best_bid, made.best_ask, made.imbalance()) == (99, None, 1.0)

    made.apply([(99, 0)], [(100, 1)])
    assert (made.best_bid, made.best_ask, made.imbalance()) == (None, 100, -1.0)


def test_to_remove_what_is_not_there_changes_nothing():
    made = book([(99, 1)], [(100, 1)])
    made.apply([(99.5, 0), (50, 0)], [(99.9, 0)])

    assert (made.bids.levels(), made.asks.levels()) == ([(99, 1)], [(100, 1)])


def test_a_bid_at_the_ask_is_crossed():
    made = book([(99, 1)], [(100, 1)])
    assert not made.crossed

    made.apply([(100, 1)], [])
    assert made.crossed


changes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 60).map(float), st.sampled_from([0.0, 0.0, 1.0, 2.5])), max_size=8),
        st.lists(st.tuples(st.integers(1, 60).map(float), st.sampled_from([0.0, 0.0, 1.0, 2.5])), max_size=8),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(messages=changes, read_at=st.integers(1, 5))
def test_a_book_is_what_a_plain_dict_says(messages: list[tuple[list[Level], list[Level]]], read_at: int):
    made, plain = book([], []), ({}, {})
    for place, message in enumerate(messages):
        made.apply(*message)
        for side, levels in zip(plain, message, strict=True):
            side.update(levels)
        bids, asks = ({price: quantity for price, quantity in side.items() if quantity} for side in plain)
        assert (made.best_bid, made.best_ask) == (max(bids, default=None), min(asks, default=None))
        if place % read_at == 0:
            assert made.bids.levels() == sorted(bids.items(), reverse=True)
            assert made.asks.levels(7) == sorted(asks.items())[:7]
            assert made.bids.known() == len(bids)


@settings(max_examples=200, deadline=None)
@given(messages=changes)
def test_a_bounded_book_knows_its_best_levels_as_far_as_it_says(messages: list[tuple[list[Level], list[Level]]]):
    made, plain = book([], [], most=5), {}
    for bids, _ in messages:
        made.apply(bids, [])
        plain.update(bids)
        live = sorted(((price, quantity) for price, quantity in plain.items() if quantity), reverse=True)
        known = made.bids.known()

        assert made.bids.levels(known) == live[:known]
        assert len(made.bids.quantities) <= 10 + 8
        if made.bids.complete:
            assert made.best_bid == (live[0][0] if live else None)


def test_what_lies_beyond_the_bound_is_forgotten_and_said_to_be_unknown():
    made = book([], ladder(100, 1, 1_200))

    assert (made.asks.known(), made.asks.complete) == (MOST_LEVELS, False)
    assert (made.asks.reaches(1_099), made.asks.reaches(1_100)) == (True, False)

    made.apply([], [(price, 0) for price in range(100, 1_050)])
    assert (made.best_ask, made.asks.known()) == (1_050, 50)
    assert made.known() == 50  # the bid side is empty, and nothing of it was forgotten


def test_an_answer_that_is_full_says_nothing_of_what_is_behind_it():
    made = book(ladder(99, -0.01, MOST_LEVELS), ladder(100, 1, MOST_LEVELS - 1))

    assert (made.bids.complete, made.asks.complete) == (False, True)
    assert quote_within_percent(made.bids, 99.5, 20) is None
    assert quote_within_percent(made.asks, 99.5, 20) == sum(range(100, 120))


def test_memory_is_bounded_whatever_comes():
    made = book([], ladder(100, 1, 10))
    for number in range(200):
        made.apply([], ladder(200 + number * 50, 1, 50))

    assert len(made.asks.quantities) <= 2 * MOST_LEVELS + 50
    assert made.best_ask == 100


def test_a_windowed_book_trusts_that_what_comes_back_is_told():
    made = book(ladder(99, -1, 5), ladder(100, 1, 5), most=5, windowed=True)
    made.apply([], ladder(101.5, 1, 6))

    assert len(made.asks.levels()) == 5
    assert (made.asks.known(), made.asks.reaches(102)) == (5, True)


def test_behind_a_full_window_there_may_be_more():
    made = book(ladder(99, -0.01, 5), ladder(100, 1, 4), most=5, windowed=True)

    assert (made.bids.complete, made.asks.complete) == (False, True)
    assert quote_within_percent(made.bids, 99.5, 1.0) is None  # five cents of it are known
    assert quote_within_levels(made.bids, 5) == pytest.approx(494.9)
    assert quote_within_percent(made.asks, 99.5, 1.0) == 100


def test_how_deep_a_book_is_whose_exchange_does_not_say_is_unknown():
    made = BookKeeper("kraken", "BTC/USDT", WHOLE)
    made.receive(depth(10, ladder(99, -0.01, 20), ladder(100, 1, 20), snapshot=True), NOW_MS)
    summary = made.summary(NOW_MS, NOW_MS)

    assert (summary.status, summary.bid_quote_1pct, summary.bid_quote_50) == ("ok", None, None)
    assert (summary.ask_quote_1pct, summary.bid_levels) == (100, 20)


def test_sums_are_in_quote_coins():
    made = book([(99, 2), (98, 1), (50, 1)], [(100, 3), (102, 1)])

    assert quote_within_levels(made.bids, 2) == 99 * 2 + 98
    assert quote_within_levels(made.asks, 50) == 402  # that is all there is
    assert quote_within_percent(made.bids, 99.5, 1.0) == 198
    assert quote_within_percent(made.asks, 99.5, 1.0) == 300
    assert made.imbalance(1) == pytest.approx((2 - 3) / 5)


def test_a_sum_over_levels_that_were_forgotten_is_unknown():
    made = book([], ladder(100, 1, 20), most=10)
    made.apply([], [(price, 0) for price in range(100, 105)])

    assert quote_within_levels(made.asks, 5) == sum(range(105, 110))
    assert quote_within_levels(made.asks, 6) is None


# --- the keeper


def test_a_book_warms_up_until_its_snapshot_has_come():
    made = BookKeeper("binance", "BTC/USDT", SPOT)
    assert made.status(NOW_MS) == "warming"
    assert not made.ask(NOW_MS)  # first something must come that the answer can be joined with

    assert not made.receive(depth(12, [(99, 1)], [], first_id=11), NOW_MS)
    assert made.ask(NOW_MS)
    assert not made.ask(NOW_MS + 1)
    assert made.ask(NOW_MS + ASK_AGAIN_MS)  # an answer may be lost

    assert made.receive(depth(10, [(98, 1)], [(100, 1)], snapshot=True), NOW_MS)
    assert (made.status(NOW_MS), made.book.best_bid, made.ask(NOW_MS)) == ("ok", 99, False)
    assert made.top(NOW_MS) is not None


def test_a_gap_makes_the_book_untrusted_until_it_was_sent_anew():
    made = keeper()
    assert not made.receive(change(15), NOW_MS)

    assert (made.status(NOW_MS), made.top(NOW_MS), made.ask(NOW_MS)) == ("gap", None, True)
    summary = made.summary(NOW_MS, NOW_MS)
    assert (summary.status, summary.mid, summary.bid_quote_10) == ("gap", None, None)

    assert made.receive(depth(15, ladder(50, -1, 5), ladder(51, 1, 5), snapshot=True), NOW_MS)
    assert (made.status(NOW_MS), made.book.best_bid, made.counts.resyncs) == ("ok", 50, 1)


def test_on_a_fast_market_a_book_may_be_quiet_for_longer():
    made = keeper()
    made.speed = 10.0

    assert made.status(NOW_MS + 10 * FUTURES.quiet_ms) == "ok"


def test_a_quiet_book_of_okx_waits_for_its_minutely_heartbeat():
    assert LINKED.quiet_ms > 60_000


def test_a_book_that_nothing_is_heard_of_is_stale():
    made, quiet_ms = keeper(), FUTURES.quiet_ms

    assert made.status(NOW_MS + quiet_ms) == "ok"
    assert made.status(NOW_MS + quiet_ms + 1) == "stale"
    assert made.receive(change(11, time_ms=NOW_MS + 60_000), NOW_MS + 60_000)
    assert made.status(NOW_MS + 60_000) == "ok"


def test_a_feed_that_repeats_an_old_time_is_stale_however_much_it_says():
    made = keeper()
    for number in range(11, 20):
        made.receive(change(number, [(99, number)]), NOW_MS + number * 10_000)

    assert made.status(NOW_MS + 190_000) == "stale"


def test_a_crossed_book_is_a_gap():
    made = keeper()

    assert not made.receive(change(11, bids=[(100.5, 1)]), NOW_MS)
    assert (made.status(NOW_MS), made.crossed, made.counts.gaps, made.ask(NOW_MS)) == ("gap", 1, 1, True)


def test_a_new_connection_makes_the_book_untrusted():
    made = keeper()
    made.restart()

    assert made.status(NOW_MS) == "gap"


def test_a_shallow_book_is_renewed_before_it_is_wrong():
    made = keeper(bids=MOST_LEVELS, asks=MOST_LEVELS)
    eaten = [(100.0 + place, 0.0) for place in range(MOST_LEVELS - SHALLOW + 1)]
    later_ms = NOW_MS + CHECK_DEPTH_MS

    assert made.receive(change(11, asks=eaten, time_ms=later_ms), later_ms)
    assert (made.status(later_ms), made.ask(later_ms)) == ("ok", True)

    made.receive(change(12, time_ms=later_ms), later_ms)
    assert made.receive(depth(11, ladder(99, -1, 1_000), ladder(1_001, 1, 1_000), snapshot=True), later_ms)
    assert (made.book.asks.known(), made.status(later_ms), made.ask(later_ms)) == (MOST_LEVELS, "ok", False)


def test_a_book_whose_known_levels_are_used_up_is_a_gap():
    made = keeper(bids=MOST_LEVELS, asks=MOST_LEVELS)
    eaten = [(100.0 + place, 0.0) for place in range(MOST_LEVELS)]
    later_ms = NOW_MS + CHECK_DEPTH_MS

    assert not made.receive(change(11, asks=[*eaten, (2_000.0, 1.0)], time_ms=later_ms), later_ms)
    assert made.status(later_ms) == "gap"


def test_a_summary_says_what_is_known():
    summary = keeper().summary(NOW_MS - NOW_MS % 60_000, NOW_MS)

    assert (summary.bid, summary.ask, summary.bid_levels, summary.ask_levels) == (99, 100, 200, 200)
    assert summary.bid_quote_10 == sum(range(90, 100))
    assert summary.ask_quote_50 == sum(range(100, 150))
    assert (summary.bid_quote_1pct, summary.imbalance) == (99, 0.0)


def test_the_book_of_htx_keeps_its_window():
    made = keeper(ASKED)

    assert len(made.book.bids.levels()) == 150


def test_a_rebuilt_book_has_the_tops_that_were_sent_beside_it():
    """The sister of the recorded test: a market of our own that says its top after each change."""
    made, bids, asks = keeper(), dict(ladder(99, -1, 200)), dict(ladder(100, 1, 200))
    for number in range(11, 400):
        mid = 100 + (number * 7) % 13 - 6.5
        bid_moves = [(price, 0.0) for price in bids if price > mid] + [(mid - 0.5 - number % 2, number / 8)]
        ask_moves = [(price, 0.0) for price in asks if price < mid] + [(mid + 0.5 + number % 3, number / 4)]
        for side, moves in ((bids, bid_moves), (asks, ask_moves)):
            side.update(moves)
            for each in [each for each, quantity in side.items() if not quantity]:
                del side[each]

        made.receive(change(number, bid_moves, ask_moves), NOW_MS)
        top = made.top(NOW_MS)

        assert top is not None
        assert (top.bid, top.bid_quantity) == max(bids.items())
        assert (top.ask, top.ask_quantity) == min(asks.items())


@pytest.mark.parametrize("coin", ["btcusdt", "ethusdt"])
def test_the_rebuilt_book_equals_every_recorded_top_of_the_same_update(recorded: Path, coin: str):
    path = recorded / "raw_binance_usdm_20240808" / f"{coin}_20240808.gz"
    frames = list(binance_frames(path))
    tops = {said["u"]: said for said in frames if said.get("e") == "bookTicker"}
    sync, made, compared = DepthSync(FUTURES), Book(), 0
    kept = BookKeeper("binance", "BTC/USDT:USDT", FUTURES)
    for said in filter(None, map(binance_depth, frames)):
        kept.receive(said, said.time_ms)
        for each in sync.receive(said):
            (made.replace if each.snapshot else made.apply)(each.bids, each.asks)
            if (top := tops.get(each.last_id)) is None or each.snapshot:
                continue
            bid, ask = float(top["b"]), float(top["a"])
            assert (made.best_bid, made.best_ask) == (bid, ask)
            assert (made.bids.quantities[bid], made.asks.quantities[ask]) == (float(top["B"]), float(top["A"]))
            if kept.status(said.time_ms) == "ok":
                assert (kept.book.best_bid, kept.book.best_ask) == (bid, ask)
            compared += 1

    assert compared > 500
    assert (sync.counts.gaps, sync.counts.late, kept.crossed) == (0, 0, 0)
    assert book_module.MOST_LEVELS >= len(made.bids.levels()) > SHALLOW
