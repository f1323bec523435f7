"""market-feed as a real process beside a real demo exchange: killed, drained, started again."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.market.market_clock import MarketClock
from app.domain.market.timeframes import MINUTE_MS
from app.host import market_clock_file
from app.host.metrics import read_all
from app.notify import outbox
from app.settings import load
from ops.bench.market_stage import Stage, stage
from tests.builders import wait_for
from workers import market_feed

pytestmark = pytest.mark.alone

NAME, BTC = "demo-binance", "BTC/USDT:USDT"


@pytest.fixture
def fast() -> Iterator[Stage]:
    """A minute of its market lasts a second; without books, which at that speed come in jumps."""
    with stage(speed=60.0, FLOTILLA__FEED__BOOKS="0") as made:
        wait_for(lambda: running(made), within_s=30)
        yield made


def running(made: Stage) -> bool:
    report = made.report()
    return report is not None and {one.state for one in report.collectors} == {"running"}


def pass_minutes(made: Stage, count: int) -> int:
    until = made.market_ms() // MINUTE_MS + count + 1
    wait_for(lambda: made.market_ms() // MINUTE_MS >= until, within_s=30)
    return (until - 1) * MINUTE_MS


def wrong_minutes(made: Stage, first: int, last: int) -> list[Any]:
    """Minutes that are missing, marked, or whose taker volumes are not the exchange's."""
    stored = {
        row.open_time: row
        for row in made.rows(
            "SELECT open_time, buy_volume, sell_volume, trades, status FROM trade_flow WHERE pair_id = :pair_id",
            pair_id=made.pair_id(NAME, BTC),
        )
    }
    count = (last - first) // MINUTE_MS + 1
    truth = made.market.candles("binance", BTC, "1m", first, count, made.market_ms())
    return [
        (one, stored.get(one.open_ms))
        for one in truth
        if (row := stored.get(one.open_ms)) is None
        or row.status == "gap"
        or row.trades != one.trades
        or row.buy_volume != pytest.approx(one.taker_buy_volume)
        or row.buy_volume + row.sell_volume != pytest.approx(one.volume)
    ]


def test_a_kill_costs_neither_a_minute_of_flow_nor_a_change_of_open_interest(fast: Stage):
    first = pass_minutes(fast, 1)
    wait_for(lambda: fast.rows("SELECT 1 FROM open_interest WHERE open_time >= :first", first=first), within_s=40)
    fast.end_feed(signal.SIGKILL)
    [[newest]] = fast.rows("SELECT MAX(open_time) FROM open_interest WHERE pair_id = :id", id=fast.pair_id(NAME, BTC))
    [[before]] = fast.rows(
        "SELECT quantity FROM open_interest WHERE pair_id = :id AND open_time = :newest AND timeframe = '1m'",
        id=fast.pair_id(NAME, BTC), newest=newest,
    )  # fmt: skip
    pass_minutes(fast, 2)
    fast.start_feed()
    wait_for(lambda: running(fast), within_s=30)
    last = pass_minutes(fast, 2)

    wait_for(lambda: not wrong_minutes(fast, first, last), within_s=40)
    after = fast.rows(
        "SELECT quantity, change_percent FROM open_interest WHERE pair_id = :id AND open_time > :newest ORDER BY open_time",
        id=fast.pair_id(NAME, BTC), newest=newest,
    )  # fmt: skip
    assert after[0].change_percent == pytest.approx((after[0].quantity - before) / before * 100)
    assert all(row.change_percent not in (None, 0.0) for row in after)
    for table in ("klines", "trade_flow", "tickers", "open_interest", "depth_summaries"):
        doubled = f"SELECT 1 FROM {table} GROUP BY pair_id, timeframe, open_time HAVING COUNT(*) > 1"
        assert fast.rows(doubled) == [], table


def test_a_minute_of_another_venue_that_lost_trades_by_a_kill_says_so(fast: Stage):
    pair_id = fast.pair_id("demo-okx", BTC)
    first = pass_minutes(fast, 1)
    fast.end_feed(signal.SIGKILL)
    pass_minutes(fast, 2)
    fast.start_feed()
    wait_for(lambda: running(fast), within_s=30)
    last = pass_minutes(fast, 2)

    def unmarked() -> list[Any]:
        rows = fast.rows(
            "SELECT open_time, buy_volume + sell_volume AS volume FROM trade_flow"
            " WHERE pair_id = :id AND status <> 'gap' AND open_time BETWEEN :first AND :last",
            id=pair_id, first=first, last=last,
        )  # fmt: skip
        truth = {
            one.open_ms: one.volume
            for one in fast.market.candles("okx", BTC, "1m", first, (last - first) // MINUTE_MS + 1, fast.market_ms())
        }
        return [row for row in rows if row.volume != pytest.approx(truth[row.open_time])]

    wait_for(lambda: not unmarked(), within_s=40)


def test_a_drain_ends_within_the_grace_and_everything_is_written():
    with stage(speed=10.0, FLOTILLA__FEED__BOOKS="0") as made:  # a minute of its market lasts six seconds
        wait_for(lambda: running(made), within_s=30)
        wait_for(lambda: MINUTE_MS / 3 < made.market_ms() % MINUTE_MS < MINUTE_MS / 2, within_s=40)
        unfinished_ms = made.market_ms() // MINUTE_MS * MINUTE_MS
        took_s = made.end_feed(signal.SIGTERM)

        report = made.report()
        assert report is not None
        assert took_s < 10
        assert (report.store.lost, report.store.away_since_ms) == (0, None)
        assert outbox.pending(made.settings.state_dir / "notices") == []
        [[newest]] = made.rows("SELECT MAX(open_time) FROM trade_flow")
        assert newest >= unfinished_ms
        assert "ok" in results(made, "flotilla_exchange_request_seconds")
        assert "ok" in results(made, "flotilla_exchange_connections_total")


def results(made: Stage, name: str) -> set[str]:
    """What became of its REST calls or connections, by its metrics."""
    snapshots = read_all(made.settings.run_dir, time.time()).found
    families = {family.name: family.series for one in snapshots for family in one.families}
    return {one.labels["result"] for one in families[name] if one.labels["exchange"] == NAME}


def test_a_ban_holds_over_a_kill():
    with stage(FLOTILLA__FEED__BOOKS="0") as made:
        wait_for(lambda: running(made), within_s=30)
        made.ask("POST", "faults", {"fault": "418", "venue": "binance", "for_s": 60})
        made.ask("POST", "faults", {"fault": "slow", "for_s": 2, "delay_ms": 2_500})  # so that it asks for the time

        def bans() -> list[Any]:
            return [json.loads(path.read_bytes()) for path in (made.settings.state_dir / "bans").glob("*.json")]

        wait_for(bans, within_s=30)
        made.end_feed(signal.SIGKILL)
        made.start_feed()
        wait_for(lambda: (report := made.report()) and any(one.banned_until_ms for one in report.budgets), within_s=40)

        assert made.ask("GET", "faults")["requests_inside_ban"] == 0


def test_the_demo_stands_for_its_three_venues_and_live_exchanges_for_themselves():
    demo = load({"FLOTILLA_CONFIG": "/dev/null"})
    live = load({"FLOTILLA_CONFIG": "/dev/null", "FLOTILLA__FEED__EXCHANGES": "okx,binance"})

    assert set(market_feed.exchanges_of(demo)) == {"demo-binance", "demo-okx", "demo-htx"}
    assert market_feed.exchanges_of(live) == ("okx", "binance")
    assert market_feed.addresses(demo, "demo-okx")["rest"] == f"http://127.0.0.1:{demo.demo.port}/okx"
    assert market_feed.addresses(live, "okx")["rest"].startswith("https://")
    assert market_feed.addresses(live, "kraken") == {}


def test_the_clock_of_the_demo_counts_once_it_runs_as_fast_as_is_set(tmp_path: Path):
    """Started together, the demo's file may still be that of its start before: by such a clock everything would be refused."""
    demo = load({"FLOTILLA_CONFIG": "/dev/null", "FLOTILLA__STATE__DIR": str(tmp_path), "FLOTILLA__DEMO__SPEED": "60"})
    path = market_clock_file.path_in(demo.state_dir)
    before = market_feed.market_clock(demo)
    market_clock_file.write(path, MarketClock(5, 7, 1.0))
    of_another_start = market_feed.market_clock(demo)
    market_clock_file.write(path, MarketClock(5, 7, 60.0))

    assert (before, of_another_start) == (None, None)
    assert market_feed.market_clock(demo) == MarketClock(5, 7, 60.0)
