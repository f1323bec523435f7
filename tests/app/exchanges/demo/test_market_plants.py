"""Every plant is in the books and trades exactly as its label says."""

import numpy as np
import pytest

from app.exchanges.demo.market import Market
from app.exchanges.demo.values import DemoBook, DemoTrade, Label

NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC
MINUTE = 60_000
SPAN = 4 * 60 * MINUTE
MARKET = Market(seed=1)
LABELS = MARKET.labels(NOON - SPAN, NOON)
MAJORS = ("BTC/USDT:USDT", "ETH/USDT:USDT")


def of_kind(*kinds: str, most: int = 25) -> list[Label]:
    return [label for label in LABELS if label.kind in kinds][:most]


def shown(label: Label, at_ms: int) -> float:
    """What the book has at the label's price."""
    book: DemoBook = MARKET.book(label.venue, label.symbol, at_ms)
    return dict(book.bids if label.side == "bid" else book.asks).get(label.price, 0.0)


def with_it(label: Label, start_ms: int, end_ms: int) -> list[DemoTrade]:
    """The trades that take from it: at its price, by takers of the other side."""
    taker = "buy" if label.side == "ask" else "sell"
    trades = MARKET.trades(label.venue, label.symbol, start_ms, end_ms)
    return [trade for trade in trades if trade.price == label.price and trade.side == taker]


def taken(label: Label, before_ms: int) -> float:
    return sum(trade.quantity for trade in with_it(label, label.start_ms, min(before_ms, label.end_ms)))


def buckets(label: Label, count: int = 6) -> list[int]:
    """Some moments at which the book changes while the order rests, its first and its last among them."""
    first, last = label.start_ms, (label.end_ms - 1) // 100 * 100
    return sorted({int(at) // 100 * 100 for at in np.linspace(first, last, count)})


@pytest.mark.parametrize("symbol", MAJORS)
@pytest.mark.parametrize("kind", ["large", "spoof", "wall", "iceberg"])
def test_the_majors_have_some_of_each_kind_an_hour(kind, symbol):
    day = MARKET.labels(NOON - 6 * SPAN, NOON)

    assert sum(label.kind == kind and label.symbol == symbol for label in day) / 24 >= 1


def test_any_ten_minutes_show_most_kinds():
    for start in range(NOON - SPAN, NOON, 10 * MINUTE):
        kinds = {label.kind for label in MARKET.labels(start, start + 10 * MINUTE)}
        assert len(kinds) >= 4


@pytest.mark.parametrize("label", of_kind("large", "spoof"), ids=lambda label: label.id)
def test_an_order_that_only_rests_is_there_as_said_and_never_traded(label):
    assert all(shown(label, at) == label.quantity for at in buckets(label))
    assert shown(label, label.start_ms - 100) != label.quantity
    assert shown(label, label.end_ms) != label.quantity
    assert label.traded_quantity == 0 == taken(label, label.end_ms)


@pytest.mark.parametrize("label", of_kind("wall"), ids=lambda label: label.id)
def test_a_wall_shows_what_is_left_of_it(label):
    for at in buckets(label):
        assert shown(label, at) == pytest.approx(label.quantity - taken(label, at))
    assert shown(label, label.start_ms) == label.quantity
    assert label.traded_quantity == pytest.approx(taken(label, label.end_ms))
    assert 0.3 <= label.traded_quantity / label.quantity <= 1
    assert label.details["traded_share"] == pytest.approx(label.traded_quantity / label.quantity)


@pytest.mark.parametrize("label", of_kind("iceberg"), ids=lambda label: label.id)
def test_an_iceberg_shows_slices_until_all_of_it_is_traded(label):
    piece = float(label.details["slice_quantity"])
    seen = [shown(label, at) for at in buckets(label, 60)]

    assert all(0 < quantity <= piece * 1.0000001 for quantity in seen)
    assert piece < label.quantity / 7
    assert label.traded_quantity == label.quantity == pytest.approx(taken(label, label.end_ms))


@pytest.mark.parametrize("label", of_kind("wall", "iceberg"), ids=lambda label: label.id)
def test_while_an_order_rests_nobody_trades_through_it_and_the_book_is_not_crossed(label):
    sign = 1 if label.side == "ask" else -1
    taker = "buy" if label.side == "ask" else "sell"
    for trade in MARKET.trades(label.venue, label.symbol, label.start_ms, label.end_ms):
        assert sign * (label.price - trade.price) >= 0
        assert trade.price != label.price or trade.side == taker
    for at in range(label.start_ms, label.end_ms, 100):
        top = MARKET.top(label.venue, label.symbol, at)
        assert top.bid < top.ask


@pytest.mark.parametrize("label", of_kind("large", "wall", "iceberg", "spoof", most=60), ids=lambda label: label.id)
def test_planted_orders_are_large_by_the_rule(label):
    day = MARKET.ticker(label.venue, label.symbol, label.start_ms).quote_volume

    assert label.value_usd >= 1.2 * min(100e6, max(1e6, 0.005 * day)) * 0.9999
    assert label.value_usd == pytest.approx(label.price * label.quantity)


def test_orders_live_as_long_as_their_kind():
    for label in LABELS:
        if label.kind == "spoof":
            assert label.end_ms - label.start_ms < 3_000
        if label.kind == "large":
            assert label.end_ms - label.start_ms > 45_000
        if label.kind in {"wall", "iceberg"}:
            assert label.end_ms - label.start_ms > 4_000


@pytest.mark.parametrize("label", of_kind("mispriced"), ids=lambda label: label.id)
def test_a_mispriced_venue_stands_away_from_the_others(label):
    middle = (label.start_ms + label.end_ms) // 2
    sign = 1 if label.side == "up" else -1
    others = [
        MARKET.top(venue, label.symbol, middle)
        for venue in ("binance", "okx", "htx")
        if venue != label.venue and label.symbol in {one.symbol for one in MARKET.instruments(venue)}
    ]
    here = MARKET.top(label.venue, label.symbol, middle)

    assert others
    for there in others:
        assert sign * (here.bid / there.ask - 1) > 0.005 or sign * (here.ask / there.bid - 1) > 0.005
    candle = MARKET.candles(label.venue, label.symbol, "1m", label.start_ms, 1)[0]
    assert candle.low <= label.price <= candle.high
    assert 3_000 < label.end_ms - label.start_ms < 45_000


def test_venues_that_are_not_planted_off_agree():
    off = [label.details for label in LABELS if label.kind == "mispriced" and label.symbol == "BTC/USDT"]
    for at in range(NOON - SPAN, NOON, 9_700):
        if all(not details["leaves_ms"] <= at <= details["back_ms"] + 5_000 for details in off):
            mids = [MARKET.top(venue, "BTC/USDT", at).bid for venue in ("binance", "okx", "htx")]
            assert max(mids) / min(mids) < 1.002


@pytest.mark.parametrize("label", of_kind("triangle"), ids=lambda label: label.id)
def test_a_triangle_is_open_while_its_label_says(label):
    middle = (label.start_ms + label.end_ms) // 2
    base, over = label.symbol.split("/")
    cross, first, second = (
        MARKET.top(label.venue, symbol, middle) for symbol in (label.symbol, f"{base}/USDT", f"{over}/USDT")
    )
    fair = first.bid / second.bid

    assert (cross.bid / fair - 1) * (1 if label.side == "up" else -1) > 0.005


def test_labels_are_the_same_from_any_span_and_in_order():
    assert sorted(LABELS, key=lambda label: (label.start_ms, label.id)) == LABELS
    assert len({label.id for label in LABELS}) == len(LABELS)
    halves = MARKET.labels(NOON - SPAN, NOON - SPAN // 2) + MARKET.labels(NOON - SPAN // 2, NOON)
    assert {label.id for label in halves} == {label.id for label in LABELS}
