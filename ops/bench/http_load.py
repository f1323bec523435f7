"""A load generator of our own: keep-alive connections that each send the next request when the last one is answered.

    python -m ops.bench.http_load 127.0.0.1 8080 /health/live --connections 100 --seconds 5

It prints JSON. It runs in a process of its own, so that it does not compete with the server for one interpreter.
"""

import argparse
import asyncio
import gc
import json
import time
from dataclasses import dataclass, field
from typing import Any

WARM_UP_S = 1.0
_HEAD_ENDS = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Tally:
    """What all connections saw. Nothing is counted before ``from_s``."""

    from_s: float
    took_s: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0


class Connection(asyncio.Protocol):
    """One connection: send, wait for the whole answer, send again."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._received = b""
        self._sent_s = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Go on when the answer is whole."""
        self._received += data
        head, found, body = self._received.partition(_HEAD_ENDS)
        if not found or len(body) < _length(head):
            return
        now_s = time.perf_counter()
        if self._sent_s >= self._tally.from_s:
            self._tally.took_s.append(now_s - self._sent_s)
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                self._tally.wrong += 1
        self._received = b""
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        """A server that closes a connection has lost a client."""
        self._tally.lost += 1

    def close(self) -> None:
        """End without counting it as lost."""
        self._tally.lost -= 1
        self._transport.close()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(_LENGTH)
    return int(lower[at + len(_LENGTH) :].partition(b"\r\n")[0]) if at >= 0 else 0


async def load(host: str, port: int, path: str, connections: int, seconds: float) -> dict[str, Any]:
    """Load one path for so long, after a short warm-up."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    tally = Tally(from_s=float("inf"))
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(request, tally), host, port))[1] for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP_S)
    tally.from_s = began_s = time.perf_counter()
    await asyncio.sleep(seconds)
    passed_s = time.perf_counter() - began_s
    took_s = sorted(tally.took_s)
    for connection in opened:
        connection.close()
    return {
        "requests_s": round(len(took_s) / passed_s),
        "p50_ms": _at(took_s, 0.50),
        "p99_ms": _at(took_s, 0.99),
        "wrong": tally.wrong,
        "lost": max(0, tally.lost + connections),
    }


def _at(took_s: list[float], share: float) -> float | None:
    return round(took_s[min(len(took_s) - 1, int(len(took_s) * share))] * 1000, 2) if took_s else None


def main() -> None:
    """Load and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    gc.disable()  # our own pauses must not be taken for the server's
    print(json.dumps(asyncio.run(load(args.host, args.port, args.path, args.connections, args.seconds))))


if __name__ == "__main__":
    main()
