"""What collectors know of what is stored: symbols, the minute that was begun, open interest, and a database that is away."""

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, event

from app.domain.market.timeframes import MINUTE_MS
from app.domain.orderflow.open_interest import KEPT_MS
from app.errors import Unavailable
from app.exchanges.exchange import Instrument
from app.storage import flow, open_interest, pairs, symbols
from app.storage.database import open_engine, reading, transaction
from app.storage.flow import Flow
from app.storage.open_interest import OpenInterestRow
from app.usecases.market_shelf import Shelf
from tests.app.usecases.market_values import EXCHANGE, NOON_MS, SYMBOL

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ETH = "ETH/USDT:USDT"
BOTH = [Instrument(SYMBOL, "BTC", "USDT", "USDT"), Instrument(ETH, "ETH", "USDT", "USDT")]
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def shelf(engine: Engine) -> Iterator[Shelf]:
    shelf = Shelf(engine, lambda: NOW)
    yield shelf
    shelf.close()


def test_nothing_said_is_not_the_same_as_nothing_wanted(shelf: Shelf, engine: Engine):
    before = run(shelf.active_symbols())
    run(shelf.add_symbols([SYMBOL, ETH]))
    run(shelf.add_symbols([SYMBOL]))
    both = run(shelf.active_symbols())
    with transaction(engine) as db:
        symbols.change(db, SYMBOL, status="INACTIVE", now=NOW)
        symbols.change(db, ETH, status="INACTIVE", now=NOW)

    assert (before, both, run(shelf.active_symbols())) == (None, [SYMBOL, ETH], [])


def test_symbols_are_read_in_the_form_inside_and_what_is_none_is_passed_over(shelf: Shelf, engine: Engine):
    with transaction(engine) as db:
        for name in ("BTCUSDT", SYMBOL, "?"):
            symbols.add(db, name, now=NOW)

    assert run(shelf.active_symbols()) == [SYMBOL]


def test_what_the_process_before_left_is_remembered_however_long_ago_it_was(shelf: Shelf, engine: Engine):
    ids = run(shelf.remember(EXCHANGE, BOTH, NOON_MS)).pair_ids
    with transaction(engine) as db:
        values = (1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 3, 1.0, 1, 3)
        flow.store(db, [Flow(ids[SYMBOL], "1m", NOON_MS - minute * MINUTE_MS, *values) for minute in (900, 800)])
        open_interest.store(
            db,
            [
                OpenInterestRow(ids[SYMBOL], "1m", NOON_MS - 3 * MINUTE_MS, 100.0, None, None),
                OpenInterestRow(ids[SYMBOL], "1m", NOON_MS - MINUTE_MS, 110.0, None, 10.0),
                OpenInterestRow(ids[ETH], "1m", NOON_MS - 2 * KEPT_MS, 50.0, None, None),
            ],
        )
    remembered = run(shelf.remember(EXCHANGE, BOTH, NOON_MS))

    assert remembered.pair_ids == ids
    assert {name: row.open_time for name, row in remembered.flows.items()} == {SYMBOL: NOON_MS - 800 * MINUTE_MS}
    assert remembered.interests[SYMBOL].minutes == ((NOON_MS - 3 * MINUTE_MS, 100.0), (NOON_MS - MINUTE_MS, 110.0))
    assert remembered.interests[ETH].last == (NOON_MS - 2 * KEPT_MS, 50.0)


def test_many_symbols_are_remembered_in_as_few_queries_as_one(shelf: Shelf, engine: Engine):
    asked: list[str] = []

    def count(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    many = [Instrument(f"C{number}/USDT:USDT", f"C{number}", "USDT", "USDT") for number in range(400)]
    run(shelf.remember(EXCHANGE, many, NOON_MS))
    event.listen(engine, "before_cursor_execute", count)
    run(shelf.remember(EXCHANGE, BOTH[:1], NOON_MS))
    for_one = len(asked)
    remembered = run(shelf.remember(EXCHANGE, many, NOON_MS))
    event.remove(engine, "before_cursor_execute", count)

    assert len(remembered.interests) == 400
    assert len(asked) - for_one <= for_one


def test_what_an_exchange_does_not_trade_any_more_is_not_active(shelf: Shelf, engine: Engine):
    run(shelf.remember(EXCHANGE, BOTH, NOON_MS))
    run(shelf.note_traded(EXCHANGE, [ETH]))

    with reading(engine) as db:
        assert [pair.symbol for pair in pairs.listed(db, active=True)] == [ETH]


def test_a_database_that_is_away_is_said_to_be_so():
    engine = open_engine("sqlite:////nowhere/at/all.db")
    shelf = Shelf(engine, lambda: NOW)
    with pytest.raises(Unavailable):
        run(shelf.active_symbols())
    shelf.close()
    engine.dispose()
