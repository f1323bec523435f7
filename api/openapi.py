"""The OpenAPI 3.1 document, made from the route table: what the code checks and what the page says cannot differ."""

from collections.abc import Sequence
from typing import Any

import msgspec

from api import door, envelope
from api.errors import ErrorBody, Problem, status_of
from api.routes.route import JSON, RAW, AnyRoute
from app.errors import Conflict, FlotillaError, InvalidInput, LimitExceeded, NotFound, Refused, Unavailable

_REF = "#/components/schemas/{name}"
_AT = "2026-11-21T12:00:00.000+00:00"
_TRACE = "0af7651916cd43dd8448eb211c80319c"
TAGS = {
    "health": "Is it alive, is it ready, and its figures.",
    "system": "The system as a whole.",
    "tasks": "Work that takes longer than a request.",
    "control": "Single processes.",
    "symbols": "Which pairs are watched.",
    "market": "What the market says: prices, candles, books, funding, open interest, and all of it as a stream.",
    "strategies": "What the strategies judge of each symbol, and on what that rests.",
    "trades": "Paper trades: what was opened, what moved money in it, and what it all amounts to.",
    "monitoring": "How well everything works, by the minute and now.",
    "architecture": "The documents' names for what runs.",
    "observability": "The documents' names for logs, traces, alerts and figures.",
    "settings": "What can be changed while the fleet runs.",
    "tools": "Calculators for a trader.",
    "qingxi": "Collecting and cleaning (清洗): what the collectors do, and how good their data are.",
    "pages": "Pages for people, and this document.",
}
_INTRO = (
    "Every JSON answer is `{success, data, simulated, timestamp}`; an error has `error` in place of `data`: a `code` and "
    "`type` that never change, a `message` that says what is wrong, `what_to_do`, and the `trace_id` that finds the request "
    "in the logs. `simulated`, like the header `X-Flotilla-Simulated`, says whether the market is the demo exchange's. "
    "Send `traceparent` (W3C) or `X-Trace-Id` to choose that id; `X-Trace-Id` of the answer repeats it. "
    "Times of the market are ms since 1970 by its own clock, which a sped-up demo makes run faster than ours and ahead of it: "
    "the fields named `..._ms`, `timestamp`, `time` and `open_time` are such unless they say otherwise (`banned_until_ms` and "
    "the ages of reports are by our clock). Times written as text are ours, in UTC, but for those of judgments and trades "
    "(`opened_at`, `closed_at`, `judged_at`), which are of the market. "
    "Unknown paths (404) and wrong methods (405) are told in the same shape. "
    "Until there are accounts, only requests under a loopback address are answered."
)
# What an error answer says of itself, and an example where the error's own words would say too little.
_ERRORS: dict[int, tuple[str, FlotillaError]] = {
    400: ("The input cannot be used; the message says what is allowed.", InvalidInput("lines must be a whole number.")),
    403: ("A foreign host name, or a write from a page of another origin.", Refused()),
    404: ("There is no such thing.", NotFound("There is no task 17.", cure="GET /api/system/tasks lists them.")),
    409: ("Its present state does not allow this.", Conflict("Task 17 is already done.", cure="Nothing to cancel.")),
    413: ("The body is larger than 1 MB.", LimitExceeded("The body is larger than 1 MB.")),
    415: ("The body is not JSON.", InvalidInput("The body is sent as 'text/plain'.", cure="Send application/json.")),
    500: ("Something went wrong inside Flotilla; the log tells what, under the trace id.", FlotillaError()),
    503: ("Something that is needed does not answer just now.", Unavailable()),
}


def document(routes: Sequence[AnyRoute], version: str) -> dict[str, Any]:
    """Describe every route."""
    answers = [route.answer for route in routes if route.answer not in RAW]
    bodies = [route.asks for route in routes if _has_body(route) and "$ref" in _body_schema(route)]
    _, schemas = msgspec.json.schema_components([ErrorBody, *answers, *bodies], ref_template=_REF)
    schemas["Error"] = envelope.schema(error="ErrorBody")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Flotilla",
            "version": version,
            "description": _INTRO,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {str(status): _error_response(status) for status in _ERRORS},
            "headers": {"X-Trace-Id": {"description": "Finds the request in the logs.", "schema": {"type": "string"}}},
        },
    }


def errors_of(route: AnyRoute) -> list[int]:
    """The error statuses that this route may answer with."""
    found = {403, 500, *(status_of(kind) for kind in route.raises)}
    if route.writes:
        found |= {400, 413, 415}
    if door.fields(route):
        found.add(400)
    return sorted(found - set(route.statuses))


def _operation(route: AnyRoute) -> dict[str, Any]:
    answers = {str(status): _answer(route, status) for status in route.statuses}
    errors = {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors_of(route)}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": answers | errors,
    }
    if text := (route.handler.__doc__ or "").strip():
        operation["description"] = text
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if _has_body(route):
        operation["requestBody"] = _request_body(route)
    return operation


def _parameters(route: AnyRoute) -> list[dict[str, Any]]:
    required = _required(route)
    made = []
    for name, schema in door.fields(route).items():
        in_path = f"{{{name}}}" in route.path
        if not in_path and route.writes:
            continue
        place = {"name": name, "in": "path" if in_path else "query", "required": in_path or name in required}
        bare = _bare(schema)
        text = {"description": bare.pop("description")} if "description" in bare else {}
        made.append({**place, **text, "schema": bare})
    return made


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, which is left out rather than null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return dict(schema)
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    bare: dict[str, Any] = kinds[0] | rest
    return bare


def _has_body(route: AnyRoute) -> bool:
    return route.writes and any(f"{{{name}}}" not in route.path for name in door.fields(route))


def _request_body(route: AnyRoute) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _body_schema(route)}
    if route.asks_example is not None:
        said = msgspec.to_builtins(route.asks_example)
        content["example"] = {name: value for name, value in said.items() if f"{{{name}}}" not in route.path}
    required = any(f"{{{name}}}" not in route.path for name in _required(route))
    return {"required": required, "content": {JSON: content}}


def _body_schema(route: AnyRoute) -> dict[str, Any]:
    """All of what may be asked, without what stands in the path already."""
    fields = {name: schema for name, schema in door.fields(route).items() if f"{{{name}}}" not in route.path}
    if len(fields) == len(door.fields(route)):
        return {"$ref": _REF.format(name=route.asks.__name__)}
    required = [name for name in fields if name in _required(route)]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _required(route: AnyRoute) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(route.asks) if field.required}


def _answer(route: AnyRoute, status: int) -> dict[str, Any]:
    headers = {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}}
    if route.answer in RAW:
        schema = {"type": "object"} if route.media == JSON else {"type": "string"}
        return {"description": route.summary, "headers": headers, "content": {route.media: {"schema": schema}}}
    failed = status >= 400
    content: dict[str, Any] = {
        "schema": envelope.schema(data=route.answer.__name__, error="ErrorBody" if failed else None)
    }
    if route.example is not None and not failed:
        data = msgspec.json.decode(msgspec.json.encode(route.example))
        content["example"] = {"success": True, "data": data, "simulated": False, "timestamp": _AT}
    said = {200: "Done.", 201: "It was made.", 202: "Written down; it is being carried out."}.get(
        status, "It is not so; the data say why."
    )
    return {"description": said, "headers": headers, "content": {JSON: content}}


def _error_response(status: int) -> dict[str, Any]:
    said, error = _ERRORS[status]
    body = msgspec.to_builtins(Problem(status, error).body(_TRACE))
    headers: dict[str, Any] = {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    content = {
        "schema": {"$ref": "#/components/schemas/Error"},
        "example": {"success": False, "error": body, "simulated": False, "timestamp": _AT},
    }
    return {"description": said, "headers": headers, "content": {JSON: content}}
