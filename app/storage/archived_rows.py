"""Rows on their way into an archive and back. With a row go those of other tables that belong to it: a trade takes its fills."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select

from app.storage import row_text
from app.storage.insert import insert_where_absent, pass_the_ids
from app.storage.tables import metadata, strategy_judgments, symbols

PAGE = 500


class Due(NamedTuple):
    """A row that may go."""

    id: int
    moment: datetime


class PutBack(NamedTuple):
    """What became of rows that were to come back: how many did, and how many could not, for another row has their place."""

    rows: int
    refused: int


def newest_close(db: Connection) -> datetime | None:
    """The newest close that was judged: the time of the market, as far as the strategies have come."""
    return db.execute(select(func.max(strategy_judgments.c.created_at))).scalar()


def due(db: Connection, table: str, *, since: str, found_by: str, before: datetime, limit: int) -> list[Due]:
    """The oldest rows whose moment ``since`` lies before, at most ``limit`` of them."""
    rows = metadata.tables[table]
    along = rows.c[found_by or since]
    query = select(rows.c.id, rows.c[since]).where(along < before, rows.c[since] < before)
    return [Due(*row) for row in db.execute(query.order_by(along, rows.c.id).limit(limit))]


def parts_of(table: str) -> list[Table]:
    """The tables whose rows belong to rows of this one."""
    return [
        other
        for other in metadata.sorted_tables
        if any(key.column.table.name == table and key.column.name == "id" for key in other.foreign_keys)
    ]


def columns_of_parts(table: str) -> dict[str, list[str]]:
    """Their columns."""
    return {str(part.name): row_text.names(part) for part in parts_of(table)}


def lines(db: Connection, table: str, ids: Sequence[int]) -> Iterator[bytes]:
    """These rows, each with what belongs to it, as lines of an archive, in the order of their ids."""
    rows = metadata.tables[table]
    ids = sorted(ids)
    for begin in range(0, len(ids), PAGE):
        page = ids[begin : begin + PAGE]
        found = db.execute(select(*rows.columns).where(rows.c.id.in_(page)).order_by(rows.c.id)).all()
        belonging = [_belonging(db, part, table, page) for part in parts_of(table)]
        for row in found:
            yield row_text.to_line([*row, *(parts.get(row.id, []) for parts in belonging)])


def remove(db: Connection, table: str, ids: Sequence[int], *, most: int) -> tuple[list[int], int]:
    """Delete as many of these rows, from the first on, as come to ``most`` with what belongs to them; at least one.

    Which are left, and how many rows of all tables went.
    """
    parts = parts_of(table)
    going = list(ids[:most])
    if parts:
        going = _as_many_as_fit(db, table, parts, going, most)
    gone = sum(db.execute(delete(part).where(_owner(part, table).in_(going))).rowcount for part in parts)
    rows = metadata.tables[table]
    gone += db.execute(delete(rows).where(rows.c.id.in_(going))).rowcount
    return list(ids[len(going) :]), gone


def put_back(
    db: Connection, table: str, columns: Sequence[str], parts: Mapping[str, Sequence[str]], values: Sequence[list[Any]]
) -> PutBack:
    """Insert rows of an archive with the ids that they had. What is there stays as it is."""
    target = metadata.tables[table]
    reader = row_text.Reader(target, columns)
    kind = db.dialect.name
    rows = {row["id"]: row for row in (reader.row(row_text.fitting(each[: len(columns)], kind)) for each in values)}
    there = {row.id: row for row in db.execute(select(*target.columns).where(target.c.id.in_(rows)))}
    absent = {key: row for key, row in rows.items() if key not in there}
    _list_symbols(db, absent.values())
    insert_where_absent(db, target, list(absent.values()))
    came = set(db.execute(select(target.c.id).where(target.c.id.in_(list(absent)))).scalars())
    for place, (name, its_columns) in enumerate(parts.items(), start=len(columns)):
        part = metadata.tables[name]
        part_reader = row_text.Reader(part, its_columns)
        theirs = [
            part_reader.row(row_text.fitting(each, kind))
            for row in values
            if row[columns.index("id")] in came
            for each in row[place]
        ]
        insert_where_absent(db, part, theirs)
        pass_the_ids(db, part)
    pass_the_ids(db, target)
    others = sum(any(getattr(row, name) != value for name, value in rows[key].items()) for key, row in there.items())
    return PutBack(len(came), others + len(absent) - len(came))


def _list_symbols(db: Connection, rows: Any) -> None:
    """In another database a row's symbol may not be listed: it then is, and stands still."""
    needed = {row["symbol"] for row in rows if "symbol" in row}
    known = set(db.execute(select(symbols.c.symbol).where(symbols.c.symbol.in_(needed))).scalars())
    insert_where_absent(db, symbols, [{"symbol": name, "status": "INACTIVE"} for name in sorted(needed - known)])


def _owner(part: Table, table: str) -> Any:
    return next(key.parent for key in part.foreign_keys if key.column.table.name == table)


def _belonging(db: Connection, part: Table, table: str, ids: Sequence[int]) -> dict[int, list[list[Any]]]:
    owner = _owner(part, table)
    found = db.execute(select(owner.label("whose"), *part.columns).where(owner.in_(ids)).order_by(owner, part.c.id))
    return {whose: [list(row[1:]) for row in rows] for whose, rows in groupby(found, key=itemgetter(0))}


def _as_many_as_fit(db: Connection, table: str, parts: Sequence[Table], ids: list[int], most: int) -> list[int]:
    belonging: dict[int, int] = {}
    for part in parts:
        owner = _owner(part, table)
        counted = select(owner, func.count()).where(owner.in_(ids)).group_by(owner)
        for whose, count in db.execute(counted):
            belonging[whose] = belonging.get(whose, 0) + count
    total = 0
    for place, one in enumerate(ids):
        total += 1 + belonging.get(one, 0)
        if total > most and place:
            return ids[:place]
    return ids
