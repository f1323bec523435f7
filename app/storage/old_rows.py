"""How old rows are, and deleting what is past its time. Rows of the market have their times in ms, by the market's clock.

What a person replayed is of long ago: it tells no time, and it stays until a person removes it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.sql.elements import ColumnElement

from app.domain.market.venue import REPLAY
from app.storage.tables import exchanges, metadata, trading_pairs

_MARKET = ("klines", "trade_flow", "tickers")


class Gone(NamedTuple):
    """How many rows were deleted, and the moment of the last of them."""

    rows: int
    until: Any


def delete_batch(
    db: Connection,
    table: str,
    *,
    since: str,
    before: datetime | int,
    limit: int,
    timeframe: str | None = None,
    source: str | None = None,
    at_least: int | None = None,
) -> Gone:
    """Delete the oldest rows, at most ``limit``, whose moment ``since`` lies before; how many there were.

    Where the last batch ended may be said by ``at_least``. An index of PostgreSQL or InnoDB begins with all that was deleted a
    moment ago, as long as any snapshot is open, and each batch would else walk over it.
    """
    rows = metadata.tables[table]
    oldest = select(rows.c.id, rows.c[since]).where(rows.c[since] < before, *_those(db, table, timeframe, source))
    if at_least is not None:
        oldest = oldest.where(rows.c[since] >= at_least)
    # In two statements: MySQL knows no LIMIT in a subquery.
    found = db.execute(oldest.order_by(rows.c[since]).limit(limit)).all()
    if not found:
        return Gone(0, None)
    gone = db.execute(delete(rows).where(rows.c.id.in_([row[0] for row in found]))).rowcount
    return Gone(gone, found[-1][1])


def oldest_minute(db: Connection, table: str) -> int | None:
    """When the oldest stored minute opened, of what was collected here."""
    return min(_ends(db, table, newest=False), default=None)


def newest_minute(db: Connection) -> int | None:
    """When the newest stored minute opened: the market's time, as far as it is written down."""
    return max((each for table in _MARKET for each in _ends(db, table, newest=True)), default=None)


def _ends(db: Connection, table: str, *, newest: bool) -> Iterator[int]:
    """The first or the last minute from each source, by one look along the index."""
    opened = metadata.tables[table].c.open_time
    for source in _collected(table):
        query = select(opened).where(*_those(db, table, "1m", source))
        found = db.execute(query.order_by(opened.desc() if newest else opened).limit(1)).scalar()
        if found is not None:
            yield found


def _collected(table: str) -> tuple[str | None, ...]:
    """Where rows come from. What a person imported says nothing of what was collected."""
    return ("stream", "rest") if table == "klines" else (None,)


def _those(db: Connection, table: str, timeframe: str | None, source: str | None) -> list[ColumnElement[bool]]:
    rows = metadata.tables[table]
    wanted = {"timeframe": timeframe, "source": source}
    those = [rows.c[name] == value for name, value in wanted.items() if value is not None]
    if "pair_id" in rows.c and (replayed := _replayed(db)):
        those.append(rows.c.pair_id.not_in(replayed))
    return those


def _replayed(db: Connection) -> list[int]:
    query = select(trading_pairs.c.id).join(exchanges).where(exchanges.c.name.startswith(REPLAY))
    return list(db.execute(query).scalars())
