"""Alive, ready, and the figures, with everything there and with each thing away."""

from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from api.main import create_app
from app.host.metrics import Metrics
from app.storage import tasks
from app.storage.database import open_engine, transaction
from tests.api.conftest import Fleet
from tests.builders import NOW


def checks(answer) -> dict[str, tuple[bool, str]]:
    return {check["name"]: (check["ok"], check["state"]) for check in answer.get_json()["data"]["checks"]}


def test_alive_asks_nobody(deps: Deps):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    client = create_app(replace(deps, engine=engine)).test_client()

    assert client.get("/health/live").get_json()["data"] == {"status": "alive"}
    engine.dispose()


@pytest.mark.fleet
@pytest.mark.parametrize("path", ["/health/ready", "/health", "/api/health"])
def test_ready_when_every_dependency_is_there(steered: Deps, path: str):
    answer = create_app(steered).test_client().get(path)

    assert answer.status_code == 200, answer.get_json()
    assert answer.get_json()["data"]["status"] == "ready"
    assert checks(answer) == {
        "database": (True, "up"),
        "redis": (True, "up"),
        "supervisord": (True, "up"),
        "main-app": (True, "running"),
        "broker": (True, "running"),
        "monitor": (True, "running"),
        "market-feed": (True, "running"),
        "strategy-worker": (True, "running"),
        "disk": (True, "up"),
    }


def test_not_ready_without_supervisord_says_so_and_when_to_ask_again(client: FlaskClient):
    answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert checks(answer)["supervisord"] == (False, "away")
    assert checks(answer)["database"] == (True, "up")
    assert answer.get_json()["success"] is False
    assert answer.get_json()["error"]["message"] == "Not ready: supervisord."


def test_a_database_file_that_was_moved_away_is_told_though_it_still_answers(client: FlaskClient, deps: Deps):
    Path(str(deps.engine.url.database)).unlink()

    assert checks(client.get("/health/ready"))["database"] == (False, "gone")


def test_not_ready_while_draining(deps: Deps):
    answer = create_app(replace(deps, draining=lambda: True)).test_client().get("/health/ready")

    assert checks(answer)["main-app"] == (False, "draining")


def test_metrics_are_those_of_all_processes_and_of_the_fleet(client: FlaskClient, deps: Deps):
    worker = Metrics()
    worker.count("flotilla_jobs_total", job="purge", outcome="done")
    worker.publish(deps.run_dir, "data-cleaner")
    deps.metrics.publish(deps.run_dir, "main-app")  # an older snapshot of ourselves must not be counted twice
    client.get("/api/system/tasks/1")
    with transaction(deps.engine) as db:
        tasks.ask(db, kind="drill", queue="strategy", payload={}, trace_id=None, now=NOW)

    answer = client.get("/metrics")

    text = answer.get_data(as_text=True)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'flotilla_jobs_total{process="data-cleaner",job="purge",outcome="done"} 1\n' in text
    assert 'flotilla_tasks{process="main-app",queue="strategy",status="pending"} 1\n' in text
    assert text.count('route="/api/system/tasks/{id}",status="404"} 1\n') == 1
    assert 'flotilla_database_up{process="main-app"} 1\n' in text
    assert 'flotilla_broker_up{process="main-app"} 1\n' in text
    assert 'flotilla_supervisord_up{process="main-app"} 0\n' in text


def test_metrics_are_served_while_everything_is_away(deps: Deps, tmp_path: Path):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    from redis import Redis

    with Redis.from_url(f"unix://{tmp_path}/nothing.sock") as redis:
        text = (
            create_app(replace(deps, engine=engine, redis=redis)).test_client().get("/metrics").get_data(as_text=True)
        )
    engine.dispose()

    for what in ("database", "broker", "supervisord"):
        assert f'flotilla_{what}_up{{process="main-app"}} 0\n' in text
    assert "flotilla_disk_free_bytes" in text


@pytest.mark.fleet
def test_metrics_say_which_process_is_up(steered: Deps, fleet: Fleet):
    text = create_app(steered).test_client().get("/metrics").get_data(as_text=True)

    for name in fleet.states():
        assert f'flotilla_up{{process="{name}"}} 1\n' in text
        assert f'flotilla_process_memory_bytes{{process="{name}"}}' in text
        assert f'flotilla_process_heartbeat_age_seconds{{process="{name}"}}' in text
    assert 'flotilla_process_ceiling_bytes{process="monitor"} 52428800\n' in text
