"""The door: every request is checked here once, against the values that its route declares. Inside, nobody asks again.

Until there are accounts, being on this machine is the only permission, so two things are refused before anything else: a
request under a foreign host name (a web page whose name was pointed at this machine: DNS rebinding), and a write that a
page of another origin sends.
"""

import ipaddress
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from api.errors import nearest
from api.routes.route import JSON, AnyRoute, Asks
from app.errors import InvalidInput, Refused
from app.host.logs import new_trace_id

MAX_BODY = 1_000_000
READS = frozenset({"GET", "HEAD"})
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN = 60
_ANYTHING = "a value"
_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "an object",
}


def trace_id_of(headers: Headers) -> str:
    """The caller's trace id where it has a usable one, else a new one."""
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if parent and any(digit != "0" for digit in parent[1]):
        return parent[1]
    given = headers.get("X-Trace-Id", "")
    return given if _TRACE_ID.fullmatch(given) else new_trace_id()


def refuse_foreign(method: str, host: str, origin: str | None) -> None:
    """Raise Refused for a foreign host name, and for a write from another origin."""
    if not _is_loopback(host):
        raise Refused(
            f"Requests for the host {host[:_SHOWN]!r} are not answered: until there are accounts, Flotilla answers only "
            "under a loopback address.",
            cure="Use http://127.0.0.1 or http://localhost with the API's port, through an SSH tunnel from elsewhere.",
        )
    if method not in READS and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused(
            f"A page of {origin[:_SHOWN]!r} may not change anything here.",
            cure="Send it from Flotilla's own page, or from a program, which sends no Origin header.",
        )


def read(route: AnyRoute, request: Request, in_path: Mapping[str, str]) -> Asks:
    """What the request carries, checked against the route. Raises InvalidInput that says what is allowed."""
    if request.method in READS:
        given, where = _query(request), "query"
    else:
        if request.args:
            raise InvalidInput(f"{route.path} takes no query parameters.", cure="Put them into a JSON body.")
        given, where = _body(request), "body"
    known = fields(route)
    for name in given:
        if name not in known or name in in_path:
            raise InvalidInput(
                f"Unknown field {name[:_SHOWN]!r} in the {where}. {nearest(name, known - in_path.keys())}"
            )
    values = given | {name: _from_path(route, name, text) for name, text in in_path.items()}
    try:
        asked: Asks = msgspec.convert(values, route.asks, strict=where == "body")
    except msgspec.ValidationError as error:
        raise InvalidInput(_explain(str(error), known, values)) from error
    for name, value in values.items():
        if _holds_zero_byte(value):
            raise InvalidInput(f"{name} holds a zero byte (\\u0000), which not every database can keep.")
    return asked


@cache
def fields(route: AnyRoute) -> dict[str, dict[str, Any]]:
    """The JSON schema of each field that a request may carry."""
    _, parts = msgspec.json.schema_components([route.asks], ref_template="#/components/schemas/{name}")
    properties: dict[str, dict[str, Any]] = parts[route.asks.__name__]["properties"]
    return properties


def _query(request: Request) -> dict[str, Any]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidInput(f"{name[:_SHOWN]!r} is given {len(values)} times in the query.", cure="Give it once.")
    return request.args.to_dict()


def _body(request: Request) -> dict[str, Any]:
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY:  # one that comes in pieces says its length only at the end
        raise RequestEntityTooLarge
    if not body.strip():
        return {}
    if request.mimetype != JSON:
        raise UnsupportedMediaType(f"The body is sent as {request.mimetype[:_SHOWN] or 'nothing'!r}.")
    try:
        tree = msgspec.json.decode(body)
    except RecursionError as error:
        raise InvalidInput("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The body is not valid JSON: {error}.") from error
    if not isinstance(tree, dict):
        raise InvalidInput("The body must be a JSON object.", cure='Send something like {"name": "value"}.')
    return tree


def _holds_zero_byte(value: Any) -> bool:
    """Whether any text in it does, be it a word or the name of a field."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and "\0" in one:
            return True
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
    return False


def _from_path(route: AnyRoute, name: str, text: str) -> Any:
    """A field that stands in the path: always text there, so `5` may mean a number."""
    try:
        return msgspec.convert(text, _types(route)[name], strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{name} must be {allowed(fields(route)[name])}, not {_shown(text)}.") from error


@cache
def _types(route: AnyRoute) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(route.asks)}


def _explain(message: str, known: Mapping[str, dict[str, Any]], given: Mapping[str, Any]) -> str:
    """Say which field is wrong and what it may be. msgspec says: Expected `int`, got `str` - at `$.lines`."""
    if missing := re.search(r"missing required field `(\w+)`$", message):
        words = allowed(known[missing[1]])
        return f"{missing[1]} is missing." if words == _ANYTHING else f"{missing[1]} is missing. It must be {words}."
    found = re.search(r"at `\$\.(\w+)", message)
    if found is None or found[1] not in given:
        return f"{message}."
    return f"{found[1]} must be {allowed(known[found[1]])}, not {_shown(given[found[1]])}."


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def allowed(schema: Mapping[str, Any]) -> str:
    """A schema in words."""
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(allowed(one) for one in schema["anyOf"] if one != {"type": "null"})
    if schema.get("format") == "decimal":
        return " ".join(["a number", *_bounds(schema)])
    words = " ".join([_KINDS.get(schema.get("type", ""), _ANYTHING), *_bounds(schema)])
    return f"{words}, each {allowed(schema['items'])}" if schema.get("items") else words


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    words = []
    if "minimum" in schema and "maximum" in schema:
        words.append(f"from {schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        words.append(f"of at least {schema['minimum']}")
    elif "maximum" in schema:
        words.append(f"of at most {schema['maximum']}")
    if "minItems" in schema or "maxItems" in schema:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        words.append(f"of {least} to {most} entries" if most is not None else f"of at least {least} entries")
    if "maxLength" in schema:
        words.append(f"of {schema.get('minLength', 0)} to {schema['maxLength']} characters")
    if "pattern" in schema:
        words.append(f"of the form {schema['pattern']}")
    return words


def _is_loopback(host: str) -> bool:
    name = re.sub(r":\d{1,5}$", "", host).lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
