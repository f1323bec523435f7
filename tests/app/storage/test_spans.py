"""Flow, tickers, depth and open interest are kept alike: one contract for the four."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert

from app.storage import depths, flow, open_interest, tickers
from app.storage.database import reading, transaction
from app.storage.tables import exchanges, trading_pairs

MINUTE = 60_000
START = 1_763_000_040_000
NOTHING = dict.fromkeys(("open", "high", "low", "close", "buy_volume", "sell_volume", "buy_quote", "sell_quote"))
FEW = {**NOTHING, "trades": None, "largest_quote": None, "first_id": None, "last_id": None}

every_kind = pytest.mark.parametrize(
    ("module", "row", "values"),
    [
        (flow, flow.Flow, {**FEW, "buy_volume": 1.5, "trades": 3, "first_id": 2**40, "status": "gap"}),
        (tickers, tickers.TickerRow, {"price": 1.5, "trades_count": 2**33, "next_funding_time": START}),
        (depths, depths.DepthRow, {"status": "ok", "bid": 1.5, "bid_levels": 1000, "imbalance": -0.25}),
        (open_interest, open_interest.OpenInterestRow, {"quantity": 1.5, "change_percent": -0.125}),
    ],
    ids=lambda value: value.__name__.rpartition(".")[2] if isinstance(value, ModuleType) else "",
)


def write(engine: Engine, module: Any, *rows: Any) -> None:
    with transaction(engine) as db:
        module.store(db, rows)


@pytest.fixture
def two_pairs(engine: Engine) -> None:
    pairs = [{"id": n, "exchange_id": 1, "symbol": str(n), "base_currency": "A", "quote_currency": "B"} for n in (1, 2)]
    with transaction(engine) as db:
        db.execute(insert(exchanges).values(id=1, name="binance", display_name="Binance"))
        db.execute(insert(trading_pairs), pairs)


@every_kind
@pytest.mark.usefixtures("two_pairs")
def test_rows_come_back_as_they_went_in(engine: Engine, module: Any, row: Any, values: dict[str, Any]):
    minutes = [row(1, "1m", START + place * MINUTE, **values) for place in range(4)]
    hour = row(1, "1h", START - START % (60 * MINUTE), **values)
    other = row(2, "1m", START, **values)
    write(engine, module, *minutes, hour, other)

    with reading(engine) as db:
        assert module.read(db, 1, "1m") == minutes
        assert module.read(db, 1, "1h") == [hour]
        assert module.read(db, 1, "1m", limit=2) == minutes[-2:]
        assert module.read(db, 1, "1m", since_ms=START + MINUTE, until_ms=START + 3 * MINUTE) == minutes[1:3]
        assert module.newest(db, 1, "1m") == minutes[-1]
        assert module.newest(db, 3, "1m") is None
        assert list(module.between(db, "1m", START, START + 2 * MINUTE)) == [(1, minutes[:2]), (2, [other])]


@pytest.mark.usefixtures("two_pairs")
def test_the_newest_of_each_pair(engine: Engine):
    rows = [tickers.TickerRow(pair_id, "1m", START + minute * MINUTE) for pair_id, minute in ((1, 0), (1, 7), (2, 3))]
    write(engine, tickers, *rows, tickers.TickerRow(1, "1h", START + 9 * MINUTE))

    with reading(engine) as db:
        assert tickers.latest(db, "1m") == {1: rows[1], 2: rows[2]}
        assert tickers.latest(db, "1m", pair_ids=[2, 3]) == {2: rows[2]}
        assert tickers.latest(db, "1m", pair_ids=[]) == {}


def test_the_newest_of_each_pair_costs_one_look_for_each_however_many_rows_it_has(sqlite_engine: Engine):
    """Once it compared the times of all rows of a pair: two seconds for 500 pairs of a day."""
    asked: list[str] = []
    event.listen(sqlite_engine, "before_cursor_execute", lambda *now: asked.append(now[2]))
    with reading(sqlite_engine) as db:
        flow.latest(db, "1m")
        plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1]}", ("1m", 1, 0))]

    assert plan[0].startswith("SCAN trading_pairs")
    assert plan[1].endswith("USING INTEGER PRIMARY KEY (rowid=?)")


@every_kind
def test_the_present_minute_is_written_again_and_again(engine: Engine, module: Any, row: Any, values: dict[str, Any]):
    last = next(name for name, value in reversed(values.items()) if isinstance(value, float))
    first, second = row(1, "1m", START, **values), row(1, "1m", START, **values | {last: 7.75})
    write(engine, module, first)
    write(engine, module, second)

    with reading(engine) as db:
        assert module.read(db, 1, "1m") == [second]


def test_a_ticker_keeps_what_a_process_that_began_in_its_minute_has_not_heard_yet(engine: Engine):
    before = tickers.TickerRow(1, "1m", START, price=1.5, volume_24h=9.0, funding_rate=0.0001)
    write(engine, tickers, before)
    write(engine, tickers, tickers.TickerRow(1, "1m", START, price=1.75, bid=1.7))

    with reading(engine) as db:
        assert tickers.read(db, 1, "1m") == [replace(before, price=1.75, bid=1.7)]


def some_flow(minute: int, buy: float, sell: float, status: str = "ok") -> flow.Flow:
    values = FEW | {"buy_volume": buy, "sell_volume": sell}
    return flow.Flow(1, "1m", START + minute * MINUTE, **values, status=status)  # type: ignore[arg-type]


def test_cvd_gets_each_minute_with_its_status(engine: Engine):
    write(engine, flow, some_flow(0, 1.0, 2.0), some_flow(1, 5.0, 0.5, "gap"), some_flow(3, 1.0, 1.0))

    with reading(engine) as db:
        inputs = flow.cvd_inputs(db, 1, since_ms=START, until_ms=START + 3 * MINUTE)
        every = flow.cvd_inputs(db, 1, since_ms=START)
        sums = flow.sums(db, since_ms=START, until_ms=START + 3 * MINUTE)

    assert inputs == [(START, 1.0, 2.0, "ok"), (START + MINUTE, 5.0, 0.5, "gap")]
    assert len(every) == 3
    assert sums == {1: (6.0, 2.5, 2, 1)}
