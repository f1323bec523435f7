"""Asking for tasks over HTTP: the row, the bell, the pages and the cancelling."""

from pathlib import Path

import redis
from flask.testing import FlaskClient

from api.deps import Deps
from app.domain.posture import Posture
from app.host import posture_file
from app.storage import tasks
from app.storage.database import reading, transaction
from tests.builders import NOW

DRILL = {"kind": "drill", "payload": {"steps": 2, "step_ms": 0}}


def ask(client: FlaskClient) -> int:
    return client.post("/api/system/tasks", json=DRILL).get_json()["data"]["id"]


def test_a_request_becomes_a_row_with_its_trace_and_wakes_a_worker(client: FlaskClient, deps: Deps, valkey_url: str):
    answer = client.post("/api/system/tasks", json=DRILL, headers={"X-Trace-Id": "t-1"})

    data = answer.get_json()["data"]
    assert answer.status_code == 202
    assert (data["kind"], data["queue"], data["status"]) == ("drill", "strategy", "pending")
    assert (data["payload"], data["trace_id"]) == (DRILL["payload"], "t-1")
    with reading(deps.engine) as db:
        assert tasks.get(db, data["id"]) is not None
    with redis.from_url(valkey_url) as server:
        assert server.llen("strategy") == 1


def test_what_no_worker_could_do_is_refused(client: FlaskClient, deps: Deps):
    for body in (
        {"kind": "nothing"},
        {"kind": "drill", "payload": {"steps": -1, "step_ms": 0}},
        {"kind": "drill", "payload": {"step": 1}},
        {"kind": "drill", "payload": {"steps": "\x00", "step_ms": 0}},
        {"kind": "drill", "payload": []},
        {"kind": ""},
    ):
        answer = client.post("/api/system/tasks", json=body)

        assert answer.status_code == 400, body
    assert client.get("/api/system/tasks").get_json()["data"]["tasks"] == []


def test_pages_lead_from_the_newest_to_the_oldest(client: FlaskClient):
    ids = [ask(client) for _ in range(5)]

    seen, query = [], "?limit=2"
    while query:
        data = client.get(f"/api/system/tasks{query}").get_json()["data"]
        seen.append([task["id"] for task in data["tasks"]])
        query = f"?limit=2&before_id={data['next_before_id']}" if data["next_before_id"] else ""

    assert seen == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


def test_what_waits_for_a_strained_machine_says_so(client: FlaskClient, deps: Deps):
    posture_file.write(Path(deps.run_dir), Posture(strained=True, why_strained="CPU"), NOW)
    kinds = {"kind": "check_database"}, DRILL
    waits = [client.post("/api/system/tasks", json=kind).get_json()["data"]["waits_for"] for kind in kinds]

    assert waits == ["The machine is busy; it is begun in six hours at the latest.", None]


def test_tasks_can_be_asked_for_by_status(client: FlaskClient):
    first, second = ask(client), ask(client)
    client.post(f"/api/system/tasks/{first}/cancel")

    def seen(status: str) -> list[int]:
        found = client.get(f"/api/system/tasks?status={status}").get_json()["data"]["tasks"]
        return [task["id"] for task in found]

    assert (seen("cancelled"), seen("pending"), seen("done")) == ([first], [second], [])


def test_what_waits_is_cancelled_at_once_and_only_once(client: FlaskClient):
    task_id = ask(client)

    first = client.post(f"/api/system/tasks/{task_id}/cancel")
    second = client.post(f"/api/system/tasks/{task_id}/cancel")

    assert (first.status_code, first.get_json()["data"]["status"]) == (200, "cancelled")
    assert second.status_code == 409
    audit = client.get("/api/system/audit").get_json()["data"]["entries"]
    assert [entry["action"] for entry in audit] == ["cancel_task", "ask_task"]


def test_what_runs_is_asked_to_end(client: FlaskClient, deps: Deps):
    task_id = ask(client)
    with transaction(deps.engine) as db:
        tasks.claim(db, task_id, worker="w", token="t", now=NOW)

    answer = client.post(f"/api/system/tasks/{task_id}/cancel")

    assert answer.status_code == 202
    assert (answer.get_json()["data"]["status"], answer.get_json()["data"]["cancel_requested"]) == ("running", True)


def test_a_task_that_is_not_there_is_not_found(client: FlaskClient):
    assert client.get("/api/system/tasks/99").status_code == 404
    assert client.post("/api/system/tasks/99/cancel").status_code == 404


def test_the_kinds_say_which_worker_does_them(client: FlaskClient):
    kinds = client.get("/api/system/tasks/kinds").get_json()["data"]["kinds"]

    assert {"name": "drill", "queue": "strategy"}.items() <= next(
        kind for kind in kinds if kind["name"] == "drill"
    ).items()
    assert all(kind["summary"] for kind in kinds)


def test_the_claim_of_a_worker_is_nobodys_business(client: FlaskClient, deps: Deps):
    task_id = ask(client)
    with transaction(deps.engine) as db:
        tasks.claim(db, task_id, worker="w", token="secret-token", now=NOW)

    assert "secret-token" not in client.get(f"/api/system/tasks/{task_id}").get_data(as_text=True)
