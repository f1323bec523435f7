"""`flotilla judge` and `flotilla rederive`: the verdict, why there is no trade, and that it can be repeated."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete

from app.domain.market.market_clock import MarketClock
from app.domain.strategies.table import STRATEGIES
from app.host import market_clock_file
from app.settings import ROOT
from app.storage import judgments
from app.storage.database import open_engine, transaction
from app.storage.tables import klines
from app.usecases.judge import judge_all, rows_of
from app.usecases.strategy_market import market_of
from tests.app.usecases.judged_market import CLOSE_MS, furnish, names

Run = Callable[..., subprocess.CompletedProcess[str]]
[SYMBOL] = names(1)


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str) -> Run:
    """The command on a market whose clock stands a little after a close that is judged."""
    state = tmp_path / "state"
    engine = open_engine(sqlite_url)
    ids = furnish(engine, (SYMBOL,))
    with transaction(engine) as db:
        for strategy in STRATEGIES.values():
            for one in judge_all(strategy, market_of(db, ids, CLOSE_MS, strategy.needs)):
                judgments.keep(db, rows_of(one, CLOSE_MS, one.strategy.timeframes))
    engine.dispose()
    path = market_clock_file.path_in(state)
    path.parent.mkdir(parents=True)
    market_clock_file.write(path, MarketClock(time.time_ns() // 1_000_000, CLOSE_MS + 60_000, 1.0))
    own = {
        "FLOTILLA__STATE__DIR": str(state),
        "FLOTILLA__DATABASE__URL": sqlite_url,
        "FLOTILLA_CONFIG": os.devnull,
    }

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")} | own
        words = (sys.executable, "-m", "ops", *words)
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    return command


def test_a_person_sees_every_strategys_verdict_and_what_stopped_the_trade(run: Run):
    told = run("judge", SYMBOL)
    seen = json.loads(run("judge", SYMBOL, "--json").stdout)

    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{SYMBOL}  ** SIMULATED")
    assert (seen["as_of_ms"], list(seen["strategies"])) == (CLOSE_MS, ["V3", "ICT"])
    for name, verdict in seen["strategies"].items():
        part = told.stdout.partition(f"\n{name}: ")[2].partition("\n\n")[0]
        assert part.startswith(verdict["signal"])
        assert verdict["inputs"]["bars_4h"] == 250
        assert list(verdict["candles"]) == list(STRATEGIES[name].needs)
        first_closed = next((gate for gate in verdict["gates"] if not gate["passed"]), None)
        assert verdict["blocked_by"] == (first_closed and first_closed["name"])
        assert all(gate["name"] in part for gate in verdict["gates"])
        if first_closed:
            assert f"no trade: stopped at {first_closed['name']!r}: {next(iter(first_closed['values']))}=" in part


def test_of_a_market_without_candles_nothing_can_be_said(run: Run, sqlite_url: str):
    engine = open_engine(sqlite_url)
    with transaction(engine) as db:
        db.execute(delete(klines).where(klines.c.timeframe == "1h"))
    engine.dispose()
    told = run("judge", SYMBOL)

    assert told.returncode == 1
    assert "V3: nothing can be said; candles: 4h=ok  1h=warming  15m=ok" in told.stdout
    assert "ICT: nothing" not in told.stdout  # it reads no hours


def test_what_is_not_watched_is_the_askers_mistake(run: Run):
    assert run("judge", "NOSUCHUSDT").returncode == 2


def test_a_stored_judgment_of_each_strategy_is_repeated_bit_for_bit(run: Run):
    for judgment_id, name in (("1", "V3"), ("4", "ICT")):
        told = run("rederive", judgment_id)

        assert told.returncode == 0, told.stderr
        assert f"{SYMBOL} {name} " in told.stdout
        assert "the same, bit for bit" in told.stdout
    assert json.loads(run("rederive", "6", "--json").stdout)["same"] is True


def test_a_judgment_that_is_not_there_is_named(run: Run):
    for impossible in ("0", str(2**63), "9" * 30):
        assert f"There can be no judgment {impossible}" in run("rederive", impossible).stderr
    told = run("rederive", "77")

    assert told.returncode == 5
    assert "There is no judgment 77" in told.stderr
