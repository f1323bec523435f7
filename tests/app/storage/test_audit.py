"""Traces of changes."""

import pytest
from sqlalchemy import Engine

from app.storage import audit
from app.storage.database import reading, transaction
from tests.builders import NOW, later


@pytest.mark.parametrize("value", [None, 3, "text", {"a": [1, None]}, [], False])
def test_a_trace_says_who_changed_what_from_what_to_what(engine: Engine, value: object):
    with transaction(engine) as db:
        audit.record(db, now=NOW, actor="anna", action="set", subject="x", before=value, after={"b": 1}, trace_id="t")
    with reading(engine) as db:
        (row,) = audit.recent(db, 10)

    assert (row.at, row.actor, row.action, row.subject, row.trace_id) == (NOW, "anna", "set", "x", "t")
    assert (row.before, row.after) == (value, {"b": 1})


def test_the_newest_traces_come_first(engine: Engine):
    with transaction(engine) as db:
        for n in range(3):
            audit.record(db, now=later(n), actor="anna", action="set", subject=str(n))
    with reading(engine) as db:
        assert [row.subject for row in audit.recent(db, 2)] == ["2", "1"]
