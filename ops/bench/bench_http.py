"""Requests a second, latency and memory of the API under four WSGI servers, to choose one by figures.

    python -m ops.bench.bench_http --seconds 5 --json
    python -m ops.bench.bench_http --server gevent

The same application, each server in a process of its own on a free loopback port, a SQLite database in a temporary folder, and the
load from a third process. Two cores are enough: one for the server, one for the load. It ends with 1 when main-app's own server,
gevent, misses the goal.
"""

import argparse
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from app.host.fleet_file import read_fleet
from app.host.probes import memory_mb
from app.settings import ROOT, load
from app.storage import tasks
from app.storage.database import open_engine, transaction
from ops import migrate
from ops.bench.bench_fleet import place

CHOSEN = "gevent"
GOAL_REQUESTS_S, GOAL_P99_MS, GOAL_CONNECTIONS, GOAL_SHARE = 1_000, 100, 100, 0.7
CEILING_MB = next(spec.ceiling_mb for spec in read_fleet(ROOT / "supervisord.conf") if spec.name == "main-app")
CONNECTIONS = (1, 100, 1_000)
APP = "api.parts:wsgi_app"
PYTHON = sys.executable
START_S = 20.0


def commands(port: int) -> dict[str, list[str]]:
    """How each server is started, each with what its documentation advises for many slow connections."""
    at = f"127.0.0.1:{port}"
    waitress = ["--threads=8", "--connection-limit=2000", "--asyncore-use-poll", f"--listen={at}"]
    gthread = ["--worker-class=gthread", "--threads=8", "--worker-connections=2000", "--keep-alive=75", f"--bind={at}"]
    granian = ["--interface=wsgi", "--blocking-threads=8", "--backlog=2048", "--host=127.0.0.1", f"--port={port}"]
    return {
        "gevent": [PYTHON, "-m", "api.server"],
        "waitress": [PYTHON, "-m", "waitress", *waitress, "--call", APP],
        "gunicorn gthread": [PYTHON, "-m", "gunicorn", "--workers=1", *gthread, f"{APP}()"],
        "granian wsgi": [PYTHON, "-m", "granian", "--workers=1", *granian, "--factory", APP],
    }


@contextmanager
def migrated_place() -> Iterator[dict[str, str]]:
    """The environment of a server, with a state folder and a migrated database of its own."""
    with place() as env:
        migrate.upgrade(load(env).database_url)
        yield env | {"MALLOC_ARENA_MAX": "2"}


def make_task(env: dict[str, str]) -> int:
    """The row that is read: of a queue that nobody serves."""
    engine = open_engine(load(env).database_url)
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="bench", queue="bench", payload={"n": 1}, trace_id=None, now=datetime.now(UTC))
    engine.dispose()
    return task_id


@contextmanager
def serving(command: list[str], env: dict[str, str], port: int) -> Iterator[int]:
    """A server that answers; its process id."""
    with tempfile.TemporaryFile() as out:
        server = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=out)
        try:
            until_s = time.monotonic() + START_S
            while not answers(port):
                if server.poll() is not None or time.monotonic() > until_s:
                    out.seek(0)
                    raise SystemExit(f"{' '.join(command)} did not start: {out.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def answers(port: int) -> bool:
    """Whether the server is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure(pid: int, port: int, path: str, connections: int, seconds: float) -> dict[str, Any]:
    """One cell of the table: the load's own figures, and the server's greatest memory meanwhile."""
    words = ["127.0.0.1", str(port), path, f"--connections={connections}", f"--seconds={seconds}"]
    client = subprocess.Popen([PYTHON, "-m", "ops.bench.http_load", *words], cwd=ROOT, stdout=subprocess.PIPE)
    sizes_mb = []
    while client.poll() is None:
        sizes_mb.append(memory_mb(pid) or 0.0)
        time.sleep(0.5)
    assert client.stdout
    figures = json.loads(client.stdout.read())
    return {"path": path, "connections": connections, "pss_mb": round(max(sizes_mb), 1), **figures}


def run(names: list[str], seconds: float) -> list[dict[str, Any]]:
    """Measure every server, path and number of connections."""
    rows = []
    for name in names:
        with migrated_place() as env:
            port = int(env["FLOTILLA__API__PORT"])
            paths = ("/health/live", f"/api/system/tasks/{make_task(env)}")
            with serving(commands(port)[name], env, port) as pid:
                for path in paths:
                    for connections in CONNECTIONS:
                        rows.append({"server": name, **measure(pid, port, path, connections, seconds)})
                        print(shown(rows[-1]), file=sys.stderr, flush=True)
    return rows


def shown(row: dict[str, Any]) -> str:
    """One line of the table."""
    figures = f"{row['requests_s']:>7} {row['p50_ms']:>8} {row['p99_ms']:>8} {row['pss_mb']:>7} {row['wrong'] + row['lost']:>6}"
    return f"{row['server']:<17} {row['path']:<20} {row['connections']:>6} {figures}"


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """What the chosen server missed of the goal, in sentences."""
    found = []
    limit_mb = GOAL_SHARE * CEILING_MB
    for row in rows:
        if row["server"] != CHOSEN:
            continue
        where = f"{row['path']} at {row['connections']} connections"
        if row["wrong"] or row["lost"]:
            found.append(f"{where}: {row['wrong']} wrong answers, {row['lost']} lost connections")
        if row["pss_mb"] > limit_mb:
            found.append(f"{where}: {row['pss_mb']} MB, more than {limit_mb:.0f}")
        if row["connections"] == GOAL_CONNECTIONS and row["requests_s"] < GOAL_REQUESTS_S:
            found.append(f"{where}: {row['requests_s']} requests a second, fewer than {GOAL_REQUESTS_S}")
        if row["connections"] == GOAL_CONNECTIONS and row["p99_ms"] > GOAL_P99_MS:
            found.append(f"{where}: p99 {row['p99_ms']} ms, more than {GOAL_P99_MS}")
    return found


def main() -> int:
    """Measure and print; 1 when the goal is missed."""
    names = list(commands(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5, help="for each cell of the table (5)")
    parser.add_argument("--server", choices=names, action="append", help="only this one; may be given again")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    print(
        f"{'server':<17} {'path':<20} {'conns':>6} {'req/s':>7} {'p50 ms':>8} {'p99 ms':>8} {'PSS MB':>7} {'failed':>6}",
        file=sys.stderr,
    )
    rows = run(args.server or names, args.seconds)
    failures = missed(rows)
    if args.json:
        print(json.dumps({"rows": rows, "missed": failures}, indent=2))
    for sentence in failures:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
