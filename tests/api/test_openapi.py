"""The document says what the code does: it is valid, complete, and real answers fit its schemas."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.deps import Deps
from api.main import create_app
from api.openapi import TAGS, document
from api.routes.route import RAW, AnyRoute, File
from api.routes.table import ROUTES
from app.storage import processes
from app.storage.database import transaction
from tests.api.market import market_lived_in
from tests.builders import NOW

DOCUMENT = document(ROUTES, "0.1.0")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def schema_of(method: str, path: str, status: int) -> dict[str, Any]:
    answer = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer["content"]["application/json"]["schema"]


def test_the_document_is_valid_openapi_3_1():
    OpenAPIV31SpecValidator(DOCUMENT).validate()

    assert DOCUMENT["openapi"] == "3.1.0"


def test_the_document_is_served_as_it_is(client: FlaskClient):
    answer = client.get("/openapi.json")

    assert answer.content_type == "application/json"
    assert answer.get_json()["paths"] == msgspec.json.decode(msgspec.json.encode(DOCUMENT))["paths"]


def test_every_route_of_the_application_is_in_the_document(deps: Deps):
    served = {
        (method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule))
        for rule in create_app(deps).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }

    assert served == {(method, path) for method, path, _ in operations()}


def test_every_route_of_the_document_answers(client: FlaskClient):
    for method, path, operation in operations():
        answer = client.open(filled(path), method=method)

        described = {int(status) for status in operation["responses"]}
        assert answer.status_code in described, f"{method} {path} answers {answer.status_code}"
        assert answer.status_code != 405


def test_every_operation_has_a_name_of_its_own_and_a_known_tag():
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(set(names)) == len(names)
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == set(TAGS)
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations())


def test_every_json_answer_has_an_example_that_fits_its_schema():
    for method, path, operation in operations():
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if content and int(status) < 400 and path != "/openapi.json":
                assert content["example"], f"{method} {path} {status} has no example"
                check(content["schema"], msgspec.to_builtins(content["example"]))


def test_every_error_answer_has_an_example_that_fits_its_schema():
    for answer in DOCUMENT["components"]["responses"].values():
        content = answer["content"]["application/json"]
        check(content["schema"], content["example"])


def test_every_body_has_an_example_that_fits_its_schema():
    bodies = [(path, operation["requestBody"]) for _, path, operation in operations() if "requestBody" in operation]

    assert bodies
    for _, body in bodies:
        content = body["content"]["application/json"]
        check(content["schema"], content["example"])


def test_a_field_that_is_not_known_does_not_fit_the_schema_of_a_body():
    schema = {"$ref": "#/components/schemas/NewTask"}

    check(schema, {"kind": "drill"})
    with pytest.raises(Exception, match="Additional properties"):
        check(schema, {"kind": "drill", "priority": 1})


def test_parameters_stand_where_the_code_reads_them():
    parameters = {one["name"]: one for one in DOCUMENT["paths"]["/api/system/logs"]["get"]["parameters"]}
    in_path = DOCUMENT["paths"]["/api/system/tasks/{id}/cancel"]["post"]["parameters"][0]

    assert parameters["lines"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}
    assert parameters["process"]["schema"] == {"type": "string", "maxLength": 50}
    assert not any(one["required"] for one in parameters.values())
    assert (in_path["in"], in_path["required"]) == ("path", True)


def test_no_two_shapes_share_a_name():
    shapes = {shape for route in ROUTES for shape in (route.asks, route.answer)}

    assert len({shape.__name__ for shape in shapes}) == len(shapes)
    assert not [name for name in DOCUMENT["components"]["schemas"] if "." in name], "these are named by their module"


@pytest.fixture
def lived_in(deps: Deps) -> FlaskClient:
    """An application with something to answer."""
    client = create_app(deps).test_client()
    assert (
        client.post("/api/system/tasks", json={"kind": "drill", "payload": {"steps": 1, "step_ms": 0}}).status_code
        == 202
    )
    assert client.post("/api/control/systemd/stop", json={"service": "market-feed"}).status_code == 202
    with transaction(deps.engine) as db:
        processes.report(db, "market-feed", actual="STOPPED", pid=None, note="a note", now=NOW)
    market_lived_in(deps)
    (deps.log_dir / "monitor.jsonl").write_text('{"at":"2026-11-21T05:00:00+00:00","level":"INFO","message":"hello"}\n')
    return client


REQUESTS = [
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/api/health", None),
    ("GET", "/api/system/status", None),
    ("GET", "/api/system/logs", None),
    ("GET", "/api/system/audit", None),
    ("GET", "/api/system/notices", None),
    ("GET", "/api/system/tasks", None),
    ("GET", "/api/system/tasks/{id}", None),
    ("GET", "/api/system/tasks/kinds", None),
    ("GET", "/api/control/systemd/status", None),
    ("POST", "/api/system/start", {}),
    ("POST", "/api/system/stop", {}),
    ("POST", "/api/system/restart", {"service": "monitor"}),
    ("POST", "/api/system/restart", {"service": "nobody"}),
    ("POST", "/api/system/tasks", {"kind": "drill", "payload": {"steps": 1, "step_ms": 0}}),
    ("POST", "/api/system/tasks", {"kind": "nothing"}),
    ("POST", "/api/system/tasks/{id}/cancel", {}),
    ("POST", "/api/control/systemd/start", {"service": "market-feed"}),
    ("POST", "/api/control/systemd/stop", {"service": "main-app"}),
    ("POST", "/api/control/systemd/restart", {}),
    ("GET", "/api/v1/strategies/v3/judgments", None),
    ("GET", "/api/v1/strategies/ict/judgments", None),
    ("GET", "/api/v1/strategies/current-status", None),
    ("GET", "/api/v1/strategies/status", None),
    ("POST", "/api/v1/strategies/v3/analyze", {"symbol": "BTCUSDT"}),
    ("POST", "/api/v1/strategies/ict/analyze", {"symbol": "NOUSDT"}),
    ("POST", "/api/v1/strategies/ict/analyze", {"symbol": "BTCUSDT"}),
    ("POST", "/api/v1/strategies/batch-analyze", {"symbols": ["BTCUSDT", "NOUSDT", "??"]}),
    ("GET", "/api/v1/monitoring/system", None),
    ("GET", "/api/v1/monitoring/metrics", None),
    (
        "POST",
        "/api/v1/monitoring/metrics",
        {"metric_type": "API_SUCCESS_RATE", "component": "x", "success_count": 1, "total_count": 2},
    ),
    ("GET", "/api/v1/monitoring/symbols", None),
    ("GET", "/api/v1/monitoring/health", None),
    ("POST", "/api/v1/monitoring/{symbol}/statistics", {"strategy": "V3"}),
    ("GET", "/api/architecture/services", None),
    ("GET", "/api/architecture/health-check", None),
    ("GET", "/api/architecture/metrics", None),
    ("GET", "/api/architecture/status", None),
    ("GET", "/api/architecture/fault-recovery/strategies", None),
    ("GET", "/api/architecture/fault-recovery/actions", None),
    ("GET", "/api/observability/logs", None),
    ("GET", "/api/observability/traces?trace_id=abc", None),
    ("GET", "/api/observability/alerts", None),
    ("POST", "/api/observability/alerts/acknowledge", {"name": "nothing"}),
    ("GET", "/api/observability/metrics", None),
    ("GET", "/api/v1/settings", None),
    ("GET", "/api/v1/settings/{name}", None),
    ("POST", "/api/v1/settings/{name}", {"value": 50}),
    ("POST", "/api/v1/settings/{name}", {"value": 51}),
    ("DELETE", "/api/v1/settings/{name}", {}),
    ("GET", "/api/v1/strategies/statistics", None),
    ("GET", "/api/v1/strategies/cumulative-statistics", None),
    ("GET", "/api/v1/trades/statistics", None),
    ("GET", "/api/v1/trades/equity-curve", None),
    ("GET", "/api/v1/trades", None),
    ("GET", "/api/v1/trades/active", None),
    ("GET", "/api/v1/trades/check-creation?symbol=BTCUSDT&strategy=V3", None),
    ("GET", "/api/v1/trades/cooldown-status", None),
    ("GET", "/api/v1/trades/{id}", None),
    ("PUT", "/api/v1/trades/{id}", {"stop_loss": 43000}),
    ("POST", "/api/v1/trades/{id}/close", {}),
    (
        "POST",
        "/api/v1/trades",
        {"symbol": "BTCUSDT", "strategy": "V3", "direction": "LONG", "stop_loss": 90, "take_profit": 120},
    ),
    ("POST", "/api/v1/trades/auto-close", {}),
    ("POST", "/api/v1/tools/leverage-calculator", {}),
    ("POST", "/api/v1/tools/risk-calculator", {"balance": 10000, "entry": 100, "stop": 98, "leverage": 10}),
    ("POST", "/api/v1/tools/rolling-calculator", {"entry": 100, "target": 120}),
    ("POST", "/api/v1/strategies/rolling/calculate", {"entry": 100, "target": 100}),
    ("POST", "/api/v1/tools/dynamic-rolling-calculator", {"entry": 100, "target": 120, "prices": [101, 99.5]}),
    ("GET", "/api/v1/tools/rolling-parameters", None),
    ("POST", "/api/v1/tools/system-test", {}),
    ("GET", "/api/v1/symbols", None),
    ("GET", "/api/v1/symbols/active", None),
    ("GET", "/api/v1/symbols/{symbol}", None),
    ("POST", "/api/v1/symbols", {"symbol": "ETHUSDT"}),
    ("PUT", "/api/v1/symbols/{symbol}", {"status": "INACTIVE"}),
    ("DELETE", "/api/v1/symbols/{symbol}", {}),
    ("POST", "/api/v1/symbols/update", {}),
    ("GET", "/api/v1/market/ticker?symbol=BTCUSDT", None),
    ("GET", "/api/v1/ticker/{symbol}", None),
    ("GET", "/api/v1/market/tickers", None),
    ("GET", "/api/v1/market/klines?symbol=BTCUSDT&timeframe=1M&limit=2", None),
    ("GET", "/api/v1/klines/{symbol}", None),
    ("GET", "/api/v1/market/orderbook?symbol=BTCUSDT", None),
    ("GET", "/api/v1/orderbook/{symbol}", None),
    ("GET", "/api/v1/market/funding?symbol=BTCUSDT", None),
    ("GET", "/api/v1/market/open-interest?symbol=BTCUSDT", None),
    ("GET", "/api/v1/market/cvd?symbol=BTCUSDT", None),
    ("GET", "/api/v1/market/exchanges", None),
    ("GET", "/api/qingxi/collectors/list", None),
    ("GET", "/api/qingxi/collectors/status", None),
    ("GET", "/api/qingxi/collectors/{name}/status", None),
    ("POST", "/api/qingxi/collectors/start", {"name": "demo-binance"}),
    ("POST", "/api/qingxi/collectors/stop", {"name": "demo-binance"}),
    ("POST", "/api/qingxi/collectors/{name}/start", {}),
    ("POST", "/api/qingxi/collectors/{name}/stop", {}),
    ("GET", "/api/qingxi/data/quality", None),
    ("GET", "/api/qingxi/data/flow", None),
    ("GET", "/api/qingxi/clean-stats", None),
    ("GET", "/api/qingxi/market-data", None),
    ("GET", "/api/qingxi/stats", None),
    ("GET", "/api/qingxi/refused", None),
]
IN_PATH = {"settings/{name}": "settings/maxLossAmount", "{id}": "1", "{symbol}": "BTCUSDT", "{name}": "demo-binance"}


def filled(path: str) -> str:
    """A path with something in each of its places."""
    for place, text in IN_PATH.items():
        path = path.replace(place, text)
    return path


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_a_real_answer_fits_its_schema(lived_in: FlaskClient, method: str, path: str, body: object):
    answer = lived_in.open(filled(path), method=method, json=body)

    check(schema_of(method, path.partition("?")[0], answer.status_code), answer.get_json())


def test_every_json_route_is_checked_against_its_schema():
    checked = {(method, path.partition("?")[0]) for method, path, _ in REQUESTS} | {("GET", "/health")}

    assert {(route.method, route.path) for route in ROUTES if route.answer not in RAW} == checked


@pytest.mark.fleet
@pytest.mark.parametrize("path", ["/api/system/status", "/api/control/systemd/status", "/health/ready"])
def test_a_real_answer_about_a_fleet_that_runs_fits_its_schema(steered: Deps, path: str):
    answer = create_app(steered).test_client().get(path)

    check(schema_of("GET", path, answer.status_code), answer.get_json())


def test_pages_say_their_media_type(client: FlaskClient):
    route: AnyRoute
    for route in ROUTES:
        if route.answer is File:
            assert client.get(route.path).content_type == route.media


OURS = ("banned_until_ms", "age_ms", "freshness_ms")


def test_every_time_of_the_market_says_by_whose_clock_it_is():
    schemas = DOCUMENT["components"]["schemas"]
    fields = [
        (f"{schema}.{name}", name, json.dumps(field))
        for schema, said in schemas.items()
        for name, field in said.get("properties", {}).items()
        if re.search(r"^(opened|last_message|since|away_since|updated|last|banned_until|freshness|age)_ms$", name)
        or name in ("time", "open_time", "next_funding_time")
    ]

    assert len(fields) > 15
    for place, name, text in fields:
        wanted = r"our (clock|time)|market's time" if name in OURS else "arket time"
        assert re.search(wanted, text), f"{place} does not say by whose clock it is."
