"""How an error becomes an answer: the tree of ``app/errors.py`` decides the status; nobody else chooses one.

    {"success": false,
     "error": {"code": 1200, "type": "NotFound", "message": "...", "what_to_do": "...", "trace_id": "..."},
     "timestamp": "..."}

One shape for every error, unknown paths and crashes included: a client that can read one can read them all.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.exceptions import NotFound as NoSuchPath

from app.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    LimitExceeded,
    Misconfigured,
    NotFound,
    RateLimited,
    Refused,
    Unavailable,
)

STATUS: dict[type[FlotillaError], int] = {
    InvalidInput: 400,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    LimitExceeded: 422,
    RateLimited: 429,
    Misconfigured: 500,
    FlotillaError: 500,
    Unavailable: 503,
}
RETRY_AFTER_S = 5
_SHOWN = 80


class ErrorBody(msgspec.Struct, frozen=True):
    """What is wrong and what to do. ``code`` and ``type`` never change; ``trace_id`` finds the request in the logs."""

    code: int
    type: str
    message: str
    what_to_do: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error with its status and the headers that belong to it."""

    status: int
    error: FlotillaError
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, trace_id: str) -> ErrorBody:
        """The error as it is sent."""
        named = next(kind for kind in type(self.error).__mro__ if kind.__module__ == FlotillaError.__module__)
        return ErrorBody(self.error.code, named.__name__, str(self.error), self.error.cure, trace_id)


def status_of(kind: type[FlotillaError]) -> int:
    """The status of an error: its own, or that of the nearest parent in the tree."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def problem(error: BaseException, *, method: str, path: str, paths: Iterable[str] = ()) -> Problem:
    """Turn whatever was raised into an answer. What nobody foresaw is told in one plain sentence, and no more."""
    if isinstance(error, FlotillaError):
        return Problem(status_of(type(error)), error, _retry_after(error))
    if isinstance(error, HTTPException):
        return _http_problem(error, method, path, paths)
    return Problem(500, FlotillaError(cure="Look for the trace id: flotilla logs --trace <trace_id>. Then report it."))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a word that is not known."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known: {', '.join(words)}." if words else "It takes none."


def _retry_after(error: FlotillaError) -> dict[str, str]:
    if isinstance(error, RateLimited):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else {}


def _http_problem(error: HTTPException, method: str, path: str, paths: Iterable[str]) -> Problem:
    if isinstance(error, NoSuchPath):
        close = difflib.get_close_matches(path[:_SHOWN], list(paths), n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        return Problem(404, NotFound(f"There is no {path[:_SHOWN]}.", cure=f"{hint}/docs lists all paths."))
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"HEAD"}))
        wrong = InvalidInput(f"{path[:_SHOWN]} does not answer {method[:_SHOWN]}.", cure=f"Use {allowed}.")
        return Problem(405, wrong, {"Allow": allowed})
    if isinstance(error, RequestEntityTooLarge):
        return Problem(413, LimitExceeded("The body is larger than 1 MB.", cure="Send less in one request."))
    if isinstance(error, UnsupportedMediaType):
        wrong = InvalidInput(error.description or "The body is not JSON.", cure="Send Content-Type: application/json.")
        return Problem(415, wrong)
    status = error.code or 500
    message = f"The request cannot be read: {error.description or error.name}"
    return Problem(status, InvalidInput(message) if status < 500 else FlotillaError(message))
