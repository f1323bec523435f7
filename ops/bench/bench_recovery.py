"""How soon a killed process is back, how soon a requested task starts, and how soon a stuck process is noticed.

    python -m ops.bench.bench_recovery --rounds 3 --json

Every process of a fleet of its own is killed (SIGKILL) a few times; "back" means: another pid, with a heartbeat of its own. The
limits: back within 5 s, a task started within 1 s of the request, a stuck process noticed within two heartbeats (and the
second that the guard takes to look).
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import Any

from app.domain.fleet import BEATS_MISSED
from app.host.fleet_report import ProcessReport
from app.notify import outbox
from app.settings import Settings, load
from ops.bench.bench_fleet import SPECS, flotilla, look, place

BACK_WITHIN_S = 5.0
START_WITHIN_MS = 1000.0
LOOK_S = 1.0
TASKS = 50
# strategy-worker is stopped at its sixth crash in three minutes, so nobody is killed more often than this.
MOST_ROUNDS = 5


def wait_for(seen: Callable[[], bool], within_s: float = 60.0) -> float:
    """The seconds until something is seen."""
    began = time.monotonic()
    while not seen():
        if time.monotonic() - began > within_s:
            sys.exit(f"not seen within {within_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def report(settings: Settings, name: str) -> ProcessReport:
    """One process, now."""
    return next(report for report in look(settings) if report.name == name)


def back_after_kill(settings: Settings, name: str) -> float:
    """Kill it; the seconds until another one of that name works."""
    killed = report(settings, name).pid
    if killed is None:
        sys.exit(f"{name} does not run")
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        now = report(settings, name)
        return now.fresh and now.pid != killed

    return wait_for(is_back)


def noticed_after_freeze(settings: Settings, name: str) -> float:
    """Freeze it; the seconds until a person would be told."""
    pid = report(settings, name).pid
    if pid is None:
        sys.exit(f"{name} does not run")
    folder = settings.notices_dir
    before = len(outbox.recent(folder, 500)) + len(outbox.pending(folder))
    os.kill(pid, signal.SIGSTOP)
    noticed_s = wait_for(lambda: len(outbox.recent(folder, 500)) + len(outbox.pending(folder)) > before)
    wait_for(lambda: report(settings, name).fresh and report(settings, name).pid != pid)
    return noticed_s


def start_ms(settings: Settings) -> float:
    """Ask for one task over HTTP; the milliseconds from the request to its start."""
    asked = call(settings, "/api/system/tasks", {"kind": "drill", "payload": {"steps": 1, "step_ms": 0}})
    while True:
        task = call(settings, f"/api/system/tasks/{asked['id']}")
        if task["status"] == "done":
            return 1000 * (seconds(task["started_at"]) - seconds(task["created_at"]))
        time.sleep(0.02)


def seconds(text: str) -> float:
    """An ISO time as seconds."""
    return datetime.fromisoformat(text).timestamp()


def call(settings: Settings, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the fleet's API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(settings.address + path, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())["data"]
        return found


def measure(rounds: int) -> dict[str, Any]:
    """All of it on one fleet."""
    with place() as env:
        settings = load(env)
        flotilla(env, "start")
        try:
            time.sleep(3)
            starts = [start_ms(settings) for _ in range(TASKS)]
            back = {spec.name: [back_after_kill(settings, spec.name) for _ in range(rounds)] for spec in SPECS}
            noticed = {
                spec.name: (noticed_after_freeze(settings, spec.name), BEATS_MISSED * spec.heartbeat_s)
                for spec in SPECS
                if spec.name in {"market-feed", "main-app"}
            }
        finally:
            flotilla(env, "stop")
    return {
        "back_s": {name: round(max(times), 2) for name, times in back.items()},
        "back_limit_s": BACK_WITHIN_S,
        "task_start_ms": {"p50": round(statistics.median(starts), 1), "max": round(max(starts), 1)},
        "task_start_limit_ms": START_WITHIN_MS,
        "stuck_noticed_s": {
            name: {"after": round(after, 1), "limit": limit} for name, (after, limit) in noticed.items()
        },
    }


def main() -> int:
    """Measure and print; 1 when a limit was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=3, choices=range(1, MOST_ROUNDS + 1), help="kills of each process (3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    figures = measure(args.rounds)
    if args.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, after_s in figures["back_s"].items():
            print(
                f"{name:<16} back {after_s:5.2f} s after kill -9: {after_s / BACK_WITHIN_S:.0%} of {BACK_WITHIN_S:g} s"
            )
        start = figures["task_start_ms"]
        print(f"a task starts {start['p50']} ms (p50), {start['max']} ms (worst of {TASKS}) after the request")
        for name, row in figures["stuck_noticed_s"].items():
            print(f"{name:<16} frozen: told after {row['after']} s; two heartbeats are {row['limit']:g} s")
    met = (
        max(figures["back_s"].values()) < BACK_WITHIN_S
        and figures["task_start_ms"]["max"] < START_WITHIN_MS
        and all(row["after"] <= row["limit"] + 2 * LOOK_S for row in figures["stuck_noticed_s"].values())
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
