"""Writing what was harvested: all in one transaction, higher candles as they end, and no row that holds up the others."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from app.domain.market.timeframes import MINUTE_MS, length_ms
from app.errors import Unavailable
from app.exchanges.exchange import Instrument
from app.storage import klines, pairs, refused, tickers
from app.storage.database import open_engine, reading, transaction
from app.storage.klines import Kline
from app.storage.refused import RefusedMessage
from app.storage.tickers import TickerRow
from app.usecases import higher_candles, write_market
from app.usecases.harvest import Harvest, kline
from app.usecases.write_market import Written, write, write_what_can_be
from tests.app.usecases.market_values import EXCHANGE, NOON_MS, SYMBOL, candle
from tests.builders import count_candles

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def pair(engine: Engine) -> int:
    with transaction(engine) as db:
        return pairs.ensure_pairs(db, EXCHANGE, [Instrument(SYMBOL, "BTC", "USDT", "USDT")], NOW)[SYMBOL]


def minutes(pair_id: int, count: int, *, without: int | None = None, source: str = "stream") -> Harvest:
    """Candles from noon on, each a little higher than the one before."""
    rows = [
        kline(pair_id, candle(NOON_MS + number * MINUTE_MS, open=100.0 + number, high=102.0 + number), source, ())
        for number in range(count)
        if number != without
    ]
    return harvest_of(*rows)


def harvest_of(*rows: Kline) -> Harvest:
    return Harvest(klines={(row.pair_id, row.timeframe, row.open_time): row for row in rows})


def stored(engine: Engine, pair_id: int, timeframe: str) -> list[Kline]:
    with reading(engine) as db:
        return klines.read(db, pair_id, timeframe)


def ticker(pair_id: int, minute: int, price: float) -> TickerRow:
    return TickerRow(pair_id, "1m", NOON_MS + minute * MINUTE_MS, price=price)


def test_candles_that_end_an_hour_make_all_that_it_ends_and_nothing_twice(engine: Engine):
    pair_id = pair(engine)
    written = write(engine, minutes(pair_id, 60), NOW)
    again = write(engine, minutes(pair_id, 60), NOW)

    with reading(engine) as db:
        [hour] = klines.read(db, pair_id, "1h")
        counts = [count_candles(db, pair_id, timeframe) for timeframe in ("1m", "5m", "15m", "1h", "4h")]
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
        assert count_candles(db, pair_id, "1m") == 5


def test_a_candle_that_the_exchange_said_itself_is_not_told_anew(sqlite_engine: Engine):
    pair_id = pair(sqlite_engine)
    theirs = Kline(pair_id, "5m", NOON_MS, 1.0, 200.0, 0.5, 1.5, 50.0, source="rest")
    write(sqlite_engine, harvest_of(theirs), NOW)
    written = write(sqlite_engine, minutes(pair_id, 15), NOW)

    assert stored(sqlite_engine, pair_id, "5m")[0] == theirs
    assert [(row.timeframe, (row.open_time - NOON_MS) // MINUTE_MS) for row in written.rolled] == [
        ("15m", 0), ("5m", 5), ("5m", 10),
    ]  # fmt: skip


def test_history_is_nobodys_news(sqlite_engine: Engine):
    pair_id = pair(sqlite_engine)
    harvest = minutes(pair_id, 4 * 60, source="rest")
    last = (pair_id, "1m", NOON_MS + (4 * 60 - 1) * MINUTE_MS)
    harvest.klines[last] = replace(harvest.klines[last], source="stream")
    written = write(sqlite_engine, harvest, NOW)

    assert {row.timeframe for row in written.rolled} == {"5m", "15m", "1h", "4h"}
    assert {row.open_time + length_ms(row.timeframe) for row in written.rolled} == {NOON_MS + 4 * 60 * MINUTE_MS}
    assert written.rows == {"klines": 4 * 60 + 48 + 16 + 4 + 1}


@pytest.mark.parametrize("most", [1, 70, 100_000])
def test_an_hour_of_many_pairs_is_made_in_portions(engine: Engine, monkeypatch: pytest.MonkeyPatch, most: int):
    monkeypatch.setattr(higher_candles, "MOST_PARTS", most)
    harvest = Harvest()
    for pair_id in range(1, 6):
        harvest.klines |= minutes(pair_id, 60, without=7 if pair_id == 3 else None).klines
    written = write(engine, harvest, NOW)

    for pair_id in (1, 2, 4, 5):
        assert [len(stored(engine, pair_id, timeframe)) for timeframe in ("5m", "15m", "1h", "4h")] == [12, 4, 1, 0]
    assert [len(stored(engine, 3, timeframe)) for timeframe in ("5m", "15m", "1h", "4h")] == [11, 3, 0, 0]
    assert len(written.rolled) == 4 * 17 + 14


def test_a_write_that_was_cut_off_before_the_higher_candles_is_made_up_for_by_the_same_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    pair_id = pair(engine)
    harvest = minutes(pair_id, 60)
    harvest.refuse(RefusedMessage(NOW, EXCHANGE, "trades", "price", SYMBOL, "-5"))

    def away(*_: object) -> None:
        raise Unavailable("it went away just now")

    with monkeypatch.context() as broken:
        broken.setattr(write_market, "make_higher", away)
        with pytest.raises(Unavailable):
            write_what_can_be(engine, harvest, NOW)
    before = len(stored(engine, pair_id, "1m")), len(stored(engine, pair_id, "5m"))
    written = write_what_can_be(engine, harvest, NOW)

    assert before == (60, 0)
    assert (written.rows, len(written.rolled)) == ({"klines": 17}, 17)
    with reading(engine) as db:
        assert len(refused.recent(db, 9)) == 1


def test_higher_candles_that_were_cut_off_half_way_are_finished_by_the_same_again(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """The hours stood there already, and so they do not change; but what is made of them was never made."""
    pair_id = pair(sqlite_engine)
    harvest = minutes(pair_id, 4 * 60)
    with monkeypatch.context() as broken:
        broken.delitem(higher_candles.MADE_OF, "4h")
        write(sqlite_engine, harvest, NOW)
    before = stored(sqlite_engine, pair_id, "4h")
    written = write(sqlite_engine, harvest, NOW)

    assert before == []
    assert [row.timeframe for row in written.rolled] == ["4h"]


@pytest.mark.parametrize("source", ["rest", "import", "stream"])
def test_a_minute_that_is_corrected_later_mends_all_that_was_made_of_it(engine: Engine, source: str):
    pair_id = pair(engine)
    write(engine, minutes(pair_id, 4 * 60), NOW)
    before = {timeframe: stored(engine, pair_id, timeframe) for timeframe in ("5m", "15m", "1h", "4h")}
    minute = candle(NOON_MS + 61 * MINUTE_MS, volume=25.0, high=900.0)
    written = write(engine, harvest_of(kline(pair_id, minute, source, ())), NOW)

    for timeframe, rows in before.items():
        now = stored(engine, pair_id, timeframe)
        [other] = [row for row, was in zip(now, rows, strict=True) if row != was]
        assert (other.high, other.source) == (900.0, "rollup")
        assert other.open_time <= minute.time_ms < other.open_time + length_ms(timeframe)
    assert (written.rows, written.rolled) == ({"klines": 5}, [])


def test_a_minute_that_came_late_by_rest_completes_what_it_was_missing_from(sqlite_engine: Engine):
    pair_id = pair(sqlite_engine)
    write(sqlite_engine, minutes(pair_id, 60, without=7), NOW)
    before = len(stored(sqlite_engine, pair_id, "1h"))
    late = kline(pair_id, candle(NOON_MS + 7 * MINUTE_MS), "rest", ())
    written = write(sqlite_engine, harvest_of(late), NOW)

    assert (before, written.rows, written.rolled) == (0, {"klines": 4}, [])


def test_what_was_refused_is_kept_by_our_clock_whatever_the_markets_is(sqlite_engine: Engine):
    harvest = Harvest()
    harvest.refuse(RefusedMessage(NOW + timedelta(days=40), EXCHANGE, "trades", "price", SYMBOL, "-5"))
    write(sqlite_engine, harvest, NOW)

    with reading(sqlite_engine) as db:
        assert [row.at for row in refused.recent(db, 9)] == [NOW]


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
        assert count_candles(db, pair_id, "1m") == 7
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
