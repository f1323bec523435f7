"""One database for both worlds is refused before anything is written into it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.errors import Misconfigured
from app.settings import ROOT
from app.storage import pairs
from app.storage.database import transaction
from ops import one_world
from tests.builders import NOW


def watched(engine: Engine, *names: str) -> None:
    with transaction(engine) as db:
        for name in names:
            pairs.ensure_exchange(db, name, now=NOW)


@pytest.mark.parametrize(("there", "simulated"), [(("binance", "okx"), True), (("demo-okx",), False)])
def test_the_other_world_is_refused_and_named(sqlite_engine: Engine, there: tuple[str, ...], simulated: bool):
    watched(sqlite_engine, *there)

    with pytest.raises(Misconfigured, match=", ".join(there)) as refused:
        one_world.check(sqlite_engine, simulated=simulated)

    assert "database.url" in refused.value.cure


@pytest.mark.parametrize(
    ("there", "simulated"),
    [((), True), ((), False), (("demo-okx", "replay-binance"), True), (("binance", "replay-okx"), False)],
)
def test_its_own_world_an_empty_database_and_replays_are_welcome(
    sqlite_engine: Engine, there: tuple[str, ...], simulated: bool
):
    watched(sqlite_engine, *there)

    one_world.check(sqlite_engine, simulated=simulated)


@pytest.mark.parametrize("words", [["start"], ["import", "nothing.csv", "--exchange", "demo-binance"]])
def test_neither_a_fleet_nor_an_import_begins_in_the_other_worlds_database(
    sqlite_url: str, sqlite_engine: Engine, words: list[str]
):
    watched(sqlite_engine, "binance")
    state = Path(tempfile.mkdtemp(prefix="fl-", dir="/tmp"))  # a socket's path must be short
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")} | {
        "FLOTILLA__STATE__DIR": str(state),
        "FLOTILLA__DATABASE__URL": sqlite_url,
        "FLOTILLA__API__PORT": "18431",
        "FLOTILLA__DEMO__PORT": "18432",
        "FLOTILLA_CONFIG": os.devnull,
    }

    said = subprocess.run(
        [sys.executable, "-m", "ops", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 4, said.stdout + said.stderr
    assert "the two never mix" in said.stderr
    assert not (state / "run" / "supervisord.pid").exists()
