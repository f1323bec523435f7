"""What was refused, and why."""

from sqlalchemy import Engine

from app.storage import refused
from app.storage.database import reading, transaction
from app.storage.refused import RefusedMessage
from tests.builders import later


def message(place: int, reason: str = "crossed", detail: str | None = None) -> RefusedMessage:
    return RefusedMessage(later(place), "binance", "depth", reason, "BTC/USDT", detail)


def store(engine: Engine, *rows: RefusedMessage) -> int:
    with transaction(engine) as db:
        return refused.store(db, rows)


def test_the_newest_are_shown_first_and_by_reason(engine: Engine):
    rows = [message(0), message(1, "no number", '{"p":"NaN"}'), message(2)]
    store(engine, *rows)
    with reading(engine) as db:
        assert refused.recent(db, 2) == [rows[2], rows[1]]
        assert refused.recent(db, 9, reason="no number") == [rows[1]]


def test_an_exchange_gone_mad_does_not_fill_the_disk(engine: Engine):
    assert store(engine, *(message(0, detail="x" * 9_000) for _ in range(refused.MOST_AT_ONCE + 5))) == 500
    with reading(engine) as db:
        (one,) = refused.recent(db, 1)

    assert one.detail == "x" * refused.DETAIL_LENGTH


def test_nothing_refused_is_nothing_written(engine: Engine):
    assert store(engine) == 0
    with reading(engine) as db:
        assert refused.recent(db, 1) == []
