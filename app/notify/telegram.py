"""Telegram through its Bot API, over the standard library: two methods do not need a client library.

Sending never waits. Who sends faster than Telegram allows is told how long to wait, by the same error as when Telegram
itself says so.
"""

import http.client
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import FlotillaError, InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify import web
from app.notify.notifier import length
from app.notify.outbox import Level

PAUSE_S = 1.0  # Telegram's rule for one chat ...
PER_MINUTE = 20  # ... and for a group
_TIMEOUT_S = 10.0
_MINUTE_S = 60.0
_LONGEST_WAIT_S = 86_400.0
_ADDRESS_CURE = "Use https://api.telegram.org or a proxy."
_CURE = "Correct token and chat_id of [telegram] in flotilla.toml, then: flotilla ctl restart monitor"


@dataclass(frozen=True, slots=True)
class Update:
    """Something that was written to the bot. Numbers only grow."""

    number: int
    chat_id: str
    text: str
    written_at_s: float


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
        asked = web.as_asked(base_url)
        if asked is None:
            raise Misconfigured("telegram.base_url is not an address.", cure=_ADDRESS_CURE)
        self._address = f"{asked.rstrip('/')}/bot{token}"
        self._chat_id = chat_id
        self._monotonic = monotonic
        self._sent_at_s: deque[float] = deque(maxlen=PER_MINUTE)
        self._not_before_s = float("-inf")
        self._lock = threading.Lock()  # notices and answers to commands share one pace
        self._open = web.opener().open

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
            self._call("sendMessage", message, _TIMEOUT_S)
        except RateLimited as limit:
            self._not_before_s = self._monotonic() + limit.retry_after_s
            raise

    def updates(self, offset: int | None, *, wait_s: int) -> list[Update]:
        """What was written to the bot from this offset on, by whomever. It waits for the first one up to ``wait_s``.

        Raises as ``send`` does.
        """
        asked: dict[str, Any] = {"timeout": wait_s, "allowed_updates": ["message"]}
        if offset is not None:
            asked["offset"] = offset
        answer = self._call("getUpdates", asked, wait_s + _TIMEOUT_S)
        found = answer.get("result")
        if not isinstance(found, list):
            raise Unavailable("What answers in Telegram's place is not Telegram.")
        return [update for one in found if (update := _update(one)) is not None]

    def is_mine(self, update: Update) -> bool:
        """Whether it was written in the one chat that may command."""
        return update.chat_id == self._chat_id

    def _keep_pace(self) -> None:
        with self._lock:
            now_s = self._monotonic()
            free_at_s = self._not_before_s
            if self._sent_at_s:
                free_at_s = max(free_at_s, self._sent_at_s[-1] + PAUSE_S)
            if len(self._sent_at_s) == PER_MINUTE:
                free_at_s = max(free_at_s, self._sent_at_s[0] + _MINUTE_S)
            if now_s < free_at_s:
                raise RateLimited("Telegram takes no message just now.", retry_after_s=free_at_s - now_s)
            self._sent_at_s.append(now_s)

    def _call(self, method: str, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address comes from settings, which allow http and https
            f"{self._address}/{method}",
            data=json.dumps(message).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with self._open(request, timeout=timeout_s) as response:
                answer = web.read_object(response)
        except urllib.error.HTTPError as error:
            with error:
                raise _meaning(
                    error.code, web.read_object(error)
                ) from None  # not from error: it knows the address, so the token
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(f"Telegram does not answer: {reason}") from None
        except ValueError:  # whatever of the address the library will not send, and its words would tell the token
            raise Misconfigured("telegram.base_url cannot be asked.", cure=_ADDRESS_CURE) from None
        if answer.get("ok") is not True:
            raise Unavailable("What answers in Telegram's place is not Telegram.")
        return answer


def _update(one: Any) -> Update | None:
    """One update; None for what has not even a number. What is no text of a person is an update without one."""
    if not isinstance(one, dict) or type(one.get("update_id")) is not int:
        return None
    message = one.get("message")
    message = message if isinstance(message, dict) else {}
    chat, text, date = message.get("chat"), message.get("text"), message.get("date")
    chat_id = chat.get("id") if isinstance(chat, dict) else None
    return Update(
        one["update_id"],
        str(chat_id) if type(chat_id) is int else "",
        text if isinstance(text, str) else "",
        float(date) if isinstance(date, int) else 0.0,
    )


def _meaning(status: int, answer: dict[str, Any]) -> FlotillaError:
    """Say what an answer means for the next attempt."""
    said = str(answer.get("description", ""))[:300] or f"status {status}"
    details = answer.get("parameters")
    details = details if isinstance(details, dict) else {}
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(f"Telegram asks to wait: {said}", retry_after_s=_wait_s(details.get("retry_after")))
    if new_chat := details.get("migrate_to_chat_id"):
        return Misconfigured("The group was given another id by Telegram.", cure=f"Set telegram.chat_id to {new_chat}.")
    if status == http.HTTPStatus.CONFLICT:
        return Misconfigured(
            f"Somebody else hears this bot's commands: {said}", cure="Give each fleet a bot of its own."
        )
    if status in (401, 403, 404) or (status == http.HTTPStatus.BAD_REQUEST and "chat" in said.lower()):
        return Misconfigured(f"Telegram refuses this bot or chat: {said}", cure=_CURE)
    if status == http.HTTPStatus.BAD_REQUEST:
        return InvalidInput(f"Telegram refuses this message: {said}")
    return Unavailable(f"Telegram cannot take a message: {said}")


def _wait_s(retry_after: object) -> float:
    if isinstance(retry_after, int | float) and retry_after > 0:
        return min(float(retry_after), _LONGEST_WAIT_S)
    return _MINUTE_S
