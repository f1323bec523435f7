"""What is refused, what is marked, and that the quick tests are never more lenient than the table."""

from math import inf, nan
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.market import cleaning
from app.domain.market.book import BookSummary
from app.domain.market.cleaning import BEHIND_MS, CHECKS, ENOUGH_TRADES, FUTURE_MS, PAST_MS, Context, Known, clean
from app.domain.market.values import BookTop, Candle, Depth, Event, Funding, Mark, OpenInterest, Ticker, Trade

NOW_MS = 1_700_000_040_000 - 1_700_000_040_000 % 60_000
WHO: dict[str, Any] = {"exchange": "binance", "symbol": "BTC/USDT:USDT", "time_ms": NOW_MS, "received_ms": NOW_MS}


def trade(**said: Any) -> Trade:
    return Trade(**WHO | {"price": 100.0, "quantity": 1.0, "side": "buy", "id": 1} | said)


def top(**said: Any) -> BookTop:
    return BookTop(**WHO | {"bid": 100.0, "bid_quantity": 1.0, "ask": 100.1, "ask_quantity": 1.0} | said)


def depth(**said: Any) -> Depth:
    return Depth(**WHO | {"last_id": 1, "bids": [(100.0, 1.0)], "asks": [(101.0, 0.0)]} | said)


def candle(**said: Any) -> Candle:
    values = {"timeframe": "1m", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}
    return Candle(**WHO | {"time_ms": NOW_MS - 60_000} | values | said)


def mark(**said: Any) -> Mark:
    return Mark(**WHO | {"mark_price": 100.0, "funding_rate": 0.0001} | said)


def ticker(**said: Any) -> Ticker:
    return Ticker(**WHO | {"last": 100.0} | said)


def interest(**said: Any) -> OpenInterest:
    return OpenInterest(**WHO | {"quantity": 5.0} | said)


def summary(**said: Any) -> BookSummary:
    unknown = dict.fromkeys(BookSummary.__struct_fields__)
    known = {"status": "ok", "bid": 100.0, "ask": 100.1, "bid_levels": 100, "ask_levels": 100}
    return BookSummary(**unknown | {"exchange": "binance", "symbol": WHO["symbol"], "time_ms": NOW_MS} | known | said)


def seen(trades: int = ENOUGH_TRADES, price: float = 100.0) -> Context:
    """A symbol with as many trades of one coin each."""
    context = Context(NOW_MS)
    for _ in range(trades):
        clean(trade(price=price), context)
    return context


def marked(value: Event | BookSummary, context: Context | None = None) -> list[str]:
    cleaned = clean(value, context or seen())
    assert cleaned.value is value
    return [finding.check for finding in cleaned.marks]


REFUSED = [
    ("price", trade(price=0.0)),
    ("price", trade(price=nan)),
    ("price", trade(price=inf)),
    ("price", top(bid=-1.0)),
    ("price", candle(low=0.0)),
    ("price", candle(high=inf)),
    ("price", depth(bids=[(1.0, 1.0), (-1.0, 1.0)])),
    ("price", depth(asks=[(nan, 1.0)])),
    ("price", mark(mark_price=0.0)),
    ("price", ticker(last=0.0)),
    ("price", Funding(**WHO, rate=0.0001, mark_price=0.0)),
    ("quantity", trade(quantity=-1.0)),
    ("quantity", trade(quantity=nan)),
    ("quantity", top(ask_quantity=inf)),
    ("quantity", depth(bids=[(1.0, -0.5)])),
    ("quantity", candle(volume=-1.0)),
    ("quantity", candle(closed=False, trades=-1)),
    ("quantity", interest(quantity=-5.0)),
    ("quantity", interest(value=nan)),
    ("quantity", ticker(quote_volume=-5.0)),
    ("quantity", ticker(bid_quantity=nan)),
    *(("day", ticker(**{name: nan})) for name in ("open", "high", "low", "bid", "ask", "change", "change_percent")),
    ("day", ticker(low=-1.0)),
    ("day", ticker(change=-inf)),
    ("empty-trade", trade(quantity=0.0)),
    ("future", trade(time_ms=NOW_MS + FUTURE_MS + 1)),
    ("future", Funding(**WHO | {"time_ms": NOW_MS + FUTURE_MS + 1}, rate=0.0001)),
    ("past", top(time_ms=NOW_MS - PAST_MS - 1)),
    ("past", depth(time_ms=0)),
    ("past", trade(time_ms=NOW_MS // 1000)),
    ("candle-shape", candle(high=8.0)),
    ("candle-shape", candle(open=13.0)),
    ("candle-shape", candle(close=8.0, closed=False)),
    ("candle-place", candle(time_ms=NOW_MS - 60_001)),
    ("candle-place", candle(timeframe="1d", time_ms=NOW_MS - NOW_MS % 86_400_000 - 8 * 3_600_000)),
    ("candle-place", candle(timeframe="1h", time_ms=NOW_MS - NOW_MS % 3_600_000)),
    ("taker-volume", candle(taker_buy_volume=6.0)),
    ("taker-volume", candle(quote_volume=50.0, taker_buy_quote_volume=51.0, closed=False)),
    ("crossed", top(ask=100.0)),
    ("crossed", depth(snapshot=True, bids=[(99.0, 1.0), (100.0, 1.0)], asks=[(100.0, 1.0), (101.0, 1.0)])),
    ("funding-rate", mark(funding_rate=0.2)),
    ("funding-rate", Funding(**WHO, rate=nan)),
]


@pytest.mark.parametrize(("check", "value"), REFUSED, ids=lambda each: each if isinstance(each, str) else "")
def test_what_cannot_be_is_refused_with_its_reason(check: str, value: Event):
    cleaned = clean(value, seen())

    assert cleaned.value is None
    assert cleaned.refused is not None
    assert cleaned.refused.check == check
    assert cleaned.refused.detail.endswith(".")


@pytest.mark.parametrize(
    "value",
    [
        trade(),
        top(),
        top(bid_quantity=0.0),
        depth(),
        depth(bids=[], asks=[]),
        depth(bids=[(200.0, 1.0)], asks=[(100.0, 1.0)]),  # changes of a moment may look crossed: the book decides
        depth(snapshot=True, bids=[(102.0, 0.0), (100.0, 1.0)], asks=[(101.0, 1.0)]),
        depth(snapshot=True, bids=[], asks=[(101.0, 1.0)]),
        candle(),
        candle(closed=False, time_ms=NOW_MS),
        candle(volume=0.1 + 0.2, taker_buy_volume=0.30000000000000004),
        candle(open=9.0, high=9.0, low=9.0, close=9.0, volume=0.0),
        mark(),
        mark(mark_price=None, funding_rate=None),
        mark(funding_rate=-0.04),
        ticker(),
        interest(),
        interest(time_ms=0),  # history
        Funding(**WHO | {"time_ms": 1}, rate=0.0001),
        summary(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_right_passes_unmarked(value: Event):
    assert marked(value) == []


def test_a_price_that_jumps_is_kept_and_marked():
    assert marked(trade(price=121.0)) == ["price-jump"]
    assert marked(trade(price=79.0)) == ["price-jump"]
    assert marked(trade(price=119.0)) == []
    assert marked(trade(price=5.0), Context(NOW_MS)) == []  # the first one has nothing to be compared with


def test_a_large_trade_is_measured_by_the_symbols_own_trades():
    assert marked(trade(quantity=3_000.0)) == ["volume-anomaly"]
    assert marked(trade(quantity=1_000.0)) == []
    doge, btc = seen(price=0.1), seen(price=60_000.0)
    assert marked(trade(price=0.1, quantity=3_000.0), doge) == marked(trade(price=60_000.0, quantity=3_000.0), btc)
    assert marked(trade(quantity=1e9), seen(trades=5)) == []  # nobody knows yet what is usual


def test_the_usual_trade_is_about_the_median():
    known = Known()
    for number in range(5_000):
        known.saw_trade(1.0, (number * 7919) % 1000 + 1, NOW_MS)

    assert 400 < known.median_quote < 600


def test_what_is_old_or_out_of_order_is_marked():
    assert marked(trade(time_ms=NOW_MS - 1)) == ["out-of-order"]
    assert marked(top(time_ms=NOW_MS - BEHIND_MS - 1)) == ["behind"]
    context = seen()
    clean(depth(), context)
    clean(top(), context)
    assert marked(top(time_ms=NOW_MS - 1), context) == marked(depth(time_ms=NOW_MS - 1), context) == ["out-of-order"]
    assert marked(depth(time_ms=NOW_MS - BEHIND_MS - 1), context) == ["behind", "out-of-order"]


@pytest.mark.parametrize(
    ("ask", "checks"),
    [
        (100.7, []),
        (100.9, ["price-gap"]),
        (101.7, ["price-gap-critical", "abnormal-spread"]),
        (101.55, ["price-gap", "abnormal-spread"]),
    ],
)
def test_a_wide_spread_is_marked_by_the_documents_limits(ask: float, checks: list[str]):
    assert marked(top(ask=ask)) == checks
    assert marked(summary(ask=ask)) == checks


def test_little_rest_in_a_book_is_measured_by_the_symbols_own_trades():
    assert marked(summary(bid_quote_50=19_000.0, ask_quote_50=30_000.0)) == ["low-liquidity"]
    assert marked(summary(bid_quote_50=30_000.0, ask_quote_50=30_000.0)) == []
    assert marked(summary(bid_quote_50=None, ask_quote_50=None)) == []


def test_a_missing_candle_is_marked():
    context = Context(NOW_MS)
    clean(candle(time_ms=NOW_MS - 240_000), context)

    assert marked(candle(time_ms=NOW_MS - 180_000), context) == []
    assert marked(candle(), context) == ["candle-gap"]
    assert marked(candle(time_ms=NOW_MS - 120_000), context) == []  # it came late, and closes the hole
    assert marked(candle(timeframe="5m", time_ms=NOW_MS - NOW_MS % 300_000 - 300_000), context) == []


def test_how_old_or_young_a_message_may_be_is_our_time():
    context = Context(NOW_MS, speed=60.0)

    assert marked(trade(time_ms=NOW_MS - 59 * BEHIND_MS), context) == []
    assert clean(trade(time_ms=NOW_MS + 59 * FUTURE_MS), context).refused is None
    assert clean(trade(time_ms=NOW_MS + 61 * FUTURE_MS), context).refused is not None
    assert "behind" in marked(trade(time_ms=NOW_MS - 61 * BEHIND_MS), context)


def test_a_day_that_fell_and_a_side_without_orders_are_fine():
    assert marked(ticker(change=-5.0, change_percent=-5.0, bid=0.0)) == []


def test_what_was_refused_is_not_remembered():
    context = seen()
    clean(trade(price=-5.0), context)
    clean(trade(time_ms=NOW_MS + FUTURE_MS + 1), context)

    assert (context.of(WHO["symbol"]).price, context.of(WHO["symbol"]).trade_ms) == (100.0, NOW_MS)


def test_symbols_do_not_know_each_other():
    context = seen()

    assert marked(trade(symbol="DOGE/USDT:USDT", price=0.1), context) == []


def test_every_check_has_a_name_of_its_own_a_reason_and_a_message_that_it_finds():
    found = {check for check, _ in REFUSED} | {"price-jump", "volume-anomaly", "behind", "out-of-order", "price-gap"}
    found |= {"price-gap-critical", "abnormal-spread", "low-liquidity", "candle-gap"}

    assert {check.name for check in CHECKS} == found
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.why.endswith(".") and check.of for check in CHECKS)


number = st.sampled_from([0.0, -1.0, nan, inf, -inf, 1e-9, 50.0, 81.0, 99.0, 100.0, 100.5, 101.0, 119.0, 200.0, 1e9])
good = st.sampled_from([99.0, 100.0, 100.5, 101.0])
either = st.one_of(good, good, good, number)
moment = st.sampled_from(
    [0, NOW_MS - PAST_MS, NOW_MS - BEHIND_MS, NOW_MS - 60_000, NOW_MS - 1, NOW_MS, NOW_MS + 60_001]
)
side = st.lists(st.tuples(either, either), max_size=4)
messages = st.one_of(
    st.builds(trade, price=either, quantity=either, time_ms=moment),
    st.builds(top, bid=either, ask=either, bid_quantity=either, ask_quantity=either, time_ms=moment),
    st.builds(depth, bids=side, asks=side, snapshot=st.booleans(), time_ms=moment),
    st.builds(
        candle,
        open=either,
        high=either,
        low=either,
        close=either,
        volume=either,
        quote_volume=st.one_of(st.none(), either),
        taker_buy_volume=st.one_of(st.none(), either),
        taker_buy_quote_volume=st.one_of(st.none(), either),
        closed=st.booleans(),
        time_ms=moment,
    ),
)


@settings(max_examples=800, deadline=None)
@given(stream=st.lists(messages, min_size=1, max_size=4), trades=st.sampled_from([0, 1, ENOUGH_TRADES]))
def test_the_quick_tests_let_nothing_pass_that_the_table_finds(stream: list[Event], trades: int):
    context = Context(NOW_MS, {WHO["symbol"]: Known(100.0, NOW_MS - 1, NOW_MS - 1, NOW_MS - 1, 0.04, trades)})
    for value in stream:
        expected = cleaning.examine(value, context.of(value.symbol), context)
        cleaned = clean(value, context)

        assert (cleaned.refused, cleaned.marks) == expected


BAD = (nan, inf, -inf, -1.0, 0.0, 1e-9, 50.0, 125.0, 1e9)
FIELDS = [
    *((trade(), name) for name in ("price", "quantity")),
    *((top(), name) for name in ("bid", "bid_quantity", "ask", "ask_quantity")),
    *(
        (candle(closed=closed, quote_volume=50.0, trades=3, taker_buy_volume=2.0, taker_buy_quote_volume=20.0), name)
        for closed in (True, False)
        for name in ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume")
    ),
    (candle(closed=False, quote_volume=50.0), "taker_buy_quote_volume"),
    *((mark(index_price=100.0), name) for name in ("mark_price", "index_price", "funding_rate")),
    *((Funding(**WHO, rate=0.0001, mark_price=100.0), name) for name in ("rate", "mark_price")),
    *((interest(value=1.0), name) for name in ("quantity", "value")),
    *((ticker(volume=1.0, quote_volume=1.0), name) for name in ("last", "volume", "quote_volume")),
]


@pytest.mark.parametrize("number", BAD, ids=str)
@pytest.mark.parametrize(
    ("value", "field"), FIELDS, ids=lambda each: each if isinstance(each, str) else type(each).__name__
)
def test_one_bad_number_in_any_field_is_found_by_the_quick_test_too(value: Event, field: str, number: float):
    broken = msgspec.structs.replace(value, **{field: number})
    context = seen()
    expected = cleaning.examine(broken, context.of(WHO["symbol"]), context)
    cleaned = clean(broken, context)

    assert (cleaned.refused, cleaned.marks) == expected
    if number in {inf, -inf} or number != number:
        assert cleaned.refused is not None


@pytest.mark.parametrize("number", BAD, ids=str)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("which", ["bids", "asks"])
def test_one_bad_number_in_any_level_is_found_by_the_quick_test_too(which: str, part: int, place: int, number: float):
    levels: list[Any] = [(99.0, 1.0), (98.0, 1.0), (97.0, 1.0)]
    levels[place] = (number, 1.0) if part == 0 else (99.0, number)
    broken, context = depth(**{which: levels}), seen()
    expected = cleaning.examine(broken, context.of(WHO["symbol"]), context)
    cleaned = clean(broken, context)

    assert (cleaned.refused, cleaned.marks) == expected


def test_a_good_message_needs_no_table(monkeypatch: pytest.MonkeyPatch):
    context = seen()
    clean(top(), context)
    monkeypatch.setattr(cleaning, "examine", None)

    assert [clean(each, context).marks for each in (trade(), top(), depth(), candle(closed=False))] == [()] * 4
