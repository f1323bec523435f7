"""Writing what was harvested: all in one transaction, higher candles as they end, and no row that holds up the others."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from app.domain.market.timeframes import MINUTE_MS
from app.errors import Unavailable
from app.exchanges.exchange import Instrument
from app.storage import klines, pairs, tickers
from app.storage.database import open_engine, reading, transaction
from app.storage.refused import RefusedMessage
from app.storage.tickers import TickerRow
from app.usecases.harvest import Harvest, kline
from app.usecases.write_market import Written, write, write_what_can_be
from tests.app.usecases.market_values import EXCHANGE, NOON_MS, SYMBOL, candle

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def pair(engine: Engine) -> int:
    with transaction(engine) as db:
        return pairs.ensure_pairs(db, EXCHANGE, [Instrument(SYMBOL, "BTC", "USDT", "USDT")], NOW)[SYMBOL]


def minutes(pair_id: int, count: int, *, without: int | None = None) -> Harvest:
    """Candles from noon on, each a little higher than the one before."""
    rows = [
        kline(pair_id, candle(NOON_MS + number * MINUTE_MS, open=100.0 + number, high=102.0 + number), "stream", ())
        for number in range(count)
        if number != without
    ]
    return Harvest(klines={(row.pair_id, row.timeframe, row.open_time): row for row in rows})


def ticker(pair_id: int, minute: int, price: float) -> TickerRow:
    return TickerRow(pair_id, "1m", NOON_MS + minute * MINUTE_MS, price=price)


def test_candles_that_end_an_hour_make_all_that_it_ends_and_nothing_twice(engine: Engine):
    pair_id = pair(engine)
    written = write(engine, minutes(pair_id, 60), NOW)
    again = write(engine, minutes(pair_id, 60), NOW)

    with reading(engine) as db:
        [hour] = klines.read(db, pair_id, "1h")
        counts = [klines.count(db, pair_id, timeframe) for timeframe in ("1m", "5m", "15m", "1h", "4h")]
    assert counts == [60, 12, 4, 1, 0]
    assert (hour.open, hour.high, hour.low, hour.volume, hour.trades, hour.source) == (
        100.0, 161.0, 99.0, 600.0, 300, "rollup",
    )  # fmt: skip
    assert (written.rows["klines"], len(written.rolled)) == (77, 17)
    assert (again.rows, again.rolled) == ({}, [])


def test_what_has_a_hole_is_not_rolled_up_until_the_hole_is_filled(sqlite_engine: Engine):
    pair_id = pair(sqlite_engine)
    holed = write(sqlite_engine, minutes(pair_id, 5, without=2), NOW)
    late = minutes(pair_id, 5)
    write(sqlite_engine, late, NOW)

    assert holed.rolled == []
    with reading(sqlite_engine) as db:
        assert klines.count(db, pair_id, "1m") == 5


def test_what_one_minute_does_not_know_the_whole_does_not_know(sqlite_engine: Engine):
    pair_id = pair(sqlite_engine)
    harvest = minutes(pair_id, 5)
    key = (pair_id, "1m", NOON_MS + MINUTE_MS)
    harvest.klines[key] = replace(harvest.klines[key], taker_buy_volume=None)

    [made] = write(sqlite_engine, harvest, NOW).rolled
    assert (made.taker_buy_volume, made.volume) == (None, 50.0)


@pytest.mark.parametrize("broken", [10**30, None])
def test_a_row_that_the_database_will_not_have_goes_alone(engine: Engine, broken: int | None):
    pair_id = pair(engine)
    harvest = minutes(pair_id, 7)
    rows = [ticker(pair_id, minute, 100.0) for minute in range(9)]
    rows[4] = replace(rows[4], trades_count=broken) if broken else replace(rows[4], price=math.inf)
    harvest.tickers = {(row.pair_id, row.timeframe, row.open_time): row for row in rows}
    harvest.refuse(RefusedMessage(NOW, EXCHANGE, "trades", "price", SYMBOL, "-5"))

    written: Written = write_what_can_be(engine, harvest, NOW)

    with reading(engine) as db:
        kept = [row.open_time for row in tickers.read(db, pair_id, "1m")]
        assert klines.count(db, pair_id, "1m") == 7
    if written.refused:  # SQLite keeps an infinite number
        assert (written.refused, len(kept)) == (1, 8)
        assert NOON_MS + 4 * MINUTE_MS not in kept
        assert written.why
    assert (written.rows["tickers"], written.rows["refused_messages"]) == (len(kept), 1)


def test_a_database_that_is_away_is_not_taken_for_rows_that_it_will_not_have():
    engine = open_engine("sqlite:////nowhere/at/all.db")
    with pytest.raises(Unavailable):
        write_what_can_be(engine, minutes(1, 3), NOW)
    engine.dispose()
