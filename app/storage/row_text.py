"""Rows as lines of text and back, bit for bit, and the same on every kind of database: a JSON list, in the order of the columns.

A decimal is its digits in quotes, a moment is of UTC, a double has all its digits.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Column, Table

from app.errors import CorruptData
from app.storage.types import Exact, UtcDateTime

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]
to_line = msgspec.json.Encoder().encode
"""One row, without an end of line."""
_decode = msgspec.json.Decoder().decode


def names(table: Table) -> list[str]:
    """The columns of a table, in their order."""
    return [str(column.name) for column in table.columns]  # SQLAlchemy's own kind of text


class Reader:
    """Reads rows of a table back from lists that JSON gave. Raises CorruptData for columns that the table has not."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        unknown = [name for name in columns if name not in table.c]
        if unknown:
            raise CorruptData(
                f"{table.name} has no column {', '.join(unknown)}.", cure="Use the version of Flotilla that wrote it."
            )
        self.columns = list(columns)
        self._converts = [
            (place, convert) for place, name in enumerate(columns) if (convert := _convert(table.c[name])) is not None
        ]

    def row(self, values: list[Any]) -> dict[str, Any]:
        """One row, ready to be inserted."""
        return dict(zip(self.columns, self.values(values), strict=True))

    def values(self, values: list[Any]) -> list[Any]:
        """Its values alone, in the order of the columns."""
        if len(values) != len(self.columns):
            raise CorruptData(f"A row of {len(values)} values where {len(self.columns)} belong.")
        for place, convert in self._converts:
            if values[place] is not None:
                values[place] = convert(values[place])
        return values

    def rows(self, many: Iterable[list[Any]]) -> list[dict[str, Any]]:
        """Several."""
        return [self.row(values) for values in many]


def fitting(values: Iterable[Any], dialect: str) -> list[Any]:
    """The values of a row as that kind of database can keep them: in texts for PostgreSQL, U+FFFD stands for a zero byte."""
    if dialect != "postgresql":
        return list(values)
    return [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in values]


def from_line(line: bytes) -> list[Any]:
    """What one line says. Raises CorruptData."""
    try:
        values: Any = _decode(line)
    except msgspec.DecodeError as error:
        raise CorruptData(f"A line is no row: {error}.") from error
    if not isinstance(values, list):
        raise CorruptData("A line is no list.")
    return values


def _convert(column: Column[Any]) -> Convert | None:
    if isinstance(column.type, Exact):
        return Decimal
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat
    return None
