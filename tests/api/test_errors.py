"""Every error of the tree has its status, its code and something to do."""

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import BadRequest, ImATeapot, InternalServerError

from api.errors import STATUS, problem, status_of
from app import errors
from app.errors import CorruptData, FlotillaError, RateLimited, Unavailable


def every_kind() -> list[type[FlotillaError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FlotillaError)]


def made(kind: type[FlotillaError]) -> FlotillaError:
    return RateLimited(retry_after_s=2.2) if kind is RateLimited else kind()


@pytest.mark.parametrize("kind", every_kind())
def test_every_error_says_what_it_is_and_what_to_do(kind: type[FlotillaError]):
    found = problem(made(kind), method="GET", path="/x")
    body = found.body("trace")

    assert found.status in STATUS.values()
    assert (body.code, body.type, body.trace_id) == (kind.code, kind.__name__, "trace")
    assert body.message
    assert body.what_to_do or kind is FlotillaError


def test_an_error_without_a_status_of_its_own_has_that_of_its_parent():
    assert status_of(CorruptData) == 400
    assert status_of(type("Busy", (Unavailable,), {})) == 503


def test_whoever_must_wait_is_told_how_long():
    assert problem(RateLimited(retry_after_s=2.2), method="GET", path="/x").headers == {"Retry-After": "3"}
    assert problem(RateLimited(retry_after_s=0), method="GET", path="/x").headers == {"Retry-After": "1"}
    assert int(problem(Unavailable(), method="GET", path="/x").headers["Retry-After"]) > 0


def test_a_subclass_is_told_under_its_name_in_the_tree():
    class Elsewhere(Unavailable):
        """A subclass that a route made for itself."""

    assert problem(Elsewhere(), method="GET", path="/x").body("t").type == "Unavailable"


def test_a_crash_is_told_without_a_word_of_its_inside():
    found = problem(KeyError("password=hunter2"), method="GET", path="/x")

    assert found.status == 500
    assert "hunter2" not in str(found.body("t"))


@pytest.mark.parametrize(
    ("error", "status"), [(BadRequest("no"), 400), (ImATeapot(), 418), (InternalServerError(), 500)]
)
def test_an_error_of_http_keeps_its_status(error: Exception, status: int):
    assert problem(error, method="GET", path="/x").status == status


def test_an_unknown_path_is_answered_with_the_nearest(client: FlaskClient):
    answer = client.get("/api/sytem/status")

    assert answer.status_code == 404
    assert answer.get_json()["error"]["code"] == 1200
    assert "Did you mean /api/system/status?" in answer.get_json()["error"]["what_to_do"]


@pytest.mark.parametrize(
    "path", ["/api//system/status", "/health/live/", "/%00", "/web/../main.py", "/web/..%2fmain.py"]
)
def test_a_path_is_in_the_table_or_unknown(client: FlaskClient, path: str):
    assert client.get(path).status_code == 404


def test_a_wrong_method_is_answered_with_the_right_one(client: FlaskClient):
    for method in ("DELETE", "OPTIONS", "GET"):
        answer = client.open("/api/system/start", method=method)

        assert answer.status_code == 405
        assert answer.headers["Allow"] == "POST"
        assert answer.get_json()["error"]["what_to_do"] == "Use POST."
