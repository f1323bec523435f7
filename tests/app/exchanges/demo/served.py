"""A demo exchange in a thread of the test, on a free port, with a clock of its own."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from websockets.sync.client import ClientConnection, connect

from app.exchanges.demo.market import Market
from app.exchanges.demo.server import DemoServer

BEGAN_MS = 1_795_251_600_000  # 2026-11-21 09:00 UTC
SEED = 7


def real_ms() -> int:
    return time.time_ns() // 1_000_000


class Served:
    """It begins at ``BEGAN_MS`` of market time."""

    def __init__(self, speed: float = 1.0, symbols: int = 3) -> None:
        self.market = Market(SEED, symbols)
        self._began, self.speed = time.monotonic(), speed
        self.loop = asyncio.new_event_loop()
        self.server: DemoServer
        self.port = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(10)

    def now_ms(self) -> int:
        return BEGAN_MS + int((time.monotonic() - self._began) * 1000 * self.speed)

    def _run(self, ready: threading.Event) -> None:
        async def start() -> None:
            self.server = DemoServer(self.market, self.now_ms, real_ms, lambda: self.speed)
            self.port = await self.server.start(0)
            ready.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()
        self.loop.run_until_complete(self.server.stop())
        self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def do(self, what: Callable[[], None]) -> None:
        """Do something inside the server's loop."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (what(), done.set()))
        assert done.wait(10)

    def get(self, path: str) -> Any:
        return self.ask(path)[1]

    def ask(self, path: str, *, method: str = "GET", body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON, headers in lower case."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response), {k.lower(): v for k, v in response.headers.items()}
        except HTTPError as error:
            with error:
                text = error.read()
                said = json.loads(text) if text[:1] in b"{[" else text
                return error.code, said, {k.lower(): v for k, v in error.headers.items()}

    def fault(self, fault: str, **order: Any) -> dict[str, Any]:
        status, said, _ = self.ask("/demo/faults", method="POST", body={"fault": fault, **order})
        assert status == 200, said
        return said

    def end_faults(self) -> None:
        self.ask("/demo/faults", method="DELETE")

    def listen(self, path: str, *, close_timeout: float = 10.0) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            close_timeout=close_timeout,
        )
