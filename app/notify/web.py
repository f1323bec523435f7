"""What the ways to a person that go over HTTP share: one opener that is not led astray, and reading what it is answered."""

import http.client
import json
import re
import urllib.parse
import urllib.request
from typing import IO, Any

_ANSWER_BYTES = 1 << 20
_AS_IT_IS = "".join(map(chr, range(33, 127)))
"""All of ASCII that is printed: what a person has percent-encoded must not be encoded again."""


def is_host(host: str, address: str = "") -> bool:
    """Whether a resolver can be asked for it, and nothing unprintable stands in the address around it."""
    try:
        return bool(host.encode("idna")) and not re.search(r"[\s\x00-\x1f\x7f]", address or host)
    except ValueError:  # such as of hook..example
        return False


def as_asked(address: str) -> str | None:
    """An http(s) address as it goes over the wire: a name by IDNA, other letters of a path percent-encoded; None for no address.

    ``http.client`` takes ASCII alone, and what it says of anything else is no error of a connection.
    """
    try:
        parts = urllib.parse.urlsplit(address)
        name = parts.hostname or ""
        if not (parts.scheme in ("http", "https") and parts.port != 0 and is_host(name, address)):
            return None
        host = name.encode("idna").decode()
        place = parts.netloc if parts.netloc.isascii() else host + (f":{parts.port}" if parts.port else "")
        path, query = (urllib.parse.quote(part, safe=_AS_IT_IS) for part in (parts.path, parts.query))
        return urllib.parse.urlunsplit((parts.scheme, place, path, query, ""))
    except ValueError:
        return None


def opener() -> urllib.request.OpenerDirector:
    """Opens addresses, and follows nobody elsewhere: whoever redirects must not be told a secret."""
    return urllib.request.build_opener(_NoRedirect)


def read_object(body: IO[bytes]) -> dict[str, Any]:
    """The answer as an object; anything else is an empty one."""
    try:
        answer = json.loads(body.read(_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_anything: Any) -> None:
        """Follow nothing: the redirect itself becomes the answer."""
        return
