"""The system as a whole, acting on real processes under a real supervisord."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from api.main import create_app
from app.host.supervisor import Supervisor
from app.notify import outbox
from app.storage.database import open_engine
from tests.api.conftest import Fleet
from tests.builders import NOW

WORK = ["market-feed", "strategy-worker"]


@pytest.fixture
def caller(steered: Deps, fleet: Fleet) -> FlaskClient:
    """A caller of the application on the small fleet, in which everything runs."""
    caller = create_app(steered).test_client()
    assert caller.post("/api/system/start").status_code == 200
    return caller


@pytest.mark.fleet
def test_stop_and_start_act_on_the_processes_that_do_work_and_on_no_other(caller: FlaskClient, fleet: Fleet):
    before = fleet.pids()

    stopped = caller.post("/api/system/stop")
    states = fleet.states()
    again = caller.post("/api/system/stop")
    status = caller.get("/api/system/status").get_json()["data"]
    started = caller.post("/api/system/start")

    assert (stopped.status_code, stopped.get_json()["data"]["status"]) == (200, "stopped")
    assert stopped.get_json()["data"]["services"] == WORK
    assert states == dict.fromkeys(("main-app", "broker", "monitor"), "RUNNING") | dict.fromkeys(WORK, "STOPPED")
    assert (again.status_code, again.get_json()["data"]["status"]) == (200, "already_stopped")
    assert (status["isRunning"], status["lastStarted"], status["uptime"]) == (False, None, 0.0)
    assert status["modules"]["market-feed"] == {"status": "stopped", "health": "unknown"}
    assert (started.status_code, started.get_json()["data"]["status"]) == (200, "started")
    after = fleet.pids()
    assert set(fleet.states().values()) == {"RUNNING"}
    assert after["market-feed"] != before["market-feed"]
    assert after["monitor"] == before["monitor"]


@pytest.mark.fleet
def test_a_second_start_finds_everything_running(caller: FlaskClient, fleet: Fleet):
    before = fleet.pids()

    answer = caller.post("/api/system/start")

    assert (answer.status_code, answer.get_json()["data"]["status"]) == (200, "already_running")
    assert fleet.pids() == before


@pytest.mark.fleet
def test_a_restart_replaces_one_process(caller: FlaskClient, fleet: Fleet):
    before = fleet.pids()

    answer = caller.post("/api/system/restart", json={"service": "monitor"})

    after = fleet.pids()
    assert (answer.status_code, answer.get_json()["data"]["status"]) == (200, "restarted")
    assert after.pop("monitor") != before.pop("monitor")
    assert after == before


@pytest.mark.fleet
def test_a_restart_without_a_name_replaces_what_does_work(caller: FlaskClient, fleet: Fleet):
    before = fleet.pids()

    assert caller.post("/api/system/restart").status_code == 200

    after = fleet.pids()
    assert {name for name in before if after[name] != before[name]} == set(WORK)


@pytest.mark.fleet
def test_a_change_leaves_a_trace_with_the_id_of_its_request(caller: FlaskClient):
    caller.post("/api/system/restart", json={"service": "monitor"}, headers={"X-Trace-Id": "find-me"})

    entries = caller.get("/api/system/audit?limit=1").get_json()["data"]["entries"]

    assert len(entries) == 1
    assert (entries[0]["action"], entries[0]["subject"]) == ("restart_process", "monitor")
    assert (entries[0]["actor"], entries[0]["trace_id"]) == ("api", "find-me")
    assert entries[0]["before"] == {"desired": "running", "actual": "RUNNING"}


@pytest.mark.fleet
def test_the_status_has_the_shape_of_the_documents_and_every_process(caller: FlaskClient, fleet: Fleet):
    data = caller.get("/api/system/status").get_json()["data"]

    assert data["isRunning"] is True
    assert data["lastStarted"].endswith("Z")
    assert 0 <= data["cpu_usage"] <= 100
    assert 0 < data["memory_usage"] < 100
    assert data["network_latency"] is None  # unknown is not zero
    assert data["version"]
    assert data["uptime"] >= 0
    assert data["problems"] == []
    assert data["modules"]["market-feed"] == {"status": "running", "health": "healthy"}
    monitor = next(process for process in data["processes"] if process["name"] == "monitor")
    assert (monitor["state"], monitor["desired"], monitor["ceiling_mb"]) == ("RUNNING", "running", 50)
    assert monitor["pid"] == fleet.pids()["monitor"]
    assert monitor["memory_mb"] > 1
    assert monitor["heartbeat_age_s"] < 5
    assert monitor["last_work"] in {"started", "slept"}


def test_without_a_reconciler_a_wish_is_written_and_answered_202(client: FlaskClient):
    first = client.post("/api/system/stop")
    second = client.post("/api/system/stop")

    assert (first.status_code, first.get_json()["data"]["status"]) == (202, "stopping")
    assert (second.status_code, second.get_json()["data"]["status"]) == (202, "stopping")
    audit = client.get("/api/system/audit").get_json()["data"]["entries"]
    assert [entry["subject"] for entry in audit] == WORK[::-1]  # the second wish was the same and left no trace


def test_a_status_without_supervisord_is_unknown_and_says_so(client: FlaskClient):
    data = client.get("/api/system/status").get_json()["data"]

    assert (data["isRunning"], data["uptime"], data["lastStarted"]) == (None, None, None)
    assert data["processes"] == []
    assert len(data["problems"]) == 1
    assert "supervisord does not answer" in data["problems"][0]
    assert "make run" in data["problems"][0]


def test_a_status_without_a_database_is_answered_and_says_so(deps: Deps):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    answer = create_app(replace(deps, engine=engine)).test_client().get("/api/system/status")
    engine.dispose()

    assert answer.status_code == 200
    assert len(answer.get_json()["data"]["problems"]) == 2


def test_a_wish_without_a_database_is_refused_with_what_to_do(deps: Deps):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    answer = create_app(replace(deps, engine=engine)).test_client().post("/api/system/stop")
    engine.dispose()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.get_json()["error"]["code"] == 3000


def test_waiting_for_a_process_ends_when_the_api_drains(deps: Deps):
    client = create_app(replace(deps, patience_s=600.0, draining=lambda: True)).test_client()

    assert client.post("/api/system/stop").status_code == 202


def test_logs_can_be_filtered_by_process_level_and_trace(client: FlaskClient, deps: Deps):
    for name, levels in (("monitor", ["INFO", "ERROR"]), ("market-feed", ["INFO", "WARNING"])):
        lines = [
            f'{{"at":"2026-11-21T05:00:0{at}+00:00","level":"{level}","process":"{name}","message":"m","trace_id":"{name}"}}\n'
            for at, level in enumerate(levels)
        ]
        (deps.log_dir / f"{name}.jsonl").write_text("".join(lines))

    def seen(query: str) -> list[tuple[str, str]]:
        logs = client.get(f"/api/system/logs{query}").get_json()["data"]["logs"]
        return [(line["process"], line["level"]) for line in logs]

    assert len(seen("")) == 4
    assert len(seen("?lines=1")) == 1
    assert seen("?process=monitor") == [("monitor", "INFO"), ("monitor", "ERROR")]
    assert sorted(seen("?level=WARNING")) == [("market-feed", "WARNING"), ("monitor", "ERROR")]
    assert seen("?trace_id=market-feed&level=WARNING") == [("market-feed", "WARNING")]


@pytest.mark.parametrize("process", ["monitr", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd"])
def test_logs_of_a_process_that_is_not_there_are_refused(client: FlaskClient, process: str):
    answer = client.get(f"/api/system/logs?process={process}")

    assert answer.status_code == 404
    if process == "monitr":
        assert answer.get_json()["error"]["what_to_do"] == "Did you mean monitor?"


def test_notices_are_those_of_the_outbox_newest_first(client: FlaskClient, deps: Deps):
    for number in range(3):
        at = NOW + timedelta(minutes=number)
        outbox.post(deps.notices_dir, outbox.Notice(f"n-{number}", at, "warning", "monitor", f"text {number}"))
    outbox.sent(deps.notices_dir, "n-1")

    notices = client.get("/api/system/notices?limit=2").get_json()["data"]["notices"]

    assert [(notice["id"], notice["text"]) for notice in notices] == [("n-2", "text 2"), ("n-1", "text 1")]


def test_a_state_folder_without_notices_has_none(client: FlaskClient):
    assert client.get("/api/system/notices").get_json()["data"] == {"notices": []}


def test_a_supervisord_that_hangs_does_not_hang_the_status(deps: Deps, tmp_path: Path):
    import socket
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"{folder}/s")
        deaf.listen()
        supervisor = Supervisor(Path(folder) / "s", timeout_s=0.2)
        data = (
            create_app(replace(deps, supervisor=supervisor)).test_client().get("/api/system/status").get_json()["data"]
        )

    assert data["isRunning"] is None
