"""Telegram through its Bot API, over the standard library: one method does not need a client library.

Nothing in here waits. Who sends faster than Telegram allows is told how long to wait, by the same error as when Telegram
itself says so.
"""

import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from app.errors import FlotillaError, InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify.notifier import length
from app.notify.outbox import Level

PAUSE_S = 1.0  # Telegram's rule for one chat ...
PER_MINUTE = 20  # ... and for a group
_TIMEOUT_S = 10.0
_MINUTE_S = 60.0
_LONGEST_WAIT_S = 86_400.0
_ANSWER_BYTES = 65_536
_CURE = "Correct token and chat_id of [telegram] in flotilla.toml, then: flotilla ctl restart monitor"


class TelegramNotifier:
    """One bot and the one chat that it writes to."""

    longest = 4096

    def __init__(
        self,
        token: str,
        chat_id: str,
        *,
        base_url: str = "https://api.telegram.org",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):  # it becomes part of every address
            raise Misconfigured("telegram.token is not the token of a bot.", cure="Ask @BotFather for one.")
        if not _usable(base_url):
            raise Misconfigured("telegram.base_url is not an address.", cure="Use https://api.telegram.org or a proxy.")
        self._address = f"{base_url.rstrip('/')}/bot{token}/sendMessage"
        self._chat_id = chat_id
        self._monotonic = monotonic
        self._sent_at_s: deque[float] = deque(maxlen=PER_MINUTE)
        self._not_before_s = float("-inf")
        self._open = urllib.request.build_opener(_NoRedirect).open

    def send(self, text: str, level: Level) -> None:
        """Send one plain message; an ``info`` makes no sound."""
        if not text.strip() or length(text) > self.longest:
            raise InvalidInput(f"A message to Telegram has 1 to {self.longest} characters, not {length(text)}.")
        self._keep_pace()
        message = {
            "chat_id": self._chat_id,
            "text": text,
            "link_preview_options": {"is_disabled": True},
            "disable_notification": level == "info",
        }
        try:
            self._call(message)
        except RateLimited as limit:
            self._not_before_s = self._monotonic() + limit.retry_after_s
            raise

    def _keep_pace(self) -> None:
        now_s = self._monotonic()
        free_at_s = self._not_before_s
        if self._sent_at_s:
            free_at_s = max(free_at_s, self._sent_at_s[-1] + PAUSE_S)
        if len(self._sent_at_s) == PER_MINUTE:
            free_at_s = max(free_at_s, self._sent_at_s[0] + _MINUTE_S)
        if now_s < free_at_s:
            raise RateLimited("Telegram takes no message just now.", retry_after_s=free_at_s - now_s)
        self._sent_at_s.append(now_s)

    def _call(self, message: dict[str, Any]) -> None:
        request = urllib.request.Request(  # noqa: S310 - the address comes from settings, which allow http and https
            self._address,
            data=json.dumps(message).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with self._open(request, timeout=_TIMEOUT_S) as response:
                answer = _read(response)
        except urllib.error.HTTPError as error:
            with error:
                raise _meaning(error.code, _read(error)) from None  # not from error: it knows the address, so the token
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(f"Telegram does not answer: {reason}") from None
        if answer.get("ok") is not True:
            raise Unavailable("What answers in Telegram's place is not Telegram.")


def _usable(base_url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(base_url)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0) and not re.search(
            r"[\s\x00-\x1f\x7f]", base_url
        )
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Telegram never redirects; whoever does must not be told the token."""

    def redirect_request(self, *_anything: Any) -> None:
        """Follow nothing: the redirect itself becomes the answer."""
        return


def _read(body: IO[bytes]) -> dict[str, Any]:
    """The answer as an object; anything else is an empty one."""
    try:
        answer = json.loads(body.read(_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _meaning(status: int, answer: dict[str, Any]) -> FlotillaError:
    """Say what an answer means for the next attempt."""
    said = str(answer.get("description", ""))[:300] or f"status {status}"
    details = answer.get("parameters")
    details = details if isinstance(details, dict) else {}
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(f"Telegram asks to wait: {said}", retry_after_s=_wait_s(details.get("retry_after")))
    if new_chat := details.get("migrate_to_chat_id"):
        return Misconfigured("The group was given another id by Telegram.", cure=f"Set telegram.chat_id to {new_chat}.")
    if status in (401, 403, 404) or (status == http.HTTPStatus.BAD_REQUEST and "chat" in said.lower()):
        return Misconfigured(f"Telegram refuses this bot or chat: {said}", cure=_CURE)
    if status == http.HTTPStatus.BAD_REQUEST:
        return InvalidInput(f"Telegram refuses this message: {said}")
    return Unavailable(f"Telegram cannot take a message: {said}")


def _wait_s(retry_after: object) -> float:
    if isinstance(retry_after, int | float) and retry_after > 0:
        return min(float(retry_after), _LONGEST_WAIT_S)
    return _MINUTE_S
