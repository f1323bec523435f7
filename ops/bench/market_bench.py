"""What benches of the market share: a demo exchange, a broker and a market-feed of their own, and what the feed says of itself."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from app.exchanges.demo.addresses import urls_for
from app.host import feed_report, metrics, probes
from app.host.feed_report import FeedReport
from app.settings import ROOT, Settings, load
from ops.bench.bench_fleet import free_port
from ops.migrate import upgrade

START_WITHIN_S = 120.0


@dataclass
class Bench:
    """Processes with a state folder of their own; the feed watches the demo's Binance as if it were the real one."""

    env: dict[str, str]
    stack: ExitStack
    settings: Settings = field(init=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = load(self.env)

    def start(self, module: str, *, cores: set[int] | None = None) -> subprocess.Popen[bytes]:
        """Start one process, on these cores alone if there are as many."""
        log = self.stack.enter_context((self.settings.state_dir / f"{module}.log").open("ab"))
        process = subprocess.Popen([sys.executable, "-m", module], env=self.env, cwd=ROOT, stdout=log, stderr=log)
        if cores and cores <= os.sched_getaffinity(0):
            os.sched_setaffinity(process.pid, cores)
        self.stack.callback(end, process)
        self.processes[module] = process
        return process

    def report(self) -> FeedReport:
        """What the feed says."""
        return feed_report.read(self.settings.run_dir)

    def counted(self, name: str, **labels: str) -> float:
        """One counter of the feed, over all series with these labels; of a histogram, the number of its samples."""
        return sum(float(sum(series.buckets) or series.value or 0) for series in self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[metrics.Series]:
        """All series of a metric of the feed."""
        found = metrics.read_all(self.settings.run_dir, time.time()).found
        families = [family for one in found if one.process == "market-feed" for family in one.families]
        return [
            series
            for family in families
            if family.name == name
            for series in family.series
            if labels.items() <= series.labels.items()
        ]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the demo exchange's control route."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.settings.demo.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def memory_mb(self, module: str) -> float:
        """PSS of a process and its children."""
        return probes.memory_mb(self.processes[module].pid) or 0.0

    def cpu_s(self, module: str) -> float:
        """Seconds of processor time that a process has used."""
        used = psutil.Process(self.processes[module].pid).cpu_times()
        return float(used.user + used.system)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to drain, and wait."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], within_s: float = START_WITHIN_S) -> None:
    """Look twice a second. Raises TimeoutError."""
    until = time.monotonic() + within_s
    while not what():
        if time.monotonic() > until:
            raise TimeoutError("The feed did not get so far in time; see the logs of this bench.")
        time.sleep(0.5)


@contextmanager
def bench(**more: str) -> Iterator[Bench]:
    """A migrated state folder, a broker and a demo exchange; the feed is started by whoever measures it."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True))
        port = free_port()
        config = Path(folder, "flotilla.toml")
        config.touch()
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA")}
        env |= {
            "FLOTILLA_CONFIG": str(config),
            "FLOTILLA__STATE__DIR": folder,
            "FLOTILLA__DEMO__PORT": str(port),
            "FLOTILLA__FEED__EXCHANGES": "binance",
            "MALLOC_ARENA_MAX": "2",
        }
        env |= {f"FLOTILLA__BINANCE__{key.upper()}": url for key, url in urls_for(port)["binance"].items()} | more
        made = Bench(env, stack)
        made.settings.run_dir.mkdir(parents=True, exist_ok=True)
        upgrade(made.settings.database_url)
        made.start("ops.broker")
        made.start("workers.demo_exchange", cores={1})
        yield made


def fill(made: Bench) -> None:
    """Start the feed, on one core, and wait until everything is watched and the history stands."""
    made.start("workers.market_feed", cores={0})

    def settled() -> bool:
        try:
            report = made.report()
        except Exception:  # noqa: BLE001 - it has not reported yet
            return False
        return bool(report.collectors) and all(one.state == "running" for one in report.collectors)

    wait_for(settled)
    before = -1.0

    def quiet() -> bool:
        nonlocal before
        now = float(made.report().store.written.get("klines", 0))
        still, before = now == before and now > 0, now
        time.sleep(2)
        return still

    wait_for(quiet, within_s=300)
