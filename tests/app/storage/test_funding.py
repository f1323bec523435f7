"""Funding rates that were settled."""

from sqlalchemy import Engine

from app.storage import funding
from app.storage.database import reading, transaction
from app.storage.funding import FundingRow

HOUR = 3_600_000


def store(engine: Engine, *rows: FundingRow) -> int:
    with transaction(engine) as db:
        return funding.store(db, rows)


def test_rates_are_read_oldest_first(engine: Engine):
    rows = [FundingRow(1, 8 * HOUR * place, 0.0001 * place, 45_000.5 if place else None) for place in range(4)]

    assert store(engine, *reversed(rows)) == 4
    with reading(engine) as db:
        assert funding.read(db, 1) == rows
        assert funding.read(db, 1, limit=1) == rows[-1:]
        assert funding.read(db, 1, since_ms=8 * HOUR, until_ms=24 * HOUR) == rows[1:3]
        assert funding.newest(db, 1) == rows[-1]
        assert funding.newest(db, 2) is None


def test_the_same_rates_again_change_nothing(engine: Engine):
    store(engine, FundingRow(1, 0, 0.0001, 45_000.5), FundingRow(2, 0, 0.0002))

    assert store(engine, FundingRow(1, 0, 0.0001), FundingRow(2, 0, 0.0002)) == 0
    assert store(engine, FundingRow(1, 0, 0.0003, 45_000.5), FundingRow(2, 0, 0.0002, 2_500.0)) == 2
    with reading(engine) as db:
        assert funding.read(db, 1) == [FundingRow(1, 0, 0.0003, 45_000.5)]
        assert funding.read(db, 2) == [FundingRow(2, 0, 0.0002, 2_500.0)]
