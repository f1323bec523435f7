"""The envelope, the headers, the trace and the figures around every handler."""

import io
import json
import logging
from dataclasses import replace

import msgspec
import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from api.main import UNMATCHED, create_app
from api.routes.route import Answer, Call, Nothing, Reply, Route
from api.routes.table import ROUTES
from app.errors import NotFound
from app.host import logs
from app.host.metrics import Snapshots, exposition
from app.settings import Feed


class Echo(Answer, frozen=True):
    """What a test's handler answers."""

    text: str


def probe(path: str, handler) -> Route[Nothing, Echo]:
    return Route("GET", path, handler, "test", "A route of this test", Nothing, Echo)


def crash(_call: Call[Nothing]) -> Reply[Echo]:
    """Fail in a way that nobody foresaw."""
    raise ZeroDivisionError("secret detail")


@pytest.fixture
def log_lines():
    """The log of the API as its lines of JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines("main-app"))
    logger = logging.getLogger("api")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_an_answer_is_data_in_an_envelope_with_the_offset_of_the_peoples_clock(client: FlaskClient):
    body = client.get("/health/live").get_json()

    assert body == {
        "success": True,
        "data": {"status": "alive"},
        "simulated": True,
        "timestamp": "2026-11-21T13:00:00.123+08:00",
    }


def test_an_error_is_an_error_in_the_same_envelope(client: FlaskClient):
    answer = client.get("/api/system/tasks/77", headers={"X-Trace-Id": "t-1"})

    assert answer.status_code == 404
    assert answer.get_json() == {
        "success": False,
        "error": {
            "code": 1200,
            "type": "NotFound",
            "message": "There is no task 77.",
            "what_to_do": "GET /api/system/tasks lists them.",
            "trace_id": "t-1",
        },
        "simulated": True,
        "timestamp": "2026-11-21T13:00:00.123+08:00",
    }


def test_a_crash_leaks_nothing_and_is_logged_in_full(deps: Deps, log_lines):
    answer = (
        create_app(deps, (*ROUTES, probe("/crash", crash))).test_client().get("/crash", headers={"X-Trace-Id": "t-9"})
    )

    assert answer.status_code == 500
    assert "secret" not in answer.get_data(as_text=True)
    assert "Traceback" not in answer.get_data(as_text=True)
    assert answer.get_json()["error"]["trace_id"] == "t-9"
    (failed, *_) = log_lines()
    assert failed["trace_id"] == "t-9"
    assert "secret detail" in failed["error"]


def test_every_answer_carries_the_headers_that_keep_a_browser_safe(client: FlaskClient):
    for path in ("/", "/docs", "/health/live", "/nowhere", "/metrics"):
        headers = client.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_the_trace_id_reaches_the_handler_the_log_and_the_answer(deps: Deps, log_lines):
    seen = []

    def look(call: Call[Nothing]) -> Reply[Echo]:
        """Remember what was seen."""
        seen.append((call.trace_id, logs.trace_id.get()))
        return Reply(Echo(""))

    answer = create_app(deps, (probe("/look", look),)).test_client().get("/look", headers={"X-Trace-Id": "t-1"})

    assert answer.headers["X-Trace-Id"] == "t-1"
    assert seen == [("t-1", "t-1")]
    assert [line["trace_id"] for line in log_lines()] == ["t-1"]
    assert logs.trace_id.get() is None


def test_each_request_is_one_line_in_the_log_except_those_that_machines_repeat(client: FlaskClient, log_lines):
    machines = ("/health/live", "/health/ready", "/metrics", "/api/system/status", "/api/system/notices?limit=5")
    for path in ("/api/system/tasks/77", *machines, "/nowhere"):
        client.get(path)

    written = [line["message"] for line in log_lines()]
    assert written == ["GET /api/system/tasks/{id} 404", f"GET {UNMATCHED} 404"]


def test_a_line_of_the_log_is_one_line_whatever_the_path(client: FlaskClient, log_lines):
    client.get("/a%0d%0a{%22at%22:1}" + "x" * 5000)

    (line,) = log_lines()
    assert len(line["path"]) == 200


def test_requests_are_counted_by_pattern_never_by_path(client: FlaskClient, deps: Deps):
    for number in range(5):
        client.get(f"/api/system/tasks/{number + 1}")
        client.get(f"/nowhere/{number}")
    client.open("/health/live", method="BREW")

    text = exposition(Snapshots((deps.metrics.snapshot("main-app"),)))

    pattern = 'process="main-app",method="GET",route="/api/system/tasks/{id}",status="404"'
    assert f"flotilla_http_requests_total{{{pattern}}} 5\n" in text
    assert f'route="{UNMATCHED}",status="404"}} 5\n' in text
    assert 'method="OTHER"' in text
    assert "nowhere/" not in text
    assert 'flotilla_http_request_seconds_count{process="main-app",route="/api/system/tasks/{id}"} 5\n' in text


def test_a_head_request_is_answered_like_a_get_without_its_body(client: FlaskClient):
    answer = client.head("/health/live")

    assert (answer.status_code, answer.data) == (200, b"")


def test_a_reply_may_carry_an_error_and_its_data(deps: Deps):
    def half(_call: Call[Nothing]) -> Reply[Echo]:
        """Answer with both."""
        return Reply(Echo("half"), error=NotFound("Half of it is missing."))

    answer = create_app(deps, (probe("/half", half),)).test_client().get("/half")

    assert answer.status_code == 404
    assert answer.get_json()["success"] is False
    assert answer.get_json()["data"] == {"text": "half"}
    assert answer.get_json()["error"]["message"] == "Half of it is missing."


def test_the_clock_that_handlers_see_is_the_one_that_was_given(deps: Deps):
    later = deps.now().replace(year=2030)
    seen = []

    def look(call: Call[Nothing]) -> Reply[Echo]:
        """Remember the time."""
        seen.append(call.now)
        return Reply(Echo(""))

    create_app(replace(deps, now=lambda: later), (probe("/look", look),)).test_client().get("/look")

    assert seen == [later]


def test_every_answer_says_whether_the_market_is_simulated(deps: Deps):
    live = replace(deps, settings=msgspec.structs.replace(deps.settings, feed=Feed(exchanges=("binance",))))

    for path in ("/health/live", "/nothing", "/"):
        answer = create_app(deps).test_client().get(path)
        assert answer.headers["X-Flotilla-Simulated"] == "true"
        assert path == "/" or answer.get_json()["simulated"] is True
        answer = create_app(live).test_client().get(path)
        assert answer.headers["X-Flotilla-Simulated"] == "false"
        assert path == "/" or answer.get_json()["simulated"] is False
