"""`flotilla top`: one screen that says how everything is, whatever of it is away."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp

import pytest
from sqlalchemy import Engine, text

from app.errors import Unavailable
from app.notify import outbox
from app.settings import ROOT, load
from ops import top
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.paper_market import PRICE, PaperMarket
from tests.builders import NOW


def screen(state: Path, url: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA")} | {
        "FLOTILLA__STATE__DIR": str(state),
        "FLOTILLA__DATABASE__URL": url,
        "FLOTILLA_CONFIG": os.devnull,
    }
    done = subprocess.run(
        [sys.executable, "-m", "ops", "top", "--once"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_open_trades_and_what_was_won_are_on_it(sqlite_engine: Engine, sqlite_url: str):
    market = PaperMarket(sqlite_engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(2)
    state = Path(mkdtemp(prefix="fl-", dir="/tmp"))
    outbox.post(state / "notices", outbox.Notice("n1", NOW, "warning", "market-feed", "okx is away."))

    said = screen(state, sqlite_url)

    entry = market.trades()[0].entry_price
    assert "OPEN TRADES      1, and 0 orders" in said
    assert f"in {Decimal(entry).normalize():f}" in said
    assert "okx is away." in said


def test_what_cannot_be_looked_at_is_not_called_well(sqlite_engine: Engine, sqlite_url: str):
    market = PaperMarket(sqlite_engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(2)
    with sqlite_engine.begin() as db:
        db.execute(text("DROP TABLE trade_fills"))

    said = screen(Path(mkdtemp(prefix="fl-", dir="/tmp")), sqlite_url)

    assert "not known: ledger off" in said
    assert "OPEN TRADES      1" in said


def test_a_place_without_a_fleet_is_told(tmp_path: Path):
    settings = load({"FLOTILLA__STATE__DIR": str(tmp_path / "nothing"), "FLOTILLA_CONFIG": "/dev/null"})

    with pytest.raises(Unavailable, match="There is no fleet"):
        top.watch(settings, every_s=1, once=True)


def test_what_does_not_answer_says_so_and_leaves_the_rest_as_it_is(tmp_path: Path):
    state = Path(mkdtemp(prefix="fl-", dir="/tmp"))

    said = screen(state, f"sqlite:///{tmp_path / 'none' / 'flotilla.db'}")

    assert "machine   cpu" in said
    assert "market-feed has not reported yet" in said
    assert "->" in said
    assert "LAST NOTICES" in said
