"""What the doors of an exchange are tested against: a played REST server on a real socket, and a session without an exchange."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.domain.market.values import BookTop, Event
from app.errors import CorruptData, Unavailable
from app.exchanges.exchange import KeepAlive, Limit, RestCall, Wanted

Answer = tuple[int, Mapping[str, str], Any]


@dataclass
class PlayedRest:
    """What was asked of it, and how it answers: by plan first, then by ``always``."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    plan: list[Answer | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    always: Answer = (200, {}, {"serverTime": 1_700_000_000_000})
    by_path: dict[str, Any] = field(default_factory=dict)


@contextmanager
def played_rest() -> Iterator[PlayedRest]:
    """Run it for the time of a test."""
    played = PlayedRest()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            played.paths.append(self.path)
            step = played.plan.pop(0) if played.plan else played.always
            if callable(step):
                step(self)
                return
            status, headers, body = step
            path = self.path.partition("?")[0]
            if status == 200 and path in played.by_path:
                body = played.by_path[path]
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_anything: object) -> None:
            """Say nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        played.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield played
        finally:
            server.shutdown()
            thread.join()


class PlayedBinance:
    """As much of an exchange as its REST calls need."""

    ccxt_id = "binance"
    limits: Sequence[Limit] = (Limit("spot", 6_000, 60, "x-mbx-used-weight-1m"),)

    def __init__(self, url: str, name: str = "binance") -> None:
        self.name = name
        self.ccxt_urls = {"public": f"{url}/api/v3", "fapiPublic": f"{url}/fapi/v1"}


def server_time() -> RestCall:
    """The cheapest call."""
    return RestCall("publicGetTime", (), "spot", 1, lambda answer, _received_ms: [answer["serverTime"]])


@dataclass
class PlayedSession:
    """A session whose messages are numbers: each becomes the top of a book with that price."""

    url: str
    lasts_s: float | None = None
    silent_s: float = 30.0
    keep_alive: KeepAlive | None = None
    wanted: Sequence[Wanted] = ()
    speed: float = 1.0
    counters: Counter[str] = field(default_factory=Counter)
    subscribe: list[str] = field(default_factory=list)
    saying: list[str] = field(default_factory=list)
    openings: int = 0

    def opening(self) -> list[str]:
        self.openings += 1
        return list(self.subscribe)

    def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
        if message == "ping?":
            self.saying.append("pong!")
            return []
        if message == "refused":
            raise Unavailable("subscription refused")
        if message == "bug":
            raise KeyError("a mapper's mistake")
        try:
            price = float(message)
        except ValueError:
            raise CorruptData("This is no number.") from None
        return [top(price, received_ms)]

    def to_send(self) -> list[str]:
        saying, self.saying = self.saying, []
        return saying

    def ask_snapshot(self, symbol: str) -> bool:
        self.saying.append(f"book {symbol}")
        return True


def top(price: float, received_ms: int = 0) -> BookTop:
    """A quote at this price."""
    return BookTop("played", "BTC/USDT", 0, received_ms, bid=price, bid_quantity=1, ask=price + 1, ask_quantity=1)
