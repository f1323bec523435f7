import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.exchanges.demo.market import Market
from app.exchanges.demo.values import DemoBook, DemoDiff, Level, Venue

NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC
DAY = 24 * 3_600_000
MARKET = Market(seed=1)
PLACES: list[tuple[Venue, str]] = [
    ("binance", "BTC/USDT:USDT"),
    ("binance", "1000PEPE/USDT:USDT"),
    ("binance", "ETH/BTC"),
    ("okx", "ETH/USDT:USDT"),
    ("okx", "ADA/USDT:USDT"),
    ("htx", "BTC/USDT"),
    ("htx", "XRP/USDT:USDT"),
]
places = st.sampled_from(PLACES)
moments = st.integers(NOON - 100 * DAY, NOON)
steps = st.lists(st.integers(1, 2500), min_size=1, max_size=30)
few = settings(max_examples=40, deadline=None)


def put(side: dict[float, float], changes: list[Level]) -> None:
    for price, quantity in changes:
        if quantity:
            side[price] = quantity
        else:
            del side[price]  # a level that is said to be gone was there


def followed(book: DemoBook, diffs: list[DemoDiff]) -> tuple[list[Level], list[Level]]:
    bids, asks = dict(book.bids), dict(book.asks)
    for diff in diffs:
        put(bids, diff.bids)
        put(asks, diff.asks)
    return sorted(bids.items(), reverse=True), sorted(asks.items())


@few
@given(places, moments, steps)
def test_diffs_lead_from_one_book_to_the_other(place, moment, steps):
    walk = MARKET.walk(*place, moment)
    start, diffs = walk.book(), []
    for step in steps:
        moment += step
        if diff := walk.advance(moment):
            diffs.append(diff)

    bids, asks = followed(start, diffs)

    there = MARKET.book(*place, moment)
    assert (bids, asks) == (there.bids, there.asks)
    assert (walk.book().bids, walk.book().asks) == (there.bids, there.asks)


@few
@given(places, moments)
def test_a_book_is_sorted_bounded_and_never_crossed(place, moment):
    book = MARKET.book(*place, moment)
    bids, asks = [price for price, _ in book.bids], [price for price, _ in book.asks]

    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert 0 < bids[0] < asks[0]
    assert 200 < len(bids) <= 1000
    assert 200 < len(asks) <= 1000
    assert all(quantity > 0 for _, quantity in book.bids + book.asks)


@few
@given(places, moments)
def test_the_last_trade_was_at_the_touch_or_within(place, moment):
    top = MARKET.top(*place, moment)

    last = MARKET.recent_trades(*place, 1, moment - moment % 100)[0]

    assert top.bid <= last.price <= top.ask


@few
@given(places, moments)
def test_the_top_is_the_top_of_the_book(place, moment):
    book, top = MARKET.book(*place, moment), MARKET.top(*place, moment)

    assert book.bids[0] == (top.bid, top.bid_quantity)
    assert book.asks[0] == (top.ask, top.ask_quantity)
    assert MARKET.walk(*place, moment).top() == top


def test_every_diff_names_the_one_before():
    walk = MARKET.walk("binance", "BTC/USDT:USDT", NOON)
    last = walk.book().last_id
    for step in range(1, 100):
        diff = walk.advance(NOON + 100 * step)
        assert diff is not None
        assert (diff.previous_id, diff.first_id) == (last, last + 1)
        assert diff.last_id == walk.last_id > last
        last = diff.last_id
    assert last == MARKET.book("binance", "BTC/USDT:USDT", NOON + 9900).last_id


def test_within_one_hundred_milliseconds_nothing_changes():
    walk = MARKET.walk("binance", "BTC/USDT:USDT", NOON)

    assert walk.advance(NOON + 99) is None
    assert walk.advance(NOON) is None
    assert walk.book() == MARKET.book("binance", "BTC/USDT:USDT", NOON + 99)


def test_a_book_changes_a_little_at_a_time():
    walk = MARKET.walk("binance", "BTC/USDT:USDT", NOON)
    changes = [len(diff.bids) + len(diff.asks) for step in range(1, 600) if (diff := walk.advance(NOON + 100 * step))]

    assert 15 < sum(changes) / len(changes) < 150


@pytest.mark.parametrize("place", PLACES)
def test_a_book_reaches_far_enough(place):
    book = MARKET.book(*place, NOON)

    assert book.bids[-1][0] < book.bids[0][0] * 0.991
    assert book.asks[-1][0] > book.asks[0][0] * 1.009
