"""Commands beside a running fleet: they look at the market that it watches, whatever their own environment says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.host import fleet_source
from app.host.fleet_source import FleetSource
from app.settings import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")}
        env |= {"FLOTILLA__STATE__DIR": str(tmp_path), "FLOTILLA__API__PORT": "1", "FLOTILLA_CONFIG": os.devnull} | more
        words = (sys.executable, "-m", "ops", *words)
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    return command


@contextmanager
def fleet_of(state: Path, *exchanges: str) -> Iterator[None]:
    """A process that looks like this state folder's supervisord, started with these exchanges."""
    (state / "run").mkdir()
    fleet_source.write(state / "run", FleetSource(exchanges))
    words = [sys.executable, "-c", "input()", "ops.supervise"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        (state / "run" / "supervisord.pid").write_text(str(process.pid))
        yield


def databases(state: Path) -> set[str]:
    return {path.name for path in state.glob("*.db")}


def test_a_command_takes_the_market_of_the_running_fleet_and_says_so(run: Run, tmp_path: Path):
    with fleet_of(tmp_path, "binance", "okx"):
        said = run("migrate", "--json")

    assert said.stderr == "the running fleet watches binance,okx\n"
    assert json.loads(said.stdout)["state"] == "current"
    assert databases(tmp_path) == {"flotilla.db"}


def test_a_fleet_of_the_same_market_is_not_spoken_of(run: Run, tmp_path: Path):
    with fleet_of(tmp_path, "demo"):
        said = run("migrate")

    assert (said.stderr, databases(tmp_path)) == ("", {"demo.db"})


def test_a_fleet_that_ended_decides_nothing(run: Run, tmp_path: Path):
    with fleet_of(tmp_path, "binance"):
        pass
    said = run("migrate")

    assert (said.stderr, databases(tmp_path)) == ("", {"demo.db"})


def test_who_names_another_market_for_one_import_gets_it_and_who_looks_gets_the_fleets(run: Run, tmp_path: Path):
    with fleet_of(tmp_path, "demo"):
        made = run("migrate", FLOTILLA__FEED__EXCHANGES="binance")
        there = databases(tmp_path)
        looked = run("market", "BTCUSDT", FLOTILLA__FEED__EXCHANGES="binance")

    assert "heeded" in made.stderr
    assert there == {"flotilla.db"}
    assert looked.stderr.startswith("the running fleet watches demo\n")


@pytest.mark.parametrize("words", [("show-config", "--json"), ("logs",)])
def test_what_has_no_market_is_left_alone(run: Run, tmp_path: Path, words: tuple[str, ...]):
    with fleet_of(tmp_path, "binance"):
        said = run(*words)

    assert said.returncode == 0
    assert "watches" not in said.stderr
