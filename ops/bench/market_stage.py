"""A demo exchange and a market-feed as real processes in a temporary state folder, to be hurt, killed and looked at."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, text

from app.errors import Unavailable
from app.exchanges.demo.market import Market
from app.host import feed_report, market_clock_file
from app.host.feed_report import FeedReport
from app.settings import ROOT, Settings, load
from app.storage import pairs
from app.storage.database import open_engine, reading
from ops.migrate import upgrade

T = TypeVar("T")


class Stage:
    """``feed`` is the process of now; ``market`` is the truth that the demo exchange tells."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self.settings: Settings = load(env)
        self.market = Market(self.settings.demo.seed, self.settings.demo.symbols)
        self.engine: Engine = open_engine(self.settings.database_url)
        self._demo: subprocess.Popen[bytes] | None = None
        self.feed: subprocess.Popen[bytes] | None = None

    def start_demo(self) -> None:
        """Start the exchange, and wait until it answers."""
        self._demo = self._start("workers.demo_exchange")
        wait(self._answers, 30)

    def start_feed(self) -> None:
        """Start the feed, and wait for its own first report."""
        (self.settings.run_dir / feed_report.NAME).unlink(missing_ok=True)
        self.feed = self._start("workers.market_feed")
        wait(lambda: self.report() or self._fell("workers.market_feed", self.feed), 30)

    def end_feed(self, how: signal.Signals) -> float:
        """End the feed; the seconds that it took."""
        began_s = time.monotonic()
        if self.feed is not None:
            self.feed.send_signal(how)
            self.feed.wait(30)
            self.feed = None
        return time.monotonic() - began_s

    def end(self) -> None:
        """End both."""
        for process in (self.feed, self._demo):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.engine.dispose()

    def _start(self, module: str) -> subprocess.Popen[bytes]:
        with (self.settings.state_dir / f"{module}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", module], env=self._env, cwd=ROOT, stdout=log, stderr=log)

    def _fell(self, module: str, process: subprocess.Popen[bytes] | None) -> FeedReport | None:
        """Raise what a process said that ended at once."""
        if process is not None and process.poll() is not None:
            said = (self.settings.state_dir / f"{module}.log").read_text(errors="replace")
            raise Unavailable(f"{module} ended: {said[-2_000:]}")
        return None

    def _answers(self) -> bool:
        with suppress(OSError):
            return bool(self.ask("GET", "status"))
        return False

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The demo exchange's control."""
        address = f"http://127.0.0.1:{self.settings.demo.port}/demo/{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(address, data=data, method=method), timeout=20) as answer:
            return json.load(answer)

    def report(self) -> FeedReport | None:
        """What the feed says of itself."""
        try:
            return feed_report.read(self.settings.run_dir)
        except Unavailable:
            return None

    def market_ms(self) -> int:
        """The market's time."""
        clock = market_clock_file.read(market_clock_file.path_in(self.settings.state_dir))
        if clock is None:
            raise Unavailable("The demo exchange has no clock yet.")
        return clock.now_ms(time.time_ns() // 1_000_000)

    def whole(self) -> bool:
        """Whether every book is right, every collector runs and no row waits for the database."""
        report = self.report()
        return (
            report is not None
            and bool(report.books)
            and all(book.status == "ok" for book in report.books)
            and all(one.state == "running" for one in report.collectors)
            and report.store.away_since_ms is None
        )

    def rows(self, statement: str, **values: object) -> Sequence[Any]:
        """What the database says."""
        with reading(self.engine) as db:
            return db.execute(text(statement), values).all()

    def pair_id(self, exchange: str, symbol: str) -> int:
        """Under which its rows stand."""
        with reading(self.engine) as db:
            return pairs.pair_id(db, exchange, symbol)


@contextmanager
def stage(*, symbols: int = 1, speed: float = 1.0, exchanges_spots: str = "", **more: str) -> Iterator[Stage]:
    """Both, started. ``more`` are environment variables, such as FLOTILLA__FEED__KEEP_WAITING."""
    folder = tempfile.mkdtemp(prefix="fl-stage-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "FLOTILLA_CONFIG": os.devnull,
        "FLOTILLA__STATE__DIR": folder,
        "FLOTILLA__DEMO__PORT": str(port),
        "FLOTILLA__DEMO__SYMBOLS": str(symbols),
        "FLOTILLA__DEMO__SPEED": str(speed),
        "FLOTILLA__FEED__SPOT_SYMBOLS": exchanges_spots,
        **more,
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA")} | own
    Path(folder, "run").mkdir()
    made = Stage(env)
    try:
        upgrade(made.settings.database_url)
        made.start_demo()
        made.start_feed()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def wait(look: Callable[[], T], within_s: float) -> T:
    """Look until there is something to see. Raises TimeoutError."""
    until_s = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > until_s:
            raise TimeoutError(f"Nothing to see within {within_s:g} s.")
        time.sleep(0.05)
    return seen
