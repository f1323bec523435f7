"""Minutes into hours, hours of flow into days."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from app.domain.market.timeframes import HOUR_MS, MINUTE_MS
from app.domain.tasks import Task
from app.errors import InvalidInput
from app.exchanges.exchange import Instrument
from app.storage import depths, flow, klines, open_interest, pairs, tasks, tickers
from app.storage.database import reading, transaction
from app.storage.depths import DepthRow
from app.storage.flow import Flow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.tables import metadata
from app.storage.tickers import TickerRow
from app.usecases import roll_up
from app.usecases.run_tasks import run_next
from tests.builders import NOW

DAY = 1_762_992_000_000  # midnight
START = DAY + 22 * HOUR_MS


def opened(minute: int) -> int:
    return START + minute * MINUTE_MS


def candle(minute: int, *, volume: float = 2.0, **more: Any) -> Kline:
    values = {"source": "stream", **more}
    return Kline(1, "1m", opened(minute), 1.0 + minute, 3.0 + minute, 0.5 + minute, 2.0 + minute, volume, **values)


def bucket(minute: int, status: str = "ok", **more: Any) -> Flow:
    prices = (1.0 + minute, 3.0 + minute, 0.5 + minute, 2.0 + minute)
    ids = (10 * minute, 10 * minute + 9)
    row = Flow(1, "1m", opened(minute), *prices, 1.5, 0.5, 15.0, 5.0, 10, 7.0 + minute, *ids, status)  # type: ignore[arg-type]
    return replace(row, **more)


def write(engine: Engine, module: Any, *rows: Any) -> None:
    with transaction(engine) as db:
        module.store(db, rows)


def run(engine: Engine) -> Task:
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="roll_up", queue="cleaner", payload={}, trace_id=None, now=NOW)
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=lambda _: None, draining=lambda: False)
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    assert task.error is None
    return task


def hours(engine: Engine, module: Any, timeframe: str = "1h") -> list[Any]:
    with reading(engine) as db:
        return list(module.read(db, 1, timeframe))


def everything(engine: Engine) -> dict[str, list[Any]]:
    names = ("klines", "trade_flow", "tickers", "depth_summaries", "open_interest")
    with reading(engine) as db:
        return {
            name: [tuple(row) for row in db.execute(select(metadata.tables[name]).order_by("id"))] for name in names
        }


def test_an_hour_of_flow_is_the_sum_of_its_minutes(engine: Engine):
    write(engine, flow, *(bucket(minute) for minute in range(63)))
    task = run(engine)

    assert task.result == {"hours": 1}
    assert hours(engine, flow) == [
        Flow(1, "1h", START, 1.0, 62.0, 0.5, 61.0, 90.0, 30.0, 900.0, 300.0, 600, 66.0, 0, 599, "ok")
    ]


def test_an_hour_that_is_not_over_is_not_made(engine: Engine):
    """The last minute may still get a late trade, or be repaired by its candle."""
    write(engine, flow, *(bucket(minute) for minute in range(61)))
    run(engine)
    early = hours(engine, flow)
    write(engine, flow, bucket(61))
    run(engine)

    assert early == []
    assert len(hours(engine, flow)) == 1


@pytest.mark.parametrize(
    ("seventh", "status"), [("gap", "gap"), ("repaired", "repaired"), ("missing", "gap"), ("quiet", "ok")]
)
def test_an_hour_with_a_minute_that_lost_trades_says_so(sqlite_engine: Engine, seventh: str, status: str):
    rows = [bucket(minute) for minute in range(63)]
    if seventh in {"missing", "quiet"}:
        del rows[7]
        write(sqlite_engine, klines, candle(7, volume=0.0 if seventh == "quiet" else 1.0))
    else:
        rows[7] = bucket(7, seventh)
    write(sqlite_engine, flow, *rows)
    run(sqlite_engine)

    assert [row.status for row in hours(sqlite_engine, flow)] == [status]


def test_a_minute_that_is_repaired_later_mends_its_hour_and_its_day(engine: Engine):
    write(engine, flow, *(bucket(minute, "gap" if minute == 7 else "ok") for minute in range(125)))
    run(engine)
    first_hour, first_day = hours(engine, flow)[0], hours(engine, flow, "1d")
    write(engine, flow, bucket(7, "repaired", buy_volume=100.0))
    again = run(engine)
    mended_hour, mended_day = hours(engine, flow)[0], hours(engine, flow, "1d")

    assert (first_hour.status, mended_hour.status) == ("gap", "repaired")
    assert mended_hour.buy_volume == first_hour.buy_volume + 98.5
    assert again.result == {"hours": 1}
    assert [row.buy_volume for row in mended_day] == [row.buy_volume + 98.5 for row in first_day]


def pair_named(engine: Engine, exchange: str, symbol: str = "BTC/USDT:USDT") -> int:
    with transaction(engine) as db:
        return pairs.ensure_pairs(db, exchange, [Instrument(symbol, symbol[:3], "USDT", "USDT")], NOW)[symbol]


def test_a_pair_whose_minutes_came_after_its_hour_was_made_gets_its_sum_and_no_other_is_made_again(engine: Engine):
    """The database was away, or the minutes waited in another process, when the hour was over."""
    btc, eth = pair_named(engine, "binance"), pair_named(engine, "binance", "ETH/USDT:USDT")
    write(engine, flow, *(bucket(minute, pair_id=btc) for minute in range(125)))
    run(engine)
    wrong = Flow(btc, "1h", START, *[None] * 12)
    write(engine, flow, wrong, *(bucket(minute, pair_id=eth) for minute in range(60)))
    write(engine, tickers, TickerRow(eth, "1m", opened(59), price=7.0))
    late = run(engine)
    again = run(engine)
    with reading(engine) as db:
        [hour, *_] = flow.read(db, eth, "1h")
        [day] = flow.read(db, eth, "1d")
        assert flow.read(db, btc, "1h")[0] == wrong
        assert [row.price for row in tickers.read(db, eth, "1h")] == [7.0]

    assert (hour.open_time, hour.trades, hour.status, day.trades) == (START, 600, "ok", 600)
    assert (late.result, again.result) == ({"hours": 1}, {"hours": 0})


def test_what_was_replayed_of_long_ago_makes_no_roll_up_begin_there(engine: Engine):
    replayed, watched = pair_named(engine, "replay-binance"), pair_named(engine, "binance")
    long_ago = START - 500 * 24 * HOUR_MS
    for module, row in (
        (flow, bucket(0, pair_id=replayed, open_time=long_ago)),
        (tickers, TickerRow(replayed, "1m", START + 99 * HOUR_MS)),
        (klines, replace(candle(0), pair_id=replayed, open_time=long_ago)),
    ):
        write(engine, module, row)
    nothing = run(engine)
    write(engine, flow, *(bucket(minute, pair_id=watched) for minute in range(63)))

    assert (nothing.result, run(engine).result) == ({"hours": 0}, {"hours": 1})


@pytest.mark.parametrize(
    ("ahead", "asked"), [(timedelta(hours=3), ["roll_up", "archive", "purge"]), (timedelta(0), ["roll_up"])]
)
def test_a_market_that_runs_ahead_of_our_clock_is_purged_with_every_roll_up(
    engine: Engine, ahead: timedelta, asked: list[str]
):
    minute = int((NOW + ahead).timestamp()) // 60 * MINUTE_MS
    write(engine, tickers, TickerRow(1, "1m", minute))
    run(engine)
    with reading(engine) as db:
        assert [task.kind for task in reversed(tasks.recent(db, limit=9))] == asked
        assert tasks.is_waiting(db, "purge", "cleaner") is (len(asked) == 3)


def test_a_day_of_flow_is_made_with_its_last_hour(engine: Engine):
    write(engine, flow, *(bucket(minute) for minute in range(125)))
    run(engine)
    (day,) = hours(engine, flow, "1d")

    assert (day.open_time, day.trades, day.open, day.close) == (DAY, 1_200, 1.0, 121.0)
    assert day.status == "gap"  # nobody watched the 22 hours before


def test_a_day_that_was_watched_all_through_is_whole(sqlite_engine: Engine):
    write(sqlite_engine, flow, *(bucket(minute - 22 * 60) for minute in range(24 * 60 + 2)))
    run(sqlite_engine)

    assert [(row.status, row.trades) for row in hours(sqlite_engine, flow, "1d")] == [("ok", 14_400)]


def test_the_same_again_changes_nothing(engine: Engine):
    write(engine, flow, *(bucket(minute, "gap" if minute == 3 else "ok") for minute in range(125)))
    write(engine, klines, *(candle(minute) for minute in range(125)))
    run(engine)
    before = everything(engine)
    run(engine)

    assert everything(engine) == before


def test_candles_are_made_of_sixty_minutes_or_not_at_all(engine: Engine):
    write(engine, klines, *(candle(minute) for minute in range(125) if minute != 70))
    run(engine)
    (hour,) = hours(engine, klines)

    assert (hour.open_time, hour.open, hour.high, hour.low, hour.close) == (START, 1.0, 62.0, 0.5, 61.0)
    assert (hour.volume, hour.trades, hour.source) == (120.0, None, "rollup")


def test_a_candle_of_the_exchange_stays(engine: Engine):
    theirs = Kline(1, "1h", START, 1.0, 99.0, 0.5, 61.0, 120.0, source="rest")
    write(engine, klines, theirs, *(candle(minute) for minute in range(63)))
    run(engine)

    assert hours(engine, klines) == [theirs]


def test_an_hour_of_tickers_is_its_last_minute(engine: Engine):
    write(engine, tickers, *(TickerRow(1, "1m", opened(m), price=100.0 + m, trades_count=m) for m in (0, 30, 58, 64)))
    run(engine)

    assert hours(engine, tickers) == [TickerRow(1, "1h", START, price=158.0, trades_count=58)]


def test_an_hour_of_depth_is_the_mean_of_what_could_be_trusted(engine: Engine):
    whole = [DepthRow(1, "1m", opened(m), "ok", bid=float(m), spread_percent=float(m % 2)) for m in range(60)]
    broken = DepthRow(1, "1m", opened(60), "stale")
    few = [DepthRow(1, "1m", opened(m), "ok", bid=7.0, imbalance=m / 100) for m in (70, 80)]
    write(engine, depths, *whole, broken, *few)
    write(engine, tickers, TickerRow(1, "1m", opened(125)))
    run(engine)
    first, second = hours(engine, depths)

    assert (first.status, first.bid, first.spread_percent, first.imbalance) == ("ok", 59.0, 0.5, None)
    assert (second.status, second.bid, second.imbalance) == ("gap", 7.0, 0.75)


def test_an_hour_of_open_interest_changes_against_the_hour_before(engine: Engine):
    values = {0: 100.0, 59: 110.0, 65: 120.0, 115: 121.0, 245: 150.0}
    write(engine, open_interest, *(OpenInterestRow(1, "1m", opened(m), value) for m, value in values.items()))
    write(engine, tickers, TickerRow(1, "1m", opened(305)))
    run(engine)
    found = [(row.open_time, row.quantity, row.change_percent) for row in hours(engine, open_interest)]

    assert found == [
        (START, 110.0, None),
        (START + HOUR_MS, 121.0, pytest.approx(10.0)),
        (START + 4 * HOUR_MS, 150.0, None),  # the hours before it are unknown, not unchanged
    ]


def test_where_there_is_no_market_there_is_nothing_to_do(engine: Engine):
    assert run(engine).result == {"hours": 0}
    with reading(engine) as db:
        assert roll_up.until_ms(db) == 0


def test_a_roll_up_that_was_cut_off_goes_on(engine: Engine):
    write(engine, flow, *(bucket(minute) for minute in range(250)))
    with transaction(engine) as db:
        tasks.ask(db, kind="roll_up", queue="cleaner", payload={}, trace_id=None, now=NOW)
    beats: list[str] = []
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=beats.append, draining=lambda: len(beats) == 2)
    half = len(hours(engine, flow))
    with reading(engine) as db:
        done = roll_up.until_ms(db)
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=beats.append, draining=lambda: False)

    assert (half, done) == (2, START + 2 * HOUR_MS)
    assert len(hours(engine, flow)) == 4


def test_a_roll_up_takes_no_payload():
    with pytest.raises(InvalidInput):
        roll_up.begin({"hour": 1})
