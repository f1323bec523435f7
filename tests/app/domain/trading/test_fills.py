"""The fill engine: what a market order costs, and what was assumed for it."""

import json
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.fills import Book, Costs, levels_of_summary, limit_fill, market_fill
from app.errors import CorruptData, InvalidInput
from tests.app.domain.trading.trades import FREE, USUAL, book, recorded_book


def test_without_a_book_the_price_is_so_many_basis_points_worse():
    assert market_fill("buy", 2, 100, USUAL).price == Decimal("100.05")
    assert market_fill("sell", 2, 100, USUAL).price == Decimal("99.95")


@pytest.mark.parametrize("price", ["0.00000455", "0.0000082", "0.000012"])
def test_of_a_price_of_few_digits_the_cost_is_rounded_against_the_trader(price: str):
    """Half to even made it nothing: five basis points of 4.55e-6 are less than half of the last digit that is booked."""
    reference = Decimal(price)
    bought, sold = (market_fill(side, 1, reference, USUAL).price for side in ("buy", "sell"))

    assert bought >= reference * Decimal("1.0005")
    assert sold <= reference * Decimal("0.9995")


def test_a_taker_pays_its_fee_on_the_price_that_it_got():
    fill = market_fill("buy", 2, 100, USUAL)

    assert (fill.fee, fill.liquidity) == (Decimal("0.10005"), "taker")


def test_a_resting_order_is_filled_at_its_price_for_the_makers_fee():
    fill = limit_fill("sell", 2, 104, USUAL)

    assert (fill.price, fill.quantity, fill.fee, fill.liquidity) == (104, 2, Decimal("0.0416"), "maker")


def test_a_small_order_pays_half_the_spread():
    assert market_fill("buy", 1, 100, FREE, book()).price == Decimal("100.1")
    assert market_fill("sell", 1, 100, FREE, book()).price == Decimal("99.9")


def test_a_large_order_walks_the_book():
    deep = book(asks=[(100.1, 1), (100.3, 1), (100.5, 9)])

    assert market_fill("buy", 3, 100, FREE, deep).price == Decimal("100.3")
    assert market_fill("buy", 3, 100, FREE, deep).assumed["levels"] == 3


def test_what_is_taken_from_a_book_is_its_cost_not_its_price():
    fill = market_fill("buy", 1, 200, FREE, book())

    assert fill.price == Decimal("200.2")


def test_more_than_the_book_holds_is_filled_in_part():
    fill = market_fill("sell", 5, 100, FREE, book(bids=[(99.9, 1.25), (99.8, 0.75)]))

    assert (fill.quantity, fill.assumed["wanted"]) == (2, "5")


def test_a_level_of_nothing_fills_nothing():
    fill = market_fill("sell", 5, 100, USUAL, book(bids=[(99.9, 0.0)]))

    assert (fill.quantity, fill.fee, fill.price) == (0, 0, 100)


def test_a_fill_says_what_was_assumed():
    assert market_fill("buy", 1, 100, FREE, book()).assumed == {
        "source": "book", "recorded": "levels", "best": "100.1", "levels": 1, "bps": "10", "reference": "100", "wanted": "1",
    }  # fmt: skip
    assert market_fill("buy", 1, 100, USUAL).assumed == {"source": "bps", "bps": "5", "reference": "100", "wanted": "1"}


def test_a_summary_is_ten_equal_steps_from_the_best_price_on():
    levels = levels_of_summary(100, 10_000, "buy")

    assert [price for price, _ in levels[:3]] == [100, Decimal("100.1"), Decimal("100.2")]
    assert len(levels) == 10
    assert sum(price * quantity for price, quantity in levels) == pytest.approx(Decimal(10_000))
    assert [price for price, _ in levels_of_summary(100, 10_000, "sell")[:2]] == [100, Decimal("99.9")]


def test_a_row_of_the_depth_summaries_can_be_walked():
    summary = Book.of_summary(99.9, 100.1, 1_000.0, 2_000.0)
    assert summary is not None
    fill = market_fill("buy", 100, 100, FREE, summary)

    assert fill.assumed["recorded"] == "summary"
    assert Decimal(19) < fill.quantity < 20
    assert fill.price > Decimal("100.1")


@pytest.mark.parametrize(
    "row", [(None, 100.1, 1.0, 1.0), (99.9, 100.1, None, 1.0), (99.9, 99.9, 1.0, 1.0), (9.0, 10.0, 0.0, 1.0)]
)
def test_a_row_that_does_not_know_enough_is_no_book(row: tuple[float | None, ...]):
    assert Book.of_summary(*row) is None


def test_a_crossed_book_is_refused():
    with pytest.raises(CorruptData, match="crossed"):
        Book([(100.2, 1)], [(100.1, 1)])


def test_a_book_out_of_order_fills_no_better_than_the_reference():
    assert market_fill("buy", 50, 100, FREE, book(asks=[(100.1, 1), (90, 100)])).price == 100


def test_a_book_of_one_side_is_refused():
    with pytest.raises(InvalidInput, match="bids and asks"):
        Book([], [(100.1, 1)])


@pytest.mark.parametrize(
    "costs", [{"taker_fee": Decimal(-1)}, {"slippage_bps": Decimal(-1)}, {"maker_fee": Decimal(1)}]
)
def test_costs_that_pay_for_trading_badly_are_refused(costs: dict[str, Decimal]):
    with pytest.raises(InvalidInput, match="no costs"):
        Costs(**costs)


@pytest.mark.parametrize(("quantity", "price"), [(0, 100), (1, 0), (-1, 100), (1, float("nan"))])
def test_an_order_of_nothing_is_refused(quantity: float, price: float):
    with pytest.raises(InvalidInput):
        market_fill("buy", quantity, price, USUAL)


prices = st.floats(0.001, 100_000)
sides = st.sampled_from(["buy", "sell"])


@given(
    side=sides,
    quantity=st.floats(0.001, 1e6),
    reference=prices,
    best=prices,
    deep=st.lists(st.floats(0, 1e4), min_size=1, max_size=9),
)
def test_no_market_order_is_ever_filled_better_than_the_reference_or_for_more_than_was_wanted(
    side: str, quantity: float, reference: float, best: float, deep: list[float]
):
    asks = [(best * (1.0001 + step / 1000), resting) for step, resting in enumerate(deep)]
    bids = [(best * (0.9999 - step / 1000), resting) for step, resting in enumerate(deep)]
    fill = market_fill(side, quantity, reference, USUAL, Book(bids, asks))
    worse = fill.price - Decimal(fill.assumed["reference"])

    assert (worse if side == "buy" else -worse) >= 0
    assert 0 <= fill.quantity <= Decimal(fill.assumed["wanted"])
    assert json.loads(json.dumps(fill.assumed)) == fill.assumed


def test_a_recorded_book_is_walked_level_by_level(recorded: Path):
    real = recorded_book(recorded)
    held = sum(Decimal(repr(quantity)) for _, quantity in real.asks)
    mid = (real.bids[0][0] + real.asks[0][0]) / 2
    one = market_fill("buy", 1, mid, FREE, real)
    ten = market_fill("buy", 10, mid, FREE, real)
    everything = market_fill("buy", 1_000_000, mid, FREE, real)

    assert one.assumed["levels"] == 1
    assert float(one.price) == pytest.approx(real.asks[0][0])
    assert ten.price > one.price
    assert everything.quantity == held
    assert float(everything.price) == pytest.approx(sum(p * q for p, q in real.asks) / float(held))


def test_a_summary_s_levels_do_not_depend_on_the_thread_s_precision():
    usual = levels_of_summary(43_250.123, 1_234_567.89, "buy")
    with localcontext(prec=6):
        coarse = levels_of_summary(43_250.123, 1_234_567.89, "buy")

    assert coarse == usual
