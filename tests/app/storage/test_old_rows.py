"""Deleting what is past its time."""

from sqlalchemy import Engine, select

from app.storage import audit, old_rows
from app.storage.database import reading, transaction
from app.storage.tables import audit_log
from tests.builders import later


def test_the_oldest_go_first_and_never_more_than_the_limit(engine: Engine):
    with transaction(engine) as db:
        for n in range(10):
            audit.record(db, now=later(n), actor="a", action="b", subject=str(n))
    gone = []
    for _ in range(4):
        with transaction(engine) as db:
            gone.append(old_rows.delete_batch(db, "audit_log", since="at", before=later(7), limit=3))
    with reading(engine) as db:
        left = list(db.execute(select(audit_log.c.subject).order_by(audit_log.c.id)).scalars())

    assert gone == [3, 3, 1, 0]
    assert left == ["7", "8", "9"]
