"""The one shape of every JSON answer: ``{success, data | error, simulated, timestamp}``."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from api.errors import ErrorBody
from api.routes.route import Answer

_EXPONENT = re.compile(rb'"(-?\d+(?:\.\d+)?E[+-]?\d{1,3})"')


def encode(at: datetime, *, simulated: bool, data: Answer | None = None, error: ErrorBody | None = None) -> bytes:
    """Write an answer. ``at`` carries the offset of the people's clock; ``simulated`` says that the market is a demo's."""
    tree: dict[str, Any] = {"success": error is None}
    if data is not None:
        tree["data"] = data
    if error is not None:
        tree["error"] = error
    tree["simulated"] = simulated
    tree["timestamp"] = at.isoformat(timespec="milliseconds")
    return _EXPONENT.sub(_plain, msgspec.json.encode(tree))


def _plain(number: re.Match[bytes]) -> bytes:
    """An exact number without its exponent: not every client reads ``1E-8``."""
    return b'"%s"' % format(Decimal(number[1].decode()), "f").encode()


def schema(*, data: str | None = None, error: str | None = None) -> dict[str, Any]:
    """The JSON schema of an answer whose parts are named components."""
    parts = {
        name: {"$ref": f"#/components/schemas/{part}"} for name, part in (("data", data), ("error", error)) if part
    }
    properties = {
        "success": {"const": error is None},
        **parts,
        "simulated": {"type": "boolean", "description": "Whether the market is the demo exchange's, not a real one."},
        "timestamp": {"type": "string", "format": "date-time", "description": "With the offset of clock.timezone."},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
