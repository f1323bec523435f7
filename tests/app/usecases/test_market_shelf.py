"""What collectors know of what is stored: symbols, the minute that was begun, open interest, and a database that is away."""

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine

from app.domain.market.timeframes import MINUTE_MS
from app.domain.orderflow.open_interest import KEPT_MS
from app.errors import Unavailable
from app.exchanges.exchange import Instrument
from app.storage import flow, open_interest, symbols
from app.storage.database import open_engine, transaction
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


def test_a_database_that_is_away_is_said_to_be_so():
    engine = open_engine("sqlite:////nowhere/at/all.db")
    shelf = Shelf(engine, lambda: NOW)
    with pytest.raises(Unavailable):
        run(shelf.active_symbols())
    shelf.close()
    engine.dispose()
