"""How old rows are, and deleting what is past its time. Rows of the market have their times in ms, by the market's clock.

What a person replayed is of long ago: it tells no time, and it stays until a person removes it.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.sql.elements import ColumnElement

from app.domain.market.venue import REPLAY
from app.storage.tables import exchanges, metadata, trading_pairs

_MARKET = ("klines", "trade_flow", "tickers")


def delete_batch(
    db: Connection,
    table: str,
    *,
    since: str,
    before: datetime | int,
    limit: int,
    timeframe: str | None = None,
    source: str | None = None,
) -> int:
    """Delete the oldest rows, at most ``limit``, whose moment ``since`` lies before; how many there were."""
    rows = metadata.tables[table]
    oldest = select(rows.c.id).where(rows.c[since] < before, *_those(db, table, timeframe, source))
    # In two statements: MySQL knows no LIMIT in a subquery.
    ids = list(db.execute(oldest.order_by(rows.c[since]).limit(limit)).scalars())
    return db.execute(delete(rows).where(rows.c.id.in_(ids))).rowcount if ids else 0


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
