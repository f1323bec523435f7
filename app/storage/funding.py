"""Funding rates that were settled. They are kept for ever: a backtest pays them."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy import Connection, select

from app.storage.bulk import Upsert, upsert_rows
from app.storage.spans import MOST
from app.storage.tables import funding_rates


@dataclass(frozen=True, slots=True)
class FundingRow:
    """One row of ``funding_rates``. ``rate`` is a share, 0.0001 for 0.01 %."""

    pair_id: int
    time_ms: int
    rate: float
    mark_price: float | None = None


_FIELDS = ("pair_id", "time_ms", "rate", "mark_price")
_COLUMNS = [funding_rates.c[name] for name in _FIELDS]
_UPSERT = Upsert(funding_rates, _FIELDS, ("pair_id", "time_ms"))
_VALUES = attrgetter(*_FIELDS)


def store(db: Connection, rows: Iterable[FundingRow]) -> int:
    """Write rates; how many were new or changed. A rate without a mark price does not take a known one away."""
    wanted = {(row.pair_id, row.time_ms): row for row in rows}
    times: dict[int, list[int]] = {}
    for pair_id, time_ms in wanted:
        times.setdefault(pair_id, []).append(time_ms)
    mine = funding_rates.c
    for pair_id, those in times.items():
        query = select(*_COLUMNS).where(mine.pair_id == pair_id, mine.time_ms.between(min(those), max(those)))
        for stored in (FundingRow(*row) for row in db.execute(query)):
            new = wanted.get((pair_id, stored.time_ms))
            if new is not None and new.rate == stored.rate and new.mark_price in (None, stored.mark_price):
                del wanted[pair_id, stored.time_ms]
    upsert_rows(db, _UPSERT, [_VALUES(row) for row in wanted.values()])
    return len(wanted)


def read(
    db: Connection, pair_id: int, *, since_ms: int | None = None, until_ms: int | None = None, limit: int = MOST
) -> list[FundingRow]:
    """Oldest first, from ``since_ms`` on and before ``until_ms``; without ``since_ms``, the newest ones."""
    mine = funding_rates.c
    query = select(*_COLUMNS).where(mine.pair_id == pair_id).limit(limit)
    if until_ms is not None:
        query = query.where(mine.time_ms < until_ms)
    if since_ms is not None:
        return [FundingRow(*row) for row in db.execute(query.where(mine.time_ms >= since_ms).order_by(mine.time_ms))]
    return [FundingRow(*row) for row in db.execute(query.order_by(mine.time_ms.desc()))][::-1]


def newest(db: Connection, pair_id: int) -> FundingRow | None:
    """The last one."""
    found = read(db, pair_id, limit=1)
    return found[0] if found else None
