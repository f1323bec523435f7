import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import redis

from app.errors import Misconfigured
from app.host import heartbeat, logs
from app.settings import ROOT
from ops import broker
from tests.builders import lives, wait_for


class Broker:
    """The broker process with a state folder of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        (state / "log").mkdir()
        env = os.environ | {"FLOTILLA__STATE__DIR": str(state)}
        with (state / "log" / "broker.jsonl").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.broker"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        wait_for(lambda: broker.answers(self.socket), within_s=30)

    @property
    def socket(self) -> Path:
        return self.state / "run" / "broker.sock"

    @property
    def server(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def beats(self) -> int:
        beat = heartbeat.read(self.state / "run", "broker")
        return beat.at_ns if beat else 0


@pytest.fixture
def running() -> Iterator[Broker]:
    with TemporaryDirectory(prefix="fl") as folder:
        started = Broker(Path(folder))
        yield started
        started.process.kill()
        started.process.wait()


def test_it_beats_while_the_server_answers_and_falls_silent_when_it_hangs(running: Broker):
    before = wait_for(running.beats, within_s=20)
    wait_for(lambda: running.beats() > before, within_s=20)

    running.server.send_signal(signal.SIGSTOP)
    wait_for(lambda: not broker.answers(running.socket), within_s=20)
    silent_since = running.beats()

    assert not broker.answers(running.socket)
    assert running.beats() == silent_since


def test_asked_to_drain_it_ends_the_server_and_ends_well(running: Broker):
    server = running.server.pid

    running.process.terminate()

    assert running.process.wait(timeout=20) == 0
    assert not lives(server)


def test_a_server_that_ends_by_itself_ends_it_with_an_error_so_that_it_is_started_again(running: Broker):
    running.server.kill()

    assert running.process.wait(timeout=20) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_killed_broker_process_leaves_no_server_behind(running: Broker):
    server = running.server.pid

    running.process.kill()

    wait_for(lambda: not lives(server), within_s=20)


def test_its_socket_is_its_owners_alone_and_queues_are_never_evicted(running: Broker):
    with redis.Redis(unix_socket_path=str(running.socket), decode_responses=True) as client:
        policy = client.config_get("maxmemory-policy")
        ports = client.config_get("port")

    assert stat.S_IMODE(running.socket.stat().st_mode) == 0o700
    assert policy == {"maxmemory-policy": "volatile-lru"}
    assert ports == {"port": "0"}


def test_what_the_server_says_is_logged_as_json_like_everybodys(running: Broker):
    def said() -> list[str]:
        return [entry["message"] for entry in logs.tail(running.state / "log", "broker", 50) if entry["at"]]

    wait_for(lambda: any("Ready to accept connections" in message for message in said()), within_s=20)


def test_without_any_server_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(broker, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(Misconfigured, match="Valkey") as refusal:
        broker.server_binary()

    assert "FLOTILLA__REDIS__URL" in refusal.value.cure


def test_without_the_wheel_a_server_on_the_path_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setattr(broker, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert broker.server_binary() == own
