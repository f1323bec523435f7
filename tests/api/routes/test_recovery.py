"""What the fleet does by itself, as the API tells it."""

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.domain.posture import Posture
from app.domain.recovery import REMEDIES, begun
from app.host import posture_file
from app.storage import recoveries
from app.storage.database import transaction
from tests.builders import NOW

BASE = "/api/architecture/fault-recovery"


def ask(client: FlaskClient, path: str, status: int = 200) -> dict:
    answer = client.get(BASE + path)
    assert answer.status_code == status, answer.get_json()
    return answer.get_json()


def test_every_remedy_is_told_and_what_is_held_back_now(client: FlaskClient, deps: Deps):
    deps.settings.run_dir.mkdir(parents=True, exist_ok=True)
    posture_file.write(deps.settings.run_dir, Posture(scarce=True, why_scarce="the disk is 91 % full"), NOW)
    found = ask(client, "/strategies")["data"]

    assert [one["fault"] for one in found["strategies"]] == [one.fault for one in REMEDIES]
    assert found["posture"] == {
        "strained": False,
        "why_strained": "",
        "scarce": True,
        "why_scarce": "the disk is 91 % full",
    }


@pytest.fixture
def tried(deps: Deps) -> None:
    """A restart that worked, and a stream that is away still."""
    restart = begun("process_fat", "market-feed", "160 MB of 150", NOW)
    with transaction(deps.engine) as db:
        recoveries.keep(db, [restart, restart.ended("recovered", "it works again", NOW)])
        recoveries.keep(db, [begun("stream_down", "demo-okx", "1 of 1 connections are not open", NOW)])


@pytest.mark.usefixtures("tried")
def test_what_was_tried_is_told_with_its_reason_and_outcome_newest_first(client: FlaskClient):
    found = ask(client, "/actions")["data"]["actions"]

    assert [(one["fault"], one["action"], one["outcome"]) for one in found] == [
        ("stream_down", "fail_over", "pending"),
        ("process_fat", "restart", "recovered"),
    ]
    assert (found[1]["reason"], found[1]["note"], found[1]["done_by"]) == (
        "160 MB of 150",
        "it works again",
        "process-guard",
    )


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("query", ["?fault=stream_down", "?outcome=pending", "?limit=1"])
def test_it_can_be_chosen(client: FlaskClient, query: str):
    assert [one["fault"] for one in ask(client, "/actions" + query)["data"]["actions"]] == ["stream_down"]


def test_a_fault_that_is_not_known_says_which_are(client: FlaskClient):
    assert "process_silent" in ask(client, "/actions?fault=boredom", 400)["error"]["what_to_do"]
