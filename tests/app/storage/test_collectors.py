"""Collectors: rows that a person starts and stops."""

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput, NotFound
from app.storage import audit, collectors
from app.storage.collectors import Collector, NewCollector
from app.storage.database import reading, transaction
from tests.builders import NOW, later

BINANCE = NewCollector("demo-binance", "demo-binance", "Binance, simulated", ("candles", "trades"))
OKX = NewCollector("demo-okx", "demo-okx", "OKX, simulated", ("candles",), ("BTC/USDT:USDT",))


@pytest.fixture(autouse=True)
def two(engine: Engine) -> None:
    with transaction(engine) as db:
        collectors.ensure(db, [OKX, BINANCE], NOW)


def rows(engine: Engine) -> dict[str, Collector]:
    with reading(engine) as db:
        return {row.name: row for row in collectors.listed(db)}


def test_a_new_collector_is_wanted_running(engine: Engine):
    found = rows(engine)

    assert list(found) == ["demo-binance", "demo-okx"]
    assert (found["demo-okx"].desired, found["demo-okx"].revision, found["demo-okx"].wanted_by) == (
        "running",
        0,
        "fleet",
    )
    assert (found["demo-okx"].channels, found["demo-okx"].symbols) == (["candles"], ["BTC/USDT:USDT"])
    assert (found["demo-binance"].symbols, found["demo-binance"].actual) == (None, None)


def test_a_wish_and_its_trace_are_one(engine: Engine):
    with transaction(engine) as db:
        row = collectors.wish(db, "demo-okx", "stopped", actor="anna", now=later(1), trace_id="t1")
    with reading(engine) as db:
        (trace,) = audit.recent(db, 9)

    assert (row.desired, row.revision, row.wanted_by, row.wanted_at) == ("stopped", 1, "anna", later(1))
    assert rows(engine)["demo-okx"] == row
    assert (trace.actor, trace.action, trace.subject) == ("anna", "stop_collector", "collector demo-okx")
    assert (trace.before, trace.after, trace.trace_id) == ({"desired": "running"}, {"desired": "stopped"}, "t1")


def test_making_sure_again_changes_no_wish_but_what_is_collected(engine: Engine):
    with transaction(engine) as db:
        collectors.wish(db, "demo-okx", "stopped", actor="anna", now=later(1))
        collectors.ensure(db, [NewCollector("demo-okx", "demo-okx", "OKX", ("candles", "depth"))], later(2))
    row = rows(engine)["demo-okx"]

    assert (row.desired, row.revision, row.wanted_by) == ("stopped", 1, "anna")
    assert (row.title, row.channels, row.symbols) == ("OKX", ["candles", "depth"], None)


def test_what_a_collector_really_does_is_reported(engine: Engine):
    with transaction(engine) as db:
        collectors.report(db, "demo-okx", actual="degraded", note="one of two connections", now=later(3))
    row = rows(engine)["demo-okx"]

    assert (row.actual, row.note, row.reported_at, row.revision) == ("degraded", "one of two connections", later(3), 0)


def test_a_collector_that_is_not_there_is_named_with_those_that_are(engine: Engine):
    with pytest.raises(NotFound) as caught, transaction(engine) as db:
        collectors.wish(db, "kraken", "stopped", actor="anna", now=NOW)
    with pytest.raises(NotFound), transaction(engine) as db:
        collectors.report(db, "kraken", actual="running", note=None, now=NOW)

    assert "demo-binance, demo-okx" in caught.value.cure


def test_an_unknown_wish_is_refused_without_a_trace(engine: Engine):
    with pytest.raises(InvalidInput, match="running, stopped"), transaction(engine) as db:
        collectors.wish(db, "demo-okx", "dance", actor="anna", now=NOW)  # type: ignore[arg-type]
    with reading(engine) as db:
        assert audit.recent(db, 9) == []
