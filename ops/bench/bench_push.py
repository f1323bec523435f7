"""The push stream: memory of main-app, delivered messages a second and their latency, with a thousand clients at once.

    python -m ops.bench.bench_push --clients 1000 --symbols 50 --per-second 2 --seconds 20 --json

main-app as a process of its own, a real Valkey, real sockets from a third process, and a publisher in a fourth that says tickers
as market-feed does. Every client asks for every ticker. Some more clients never read: they must be cut off, and the others must
not notice. It ends with 1 when a goal is missed.
"""

import argparse
import asyncio
import gc
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.cache.market import CachedTicker, MarketCache
from app.host.probes import memory_mb
from app.settings import ROOT, load
from ops import broker
from ops.bench.bench_http import CEILING_MB, PYTHON, commands, migrated_place, serving

GOAL_P99_MS = 1_000
SLOW = 20
PATH = "/api/v1/market/stream?topics=ticker"
_EVENT = b"event: ticker"
_SENT = re.compile(rb'"timestamp":(\d+)')


@contextmanager
def valkey(env: dict[str, str]) -> Iterator[str]:
    """A Valkey as the fleet runs it; its address."""
    settings = load(env)
    place = settings.broker_socket
    place.parent.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(broker.command(broker.server_binary(), place), stdout=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 20
        while not broker.answers(place):
            if time.monotonic() > until_s:
                raise SystemExit("Valkey did not start within 20 s.")
            time.sleep(0.02)
        yield settings.redis_url
    finally:
        server.terminate()
        server.wait()


def publish(url: str, symbols: int, per_second: float, seconds: float) -> None:
    """Tell tickers at an even pace; the time of telling stands in them, in microseconds."""
    cache, gap_s = MarketCache(url), 1 / (symbols * per_second)
    began_s, told, away = time.monotonic(), 0, 0
    while (now_s := time.monotonic()) - began_s < seconds:
        due = int((now_s - began_s) / gap_s) - told
        news = [
            CachedTicker(
                exchange="demo-binance",
                symbol=f"COIN{(told + number) % symbols}/USDT:USDT",
                timestamp=time.time_ns() // 1_000,
                price=43_250.5,
                volume=1_234_567.89,
                change_24h_percent=2.35,
                bid=43_249.5,
                ask=43_251.0,
                mark_price=43_250.1,
                funding_rate=0.0001,
            )
            for number in range(due)
        ]
        if news and not cache.tell(news):
            away += len(news)
        told += due
        time.sleep(0.01)
    print(json.dumps({"told": told - away, "away": away, "seconds": time.monotonic() - began_s}))


class Reader(asyncio.Protocol):
    """One client. It counts events, and times the first and the last of what came together."""

    def __init__(self, request: bytes, tally: "Tally") -> None:
        self._request, self._tally = request, tally
        self._rest = b""
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Count."""
        if not self.open:
            self.open = data.startswith(b"HTTP/1.1 200")
            self._tally.opened += self.open
        now_us = time.time_ns() // 1_000
        piece = self._rest + data
        self._rest = piece[-len(_EVENT) + 1 :]
        tally = self._tally
        tally.events += piece.count(_EVENT)
        tally.received += len(data)
        if tally.timing:
            first = _SENT.search(data)
            if first:
                tally.took_us.append(now_us - int(first[1]))
            at = data.rfind(b'"timestamp":')
            last = _SENT.match(data, at) if at >= 0 else None
            if last and len(data) > last.end():
                tally.took_us.append(now_us - int(last[1]))

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody who reads may be cut off."""
        self._tally.lost += 1


class Tally:
    """What all clients of this process saw."""

    def __init__(self) -> None:
        self.opened = self.events = self.received = self.lost = 0
        self.timing = False
        self.took_us: list[int] = []


async def listen(port: int, clients: int, seconds: float) -> dict[str, Any]:
    """Open all streams, say so, then read for so long."""
    tally, loop = Tally(), asyncio.get_running_loop()
    request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    began_s = time.perf_counter()
    for begin in range(0, clients, 100):
        await asyncio.gather(
            *(
                loop.create_connection(lambda: Reader(request, tally), "127.0.0.1", port)
                for _ in range(min(100, clients - begin))
            )
        )
    while tally.opened < clients and time.perf_counter() - began_s < 30:  # noqa: ASYNC110 - readers count, and signal nothing
        await asyncio.sleep(0.05)
    opened_s = time.perf_counter() - began_s
    print(json.dumps({"opened": tally.opened, "opened_s": round(opened_s, 2)}), flush=True)
    await asyncio.sleep(2)  # past the start of the publisher
    tally.timing, tally.events, began_s = True, 0, time.perf_counter()
    await asyncio.sleep(seconds)
    passed_s = time.perf_counter() - began_s
    tally.timing = False
    took = sorted(tally.took_us)
    at = {share: took[min(len(took) - 1, int(len(took) * share))] / 1_000 for share in (0.5, 0.99, 1.0)} if took else {}
    return {
        "delivered_s": round(tally.events / passed_s),
        "events": tally.events,
        "passed_s": round(passed_s, 2),
        "p50_ms": at.get(0.5),
        "p99_ms": at.get(0.99),
        "max_ms": at.get(1.0),
        "received_mb": round(tally.received / 1e6, 1),
        "lost": tally.lost,
    }


def never_read(port: int, count: int) -> list[socket.socket]:
    """Clients that ask and then read nothing, with as little room in their own system as it allows."""
    made = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        made.append(client)
    return made


def metric(port: int, name: str) -> float:
    """One figure of /metrics, added up."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure once."""
    words = ["-m", "ops.bench.bench_push"]
    with migrated_place() as env, valkey(env) as url:
        port = int(env["FLOTILLA__API__PORT"])
        with serving(commands(port)["gevent"], env, port) as pid:
            alone_mb = memory_mb(pid) or 0.0
            listening = subprocess.Popen(
                [PYTHON, *words, "--listen", str(port), f"--clients={args.clients}", f"--seconds={args.seconds}"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            assert listening.stdout
            opened = json.loads(listening.stdout.readline())
            slow = never_read(port, SLOW)
            rate = [f"--symbols={args.symbols}", f"--per-second={args.per_second}", f"--seconds={args.seconds + 4}"]
            telling = subprocess.Popen([PYTHON, *words, "--publish", url, *rate], cwd=ROOT, stdout=subprocess.PIPE)
            sizes_mb, began_s, used_s = [memory_mb(pid) or 0.0], time.monotonic(), cpu_s(pid)
            while listening.poll() is None:
                time.sleep(0.5)
                sizes_mb.append(memory_mb(pid) or 0.0)
            cpu = (cpu_s(pid) - used_s) / (time.monotonic() - began_s)
            figures = json.loads(listening.stdout.read())
            assert telling.stdout
            told = json.loads(telling.stdout.read())
            telling.wait()
            dropped = metric(port, "flotilla_push_dropped_total")
            ended_s = drain(pid)
            for client in slow:
                client.close()
    expected = args.clients * args.symbols * args.per_second
    return {
        "clients": args.clients,
        "published_s": round(told["told"] / told["seconds"]),
        "expected_s": round(expected),
        **opened,
        **figures,
        "delivered_share": round(figures["delivered_s"] / expected, 3),
        "pss_alone_mb": round(alone_mb, 1),
        "pss_mb": round(max(sizes_mb), 1),
        "ceiling_mb": CEILING_MB,
        "cpu_share": round(cpu, 2),
        "slow_clients": SLOW,
        "slow_dropped": int(dropped),
        "drained_s": ended_s,
    }


def drain(pid: int) -> float:
    """Ask main-app to end; how long that took."""
    import os

    began_s = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    while time.monotonic() - began_s < 20:
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]:
                break
        except OSError:
            break
        time.sleep(0.02)
    return round(time.monotonic() - began_s, 2)


def missed(row: dict[str, Any]) -> list[str]:
    """What the goals say against it."""
    found = []
    if row["pss_mb"] > row["ceiling_mb"]:
        found.append(f"{row['pss_mb']} MB, more than the ceiling of {row['ceiling_mb']}")
    if row["opened"] < row["clients"] or row["lost"]:
        found.append(f"{row['opened']} of {row['clients']} streams opened, {row['lost']} lost")
    if row["delivered_share"] < 0.97:
        found.append(f"only {row['delivered_share']:.0%} of what was published came in time")
    if row["p99_ms"] is None or row["p99_ms"] > GOAL_P99_MS:
        found.append(f"p99 {row['p99_ms']} ms, more than {GOAL_P99_MS}")
    if row["slow_dropped"] < row["slow_clients"]:
        found.append(f"{row['slow_dropped']} of {row['slow_clients']} clients that never read were cut off")
    return found


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--per-second", type=float, default=2, help="tickers of each symbol a second (2)")
    parser.add_argument("--seconds", type=float, default=20, help="long enough that who never reads falls behind (20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    parser.add_argument("--listen", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    handles = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (handles[1], handles[1]))
    if args.publish:
        publish(args.publish, args.symbols, args.per_second, args.seconds)
        return 0
    if args.listen:
        gc.disable()
        print(json.dumps(asyncio.run(listen(args.listen, args.clients, args.seconds))))
        return 0
    row = run(args)
    failures = missed(row)
    print(json.dumps({**row, "missed": failures}, indent=2) if args.json else row)
    for sentence in failures:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
