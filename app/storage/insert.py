"""Inserting rows: plainly, or over one that is already there, which the three databases spell differently."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text


def insert_row(db: Connection, table: Table, row: Mapping[str, Any]) -> int:
    """Insert one row; its id."""
    key = db.execute(insert(table).values(**row)).inserted_primary_key
    if key is None:  # only for statements of many rows
        raise AssertionError(f"{table.name} gave no id")
    return int(key[0])


def insert_or_update(
    db: Connection, table: Table, row: Mapping[str, Any], *, key: Sequence[str], change: Sequence[str]
) -> None:
    """Insert ``row``; when a row with the same ``key`` exists, set its ``change`` columns instead (none: leave it)."""
    changes = {name: row[name] for name in change}
    if db.dialect.name in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import insert as insert_on_mysql

        # Without changes, a column is set to itself: INSERT IGNORE would hide other faults as well.
        same = {key[0]: table.c[key[0]]}
        db.execute(insert_on_mysql(table).values(**row).on_duplicate_key_update(**(changes or same)))
        return
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_on_postgresql

        on_postgresql = insert_on_postgresql(table).values(**row)
        db.execute(
            on_postgresql.on_conflict_do_update(index_elements=list(key), set_=changes)
            if changes
            else on_postgresql.on_conflict_do_nothing(index_elements=list(key))
        )
        return
    from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite

    on_sqlite = insert_on_sqlite(table).values(**row)
    db.execute(
        on_sqlite.on_conflict_do_update(index_elements=list(key), set_=changes)
        if changes
        else on_sqlite.on_conflict_do_nothing(index_elements=list(key))
    )


def insert_where_absent(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows of the same columns. One whose id or other unique key is taken is left out."""
    if not rows:
        return
    if db.dialect.name in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import insert as insert_on_mysql

        first = next(iter(table.c))
        db.execute(insert_on_mysql(table).on_duplicate_key_update(**{first.name: first}), list(rows))
    elif db.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_on_postgresql

        db.execute(insert_on_postgresql(table).on_conflict_do_nothing(), list(rows))
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite

        db.execute(insert_on_sqlite(table).on_conflict_do_nothing(), list(rows))


def pass_the_ids(db: Connection, table: Table) -> None:
    """Let the table go on counting behind its greatest id. Only PostgreSQL does not do that by itself for ids that were given."""
    if db.dialect.name != "postgresql" or "id" not in table.c:
        return
    counter = db.execute(select(func.pg_get_serial_sequence(table.name, "id"))).scalar()
    if counter is None:
        return
    newest = db.execute(select(func.max(table.c.id))).scalar()
    reached = db.execute(text(f"SELECT last_value FROM {counter}")).scalar()  # noqa: S608 - a name that the database gave
    if newest is not None and newest > (reached or 0):
        db.execute(select(func.setval(counter, newest)))
