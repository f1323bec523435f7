"""Money: exact from the door on."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.trading.money import exact, number, part, positive, product, quotient, text
from app.errors import InvalidInput


def test_a_float_becomes_what_it_reads_as():
    assert exact(0.1) == Decimal("0.10000000")
    assert number(0.1) == Decimal("0.1")


def test_halves_go_to_the_even_digit():
    assert exact(Decimal("0.000000005")) == 0
    assert exact(Decimal("0.000000015")) == Decimal("0.00000002")


def test_nought_has_no_sign():
    assert str(exact(-0.0)) == str(exact(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), True, "1"])
def test_what_is_no_number_is_refused(value: object):
    with pytest.raises(InvalidInput):
        exact(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 1e-9, 10**12])
def test_a_price_must_be_above_nought_and_fit_its_column(value: float):
    with pytest.raises(InvalidInput, match="The price must"):
        positive(value, "price")


def test_what_is_too_large_to_be_booked_is_refused_in_words():
    with pytest.raises(InvalidInput, match="too large"):
        exact(Decimal("1e80"))


def test_a_product_is_rounded_once_whatever_the_context_of_the_thread_is():
    factors = (Decimal("123456789.12345678"), Decimal("98765432.87654321"))
    with localcontext(prec=5):
        small = product(*factors), quotient(*factors), part(*factors, Decimal(3))

    assert small == (product(*factors), quotient(*factors), part(*factors, Decimal(3)))
    assert int(small[0] * 10**8) == round(12345678912345678 * 9876543287654321, -8) // 10**8


@given(st.decimals(-(10**11), 10**11, places=8))
def test_text_says_the_same_number_without_an_exponent(value: Decimal):
    assert Decimal(text(value)) == value
    assert "E" not in text(value)
