"""Column types that mean the same on SQLite, MySQL/MariaDB and PostgreSQL, and refuse at the door what does not fit.

Decimals are the hard case, since SQLite has no exact number with a fraction: its NUMERIC is a float. Integers in the smallest
unit would add up exactly, but 64 bits end at 92 billion with eight decimals, and a single symbol trades more than that on a
wild day. So ``Exact`` keeps text of a fixed width there, written so that the order of the texts is the order of the numbers:
``000000045000.50000000``, and below zero a minus with each digit taken from nine. Equality, comparison, ORDER BY, indexes, MIN
and MAX then work in SQL as they are, and SUM goes through ``exact_sum``, which ``open_engine`` gives to every connection.
Arithmetic in SQL would be silently wrong on that text, so ``Exact`` refuses it on all three databases: compute in Python.
An average is a sum and a count, divided in Python.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, NoReturn

from sqlalchemy import JSON, BigInteger, DateTime, Integer, Numeric, String
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import functions, operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.errors import InvalidInput

SUM_ON_SQLITE = "exact_sum"
_ROOM_FOR_SUMS = 40  # digits of a sum that outgrew its column
_NINES = str.maketrans("0123456789", "9876543210")

# SQLite counts up by itself only in a column that is declared INTEGER.
BigId: Final = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, to the microsecond. Naive times are refused; what comes back is always in UTC."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MySQL drops the microseconds unless told otherwise."""
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects.mysql import DATETIME

            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: Any, dialect: Dialect) -> datetime | None:
        """To UTC, and without a zone where the database knows none."""
        if value is None:
            return None
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise InvalidInput(f"{value!r} is not a moment: a datetime with a time zone is needed.")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Back in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Exact(TypeDecorator[Decimal]):
    """A decimal that comes back as it went in. What has more digits than fit is refused, never rounded."""

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Compares and orders; refuses to compute."""

        def operate(self, op: operators.OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Refuse what would be right on two databases and wrong on the third."""
            if op in _ARITHMETIC:
                _refuse_arithmetic()
            return super().operate(op, *other, **kwargs)

        def reverse_operate(self, op: operators.OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Likewise from the other side."""
            if op in _ARITHMETIC:
                _refuse_arithmetic()
            return super().reverse_operate(op, other, **kwargs)

    comparator_factory = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, an exact number elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(self.precision + 2))
        return dialect.type_descriptor(Numeric(self.precision, self.scale))

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | str | None:
        """Check that it fits, on every database alike."""
        if value is None:
            return None
        units = in_units(value, self.precision, self.scale)
        if dialect.name == "sqlite":
            return to_sortable(units, self.precision, self.scale)
        return _from_units(units, self.scale)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read the text of SQLite; the others give decimals."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _from_units(*from_sortable(value))
        return Decimal(value)


_ARITHMETIC: Final[frozenset[Callable[..., Any]]] = frozenset(
    (operators.add, operators.sub, operators.mul, operators.truediv, operators.floordiv, operators.mod, operators.neg)
)


def _refuse_arithmetic() -> NoReturn:
    raise InvalidInput(
        "SQL must not compute with exact decimals: SQLite keeps them as text.",
        cure="Read the values and compute with Decimal in Python; func.sum, func.min and func.max are fine.",
    )


def in_units(value: Decimal | int, precision: int, scale: int) -> int:
    """Return the number in its smallest unit. Raises InvalidInput when it is no number or has too many digits."""
    if isinstance(value, bool) or not isinstance(value, (Decimal, int)):
        raise InvalidInput(f"{value!r} is not a Decimal.", cure="Make a Decimal from text, never from a float.")
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidInput(f"{number} is not a number that can be kept.", cure="Leave it empty when it is unknown.")
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return 0
    zeros = int(exponent) + len(text) - len(significant) + scale
    if zeros < 0 or len(significant) + zeros > precision:
        raise InvalidInput(
            f"{number} does not fit: at most {precision - scale} digits before the point and {scale} after it.",
            cure="Round it first; nothing is rounded silently.",
        )
    units: int = int(significant) * 10**zeros
    return -units if sign else units


def to_sortable(units: int, precision: int, scale: int) -> str:
    """Write a number so that the order of texts is the order of numbers: ``,`` < ``-`` < ``0``…``9`` < ``:``.

    The first and the last of these mark sums that outgrew their column, so that HAVING compares them rightly too.
    """
    fits = abs(units) < 10**precision
    digits = f"{abs(units):0{precision if fits else _ROOM_FOR_SUMS}d}"
    if scale:
        digits = f"{digits[:-scale]}.{digits[-scale:]}"
    if units < 0:
        return ("-" if fits else ",") + digits.translate(_NINES)
    return digits if fits else f":{digits}"


def from_sortable(text: str) -> tuple[int, int]:
    """Read it back: the number in its smallest unit, and its decimals."""
    negative = text[0] in "-,"
    whole, _, fraction = text.lstrip("-,:").partition(".")
    digits = whole + fraction
    return (-int(digits.translate(_NINES)) if negative else int(digits)), len(fraction)


def _from_units(units: int, scale: int) -> Decimal:
    digits = tuple(map(int, str(abs(units))))
    return Decimal((int(units < 0), digits, -scale))


class ExactSum:
    """SQLite's SUM for ``Exact``: an aggregate function, made once for each group of rows."""

    def __init__(self) -> None:
        self._units: int | None = None
        self._shape = (0, 0)

    def step(self, text: str | None) -> None:
        """Add one row; unknown ones count for nothing, as in SQL."""
        if text is not None:
            units, scale = from_sortable(text)
            self._units = (self._units or 0) + units
            self._shape = (len(text.lstrip("-,:").replace(".", "")), scale)

    def finalize(self) -> str | None:
        """Give the sum in the columns' own form; nothing when there was no row."""
        return None if self._units is None else to_sortable(self._units, *self._shape)


@compiles(functions.sum, "sqlite")
def _sum_on_sqlite(element: functions.sum[Any], compiler: SQLCompiler, **kwargs: Any) -> str:
    name = SUM_ON_SQLITE if isinstance(element.type, Exact) else "sum"
    return f"{name}{compiler.process(element.clause_expr, **kwargs)}"


class Choice(TypeDecorator[str]):
    """One of a few words. The table has a CHECK of the same words, for those who write without us."""

    impl = String
    cache_ok = True

    def __init__(self, what: str, allowed: tuple[str, ...]) -> None:
        super().__init__(32)
        self.what = what
        self.allowed = allowed

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Let only the allowed words in."""
        if value is not None and value not in self.allowed:
            raise InvalidInput(f"{value!r} is not a {self.what}: use {', '.join(self.allowed)}.")
        return value


class ShortText(TypeDecorator[str]):
    """Text with a greatest length, which SQLite alone would not enforce."""

    impl = String
    cache_ok = True

    def __init__(self, what: str, length: int) -> None:
        super().__init__(length)
        self.what = what
        self.length = length

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Refuse what a server would refuse or cut off."""
        if value is not None and (not isinstance(value, str) or len(value) > self.length):
            raise InvalidInput(
                f"{value!r} cannot be a {self.what}: text of at most {self.length} characters is needed."
            )
        return value


class Json(TypeDecorator[Any]):
    """Anything that JSON can say. None means that there is nothing (SQL's NULL), not the JSON word null."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Refuse what JSON cannot say: not every driver would say so in words that can be told from our own faults."""
        try:
            to_json(value)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"A value cannot be kept as JSON: {error}.") from error
        return value


to_json: Final = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
