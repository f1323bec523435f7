"""Exact money: a number becomes a ``Decimal`` at the door, and whatever is booked has eight decimals.

Eight is what the columns of the trades hold. Sums of such numbers are exact, so only products and quotients are rounded, once
each and half to even, in a context of our own. Python's operators use the thread's context, whose usual 28 digits hold sums of
such numbers; where more is computed, or many are added, it is done ``in_full``.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException, localcontext
from fractions import Fraction
from functools import reduce
from typing import Final, TypeAlias

from app.errors import InvalidInput

Number: TypeAlias = float | Decimal | int

UNIT: Final = Decimal("0.00000001")
ZERO: Final = Decimal(0)
_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_MOST_DIGITS: Final = 12  # before the point: more do not fit DECIMAL(20,8)


def number(value: Number) -> Decimal:
    """The value as it reads, unrounded: a float becomes the shortest text that gives it back."""
    if isinstance(value, bool) or not isinstance(value, (float, int, Decimal)):
        raise InvalidInput(f"{value!r} is not a number.")
    decimal = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not decimal.is_finite():
        raise InvalidInput(f"{value} is not a number that can be booked.")
    return decimal


def exact(value: Number) -> Decimal:
    """The value with eight decimals, rounded half to even."""
    return rounded(number(value), UNIT)


def rounded(value: Decimal, unit: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """The value in whole ``unit``, which is a power of ten. Nought has no sign."""
    try:
        result = value.quantize(unit, rounding, _CONTEXT)
    except DecimalException as error:
        raise InvalidInput(f"{value} is too large to be booked.") from error
    return result or abs(result)


def product(*factors: Decimal) -> Decimal:
    """The product with eight decimals: rounded once, at the end."""
    return rounded(reduce(_CONTEXT.multiply, factors), UNIT)


def quotient(of: Decimal, by: Decimal, unit: Decimal = UNIT) -> Decimal:
    """The quotient, rounded to ``unit``."""
    return rounded(_CONTEXT.divide(of, by), unit)


def ratio(of: Decimal, by: Decimal) -> Decimal:
    """The quotient with as many digits as there are: for what is computed with, not booked."""
    return _CONTEXT.divide(of, by)


def part(whole: Decimal, of: Decimal, by: Decimal) -> Decimal:
    """``whole`` x ``of`` / ``by`` with eight decimals: rounded once."""
    return rounded(_CONTEXT.divide(_CONTEXT.multiply(whole, of), by), UNIT)


def total(values: Iterable[Decimal]) -> Decimal:
    """The sum, to the last digit."""
    return reduce(_CONTEXT.add, values, ZERO)


def decimal_of(value: Fraction, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """An exact fraction as eight decimals."""
    with in_full() as context:
        context.rounding = rounding
        return rounded(context.divide(Decimal(value.numerator), Decimal(value.denominator)), UNIT, rounding)


def in_full() -> AbstractContextManager[Context]:
    """A block in which Python's own operators keep all the digits that we keep."""
    return localcontext(_CONTEXT)


def positive(value: Number, what: str) -> Decimal:
    """The value as it is booked. Raises InvalidInput, naming ``what``, unless it is above nought and fits the columns."""
    decimal = exact(value)
    if decimal <= 0:
        raise InvalidInput(f"The {what} must be above 0, not {value}.")
    if decimal.adjusted() >= _MOST_DIGITS:
        raise InvalidInput(f"The {what} must have at most {_MOST_DIGITS} digits before the point.")
    return decimal


def text(value: Decimal) -> str:
    """The number as JSON keeps it: plain digits, no exponent, no trailing noughts."""
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
