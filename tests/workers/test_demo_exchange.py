"""The process "demo-exchange", started for real."""

import json
import os
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

from app.host import heartbeat, market_clock_file
from app.host.heartbeat import ENDED_AS_ASKED
from app.settings import ROOT
from tests.builders import wait_for


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def status(port: int) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/demo/status", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


@contextmanager
def running(state_dir: Path, port: int, speed: float) -> Iterator[Any]:
    """The process, and what it says of itself when it is ready."""
    settings = {
        "FLOTILLA__STATE__DIR": str(state_dir),
        "FLOTILLA__DEMO__PORT": str(port),
        "FLOTILLA__DEMO__SPEED": str(speed),
        "FLOTILLA__DEMO__SYMBOLS": "2",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.demo_exchange"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield wait_for(lambda: status(port), within_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()


def test_it_serves_beats_ends_as_asked_and_goes_on_where_it_stopped_at_another_speed(tmp_path: Path):
    port = free_port()
    with running(tmp_path, port, speed=500.0) as first:
        wait_for(
            lambda: (beat := heartbeat.read(tmp_path / "run", "demo-exchange")) and "streams" in beat.work, within_s=10
        )
        fast = market_clock_file.read(market_clock_file.path_in(tmp_path))
        labels = tmp_path / "demo" / "labels.jsonl"
        wait_for(labels.exists, within_s=20)
    ended = heartbeat.read(tmp_path / "run", "demo-exchange")
    with running(tmp_path, port, speed=1.0) as second:
        slow = market_clock_file.read(market_clock_file.path_in(tmp_path))

    assert fast is not None
    assert slow is not None
    assert ended is not None
    assert ended.work == ENDED_AS_ASKED
    assert (first["simulated"], first["speed"], first["seed"]) == (True, 500.0, 1)
    assert second["speed"] == 1.0
    assert second["market_ms"] > first["market_ms"]
    assert slow.anchor_market_ms >= first["market_ms"]
    assert second["market_ms"] > time.time() * 1000  # it does not fall back to our time
