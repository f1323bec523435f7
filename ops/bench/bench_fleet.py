"""Memory and processor time of each process and of the whole fleet, and the time from start to ready.

    python -m ops.bench.bench_fleet --minutes 10 --json

It starts a fleet of its own in a temporary state folder, on a free port, and stops it at the end. Ratios are against the limits of
the same run: each process against its ceiling in supervisord.conf, the fleet without demo-exchange against GOAL_MB, the monitor
(what watching costs) against MONITOR_CPU and MONITOR_MB. The processor time is what is used once the fleet is ready, of one core.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from app.host.fleet_file import read_fleet
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.supervisor import Supervisor
from app.settings import ROOT, Settings, load

GOAL_MB = 350
SHARE_GOAL = 0.7
MONITOR_CPU = 0.01
MONITOR_MB = 50
START_GOAL_S = 10
SPECS = read_fleet(ROOT / "supervisord.conf")


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def place() -> Iterator[dict[str, str]]:
    """The environment of a fleet of our own."""
    folder = tempfile.mkdtemp(prefix="bench")
    config = Path(folder, "flotilla.toml")
    config.touch()  # empty: what is measured are the defaults, not this machine's settings
    own = {
        "FLOTILLA__STATE__DIR": folder,
        "FLOTILLA__API__PORT": str(free_port()),
        "FLOTILLA__DEMO__PORT": str(free_port()),
        "FLOTILLA_CONFIG": str(config),
    }
    try:
        yield {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA")} | own
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flotilla(env: dict[str, str], word: str) -> float:
    """Run one command of the fleet; the seconds that it took."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "ops", word], env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def look(settings: Settings) -> list[ProcessReport]:
    """One sample of every process."""
    return fleet_report(SPECS, Supervisor(settings.supervisor_socket), settings.run_dir, time.time())


def measure(minutes: float, starts: int) -> dict[str, Any]:
    """Start and stop a few times, then let the fleet run and sample its memory."""
    with place() as env:
        settings = load(env)
        first_s = flotilla(env, "start")  # makes the database too
        later_s: list[float] = []
        stops_s: list[float] = []
        for _ in range(starts):
            stops_s.append(flotilla(env, "stop"))
            later_s.append(flotilla(env, "start"))
        samples = [look(settings)]
        used = Used(samples[-1])
        until = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < until:
                time.sleep(min(5.0, max(0.1, until - time.monotonic())))
                samples.append(look(settings))
            shares = used.shares()
        finally:
            stops_s.append(flotilla(env, "stop"))
    return {
        "start_s": {
            "first": round(first_s, 2),
            "later_median": round(statistics.median(later_s), 2),
            "goal": START_GOAL_S,
        },
        "stop_s": round(statistics.median(stops_s), 2),
        "minutes": minutes,
        "processes": [process(report, samples, shares.get(report.name)) for report in samples[-1]],
        "fleet_mb": together(samples[-1]),
        "fleet_peak_mb": max(together(sample) for sample in samples),
        "goal_mb": GOAL_MB,
    }


class Used:
    """The processor time that each process uses from now on."""

    def __init__(self, reports: list[ProcessReport]) -> None:
        self._began_s = time.monotonic()
        self._processes = {one.name: psutil.Process(one.pid) for one in reports if one.pid}
        self._before_s = {name: cpu_s(process) for name, process in self._processes.items()}

    def shares(self) -> dict[str, float]:
        """By name, of one core; none for a process that was replaced meanwhile."""
        took_s = time.monotonic() - self._began_s
        return {
            name: (cpu_s(process) - self._before_s[name]) / took_s
            for name, process in self._processes.items()
            if process.is_running()
        }


def cpu_s(process: psutil.Process) -> float:
    """What it has used since it began, with its children that live."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def together(sample: list[ProcessReport]) -> float:
    """The fleet as it is beside a live market: the demo exchange stands for the world outside."""
    return round(sum(report.memory_mb or 0 for report in sample if report.name != "demo-exchange"), 1)


def process(last: ProcessReport, samples: list[list[ProcessReport]], cpu: float | None) -> dict[str, Any]:
    """One process: its memory at the end and at its worst, as shares of its ceiling."""
    all_mb = [report.memory_mb or 0.0 for sample in samples for report in sample if report.name == last.name]
    return {
        "name": last.name,
        "pss_mb": last.memory_mb,
        "peak_mb": max(all_mb),
        "ceiling_mb": last.ceiling_mb,
        "share": round(max(all_mb) / last.ceiling_mb, 2),
        "cpu": cpu and round(cpu, 4),
        "restarts": last.restarts,
    }


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10, help="how long to watch the memory (10)")
    parser.add_argument("--starts", type=int, default=3, help="how many starts to time after the first (3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    figures = measure(args.minutes, args.starts)
    if args.json:
        print(json.dumps(figures, indent=2))
    else:
        start = figures["start_s"]
        print(f"start to ready: first {start['first']} s, later {start['later_median']} s (goal {START_GOAL_S} s)")
        print(f"stop: {figures['stop_s']} s")
        print(f"{'process':<16} {'PSS MB':>7} {'peak':>7} {'ceiling':>8} {'share':>6} {'CPU':>6}")
        for row in figures["processes"]:
            print(
                f"{row['name']:<16} {row['pss_mb']:>7} {row['peak_mb']:>7} {row['ceiling_mb']:>8} {row['share']:>6.0%}"
                f" {row['cpu'] or 0:>6.1%}"
            )
        total = figures["fleet_mb"]
        share = f"{total / GOAL_MB:.0%} of {GOAL_MB}"
        print(f"fleet after {args.minutes:g} minutes: {total} MB, peak {figures['fleet_peak_mb']} MB: {share}")
    met = (
        figures["fleet_peak_mb"] < GOAL_MB
        and start_ok(figures)
        and all(row["share"] < SHARE_GOAL for row in figures["processes"])
        and watching_is_cheap(figures)
    )
    return 0 if met else 1


def start_ok(figures: dict[str, Any]) -> bool:
    """Whether a start after the first was quick enough."""
    return bool(figures["start_s"]["later_median"] < START_GOAL_S)


def watching_is_cheap(figures: dict[str, Any]) -> bool:
    """Whether the monitor costs as little as it may."""
    monitor = next(row for row in figures["processes"] if row["name"] == "monitor")
    return monitor["cpu"] is not None and monitor["cpu"] < MONITOR_CPU and monitor["peak_mb"] < MONITOR_MB


if __name__ == "__main__":
    sys.exit(main())
