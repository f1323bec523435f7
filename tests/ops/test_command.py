"""The `flotilla` command where no fleet runs: answers, exit codes and refusals."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")}
        env |= {"FLOTILLA__STATE__DIR": str(tmp_path), "FLOTILLA__API__PORT": "1"} | more
        words = (sys.executable, "-m", "ops", *words)
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    return command


def error(said: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(said.stdout)["error"]
    return found


def test_ps_without_a_fleet_says_how_to_start_one(run: Run):
    said = run("ps")

    assert said.returncode == 3
    assert "make run" in said.stderr
    assert said.stdout == ""


def test_json_may_stand_before_or_after_the_command(run: Run):
    after, before = run("ps", "--json"), run("--json", "ps")

    assert (after.returncode, before.returncode) == (3, 3)
    assert error(after) == error(before)
    assert error(after)["what_to_do"]


def test_an_unusable_setting_is_exit_4_and_names_the_setting(run: Run):
    said = run("ps", "--json", FLOTILLA__API__PORT="no")

    assert said.returncode == 4
    assert "FLOTILLA__API__PORT" in error(said)["message"]


@pytest.mark.parametrize("words", [[], ["nonsense"], ["ps", "--nonsense"], ["logs", "-n", "0"], ["logs", "-n", "many"]])
def test_a_wrong_command_line_is_exit_2(run: Run, words: list[str]):
    said = run(*words)

    assert said.returncode == 2
    assert "usage:" in said.stderr


def test_show_config_hides_every_secret(run: Run):
    said = run("show-config", "--json", FLOTILLA__DATABASE__URL="postgresql://me:s3cret@db/flotilla")

    assert said.returncode == 0
    assert "s3cret" not in said.stdout
    assert json.loads(said.stdout)["database"]["url"] == "postgresql://me:********@db/flotilla"


def test_migrate_brings_an_empty_place_up_to_date_and_then_has_nothing_to_do(run: Run):
    before = run("migrate", "--check", "--json")
    first, second = run("migrate", "--json"), run("migrate", "--json")
    after = run("migrate", "--check", "--json")

    assert (before.returncode, json.loads(before.stdout)["state"]) == (1, "empty")
    assert (first.returncode, json.loads(first.stdout)["before"]) == (0, None)
    assert json.loads(second.stdout)["before"] == json.loads(second.stdout)["schema"]
    assert (after.returncode, json.loads(after.stdout)["state"]) == (0, "current")


@pytest.mark.parametrize("name", ["demo.db", "other.db"])
def test_the_doctor_of_a_new_place_finds_nothing_bad_and_makes_nothing(run: Run, tmp_path: Path, name: str):
    more = {} if name == "demo.db" else {"FLOTILLA__DATABASE__URL": f"sqlite:///{tmp_path / name}"}

    said = run("doctor", "--json", **more)
    drilled = run("doctor", "--drill", "--json", **more)

    verdicts = {finding["what"]: finding["verdict"] for finding in json.loads(said.stdout)}
    assert (verdicts["database"], verdicts["migrations"]) == ("note", "note")
    assert (said.returncode, "bad" in verdicts.values(), drilled.returncode) == (0, False, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_says_how_to_bring_an_old_schema_up_to_date(run: Run, tmp_path: Path):
    (tmp_path / "demo.db").touch()

    said = run("doctor", "--json")

    bad = [finding for finding in json.loads(said.stdout) if finding["verdict"] == "bad"]
    assert (said.returncode, [finding["what"] for finding in bad]) == (1, ["migrations"])
    assert "flotilla migrate" in bad[0]["what_to_do"]


def test_the_doctor_says_when_the_database_was_made_by_a_newer_version(run: Run, tmp_path: Path):
    run("migrate")
    with sqlite3.connect(tmp_path / "demo.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()

    said = run("doctor", "--json")

    found = next(finding for finding in json.loads(said.stdout) if finding["what"] == "migrations")
    assert (said.returncode, found["verdict"], found["what_to_do"]) == (1, "bad", "Update Flotilla.")


def test_the_doctor_finds_a_damaged_database(run: Run, tmp_path: Path):
    run("migrate")
    path = tmp_path / "demo.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 20_000)
    for left in tmp_path.glob("demo.db-*"):
        left.unlink()

    said = run("doctor", "--json")

    assert said.returncode == 1
    assert [f["verdict"] for f in json.loads(said.stdout) if f["what"] == "database"] == ["bad"]


def test_logs_of_a_process_that_does_not_exist_name_those_that_do(run: Run):
    said = run("logs", "moniter")

    assert said.returncode == 2
    assert "monitor" in said.stderr


def test_logs_can_be_cut_off_by_the_reader(run: Run, tmp_path: Path):
    (tmp_path / "log").mkdir()
    line = json.dumps({"at": "2026-11-21T05:00:00+00:00", "level": "INFO", "process": "monitor", "message": "x" * 99})
    (tmp_path / "log" / "monitor.jsonl").write_text(f"{line}\n" * 10_000, encoding="utf-8")
    env = os.environ | {"FLOTILLA__STATE__DIR": str(tmp_path)}

    said = subprocess.run(
        f"'{sys.executable}' -m ops logs -n 10000 | head -n 1",
        shell=True,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stderr == ""
    assert said.stdout.count("\n") == 1


def test_logs_are_followed_until_the_end(run: Run, tmp_path: Path):
    (tmp_path / "log").mkdir()
    line = {"at": "2026-11-21T05:00:00+00:00", "level": "INFO", "process": "monitor", "message": "before"}
    log = tmp_path / "log" / "monitor.jsonl"
    log.write_text(json.dumps(line) + "\n", encoding="utf-8")
    words = [sys.executable, "-m", "ops", "--json", "logs", "-f"]
    env = os.environ | {"FLOTILLA__STATE__DIR": str(tmp_path)}
    with subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        try:
            assert json.loads(following.stdout.readline())["message"] == "before"
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | {"message": "after"}) + "\n")
            assert json.loads(following.stdout.readline())["message"] == "after"
        finally:
            following.send_signal(signal.SIGINT)
        assert following.wait(timeout=30) == 0
        assert following.stdout.read() == ""


@pytest.mark.parametrize(
    "words", [["--json", "ctl", "status"], ["ctl", "--json", "status"], ["ctl", "status", "--json"]]
)
def test_ctl_has_no_json_and_says_so(run: Run, words: list[str]):
    said = run(*words)

    assert said.returncode == 2
    assert "flotilla ps --json" in said.stdout + said.stderr


@pytest.mark.parametrize("words", [["status"], ["start", "monitor"]])
def test_ctl_without_a_fleet_is_exit_3(run: Run, words: list[str]):
    said = run("ctl", *words)

    assert said.returncode == 3
    assert "make run" in said.stderr


def test_ctl_keeps_supervisorctls_errors_apart_from_a_silent_fleet(run: Run, tmp_path: Path):
    (tmp_path / "run").mkdir()
    socket = tmp_path / "run" / "supervisor.sock"
    conf = tmp_path / "supervisord.conf"
    conf.write_text(
        f"[unix_http_server]\nfile={socket}\n[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={tmp_path / 'pid'}\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "[program:idle]\ncommand=sleep 600\nautostart=false\n",
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "ops.supervise", "-c", str(conf)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as supervisord:
        try:
            until = time.monotonic() + 30
            while run("ctl", "version").returncode and time.monotonic() < until:
                pass
            codes = {
                words: run("ctl", *words.split()).returncode
                for words in ("version", "status", "status nobody", "start nobody", "nonsense")
            }
        finally:
            supervisord.terminate()

    # supervisorctl itself says 0, 3 (something is stopped), 4, 1 and 1
    assert codes == {"version": 0, "status": 1, "status nobody": 1, "start nobody": 1, "nonsense": 1}


def test_stop_without_a_fleet_is_not_an_error(run: Run):
    said = run("stop")

    assert said.returncode == 0
    assert "does not run" in said.stdout


def test_a_state_folder_whose_sockets_would_not_fit_is_refused_with_the_cure(run: Run, tmp_path: Path):
    said = run("start", FLOTILLA__STATE__DIR=str(tmp_path / ("x" * 90)))

    assert said.returncode == 4
    assert "FLOTILLA__STATE__DIR" in said.stderr


def test_a_process_that_does_not_exist_cannot_be_run_alone(run: Run):
    said = subprocess.run(
        [sys.executable, "-m", "ops.alone", "moniter"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert said.returncode == 1
    assert "monitor" in said.stderr


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """A file of two candles, the second of which makes no sense."""
    path = tmp_path / "BTC_USDT_USDT-1h-futures.json"
    path.write_text("[[1735689600000, 10, 12, 9, 11, 5], [1735693200000, 10, 9, 12, 11, 5]]")
    return path


def test_import_says_what_became_of_every_row(run: Run, candles: Path):
    live = {"FLOTILLA__FEED__EXCHANGES": "binance"}
    first = run("import", str(candles), "--exchange", "binance", **live)
    second = run("import", str(candles), "--exchange", "binance", "--json", **live)
    answer = json.loads(second.stdout)

    assert first.returncode == second.returncode == 1
    assert "the database was empty" in first.stderr
    assert "the database was empty" not in second.stderr
    assert "1 stored" in first.stdout
    assert "candle-shape" in first.stdout
    assert candles.name in first.stderr
    assert {name: answer["total"][name] for name in ("rows", "stored", "unchanged", "refused")} == {
        "rows": 2,
        "stored": 0,
        "unchanged": 1,
        "refused": 1,
    }


def test_import_keeps_the_simulated_world_apart_and_says_what_to_type(run: Run, candles: Path, tmp_path: Path):
    candles = candles.rename(tmp_path / f"my {candles.name}")
    words = ("import", str(candles), "--exchange", "binance")
    said = run(*words)

    assert said.returncode == 2
    assert f"-> FLOTILLA__FEED__EXCHANGES=binance {sys.executable} -m ops {shlex.join(words)}\n" in said.stderr
    assert list(tmp_path.glob("*.db")) == []


def test_replay_makes_the_tables_of_an_empty_database(run: Run, tmp_path: Path):
    (tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv").write_text("")

    assert "the database was empty" in run("replay", str(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv")).stderr


def test_import_of_a_path_that_leads_nowhere_is_refused(run: Run):
    said = run("import", "nowhere.feather", "--exchange", "demo-binance", "--json")

    assert said.returncode == 5
    assert "nowhere.feather" in error(said)["message"]


@pytest.mark.parametrize("hours", ["nan", "14.5", "-15", "inf"])
def test_import_refuses_an_offset_that_no_place_has(run: Run, candles: Path, hours: str):
    said = run("import", str(candles), "--exchange", "demo-binance", f"--utc-offset={hours}")

    assert said.returncode == 2
    assert "hours between -14 and 14" in said.stderr
