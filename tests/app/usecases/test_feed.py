"""The feed whole, from real sockets of a demo exchange into real databases: what fails around it, and what it makes of that."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.cache.market import MarketCache
from app.domain.market.timeframes import MINUTE_MS
from app.domain.posture import Posture
from app.domain.recovery import Recovery
from app.host import posture_file, recoveries
from app.host.metrics import Series, read_all
from app.storage import collectors, symbols
from app.storage.database import open_engine, transaction
from app.usecases import collect, feed, mend_feed
from tests.app.exchanges.demo.served import Served
from tests.app.usecases.conftest import Start
from tests.app.usecases.fed import BTC, Fed
from tests.builders import Valkey, wait_for

NAME = "demo-binance"
ETH = "ETH/USDT:USDT"


def now() -> datetime:
    return datetime.now(UTC)


def wish(fed: Fed, desired: str) -> None:
    with transaction(fed.engine) as db:
        collectors.wish(db, NAME, desired, actor="a test", now=now())  # type: ignore[arg-type]


def actual(fed: Fed) -> str | None:
    [[said]] = fed.rows("SELECT actual FROM collectors WHERE name = :name", name=NAME)
    return str(said)


def flows_differ_from_the_market(fed: Fed, since_ms: int, until_ms: int) -> list[object]:
    """Minutes of stored flow that are not the market's trades, or are missing, or are marked."""
    market, wrong = fed.served.market, []
    rows = {
        row.open_time: row
        for row in fed.rows(
            "SELECT open_time, buy_volume, sell_volume, trades, status FROM trade_flow WHERE pair_id = :pair_id",
            pair_id=fed.pair_id(),
        )
    }
    for minute in range(since_ms, until_ms + 1, MINUTE_MS):
        trades = market.trades("binance", BTC, minute, minute + MINUTE_MS)
        bought = sum(trade.quantity for trade in trades if trade.side == "buy")
        sold = sum(trade.quantity for trade in trades if trade.side == "sell")
        row = rows.get(minute)
        if row is None or row.status == "gap" or row.trades != len(trades):
            wrong.append((minute, len(trades), row))
        elif (row.buy_volume, row.sell_volume) != (pytest.approx(bought), pytest.approx(sold)):
            wrong.append((minute, bought, sold, row))
    return wrong


def candles_differ_from_the_market(fed: Fed, timeframe: str, count: int, until_ms: int) -> list[object]:
    """Stored candles that are not the exchange's own."""
    length = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}[timeframe] * MINUTE_MS
    since_ms = until_ms // length * length - count * length
    truth = {
        one.open_ms: (one.open, one.high, one.low, one.close, pytest.approx(one.volume), one.trades)
        for one in fed.served.market.candles("binance", BTC, timeframe, since_ms, count, fed.served.now_ms())
    }
    stored = {
        row[0]: tuple(row[1:])
        for row in fed.rows(
            "SELECT open_time, open, high, low, close, volume, trades FROM klines"
            " WHERE pair_id = :pair_id AND timeframe = :timeframe AND open_time >= :since AND open_time < :until",
            pair_id=fed.pair_id(), timeframe=timeframe, since=since_ms, until=since_ms + count * length,
        )
    }  # fmt: skip
    return [(place, truth[place], stored.get(place)) for place in truth if stored.get(place) != truth[place]]


def test_what_is_stored_is_what_the_exchange_traded_and_higher_candles_are_the_exchanges_own(
    fast: Served, engine: Engine, start: Start
):
    fed = start(fast, engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    first = fast.now_ms() // MINUTE_MS * MINUTE_MS
    last = fed.pass_minutes(6)  # five of them make a candle of the next timeframe
    wait_for(lambda: not flows_differ_from_the_market(fed, first, last), within_s=40)

    wait_for(lambda: not candles_differ_from_the_market(fed, "1m", 300, last), within_s=40)
    for timeframe in ("5m", "15m", "1h", "4h", "1d"):
        wait_for(lambda timeframe=timeframe: not candles_differ_from_the_market(fed, timeframe, 100, last), within_s=40)
    # On a busy machine the exchange may be asked for the first one before we have added it up.
    wait_for(lambda: fed.rows("SELECT 1 FROM klines WHERE source = 'rollup' AND timeframe = '5m'"), within_s=30)
    [[open_ones]] = fed.rows(
        "SELECT COUNT(*) FROM klines WHERE timeframe = '1m' AND open_time > :now", now=fast.now_ms()
    )
    assert open_ones == 0


def test_a_restart_goes_on_without_a_hole_and_without_a_change_of_nothing(
    fast: Served, sqlite_engine: Engine, start: Start
):
    engine = sqlite_engine
    before = start(fast, engine, books=0)
    before.wait(lambda fed: fed.states().get(NAME) == "running")
    first = before.pass_minutes(2)
    before.stop()
    before.pass_minutes(3)
    [[newest]] = before.rows("SELECT MAX(open_time) FROM open_interest")
    after = start(fast, engine, books=0)
    after.wait(lambda fed: fed.states().get(NAME) == "running")
    last = after.pass_minutes(2)

    wait_for(lambda: not flows_differ_from_the_market(after, first, last), within_s=40)
    wait_for(lambda: not candles_differ_from_the_market(after, "1m", 300, last), within_s=40)
    changes = after.rows("SELECT change_percent FROM open_interest WHERE open_time > :newest", newest=newest)
    assert len(changes) > 2
    assert all(change not in (None, 0.0) for (change,) in changes)


def test_all_three_venues_are_collected_and_every_book_is_right(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, venues=("binance", "okx", "htx"), spots=("BTC/USDT",))
    fed.settle()

    report = fed.report()
    assert {(book.exchange, book.symbol) for book in report.books} == {
        (f"demo-{venue}", symbol) for venue in ("binance", "okx", "htx") for symbol in (BTC, "BTC/USDT")
    }
    assert report.simulated
    assert report.checks == ()
    kinds = fed.rows("SELECT DISTINCT name, simulated FROM exchanges")
    assert {(name, bool(simulated)) for name, simulated in kinds} == {
        ("demo-binance", True), ("demo-okx", True), ("demo-htx", True),
    }  # fmt: skip


def test_metrics_tell_how_late_each_exchange_is_and_no_right_checksum_as_a_fault(
    served: Served, sqlite_engine: Engine, start: Start
):
    fed = start(served, sqlite_engine, venues=("binance", "okx"))
    fed.settle()

    def series(name: str) -> tuple[Series, ...]:
        families = [family for one in read_all(fed.folder, time.time()).found for family in one.families]
        return next((family.series for family in families if family.name == name), ())

    def checksums() -> int:
        return sum(one.counters.get("checksums", 0) for one in fed.report().collectors)

    wait_for(lambda: len(series("flotilla_feed_latency_seconds")) == 2, within_s=40)
    before = wait_for(checksums, within_s=40)
    wait_for(lambda: checksums() > before, within_s=40)
    assert "checksums" not in {one.labels["what"] for one in series("flotilla_feed_faults_total")}


def test_a_collector_stops_and_starts_as_is_wished_and_says_so(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, books=0)
    wait_for(lambda: fed.rows("SELECT 1 FROM collectors") and actual(fed) == "running", within_s=40)
    wish(fed, "stopped")
    wait_for(lambda: actual(fed) == "stopped", within_s=40)
    clients = served.get("/demo/status")["clients"]["binance"]
    wish(fed, "running")

    wait_for(lambda: actual(fed) == "running", within_s=40)
    assert clients == 0
    assert served.get("/demo/status")["clients"]["binance"] > 0


def test_a_symbol_that_is_added_is_collected_and_one_that_is_removed_is_not(
    sqlite_engine: Engine, start: Start, tmp_path: Path
):
    served = Served(symbols=2)
    try:
        fed = start(served, sqlite_engine)
        fed.settle()
        with transaction(sqlite_engine) as db:
            symbols.add(db, ETH, now=now())
        fed.wait(lambda fed: {symbol for _, symbol in fed.feed.pipeline.markets} == {BTC, ETH})
        fed.settle()
        with transaction(sqlite_engine) as db:
            symbols.change(db, BTC, status="INACTIVE", now=now())
        fed.wait(lambda fed: {symbol for _, symbol in fed.feed.pipeline.markets} == {ETH})
        with transaction(sqlite_engine) as db:
            symbols.remove(db, BTC)
            symbols.remove(db, ETH)
        fed.wait(lambda fed: not fed.feed.pipeline.markets)
        time.sleep(1.5)  # it looks again, and does not take an empty table for a first start

        assert fed.rows("SELECT symbol FROM symbols") == []
        fed.stop()
    finally:
        served.stop()


@pytest.fixture
def locked(sqlite_engine: Engine) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection, to lock the database by."""
    connection = sqlite3.connect(str(sqlite_engine.url.database), isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def test_while_the_database_is_away_rows_wait_and_nothing_is_lost(
    fast: Served, sqlite_engine: Engine, start: Start, locked: sqlite3.Connection
):
    fed = start(fast, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    first = fed.pass_minutes()
    locked.execute("BEGIN IMMEDIATE")
    fed.wait(lambda fed: fed.feed.report().store.away_since_ms is not None)
    seen = fed.look(lambda fed: fed.feed.pipeline.messages[NAME]["trades"])
    fed.wait(lambda fed: fed.feed.pipeline.messages[NAME]["trades"] > seen + 50 and fed.feed.pipeline.waiting > 0)
    locked.execute("ROLLBACK")
    fed.wait(lambda fed: fed.feed.report().store.away_since_ms is None)
    last = fed.pass_minutes()

    wait_for(lambda: not flows_differ_from_the_market(fed, first, last), within_s=40)
    wait_for(lambda: not candles_differ_from_the_market(fed, "1m", 300, last), within_s=40)
    assert (fed.report().store.lost, fed.alarms) == (0, [])


def test_when_the_database_stays_away_what_is_lost_is_counted_and_a_person_told_once(
    fast: Served, sqlite_engine: Engine, start: Start, locked: sqlite3.Connection
):
    fed = start(fast, sqlite_engine, books=0, most_waiting=10)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    fed.wait(lambda fed: fed.feed.report().store.written.get("klines", 0) > 1_500)
    first = fed.pass_minutes()
    locked.execute("BEGIN IMMEDIATE")
    fed.wait(lambda fed: fed.feed.pipeline.lost > 5, within_s=40)
    locked.execute("ROLLBACK")
    fed.wait(lambda fed: fed.feed.report().store.away_since_ms is None)
    last = fed.pass_minutes()

    assert {notice_id for notice_id, _ in fed.alarms} == {f"feed-lost-{now().date().isoformat()}"}

    def unmarked() -> list[object]:
        found: list[Any] = flows_differ_from_the_market(fed, first, last)
        return [(minute, row) for minute, *_, row in found if row is not None and row.status != "gap"]

    wait_for(lambda: not unmarked(), within_s=40)


def test_a_first_start_without_a_database_collects_and_fills_the_tables_when_it_comes(
    served: Served, sqlite_url: str, start: Start, tmp_path: Path
):
    made, missing = tmp_path / "made", tmp_path / "missing"
    made.mkdir()
    shutil.move(sqlite_url.removeprefix("sqlite:///"), made / "flotilla.db")
    engine = open_engine(f"sqlite:///{missing}/flotilla.db", pool_size=5)
    fed = start(served, engine)
    fed.wait(lambda fed: fed.books() == {"ok"})
    made.rename(missing)  # at once: where SQLite finds a folder without a file, it makes one

    wait_for(lambda: fed.rows("SELECT 1 FROM symbols") and fed.rows("SELECT 1 FROM trade_flow"), within_s=40)
    wait_for(lambda: actual(fed) == "running", within_s=40)
    fed.stop()
    engine.dispose()


def test_without_redis_nothing_else_changes_and_when_it_is_back_tickers_are_there(
    served: Served, sqlite_engine: Engine, start: Start
):
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        valkey = Valkey(Path(folder))
        valkey.start()
        cache = MarketCache(valkey.url)
        fed = start(served, sqlite_engine, redis=valkey.url)
        wait_for(lambda: cache.ticker(NAME, BTC), within_s=40)
        valkey.kill()
        fed.settle()
        written = fed.report().store.written["tickers"]
        fed.wait(lambda fed: fed.feed.report().store.written["tickers"] > written + 5)
        valkey.start()

        ticker = wait_for(lambda: cache.ticker(NAME, BTC), within_s=40)
        assert ticker.price is not None
        assert fed.states() == {NAME: "running"}
        fed.stop()
        cache.close()
        valkey.kill()


def test_a_drain_writes_what_waits(fast: Served, sqlite_engine: Engine, start: Start, locked: sqlite3.Connection):
    fed = start(fast, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    locked.execute("BEGIN IMMEDIATE")
    fed.wait(lambda fed: fed.feed.report().store.away_since_ms is not None)
    fed.pass_minutes()
    newest = fed.look(lambda fed: fed.feed.pipeline.markets[NAME, BTC].flow._last_id)
    locked.execute("ROLLBACK")
    fed.stop()

    [[stored]] = fed.rows("SELECT MAX(last_id) FROM trade_flow")
    assert stored >= newest
    assert fed.alarms == []


def test_a_row_that_the_database_will_not_have_holds_up_no_other(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    fed.look(lambda fed: fed.feed.pipeline.watch(NAME, BTC, pair_id=10**30, deep=False))  # no column has room for that
    fed.wait(lambda fed: fed.feed.pipeline.lost > 0)
    pair_id = fed.pair_id()
    fed.look(lambda fed: fed.feed.pipeline.watch(NAME, BTC, pair_id=pair_id, deep=False))
    written = fed.report().store.written.get("tickers", 0)
    fed.wait(lambda fed: fed.feed.report().store.written.get("tickers", 0) > written)

    assert len({notice_id for notice_id, _ in fed.alarms}) == 1


def test_an_exchange_that_cannot_be_reached_is_failing_and_a_person_is_told_once(
    served: Served, sqlite_engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(collect, "SILENT_MS", 500)
    monkeypatch.setattr(collect, "AGAIN_S", 0.1)
    monkeypatch.setattr(feed, "FAILING_TOLD_S", 0.5)
    served.fault(fault="handshake_503", venue="binance", for_s=60)
    served.fault(fault="half_open", venue="binance", for_s=60)
    fed = start(served, sqlite_engine)

    wait_for(lambda: fed.alarms, within_s=40)
    time.sleep(1)

    [(notice_id, text)] = fed.alarms
    assert notice_id.startswith("feed-failing-demo-binance-")
    assert text.startswith("Nothing comes from demo-binance")
    [report] = fed.report().collectors
    assert report.state == "failing"


def told(fed: Fed) -> list[Recovery]:
    """What the feed noted that it did by itself."""
    spool = fed.folder / "recoveries.jsonl"
    return recoveries.read(spool)[0] if spool.exists() else []


def test_while_the_streams_are_away_candles_come_by_rest_and_both_ends_of_that_are_noted(
    fast: Served, sqlite_engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mend_feed, "AWAY_S", 0.5)
    fed = start(fast, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    first = fast.now_ms() // MINUTE_MS * MINUTE_MS
    fast.fault("handshake_503", venue="binance", for_s=60)
    fast.fault("cut", venue="binance")
    wait_for(lambda: [one.fault for one in told(fed)] == ["stream_down"], within_s=40)
    last = fed.pass_minutes(3)
    wait_for(lambda: not candles_differ_from_the_market(fed, "1m", (last - first) // MINUTE_MS - 1, last), within_s=30)
    fast.end_faults()

    def back() -> Recovery | None:
        return next((one for one in told(fed) if (one.fault, one.outcome) == ("stream_down", "recovered")), None)

    ended = wait_for(back, within_s=30)
    assert "candles came by REST meanwhile" in ended.note
    assert not ended.note.endswith("; 0 candles came by REST meanwhile")
    fed.stop()


def test_the_feed_takes_on_less_while_the_monitor_says_so(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine)
    fed.wait(lambda fed: fed.books() == {"ok"})
    posture_file.write(fed.folder, Posture(scarce=True, why_scarce="the disk is 91 % full"), datetime.now(UTC))
    wait_for(lambda: fed.report().store.why_held_back == "the disk is 91 % full", within_s=40)
    wait_for(lambda: fed.report().store.held_back > 0, within_s=40)
    posture_file.write(fed.folder, Posture(), datetime.now(UTC))

    wait_for(lambda: fed.report().store.why_held_back == "", within_s=40)
    fed.stop()
