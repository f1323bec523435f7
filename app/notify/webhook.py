"""Telling a program: each message as JSON over HTTP, signed, so that it can tell us from anybody else.

X-Flotilla-Timestamp: 1795930000
X-Flotilla-Delivery: the same for the same message, so that one that comes twice can be left out
X-Flotilla-Signature: sha256=HMAC(secret, timestamp + "." + body)
"""

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable

from app.errors import FlotillaError, InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify import web
from app.notify.outbox import Level

_TIMEOUT_S = 8.0
_MINUTE_S, _LONGEST_WAIT_S = 60.0, 3600.0
_CURE = "Correct url and secret of [webhook] in flotilla.toml, then: flotilla ctl restart monitor"


class WebhookNotifier:
    """One address that takes messages. Trying again is the outbox's work."""

    longest = 16_000

    def __init__(self, url: str, secret: str, *, sender: str, clock: Callable[[], float]) -> None:
        asked = web.as_asked(url)
        if asked is None:
            raise Misconfigured("webhook.url is not an http(s) address.", cure=_CURE)
        self._url, self._secret, self._sender = asked, secret.encode(errors="surrogateescape"), sender
        self._clock = clock
        self._open = web.opener().open

    def send(self, text: str, level: Level) -> None:
        """Send one message."""
        said = json.dumps({"sender": self._sender, "level": level, "text": text}, ensure_ascii=False)
        body = said.encode(errors="replace")  # half a pair of surrogates is no text, and must not hold up the rest
        request = urllib.request.Request(  # noqa: S310 - checked above to be http or https
            self._url, data=body, headers=self._headers(body), method="POST"
        )
        try:
            with self._open(request, timeout=_TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise _meaning(error.code, error.headers.get("Retry-After", "")) from None  # error knows the address
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(f"The webhook does not answer: {reason}") from None
        except ValueError:  # whatever of the address the library will not send, and its words would tell it
            raise Misconfigured("webhook.url is an address that cannot be asked.", cure=_CURE) from None

    def _headers(self, body: bytes) -> dict[str, str]:
        stamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Flotilla",
            "X-Flotilla-Timestamp": stamp,
            "X-Flotilla-Delivery": hashlib.sha256(body).hexdigest()[:32],
        }
        if self._secret:
            headers["X-Flotilla-Signature"] = signature(self._secret, stamp, body)
        return headers


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What proves that a message is ours, and when it was made."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _meaning(status: int, retry_after: str) -> FlotillaError:
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        wait_s = float(retry_after) if retry_after.isdecimal() else _MINUTE_S
        return RateLimited("The webhook asks to wait.", retry_after_s=min(wait_s, _LONGEST_WAIT_S))
    if status in (400, 413, 422):
        return InvalidInput(f"The webhook refuses this message with status {status}.")
    if status < 500:  # a redirect too: nobody is told a secret for it
        return Misconfigured(f"The webhook refuses us with status {status}.", cure=_CURE)
    return Unavailable(f"The webhook answers with status {status}.")
