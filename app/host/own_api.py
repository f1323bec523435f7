"""Asking our own API over loopback: for what only it may read, such as rows, from a process that must live without SQL."""

import http.client
import json
import urllib.parse
from typing import Any, Literal

from app.errors import Unavailable

_TIMEOUT_S = 8.0
_ANSWER_BYTES = 4 << 20


class OwnApi:
    """The API at one address. Each question has a connection of its own: they are rare."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80

    def ask(self, method: Literal["GET", "POST"], path: str) -> dict[str, Any]:
        """The data of its answer. Raises Unavailable, with what it said, when there are none."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path)
            answer = json.loads(connection.getresponse().read(_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The API does not answer ({error!r}).", cure=_CURE) from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("What answers in the API's place is not the API.", cure=_CURE) from error
        finally:
            connection.close()
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise Unavailable(f"The API refuses: {_refusal(answer)}", cure=_CURE)
        return data


_CURE = "See: flotilla ps, and flotilla logs main-app."


def _refusal(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    return str(said or "without a reason")[:300]
