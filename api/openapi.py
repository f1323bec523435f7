"""The OpenAPI 3.1 document, made from the route table: what the code checks and what the page says cannot differ."""

from collections.abc import Sequence
from typing import Any

import msgspec

from api import door, envelope
from api.errors import STATUS, ErrorBody, Problem, status_of
from api.routes.route import JSON, AnyRoute, File
from app.errors import FlotillaError, InvalidInput, LimitExceeded, Misconfigured, RateLimited, Refused

_REF = "#/components/schemas/{name}"
_AT = "2026-11-21T12:00:00.000+00:00"
_TRACE = "0af7651916cd43dd8448eb211c80319c"
TAGS = {
    "health": "Is it alive, is it ready, and its figures.",
    "system": "The system as a whole.",
    "tasks": "Work that takes longer than a request.",
    "control": "Single processes.",
    "pages": "Pages for people, and this document.",
}
_INTRO = (
    "Every JSON answer is `{success, data, timestamp}`; an error has `error` in place of `data`: a `code` and `type` that "
    "never change, a `message` that says what is wrong, `what_to_do`, and the `trace_id` that finds the request in the "
    "logs. Send `traceparent` (W3C) or `X-Trace-Id` to choose that id; `X-Trace-Id` of the answer repeats it. "
    "Until there are accounts, only requests under a loopback address are answered."
)
# Statuses that the door gives by itself, with the error that they carry.
_BY_THE_DOOR: dict[int, FlotillaError] = {
    405: InvalidInput("/health/live does not answer POST.", cure="Use GET."),
    413: LimitExceeded("The body is larger than 1 MB.", cure="Send less in one request."),
    415: InvalidInput("The body is sent as 'text/plain'.", cure="Send Content-Type: application/json."),
}


def document(routes: Sequence[AnyRoute], version: str) -> dict[str, Any]:
    """Describe every route."""
    answers = [route.answer for route in routes if route.answer is not File]
    bodies = [route.asks for route in routes if _has_body(route)]
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
            "responses": {str(status): _error_response(status) for status in error_statuses()},
            "headers": {"X-Trace-Id": {"description": "Finds the request in the logs.", "schema": {"type": "string"}}},
        },
    }


def error_statuses() -> list[int]:
    """Every status that an error may have."""
    return sorted({*STATUS.values(), *_BY_THE_DOOR})


def errors_of(route: AnyRoute) -> list[int]:
    """The error statuses that this route may answer with."""
    found = {403, 405, 500, *(status_of(kind) for kind in route.raises)}
    if route.method == "POST":
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
    required = {field.encode_name for field in msgspec.structs.fields(route.asks) if field.required}
    made = []
    for name, schema in door.fields(route).items():
        in_path = f"{{{name}}}" in route.path
        if not in_path and route.method == "POST":
            continue
        place = {"name": name, "in": "path" if in_path else "query", "required": in_path or name in required}
        text = {"description": schema["description"]} if "description" in schema else {}
        made.append({**place, **text, "schema": _bare(schema)})
    return made


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out rather than null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return {key: value for key, value in schema.items() if key != "description"}
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "description", "default"}}
    bare: dict[str, Any] = kinds[0] | rest
    return bare


def _has_body(route: AnyRoute) -> bool:
    return route.method == "POST" and any(f"{{{name}}}" not in route.path for name in door.fields(route))


def _request_body(route: AnyRoute) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=route.asks.__name__)}}
    if route.asks_example is not None:
        content["example"] = msgspec.to_builtins(route.asks_example)
    required = any(field.required for field in msgspec.structs.fields(route.asks))
    return {"required": required, "content": {JSON: content}}


def _answer(route: AnyRoute, status: int) -> dict[str, Any]:
    headers = {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}}
    if route.answer is File:
        schema = {"type": "object"} if route.media == JSON else {"type": "string"}
        return {"description": route.summary, "headers": headers, "content": {route.media: {"schema": schema}}}
    failed = status >= 400
    content: dict[str, Any] = {
        "schema": envelope.schema(data=route.answer.__name__, error="ErrorBody" if failed else None)
    }
    if route.example is not None and not failed:
        content["example"] = {"success": True, "data": msgspec.to_builtins(route.example), "timestamp": _AT}
    said = {200: "Done.", 202: "Written down; it is being carried out."}.get(status, "It is not so; the data say why.")
    return {"description": said, "headers": headers, "content": {JSON: content}}


def _error_response(status: int) -> dict[str, Any]:
    error = _BY_THE_DOOR.get(status) or _typical(status)
    body = msgspec.to_builtins(Problem(status, error).body(_TRACE))
    response: dict[str, Any] = {
        "description": str(error),
        "headers": {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}},
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/Error"},
                "example": {"success": False, "error": body, "timestamp": _AT},
            }
        },
    }
    if status in (429, 503):
        response["headers"]["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    return response


def _typical(status: int) -> FlotillaError:
    if status == STATUS[RateLimited]:
        return RateLimited(retry_after_s=5)
    kinds = [kind for kind, own in STATUS.items() if own == status and kind is not Misconfigured]
    return Refused("Requests for the host 'example.com' are not answered.") if kinds[0] is Refused else kinds[0]()
