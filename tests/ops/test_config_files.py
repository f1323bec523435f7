"""The files for the programs around Flotilla: each is one that its program takes, and says nothing of what is not there."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.host.metrics import HELP
from app.settings import ROOT
from ops.broker import answers, server_binary
from tests import servers

CONFIG = ROOT / "ops" / "config"
OF_A_METRIC = re.compile(r"\bflotilla_[a-z_]+")


def metrics_in(text: str) -> set[str]:
    """Their names, without what Prometheus makes of a histogram."""
    return {re.sub("_(bucket|count|sum)$", "", name) for name in OF_A_METRIC.findall(text)}


@pytest.mark.parametrize("name", ["prometheus.rules.yml", "grafana.dashboard.json"])
def test_only_metrics_that_there_are_are_asked_for(name: str):
    asked = metrics_in((CONFIG / name).read_text())

    assert asked
    assert asked <= set(HELP)


def test_every_alert_of_prometheus_says_how_bad_it_is_and_what_to_do():
    rules = (CONFIG / "prometheus.rules.yml").read_text().split("- alert: ")[1:]

    assert len(rules) > 10
    for rule in rules:
        assert re.search(r"severity: (warning|critical)", rule), rule
        assert "what_to_do:" in rule, rule


def test_what_a_health_route_found_is_no_failure_of_the_api():
    rules = (CONFIG / "prometheus.rules.yml").read_text()
    asked = re.findall(r"flotilla_http_requests_total(\{[^}]*\})?", rules)

    assert asked
    assert all('route!~".*health.*"' in labels for labels in asked)


def test_the_dashboard_has_panels_that_do_not_overlap():
    panels = json.loads((CONFIG / "grafana.dashboard.json").read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len(places) == len(panels) == len({panel["id"] for panel in panels})
    assert all(target["expr"] for panel in panels for target in panel["targets"])


def test_a_redis_takes_its_file():
    with TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        door = Path(folder) / "s"
        command = [
            str(server_binary()),
            str(CONFIG / "redis.conf"),
            "--port",
            "0",
            "--unixsocket",
            str(door),
            "--dir",
            folder,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
            try:
                until = time.monotonic() + 10
                while not answers(door) and server.poll() is None and time.monotonic() < until:
                    time.sleep(0.05)
                assert answers(door), server.stdout.read() if server.poll() is not None and server.stdout else "silent"
            finally:
                server.kill()


def test_a_mariadb_takes_its_file():
    server = servers.binary("mariadbd", "mysqld")

    said = subprocess.run(
        [server, f"--defaults-file={CONFIG / 'mysqld.cnf'}", "--verbose", "--help", "--user=root"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "unknown" not in said.stderr.lower(), said.stderr
    assert re.search(r"^innodb-buffer-pool-size\s+134217728$", said.stdout, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="This machine has no systemd.")
def test_systemd_takes_its_unit(tmp_path: Path):
    unit = tmp_path / "flotilla.service"
    unit.write_text((CONFIG / "flotilla.service").read_text().replace("%h/flotilla/.venv/bin/flotilla", "/bin/true"))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, check=False
    )

    assert "Unknown" not in said.stderr, said.stderr
