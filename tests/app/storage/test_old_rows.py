"""Deleting what is past its time."""

from sqlalchemy import Engine, select

from app.storage import audit, klines, old_rows
from app.storage.database import reading, transaction
from app.storage.klines import Kline
from app.storage.tables import audit_log
from tests.builders import later


def test_the_oldest_go_first_and_never_more_than_the_limit(engine: Engine):
    with transaction(engine) as db:
        for n in range(10):
            audit.record(db, now=later(n), actor="a", action="b", subject=str(n))
    gone = []
    for _ in range(4):
        with transaction(engine) as db:
            gone.append(old_rows.delete_batch(db, "audit_log", since="at", before=later(7), limit=3).rows)
    with reading(engine) as db:
        left = list(db.execute(select(audit_log.c.subject).order_by(audit_log.c.id)).scalars())

    assert gone == [3, 3, 1, 0]
    assert left == ["7", "8", "9"]


def test_a_batch_may_begin_where_the_last_one_ended(engine: Engine):
    rows = [Kline(1, "1m", minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0, source="stream") for minute in range(6)]
    before = {"since": "open_time", "before": 5 * 60_000, "timeframe": "1m", "source": "stream"}
    with transaction(engine) as db:
        klines.store(db, rows)
        first = old_rows.delete_batch(db, "klines", limit=2, **before)
        second = old_rows.delete_batch(db, "klines", limit=2, at_least=first.until, **before)
        beyond = old_rows.delete_batch(db, "klines", limit=2, at_least=5 * 60_000, **before)

    assert (first, second, beyond) == ((2, 60_000), (2, 180_000), (0, None))
    with reading(engine) as db:
        assert [row.open_time for row in klines.read(db, 1, "1m")] == [240_000, 300_000]
