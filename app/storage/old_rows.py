"""How old rows are, and deleting what is past its time. Rows of the market have their times in ms, by the market's clock."""

from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.sql.elements import ColumnElement

from app.storage.tables import metadata

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
    oldest = select(rows.c.id).where(rows.c[since] < before, *_those(table, timeframe, source))
    # In two statements: MySQL knows no LIMIT in a subquery.
    ids = list(db.execute(oldest.order_by(rows.c[since]).limit(limit)).scalars())
    return db.execute(delete(rows).where(rows.c.id.in_(ids))).rowcount if ids else 0


def oldest_minute(db: Connection, table: str) -> int | None:
    """When the oldest stored minute opened, of what was collected here."""
    rows = metadata.tables[table]
    found = [
        db.execute(select(func.min(rows.c.open_time)).where(*_those(table, "1m", source))).scalar()
        for source in _collected(table)
    ]
    return min((each for each in found if each is not None), default=None)


def newest_minute(db: Connection) -> int | None:
    """When the newest stored minute opened: the market's time, as far as it is written down."""
    found = []
    for table in _MARKET:
        newest = select(func.max(metadata.tables[table].c.open_time))
        found += [db.execute(newest.where(*_those(table, "1m", source))).scalar() for source in _collected(table)]
    return max((each for each in found if each is not None), default=None)


def _collected(table: str) -> tuple[str | None, ...]:
    """Where rows come from. What a person imported says nothing of what was collected."""
    return ("stream", "rest") if table == "klines" else (None,)


def _those(table: str, timeframe: str | None, source: str | None) -> list[ColumnElement[bool]]:
    rows = metadata.tables[table]
    wanted = {"timeframe": timeframe, "source": source}
    return [rows.c[name] == value for name, value in wanted.items() if value is not None]
