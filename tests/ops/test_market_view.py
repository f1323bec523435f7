"""`flotilla market`: one symbol from rows, Redis and the feed's report; what is old says so, and the exit code too."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.cache.market import MarketCache
from app.domain.market.market_clock import MarketClock
from app.host import feed_report, market_clock_file
from app.settings import ROOT, load
from app.storage.database import open_engine
from ops import market_view
from tests.api.market import BTC, EXCHANGES, MARKET_MS, cached_book, market_lived_in, report, ticker

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str, valkey_url: str) -> Run:
    """The command on a demo market with rows and nothing in Redis, whose feed reported long ago."""
    own = {
        "FLOTILLA__STATE__DIR": str(tmp_path / "state"),
        "FLOTILLA__DATABASE__URL": sqlite_url,
        "FLOTILLA__REDIS__URL": valkey_url,
        "FLOTILLA_CONFIG": os.devnull,
    }
    settings = load(own)
    settings.run_dir.mkdir(parents=True)
    engine = open_engine(sqlite_url)
    market_lived_in(SimpleNamespace(settings=settings, engine=engine, run_dir=settings.run_dir))  # type: ignore[arg-type]
    engine.dispose()

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")} | own | more
        words = (sys.executable, "-m", "ops", "market", *words)
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    return command


@pytest.fixture
def feed_runs(tmp_path: Path, run: Run) -> Iterator[None]:
    """Somebody holds market-feed's lock, as it does while it runs."""
    with (tmp_path / "state" / "run" / ".market-feed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def make_fresh(tmp_path: Path, valkey_url: str) -> None:
    """The market's clock stands where the rows end, the feed reports, and Redis is full."""
    now_ms = time.time_ns() // 1_000_000
    clock = MarketClock(now_ms, MARKET_MS, 0.001)
    market_clock_file.write(market_clock_file.path_in(tmp_path / "state"), clock)
    feed_report.write(tmp_path / "state" / "run", report(at_ms=now_ms))
    cache = MarketCache(valkey_url)
    cache.put_tickers([ticker(price=43250.5, change_24h_percent=5.76, funding_rate=0.0001)])
    cache.put_books([cached_book()])
    cache.close()


@pytest.mark.usefixtures("feed_runs")
def test_a_market_of_now_is_shown_whole(run: Run, tmp_path: Path, valkey_url: str):
    make_fresh(tmp_path, valkey_url)

    said = run("BTCUSDT")

    assert said.returncode == 0, said.stderr
    assert f"{BTC} on {EXCHANGES[0]}  ** SIMULATED / 模拟 **" in said.stdout
    assert "price   43250.5  24h +5.76 %" in said.stdout
    assert said.stdout.count(" | ") == 5
    assert "open interest  55  change +10.00 %, in 15 min - [warming]" in said.stdout
    assert "CVD 4 h        -  [warming]" in said.stdout
    assert "funding        0.0100 %" in said.stdout
    assert "running, score 96.5" in said.stdout
    assert "does not report" not in said.stdout


def test_a_feed_that_ended_a_moment_ago_leaves_nothing_well(run: Run, tmp_path: Path, valkey_url: str):
    make_fresh(tmp_path, valkey_url)

    said, seen = run("BTCUSDT"), json.loads(run("BTCUSDT", "--json").stdout)

    assert said.returncode == 1
    assert "market-feed does not report" in said.stdout
    assert "[ok" not in said.stdout
    assert (seen["ticker"]["status"], seen["book"]["status"]) == ("stale", "stale")


def test_candles_of_another_year_say_which(run: Run):
    seen = json.loads(run("BTCUSDT", "--json").stdout)
    old, now = seen["candles"]["1m"]["candles"][:2]
    this_moment = datetime.now(UTC)
    old["timestamp"], now["timestamp"] = 1_573_000_000_000, round(this_moment.timestamp() * 1000)

    shown = "\n".join(market_view.lines(seen))

    assert "\n  2019-11-06 00:26 UTC " in shown
    assert f"\n  {this_moment:%m-%d %H:%M} UTC " in shown


def test_a_feed_that_is_down_leaves_what_was_stored_with_its_age(run: Run):
    said = run("btc-usdt")

    assert said.returncode == 1
    assert "market-feed does not report" in said.stdout
    assert "price   100" in said.stdout
    assert "bid 99  ask 101" in said.stdout
    assert "[stale, " in said.stdout


def test_json_has_the_same_and_unknown_is_null(run: Run):
    said = run("ETHUSDT", "--json")

    seen = json.loads(said.stdout)
    assert said.returncode == 1
    assert (seen["simulated"], seen["ticker"]["status"], seen["ticker"]["age_ms"]) == (True, "warming", None)
    assert seen["open_interest"]["change_percent"] is None
    assert seen["cvd"] == {"status": "warming", "age_ms": None, "window_minutes": 240, "value": None}
    assert seen["candles"]["1m"]["candles"] == []


@pytest.mark.parametrize("words", [["SOLUSDT"], ["!!"], ["BTCUSDT", "--exchange", "binance"], []])
def test_what_is_not_watched_is_a_wrong_command_line(run: Run, words: list[str]):
    assert run(*words).returncode == 2


def test_without_redis_the_rows_are_shown(run: Run, tmp_path: Path):
    said = run("BTCUSDT", FLOTILLA__REDIS__URL=f"unix://{tmp_path}/nothing")

    assert said.returncode == 1
    assert "price   100" in said.stdout


def test_without_a_database_it_does_not_answer(run: Run):
    assert run("BTCUSDT", FLOTILLA__DATABASE__URL="postgresql://nobody@127.0.0.1:1/nothing").returncode == 3
