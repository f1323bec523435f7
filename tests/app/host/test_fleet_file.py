from pathlib import Path

import pytest

from app.errors import Misconfigured
from app.host.fleet_file import read_fleet
from app.settings import ROOT

CEILINGS = {
    "main-app": 150,
    "strategy-worker": 150,
    "data-cleaner": 100,
    "monitor": 50,
    "market-feed": 150,
    "broker": 80,
    "process-guard": 40,
}


def test_the_fleet_is_the_one_that_was_agreed():
    ceilings = {spec.name: spec.ceiling_mb for spec in read_fleet(ROOT / "supervisord.conf")}

    assert ceilings | CEILINGS == ceilings


def test_only_the_trading_work_is_stopped_with_the_system():
    assert {spec.name for spec in read_fleet(ROOT / "supervisord.conf") if spec.role == "work"} == {
        "market-feed",
        "strategy-worker",
    }


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ('HEARTBEAT_S="5",WHEN_EXHAUSTED="run",ROLE="core"', "MEMORY_LIMIT_MB"),
        ('MEMORY_LIMIT_MB="much",HEARTBEAT_S="5",WHEN_EXHAUSTED="run",ROLE="core"', "much"),
        ('MEMORY_LIMIT_MB="1",HEARTBEAT_S="5",WHEN_EXHAUSTED="pray",ROLE="core"', "run, stop"),
        ('MEMORY_LIMIT_MB="1",HEARTBEAT_S="5",WHEN_EXHAUSTED="run"', "ROLE"),
    ],
)
def test_a_process_without_its_promises_is_refused(tmp_path: Path, environment: str, said: str):
    conf = tmp_path / "supervisord.conf"
    conf.write_text(f"[program:x]\ncommand=true\nstopwaitsecs=5\nenvironment={environment}\n", encoding="utf-8")

    with pytest.raises(Misconfigured, match=said):
        read_fleet(conf)
