"""Writing many rows at once, on every kind of database."""

import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from app.errors import InvalidInput, Unavailable
from app.storage import bulk, tables
from app.storage.bulk import Upsert, upsert_rows
from app.storage.database import reading, transaction
from tests.builders import NOW

KLINE = ("pair_id", "timeframe", "open_time", "open", "high", "low", "close", "volume", "trades", "source", "marks")
CANDLES = Upsert(tables.klines, KLINE, ("pair_id", "timeframe", "open_time"))
YIELDING = Upsert(tables.klines, KLINE, ("pair_id", "timeframe", "open_time"), yields=("source", "rollup"))


def candle(open_time: int, close: float = 1.5, *, pair_id: int = 1, source: str = "rest", marks: str | None = None):
    return (pair_id, "1m", open_time, 1.0, 2.0, 0.5, close, 10.25, None, source, marks)


def stored(engine: Engine) -> list[tuple[Any, ...]]:
    columns = [tables.klines.c[name] for name in KLINE]
    with reading(engine) as db:
        return [tuple(row) for row in db.execute(select(*columns).order_by(tables.klines.c.open_time))]


@pytest.fixture(autouse=True, params=["few", "many"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL gets few rows and many in two ways, which must come to the same."""
    monkeypatch.setattr(bulk, "FEW", 1 if request.param == "many" else 10_000)


def write(engine: Engine, rows: list[tuple[Any, ...]], how: Upsert = CANDLES) -> None:
    with transaction(engine) as db:
        upsert_rows(db, how, rows)


def test_rows_come_back_as_they_went_in(engine: Engine):
    """To the last bit of a float and the last digit of a time, and what is unknown is unknown."""
    dice = random.Random(3)
    rows = [
        candle(1_763_000_000_000 + 60_000 * place, dice.uniform(1e-9, 1e9) ** dice.choice((1, 2)), marks=odd)
        for place, odd in enumerate([None, "50% off", 'it\'s \\ "odd"', "异常 🚀", "%s ()", ""] * 20)
    ]
    write(engine, rows)

    assert stored(engine) == rows


def test_the_same_rows_twice_change_nothing(engine: Engine):
    rows = [candle(60_000 * place) for place in range(50)]
    write(engine, rows)
    write(engine, rows)

    assert stored(engine) == rows


def test_a_row_that_is_there_gets_the_new_values(engine: Engine):
    write(engine, [candle(0, 1.1), candle(60_000, 1.2, marks="jump")])
    write(engine, [candle(60_000, 1.9), candle(120_000, 2.0)])

    assert stored(engine) == [candle(0, 1.1), candle(60_000, 1.9), candle(120_000, 2.0)]


def test_of_two_in_one_batch_the_later_stays(engine: Engine):
    write(engine, [candle(0, 1.1), candle(60_000, 1.2), candle(0, 1.3)])

    assert stored(engine) == [candle(0, 1.3), candle(60_000, 1.2)]


def test_more_rows_than_fit_into_one_statement(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "CHUNK", 7)
    monkeypatch.setattr(bulk, "FEW", 10)
    rows = [candle(60_000 * place, place / 3) for place in range(50)]
    write(engine, rows)

    assert stored(engine) == rows


def test_no_rows_are_no_work(engine: Engine):
    write(engine, [])

    assert stored(engine) == []


def test_a_row_that_yields_never_takes_a_stronger_ones_place(engine: Engine):
    write(engine, [candle(0, 1.0, source="stream"), candle(60_000, 1.0, source="rollup")], YIELDING)
    write(engine, [candle(0, 9.0, source="rollup"), candle(60_000, 9.0, source="rollup")], YIELDING)
    write(engine, [candle(60_000, 5.0, source="rest")], YIELDING)
    write(engine, [candle(60_000, 9.0, source="rollup")], YIELDING)

    assert stored(engine) == [candle(0, 1.0, source="stream"), candle(60_000, 5.0, source="rest")]


@pytest.mark.parametrize("yields", [None, ("source", "rollup")])
def test_what_is_not_known_takes_nothing_away_where_that_is_wished(engine: Engine, yields: tuple[str, str] | None):
    how = Upsert(tables.klines, KLINE, CANDLES.key, yields, keeps=True)
    write(engine, [candle(0, 1.0, marks="odd"), candle(60_000, 1.0)], how)
    write(engine, [candle(0, 2.0), candle(60_000, 2.0, marks="new")], how)

    assert stored(engine) == [candle(0, 2.0, marks="odd"), candle(60_000, 2.0, marks="new")]
    write(engine, [candle(0, 2.0)], CANDLES)
    assert stored(engine)[0] == candle(0, 2.0)


def test_a_bad_word_is_refused_and_nothing_of_the_batch_is_kept(engine: Engine):
    with pytest.raises(InvalidInput, match="ck_klines_source"):
        write(engine, [candle(0), candle(60_000, source="hearsay")])

    assert stored(engine) == []


def test_what_is_no_number_never_becomes_one(engine: Engine):
    with pytest.raises(InvalidInput):
        write(engine, [candle(0, float("nan"))])


def test_moments_lists_and_truth_go_through_their_column_types(engine: Engine):
    with transaction(engine) as db:
        db.execute(insert(tables.exchanges).values(id=1, name="old", display_name="Old"))
        names = ("name", "display_name", "features", "simulated", "created_at", "updated_at")
        how = Upsert(tables.exchanges, names, ("name",))
        later = NOW + timedelta(hours=1)
        rows = [("old", "Renewed", {"a": [1, "ü"]}, True, NOW, later), ("new", "New", None, False, NOW, NOW)]
        upsert_rows(db, how, rows)
        found = db.execute(select(*(tables.exchanges.c[name] for name in names)).order_by(tables.exchanges.c.id)).all()

    assert [tuple(row) for row in found] == rows


def test_text_that_is_too_long_is_refused_everywhere(engine: Engine):
    with pytest.raises(InvalidInput, match="timeframe"):
        write(engine, [(1, "a fortnight", 0, *candle(0)[3:])])


def test_two_batches_of_one_transaction(engine: Engine):
    few = Upsert(tables.klines, KLINE[:-1], CANDLES.key)
    with transaction(engine) as db:
        upsert_rows(db, CANDLES, [candle(0, marks="odd"), candle(60_000)])
        upsert_rows(db, CANDLES, [candle(60_000, 1.75)])
        upsert_rows(db, few, [candle(0, 1.25)[:-1]])

    assert stored(engine) == [candle(0, 1.25, marks="odd"), candle(60_000, 1.75)]


def test_a_connection_that_the_server_ended_is_unavailable_and_the_next_one_serves(engine: Engine):
    if engine.dialect.name == "sqlite":
        return  # it has no server
    mysql = engine.dialect.name == "mysql"
    who, end = ("CONNECTION_ID()", "KILL {}") if mysql else ("pg_backend_pid()", "SELECT pg_terminate_backend({})")

    def write_through_it() -> None:
        with transaction(engine) as db:
            mine = db.execute(text(f"SELECT {who}")).scalar_one()
            with transaction(engine) as other:
                other.execute(text(end.format(mine)))
            upsert_rows(db, CANDLES, [candle(0), candle(60_000)])

    with pytest.raises(Unavailable):
        write_through_it()
    write(engine, [candle(0)])

    assert stored(engine) == [candle(0)]
