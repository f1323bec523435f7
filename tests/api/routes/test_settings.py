"""Live settings, as the API changes them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.storage import config
from app.storage.database import reading, transaction
from app.usecases.live_settings import SPECS, live_settings
from tests.builders import NOW

MAX_LOSS = "/api/v1/settings/maxLossAmount"


def data(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


def test_every_setting_is_told_with_its_default(client: FlaskClient):
    found = data(client.get("/api/v1/settings"))["settings"]

    assert [one["name"] for one in found] == [spec.name for spec in SPECS]
    assert all(one["value"] == one["default"] and one["changed_at"] is None for one in found)
    assert found[0] == data(client.get(MAX_LOSS))
    assert found[0]["value"] == "100"
    assert "20, 50, 100 or 200" in found[0]["description"]


def test_a_setting_that_is_changed_holds_at_once_and_leaves_a_trace(client: FlaskClient, deps: Deps):
    changed = data(client.post(MAX_LOSS, json={"value": 50}, headers={"X-Trace-Id": "t-1"}))

    assert (changed["value"], changed["default"], changed["changed_at"]) == ("50", "100", "2026-11-21T05:00:00.123456Z")
    assert data(client.get(MAX_LOSS)) == changed
    with reading(deps.engine) as db:
        assert live_settings(db).max_loss_amount == 50
    [entry] = data(client.get("/api/system/audit"))["entries"]
    assert (entry["action"], entry["subject"], entry["trace_id"]) == ("change_setting", "maxLossAmount", "t-1")
    assert (entry["before"], entry["after"]) == ({"value": "100"}, {"value": "50"})


@pytest.mark.parametrize("value", [0, 51, -50, "a lot", None, [50], {"value": 50}, True])
def test_a_value_that_may_not_be_is_refused_with_those_that_may(client: FlaskClient, value: Any):
    answer = client.post(MAX_LOSS, json={"value": value})

    assert answer.status_code == 400
    assert answer.get_json()["error"]["message"].startswith("maxLossAmount: ")
    assert data(client.get(MAX_LOSS))["changed_at"] is None


def test_a_refusal_names_the_four_losses(client: FlaskClient):
    error = client.post(MAX_LOSS, json={"value": 51}).get_json()["error"]

    assert error["message"] == "maxLossAmount: 51 is not one of 20, 50, 100, 200 USDT."


@pytest.mark.parametrize("body", [{}, {"value": 50, "actor": "me"}, {"value": 50, "name": "takerFee"}, []])
def test_a_change_that_says_something_else_is_refused(client: FlaskClient, body: Any):
    assert client.post(MAX_LOSS, json=body).status_code == 400


def test_an_object_is_a_value_too(client: FlaskClient):
    coins = data(client.post("/api/v1/settings/coinClasses", json={"value": {"wif": "small"}}))
    fees = data(client.post("/api/v1/settings/exchangeFees", json={"value": {"okx": {"taker": 0.0004}}}))

    assert coins["value"] == {"WIF": "small"}
    assert fees["value"] == {"okx": {"taker": "0.0004"}}


def test_a_setting_goes_back_to_its_default(client: FlaskClient):
    client.post(MAX_LOSS, json={"value": 50})

    gone = data(client.delete(MAX_LOSS))

    assert (gone["value"], gone["changed_at"]) == ("100", None)
    assert data(client.get(MAX_LOSS)) == gone
    assert data(client.delete(MAX_LOSS)) == gone  # twice is no harm


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {"value": 50}), ("DELETE", None)])
def test_a_setting_that_is_none_is_not_found_and_the_known_ones_are_named(client: FlaskClient, method: str, body: Any):
    answer = client.open("/api/v1/settings/defaultLeverage", method=method, json=body)

    assert answer.status_code == 404
    assert "maxLossAmount" in answer.get_json()["error"]["what_to_do"]


def test_a_row_that_was_broken_by_hand_says_so_until_it_is_mended(client: FlaskClient, deps: Deps):
    with transaction(deps.engine) as db:
        config.put(db, "maxLossAmount", "150", now=NOW)

    broken = data(client.get(MAX_LOSS))
    client.post(MAX_LOSS, json={"value": 100})

    assert (broken["value"], broken["broken"]) == ("100", True)
    assert data(client.get(MAX_LOSS))["broken"] is False
