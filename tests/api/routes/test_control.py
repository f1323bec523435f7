"""Single processes, steered under a real supervisord."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from api.main import create_app
from tests.api.conftest import Fleet
from tests.builders import wait_for


@pytest.fixture
def caller(steered: Deps, fleet: Fleet) -> Iterator[FlaskClient]:
    """A caller of the application; everything runs again afterwards."""
    caller = create_app(steered).test_client()
    yield caller
    for name in fleet.states():
        caller.post("/api/control/systemd/start", json={"service": name})


def steer(caller: FlaskClient, verb: str, service: str) -> tuple[int, str]:
    answer = caller.post(f"/api/control/systemd/{verb}", json={"service": service})
    body = answer.get_json()
    return answer.status_code, body["data"]["status"] if body["success"] else body["error"]["type"]


@pytest.mark.fleet
def test_one_process_is_stopped_started_and_restarted(caller: FlaskClient, fleet: Fleet):
    assert steer(caller, "stop", "monitor") == (200, "stopped")
    assert fleet.states()["monitor"] == "STOPPED"
    assert steer(caller, "stop", "monitor") == (200, "already_stopped")
    assert steer(caller, "start", "monitor") == (200, "started")
    assert fleet.states()["monitor"] == "RUNNING"
    assert steer(caller, "start", "monitor") == (200, "already_running")
    before = fleet.pids()["monitor"]
    assert steer(caller, "restart", "monitor") == (200, "restarted")
    assert fleet.pids()["monitor"] != before


@pytest.mark.fleet
def test_a_restart_of_what_is_stopped_starts_it(caller: FlaskClient, fleet: Fleet):
    steer(caller, "stop", "market-feed")

    assert steer(caller, "restart", "market-feed") == (200, "restarted")
    assert fleet.states()["market-feed"] == "RUNNING"


@pytest.mark.fleet
def test_the_api_itself_and_its_broker_may_be_restarted(caller: FlaskClient, fleet: Fleet):
    for service in ("main-app", "broker"):
        before = fleet.pids()[service]

        assert steer(caller, "restart", service) == (200, "restarted")
        assert fleet.pids()[service] != before


@pytest.mark.parametrize("service", ["main-app", "broker", "process-guard"])
def test_what_nobody_could_start_again_cannot_be_stopped(client: FlaskClient, service: str):
    answer = client.post("/api/control/systemd/stop", json={"service": service})

    assert answer.status_code == 409
    assert answer.get_json()["error"]["code"] == 1400
    assert f"flotilla ctl stop {service}" in answer.get_json()["error"]["what_to_do"]
    assert client.get("/api/system/audit").get_json()["data"]["entries"] == []


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_an_unknown_process_is_answered_with_the_nearest_name(client: FlaskClient, verb: str):
    answer = client.post(f"/api/control/systemd/{verb}", json={"service": "marketfeed"})

    assert answer.status_code == 404
    assert answer.get_json()["error"]["what_to_do"] == "Did you mean market-feed?"


def test_a_broker_of_somebody_else_is_not_steered(deps: Deps):
    settings = replace_redis(deps)

    answer = create_app(settings).test_client().post("/api/control/systemd/start", json={"service": "broker"})

    assert answer.status_code == 409


def replace_redis(deps: Deps) -> Deps:
    import msgspec

    redis = msgspec.structs.replace(deps.settings.redis, url="redis://127.0.0.1:6379/0")
    return replace(deps, settings=msgspec.structs.replace(deps.settings, redis=redis))


@pytest.mark.fleet
def test_the_list_shows_desired_and_actual_state(caller: FlaskClient, fleet: Fleet):
    steer(caller, "stop", "monitor")

    def listed() -> dict:
        services = caller.get("/api/control/systemd/status").get_json()["data"]["services"]
        return {service["service"]: service for service in services}

    wait_for(lambda: listed()["market-feed"]["actual"] == "RUNNING", within_s=20)
    found = listed()
    assert list(found) == [spec.name for spec in fleet.specs]
    assert (found["monitor"]["desired"], found["monitor"]["actual"]) == ("stopped", "STOPPED")
    assert (found["monitor"]["pid"], found["monitor"]["applied"]) == (None, True)
    assert found["monitor"]["wanted_by"] == "api"
    assert found["market-feed"]["pid"] == fleet.pids()["market-feed"]


def test_the_list_before_anything_was_reported_knows_nothing(client: FlaskClient, deps: Deps):
    services = client.get("/api/control/systemd/status").get_json()["data"]["services"]

    assert len(services) == len(deps.specs)
    assert all(service["desired"] is None and service["actual"] is None for service in services)
