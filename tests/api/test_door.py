"""What is refused before a handler sees it, and how the refusal helps."""

import json

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from api import door
from api.door import trace_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c"


def error_of(answer) -> dict:
    body = answer.get_json()
    assert body["success"] is False
    return body["error"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "127.8.9.1:1", "localhost", "LocalHost:8080", "[::1]", "[::1]:8080"]
)
def test_a_loopback_host_is_answered(client: FlaskClient, host: str):
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "192.168.1.5:8080",
        "127.0.0.1.nip.io",
        "",
        "0.0.0.0",
    ],
)
def test_a_foreign_host_is_refused_and_told_why(client: FlaskClient, host: str):
    answer = client.get("/health/live", environ_overrides={"HTTP_HOST": host})

    assert answer.status_code == 403
    assert error_of(answer)["code"] == 1300
    assert "loopback" in error_of(answer)["message"]


def test_a_foreign_host_does_not_even_learn_which_paths_exist(client: FlaskClient):
    answers = [client.get(path, headers={"Host": "evil.example"}) for path in ("/api/system/logs", "/nothing")]

    assert [answer.status_code for answer in answers] == [403, 403]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8080", "https://evil.example:8080"],
)
def test_a_write_from_a_page_of_another_origin_is_refused(client: FlaskClient, origin: str):
    answer = client.post("/api/system/stop", headers={"Host": "127.0.0.1:8080", "Origin": origin})

    assert answer.status_code == 403
    assert error_of(answer)["code"] == 1300


def test_a_write_from_our_own_page_or_from_a_program_is_answered(client: FlaskClient):
    for headers in ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, {"Host": "127.0.0.1:8080"}):
        assert client.post("/api/system/stop", headers=headers).status_code == 202


def test_a_read_from_another_origin_gets_no_permission_to_look(client: FlaskClient):
    answer = client.get("/api/system/status", headers={"Origin": "http://evil.example"})

    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_an_unknown_parameter_is_refused_with_the_nearest_name(client: FlaskClient):
    answer = client.get("/api/system/logs?line=5")

    assert answer.status_code == 400
    assert error_of(answer)["message"] == "Unknown field 'line' in the query. Did you mean lines?"


def test_a_parameter_given_twice_is_refused(client: FlaskClient):
    answer = client.get("/api/system/logs?lines=5&lines=6")

    assert answer.status_code == 400
    assert "2 times" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("lines=many", 'lines must be a whole number from 1 to 1000, not "many".'),
        ("lines=0", 'lines must be a whole number from 1 to 1000, not "0".'),
        ("lines=", 'lines must be a whole number from 1 to 1000, not "".'),
        ("lines=1.5", 'lines must be a whole number from 1 to 1000, not "1.5".'),
        ("lines=99999999999999999999", 'lines must be a whole number from 1 to 1000, not "99999999999999999999".'),
        ("level=LOUD", 'level must be one of CRITICAL, DEBUG, ERROR, INFO, WARNING, not "LOUD".'),
        ("trace_id=%00", 'trace_id must be text of the form ^[A-Za-z0-9_-]{1,64}$, not "\\u0000".'),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_allowed(client: FlaskClient, query: str, message: str):
    answer = client.get(f"/api/system/logs?{query}")

    assert answer.status_code == 400
    assert error_of(answer)["message"] == message


def test_a_long_value_is_not_repeated_in_full(client: FlaskClient):
    answer = client.get("/api/system/logs?lines=" + "9" * 5000)

    assert len(error_of(answer)["message"]) < 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"service": 5}, "service must be text of 1 to 50 characters, not 5."),
        ({"service": "x" * 51}, f'service must be text of 1 to 50 characters, not "{"x" * 51}".'),
        ({}, "service is missing. It must be text of 1 to 50 characters."),
        ({"servise": "monitor"}, "Unknown field 'servise' in the body. Did you mean service?"),
        ({"service": "monitor", "force": True}, "Unknown field 'force' in the body. Known: service."),
        ([], "The body must be a JSON object."),
        ("monitor", "The body must be a JSON object."),
    ],
)
def test_a_wrong_body_is_answered_with_what_is_allowed(client: FlaskClient, body: object, message: str):
    answer = client.post("/api/control/systemd/start", json=body)

    assert answer.status_code == 400
    assert error_of(answer)["message"] == message


@pytest.mark.parametrize("body", ["{", b"\xff\xfe", '{"service": "\\ud800"}', "[" * 100_000, '{"a":' * 50_000])
def test_a_body_that_is_no_json_is_refused(client: FlaskClient, body: str | bytes):
    answer = client.post("/api/control/systemd/start", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert error_of(answer)["type"] == "InvalidInput"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (
            "/api/v1/monitoring/metrics",
            {"metric_type": "SYSTEM_HEALTH", "component": "a\0b", "success_count": 1, "total_count": 1},
            "component",
        ),
        ("/api/system/tasks", {"kind": "drill", "payload": {"a\0b": 1}}, "payload"),
        ("/api/system/tasks", {"kind": "drill", "payload": {"a": [{"b": ["c\0"]}]}}, "payload"),
    ],
)
def test_a_zero_byte_anywhere_in_a_body_is_refused_for_postgresql_could_not_keep_it(
    client: FlaskClient, path: str, body: dict, field: str
):
    answer = client.post(path, json=body)

    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith(f"{field} holds a zero byte")


def test_a_zero_byte_in_a_query_is_refused(client: FlaskClient):
    answer = client.get("/api/v1/monitoring/metrics?component=a%00b")

    assert error_of(answer)["message"].startswith("component holds a zero byte")


def test_a_body_that_is_nested_deeply_is_searched_without_an_end(client: FlaskClient):
    deep = "[" * 400 + "]" * 400
    answer = client.post(
        "/api/system/tasks", data=f'{{"kind": "drill", "payload": {{"a": {deep}}}}}', content_type="application/json"
    )

    assert answer.status_code == 400


def test_a_body_that_is_not_sent_as_json_is_refused(client: FlaskClient):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None):
        answer = client.post("/api/control/systemd/start", data='{"service": "monitor"}', content_type=content_type)

        assert answer.status_code == 415
        assert "application/json" in error_of(answer)["what_to_do"]


def test_a_body_with_a_charset_is_json_too(client: FlaskClient):
    answer = client.post(
        "/api/control/systemd/start", data='{"service": "monitor"}', content_type="application/json; charset=utf-8"
    )

    assert answer.status_code == 202


def test_a_body_over_one_megabyte_is_refused(client: FlaskClient):
    body = json.dumps({"service": "x" * door.MAX_BODY})

    answer = client.post("/api/control/systemd/start", data=body, content_type="application/json")

    assert answer.status_code == 413
    assert error_of(answer)["code"] == 2000


def test_a_write_takes_nothing_from_the_query(client: FlaskClient):
    answer = client.post("/api/control/systemd/start?service=monitor")

    assert answer.status_code == 400


def test_a_route_that_takes_nothing_refuses_everything(client: FlaskClient):
    assert client.get("/health/live?verbose=1").status_code == 400
    assert client.post("/api/system/start", json={"now": True}).status_code == 400
    assert client.post("/api/system/start", json={}).status_code == 202


@pytest.mark.parametrize("task_id", ["abc", "0", "-1", "1.5", str(2**63), "9" * 40, "%00"])
def test_a_path_with_an_unusable_number_is_refused(client: FlaskClient, task_id: str):
    answer = client.get(f"/api/system/tasks/{task_id}")

    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith("id must be a whole number from 1 to ")


def test_a_field_of_the_path_cannot_come_from_elsewhere(client: FlaskClient):
    assert client.get("/api/system/tasks/1?id=2").status_code == 400
    assert client.post("/api/system/tasks/1/cancel", json={"id": 2}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
        ({"X-Trace-Id": "my-trace_7"}, "my-trace_7"),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Trace-Id": "other"}, TRACE),
        ({"traceparent": "rubbish", "X-Trace-Id": "my-trace"}, "my-trace"),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, None),
        ({"X-Trace-Id": "a" * 65}, None),
        ({"X-Trace-Id": "a b"}, None),
        ({"X-Trace-Id": "a\u00e4"}, None),
        ({"X-Trace-Id": ""}, None),
        ({}, None),
    ],
)
def test_a_usable_trace_id_is_kept_and_another_one_replaced(headers: dict[str, str], kept: str | None):
    found = trace_id_of(Headers(headers))

    assert found == kept if kept else len(found) == 32


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 9},
            "a list of 1 to 9 entries, each text",
        ),
        ({"type": "array", "items": {"type": "integer"}}, "a list, each a whole number"),
        ({"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]}, "a number of at least 0"),
    ],
)
def test_what_may_be_given_is_told_in_words(schema: dict, words: str):
    assert door.allowed(schema) == words


def test_of_what_may_be_anything_it_is_only_said_that_it_is_missing(client: FlaskClient):
    answer = client.post("/api/v1/settings/maxLossAmount", json={})

    assert error_of(answer)["message"] == "value is missing."
