"""The webhook at the wire: signed as documented, and every answer of the other side understood."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.errors import FlotillaError, InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify import outbox
from app.notify.log import LogNotifier
from app.notify.outbox import Notice
from app.notify.webhook import WebhookNotifier
from app.usecases.deliver_notices import NoticeDelivery

AT = datetime(2026, 11, 21, 5, 24, 11, tzinfo=UTC)


@dataclass
class Hook:
    """What came, with its headers, and the statuses of the next answers; 0 hangs up."""

    url: str = ""
    plan: list[int] = field(default_factory=list)
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    played = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = played.plan.pop(0) if played.plan else 204
            played.paths.append(self.path)
            played.came.append((dict(self.headers), body))
            if status:
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Retry-After", "7")
                self.end_headers()

        def log_message(self, *_anything: object) -> None:
            """Say nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        played.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield played
        finally:
            server.shutdown()
            thread.join()


def a_notifier(hook: Hook, secret: str = "s3cret") -> WebhookNotifier:
    return WebhookNotifier(hook.url, secret, sender="Flotilla on test", clock=AT.timestamp)


def test_a_message_is_json_and_signed_with_its_time(hook: Hook):
    a_notifier(hook).send("Ünïcode 🚢", "critical")
    headers, body = hook.came[0]

    assert json.loads(body) == {"sender": "Flotilla on test", "level": "critical", "text": "Ünïcode 🚢"}
    assert headers["X-Flotilla-Timestamp"] == str(int(AT.timestamp()))
    signed = headers["X-Flotilla-Timestamp"].encode() + b"." + body
    assert headers["X-Flotilla-Signature"] == f"sha256={hmac.new(b's3cret', signed, hashlib.sha256).hexdigest()}"


def test_without_a_secret_it_is_not_signed(hook: Hook):
    a_notifier(hook, "").send("Text", "info")

    assert "X-Flotilla-Signature" not in hook.came[0][0]


def test_the_same_message_is_known_by_its_delivery(hook: Hook):
    for text in ("one", "one", "two"):
        a_notifier(hook).send(text, "info")
    first, again, other = (headers["X-Flotilla-Delivery"] for headers, _ in hook.came)

    assert first == again != other


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (302, Misconfigured),
        (400, InvalidInput),
        (401, Misconfigured),
        (404, Misconfigured),
        (422, InvalidInput),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
        (0, Unavailable),
    ],
)
def test_every_refusal_says_what_to_do_next(hook: Hook, status: int, meaning: type[FlotillaError]):
    hook.plan = [status]

    with pytest.raises(FlotillaError) as refused:
        a_notifier(hook).send("Text", "info")
    assert type(refused.value) is meaning
    assert len(hook.came) == 1
    assert "s3cret" not in str(refused.value)


def test_whoever_asks_to_wait_is_waited_for(hook: Hook):
    hook.plan = [429]

    with pytest.raises(RateLimited) as limit:
        a_notifier(hook).send("Text", "info")
    assert limit.value.retry_after_s == 7


def test_an_address_with_other_letters_than_ascii_is_asked_as_browsers_do(hook: Hook):
    hook.url = hook.url.replace("/hook", "/хук/%20a?who=ü")
    a_notifier(hook).send("Text", "info")

    assert hook.paths == ["/%D1%85%D1%83%D0%BA/%20a?who=%C3%BC"]


def test_half_a_letter_in_a_text_does_not_hold_it_up(hook: Hook):
    a_notifier(hook).send("It is \ud83d.", "info")

    assert json.loads(hook.came[0][1])["text"] == "It is ?."


def test_an_address_that_the_library_refuses_is_a_persons_to_mend(hook: Hook):
    notifier = a_notifier(hook)
    notifier._url = "http://127.0.0.1:9/хук"

    with pytest.raises(Misconfigured) as refused:
        notifier.send("Text", "info")
    assert "хук" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "hooks.example",
        "http://x:0/",
        "http:///x",
        "http://a b/",
        "https://hook..example/x",
        "http://x/\udcfc",
    ],
)
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(Misconfigured):
        WebhookNotifier(url, "", sender="test", clock=AT.timestamp)


def test_it_is_tried_again_and_less_and_less_often_until_it_is_back(hook: Hook, tmp_path: Path):
    hook.plan = [503] * 4 + [0]
    outbox.post(tmp_path, Notice("one", AT, "critical", "broker", "It ends."))
    attempts = []
    for second in range(200):  # a restart each second: the back-off is in the file
        delivery = NoticeDelivery(tmp_path, a_notifier(hook), LogNotifier(), sender="test", name="webhook")
        delivery.deliver(AT + timedelta(seconds=second))
        attempts += [second] * (len(hook.came) - len(attempts))

    assert attempts == [0, 5, 15, 35, 75, 155]
    assert outbox.pending(tmp_path) == []
