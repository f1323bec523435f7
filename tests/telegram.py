"""A server that plays Telegram's Bot API, on a real socket."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "123:test-Token_0"
REFUSALS: dict[str, tuple[int, Any]] = {
    "wait": (429, {"ok": False, "description": "Too Many Requests: retry after 7", "parameters": {"retry_after": 7}}),
    "unauthorized": (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}),
    "blocked": (403, {"ok": False, "description": "Forbidden: bot was blocked by the user"}),
    "no such bot": (404, {"ok": False, "description": "Not Found"}),
    "no such chat": (400, {"ok": False, "description": "Bad Request: chat not found"}),
    "bad message": (400, {"ok": False, "description": "Bad Request: message text is empty"}),
    "moved": (
        400,
        {
            "ok": False,
            "description": "Bad Request: group chat was upgraded to a supergroup chat",
            "parameters": {"migrate_to_chat_id": -100123},
        },
    ),
    "broken": (502, "<html>Bad Gateway</html>"),
    "not Telegram": (200, "<html>Please log in to this network</html>"),
    "redirect": (302, ""),
    "conflict": (409, {"ok": False, "description": "Conflict: terminated by other getUpdates request"}),
}


@dataclass
class PlayedTelegram:
    """What was asked of it, and how it is to answer the next requests; without a plan it takes every message."""

    base_url: str = ""
    plan: list[str] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    hearing: list[str] = field(default_factory=list)
    """How it is to answer the next questions for updates."""
    offsets: list[int | None] = field(default_factory=list)

    def write(self, text: str, *, chat_id: int = 42, at_s: float = 0) -> None:
        """Somebody writes to the bot."""
        number = len(self.updates) + 1
        message = {"message_id": number, "date": int(at_s), "chat": {"id": chat_id, "type": "private"}, "text": text}
        self.updates.append({"update_id": number, "message": message})

    def answer_updates(self, asked: dict[str, Any]) -> tuple[int, Any]:
        """As getUpdates does: an offset takes what came before it off the list for ever."""
        self.offsets.append(asked.get("offset"))
        if self.hearing:
            return REFUSALS[self.hearing.pop(0)]
        until = time.monotonic() + asked.get("timeout", 0)
        while True:
            self.gone = max(self.gone, asked.get("offset") or 0)
            found = [one for one in self.updates if one.get("update_id", self.gone) >= self.gone]
            if found or self.ended or time.monotonic() > until:
                return 200, {"ok": True, "result": found}
            time.sleep(0.01)

    gone: int = 0
    ended: bool = False


@contextmanager
def played_telegram() -> Iterator[PlayedTelegram]:
    """Run the server for the time of a test."""
    played = PlayedTelegram()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/getUpdates"):
                self.answer(*played.answer_updates(message))
                return
            played.paths.append(self.path)
            played.received.append(message)
            step = played.plan.pop(0) if played.plan else "take"
            if step == "hang up":
                self.close_connection = True
                return
            if step == "take":
                status, answer = 200, {"ok": True, "result": {"message_id": len(played.received)}}
                played.taken.append(message["text"])
            else:
                status, answer = REFUSALS[step]
            self.answer(status, answer)

        def answer(self, status: int, answer: Any) -> None:
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever asked was killed meanwhile
                self.end_headers()
                self.wfile.write(body)

        def do_GET(self) -> None:
            played.paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_anything: object) -> None:
            """Say nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        played.base_url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield played
        finally:
            played.ended = True
            server.shutdown()
            thread.join()
