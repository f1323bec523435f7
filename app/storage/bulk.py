"""Writing many rows at once, over those that are already there, without SQLAlchemy's price for each row.

The statement is made once for each table and kind of database; the rows go to the driver as they are: tuples of floats, ints,
text and None, in the order of ``columns``. SQLite runs one prepared statement over all of them. MySQL gets statements of many
rows, whose values are written out here: its driver takes twice as long for that. PostgreSQL gets many rows by COPY, into a table
that lasts as long as the transaction, and few rows one by one without waiting for each answer.
The same rows twice change nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from app.errors import InvalidInput
from app.storage.types import Choice, ShortText

CHUNK = 2_000
"""Rows in one statement of MySQL: it takes well below a second, and stays below what a server accepts."""

FEW = 300
"""Rows for which PostgreSQL's COPY is not worth its table."""

_AS_IT_IS = {"no_parameters": True}  # the driver then leaves percent signs alone
Row = tuple[Any, ...]
Converters = dict[int, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Upsert:
    """How rows of a table go in: a row with the same ``key`` gets the new values of all other columns."""

    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    yields: tuple[str, str] | None = None
    """A column and a word: a row with this word there never takes the place of one with another word."""
    keeps: bool = False
    """What a row does not know (None) does not take away what was known in its place."""
    once: bool = False
    """What is there stays as it is."""
    places: tuple[int, ...] = field(init=False)
    """Where the key is in a row."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", tuple(map(self.columns.index, self.key)))

    @property
    def changed(self) -> list[str]:
        """What a row that is there gets anew. MySQL sets one after the other, so what decides comes last."""
        last = self.yields[0] if self.yields else None
        return sorted((name for name in self.columns if name not in self.key), key=lambda name: name == last)


def upsert_rows(db: Connection, upsert: Upsert, rows: Sequence[Row]) -> None:
    """Write them all, within the caller's transaction; of two with the same key the later one stays."""
    if not rows:
        return
    statement, converters = _prepared(upsert, db.dialect)
    _check_lengths(upsert, db.dialect, rows)
    if converters:
        rows = [_converted(row, converters) for row in rows]
    if db.dialect.name == "sqlite":
        db.exec_driver_sql(statement, list(rows))
    elif db.dialect.name == "postgresql":
        _write_to_postgresql(db, upsert, statement, rows)
    else:
        _write_to_mysql(db, statement, rows)


def _write_to_mysql(db: Connection, statement: str, rows: Sequence[Row]) -> None:
    escape = db.connection.driver_connection.escape  # type: ignore[union-attr]

    def literal(value: Any) -> str:
        kind = type(value)
        if kind is float:
            if value - value != 0.0:
                raise _no_number(value)
            return repr(value)
        if kind is int:
            return str(value)
        if value is None:
            return "NULL"
        written: str = escape(value)
        return written

    left = iter(rows)
    while chunk := list(islice(left, CHUNK)):
        values = ",".join([f"({','.join(map(literal, row))})" for row in chunk])
        written_out = statement.replace("VALUES ()", f"VALUES {values}", 1)
        db.exec_driver_sql(written_out, execution_options=_AS_IT_IS)


def _write_to_postgresql(db: Connection, upsert: Upsert, statement: str, rows: Sequence[Row]) -> None:
    for row in rows:
        for value in row:
            if type(value) is float and value - value != 0.0:
                raise _no_number(value)
    if len(rows) < FEW:
        db.exec_driver_sql(statement, list(rows))
        return
    quoted = db.dialect.identifier_preparer.quote
    names = ", ".join(map(quoted, upsert.columns))
    incoming = f"incoming_{upsert.table.name}_{crc32(names.encode())}"
    # The words in these are names of our own tables and columns, never values.
    shape = f"SELECT {names} FROM {upsert.table.name}"  # noqa: S608
    db.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} ON COMMIT DROP AS {shape} WITH NO DATA")
    places = upsert.places
    last = {tuple(row[place] for place in places): row for row in rows}  # one statement may not change a row twice
    cursor = db.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with _as_sqlalchemy_says_it(db), cursor, cursor.copy(f"COPY {incoming} ({names}) FROM STDIN") as copy:
        for row in last.values():
            copy.write_row(row)
    db.exec_driver_sql(f"{_insert(upsert, names)} SELECT {names} FROM {incoming} {_on_conflict(upsert, quoted)}")  # noqa: S608
    db.exec_driver_sql(f"TRUNCATE {incoming}")


@contextmanager
def _as_sqlalchemy_says_it(db: Connection) -> Iterator[None]:
    """What the driver raises, as everybody else expects it."""
    known: type[Exception] = db.dialect.loaded_dbapi.Error
    try:
        yield
    except known as error:
        raise DBAPIError.instance("COPY", None, error, known, dialect=db.dialect) from error


def _no_number(value: float) -> InvalidInput:
    """MySQL would not understand it, PostgreSQL would keep it; SQLite makes NULL of NaN by itself."""
    return InvalidInput(f"{value} is not a number that can be kept.", cure="Leave it empty when it is unknown.")


def _check_lengths(upsert: Upsert, dialect: Dialect, rows: Sequence[Row]) -> None:
    """Refuse text that does not fit, which SQLite would keep. Most of it is one of few words."""
    for place, name in enumerate(upsert.columns):
        kept = upsert.table.c[name].type
        if isinstance(kept, ShortText):
            for word in set(map(itemgetter(place), rows)):
                kept.process_bind_param(word, dialect)


def _converted(row: Row, converters: Converters) -> Row:
    values = list(row)
    for place, convert in converters.items():
        values[place] = convert(values[place])
    return tuple(values)


_PREPARED: dict[tuple[Upsert, str], tuple[str, Converters]] = {}


def _prepared(upsert: Upsert, dialect: Dialect) -> tuple[str, Converters]:
    """The statement, made once, and what must be done to a value at which place."""
    known = _PREPARED.get((upsert, dialect.name))
    if known is None:
        known = _PREPARED[upsert, dialect.name] = (_statement(upsert, dialect), _converters(upsert, dialect))
    return known


def _converters(upsert: Upsert, dialect: Dialect) -> Converters:
    """What SQLAlchemy would do to a value. A Choice is left to the CHECK, which every database has; text was checked."""
    found: Converters = {}
    for place, name in enumerate(upsert.columns):
        kept = upsert.table.c[name].type
        if isinstance(kept, (Choice, ShortText)):
            continue
        convert = kept.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            found[place] = convert
    return found


def _statement(upsert: Upsert, dialect: Dialect) -> str:
    quoted = dialect.identifier_preparer.quote
    names = ", ".join(map(quoted, upsert.columns))
    if dialect.name in ("sqlite", "postgresql"):
        marks = ", ".join(["?" if dialect.name == "sqlite" else "%s"] * len(upsert.columns))
        return f"{_insert(upsert, names)} VALUES ({marks}) {_on_conflict(upsert, quoted)}"
    same = quoted(upsert.key[0])  # set to itself: INSERT IGNORE would hide other faults as well
    changed = [_change_on_mysql(upsert, quoted(name), quoted) for name in upsert.changed]
    changes = f"{same} = {same}" if upsert.once else ", ".join(changed)
    return f"{_insert(upsert, names)} VALUES () ON DUPLICATE KEY UPDATE {changes}"


def _insert(upsert: Upsert, names: str) -> str:
    return f"INSERT INTO {upsert.table.name} ({names})"


def _on_conflict(upsert: Upsert, quoted: Callable[[str], str]) -> str:
    table = quoted(upsert.table.name)
    if upsert.once:
        return f"ON CONFLICT ({', '.join(map(quoted, upsert.key))}) DO NOTHING"

    def value(column: str) -> str:
        return f"COALESCE(excluded.{column}, {table}.{column})" if upsert.keeps else f"excluded.{column}"

    changes = ", ".join(f"{quoted(name)} = {value(quoted(name))}" for name in upsert.changed)
    unless = ""
    if upsert.yields:
        column, word = quoted(upsert.yields[0]), upsert.yields[1]
        unless = f" WHERE excluded.{column} <> '{word}' OR {table}.{column} = '{word}'"
    return f"ON CONFLICT ({', '.join(map(quoted, upsert.key))}) DO UPDATE SET {changes}{unless}"


def _change_on_mysql(upsert: Upsert, column: str, quoted: Callable[[str], str]) -> str:
    value = f"COALESCE(VALUES({column}), {column})" if upsert.keeps else f"VALUES({column})"
    if not upsert.yields:
        return f"{column} = {value}"
    decides, word = quoted(upsert.yields[0]), upsert.yields[1]
    wins = f"VALUES({decides}) <> '{word}' OR {decides} = '{word}'"
    return f"{column} = IF({wins}, {value}, {column})"
