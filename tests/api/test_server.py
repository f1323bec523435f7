"""main-app as a process of its own: it serves under gevent, proves that it does, and drains."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from app.host import heartbeat
from app.settings import ROOT
from app.storage import processes
from app.storage.database import open_engine, transaction
from tests.builders import NOW, wait_for

pytestmark = pytest.mark.fleet


class MainApp:
    """The process, as supervisord would start it, with a state folder and a port of its own."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self._out = folder / "out.jsonl"
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOTILLA__")} | {
            "FLOTILLA__STATE__DIR": str(folder),
            "FLOTILLA__API__PORT": str(self.port),
            "FLOTILLA__DATABASE__URL": database_url,
            "FLOTILLA__REDIS__URL": redis_url,
        }
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.server"], env=env, cwd=ROOT, stdout=out, stderr=out
            )
        try:
            wait_for(self.answers, within_s=30)
        except AssertionError:
            raise AssertionError(self._out.read_text()) from None

    def call(self, method: str, path: str, body: object = None, *, within_s: float = 20) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within_s)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def answers(self) -> bool:
        assert self.process.poll() is None, self._out.read_text()
        try:
            return self.call("GET", "/health/live")[0] == 200
        except OSError:
            return False

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


Start = Callable[..., MainApp]


@pytest.fixture
def start(sqlite_url: str, valkey_url: str) -> Iterator[Start]:
    """Start main-app; it is ended with the test."""
    with ExitStack() as stack:

        def started(database_url: str = sqlite_url, redis_url: str = valkey_url) -> MainApp:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp")))
            app = MainApp(folder, database_url.replace("mysql+pymysql", "mysql").replace("+psycopg", ""), redis_url)
            stack.callback(app.end)
            return app

        yield started


def open_request(app: MainApp, body: bytes) -> socket.socket:
    """Begin a request whose body comes later."""
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=20)
    head = "POST /api/system/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def test_it_works_on_every_database_and_redis_under_gevent(start: Start, database_url: str):
    app = start(database_url=database_url)

    status, asked = app.call("POST", "/api/system/tasks", {"kind": "drill", "payload": {"steps": 1, "step_ms": 0}})
    read_status, read = app.call("GET", f"/api/system/tasks/{asked['data']['id']}")
    _, ready = app.call("GET", "/health/ready")

    assert (status, read_status) == (202, 200)
    assert read["data"] == asked["data"]
    checks = {check["name"]: check["ok"] for check in ready["data"]["checks"]}
    assert (checks["database"], checks["redis"]) == (True, True)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_request_that_waits_for_a_database_server_holds_up_no_other(
    start: Start, kind: str, database_servers, tmp_path
):
    url = database_servers.migrated(kind, tmp_path)
    engine = open_engine(url)
    app = start(database_url=url)
    with transaction(engine) as db:
        processes.ensure(db, ["market-feed"], NOW)  # not committed: whoever writes the same row waits
        waiting: list[int] = []
        caller = threading.Thread(
            target=lambda: waiting.append(app.call("POST", "/api/control/systemd/stop", {"service": "market-feed"})[0])
        )
        caller.start()
        time.sleep(0.5)
        others = [app.call("GET", "/health/live", within_s=10)[0] for _ in range(20)]
        still_waiting = not waiting
    caller.join()
    engine.dispose()

    assert others == [200] * 20
    assert still_waiting
    assert waiting == [202]


def test_a_request_that_waits_for_sqlites_only_writer_holds_up_no_other(start: Start, sqlite_url: str):
    engine = open_engine(sqlite_url)
    app = start()
    waiting: list[int] = []
    callers = [
        threading.Thread(
            target=lambda: waiting.append(app.call("POST", "/api/control/systemd/stop", {"service": "market-feed"})[0])
        )
        for _ in range(3)
    ]
    with transaction(engine):
        for caller in callers:
            caller.start()
        time.sleep(0.5)
        others = [app.call("GET", "/health/live", within_s=10)[0] for _ in range(20)]
        still_waiting = not waiting
    for caller in callers:
        caller.join()
    engine.dispose()

    assert others == [200] * 20
    assert still_waiting
    assert waiting == [202, 202, 202]


def test_reading_long_logs_holds_up_no_other_request(start: Start):
    app = start()
    (app.folder / "log").mkdir()
    line = json.dumps({"at": "2026-11-21T05:00:00+00:00", "level": "INFO", "process": "monitor", "message": "x" * 100})
    (app.folder / "log" / "monitor.jsonl").write_text(f"{line}\n" * 300_000)
    found: list[tuple[int, Any]] = []
    reader = threading.Thread(target=lambda: found.append(app.call("GET", "/api/system/logs?level=ERROR")))

    reader.start()
    answered = 0
    while not found:
        answered += app.call("GET", "/health/live")[0] == 200
    reader.join()

    assert found[0][0] == 200
    assert found[0][1]["data"]["logs"] == []
    assert answered > 2  # in one thread: at most one before the reading and one after it


def test_an_error_in_a_thread_is_told_like_any_other(start: Start):
    app = start()
    (app.folder / "log").mkdir()
    (app.folder / "log" / "monitor.jsonl").mkdir()  # cannot be read

    status, body = app.call("GET", "/api/system/logs?process=monitor")

    assert (status, body["error"]["type"]) == (500, "FlotillaError")
    assert all("at" in line for line in app.log())  # no traceback past the log


def test_a_body_in_pieces_is_limited_too(start: Start):
    app = start()
    with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        head = (
            "POST /api/system/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close"
        )
        connection.sendall(f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(20):
            connection.sendall(b"186a0\r\n" + b" " * 100_000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert app.answers()


def test_a_request_in_flight_is_finished_before_the_end(start: Start):
    app = start()
    body = json.dumps({"kind": "drill", "payload": {"steps": 1, "step_ms": 0}}).encode()
    idle = socket.create_connection(("127.0.0.1", app.port), timeout=20)
    slow = open_request(app, body)
    time.sleep(0.3)

    app.process.send_signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", app.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_for(refused, within_s=10)
    assert app.process.poll() is None
    slow.sendall(body)
    answer = read_all(slow)

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert app.process.wait(timeout=10) == 0
    assert read_all(idle) == b""
    assert app.log()[-1]["message"] == "ended"
    assert app.log()[-1]["requests_cut_off"] == 0
    slow.close()
    idle.close()


def test_a_request_that_never_ends_does_not_keep_it_from_ending(start: Start):
    app = start()
    endless = open_request(app, b"x" * 100)
    time.sleep(0.3)

    app.process.send_signal(signal.SIGTERM)

    assert app.process.wait(timeout=20) == 0
    endless.close()


def test_it_beats_while_it_answers_and_not_while_it_does_not(start: Start):
    app = start()

    def at_ns() -> int:
        beat = heartbeat.read(app.folder / "run", "main-app")
        assert beat is not None
        return beat.at_ns

    first = at_ns()
    wait_for(lambda: at_ns() > first, within_s=20)
    app.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    stopped = at_ns()
    time.sleep(1.5)

    assert at_ns() == stopped
    app.process.send_signal(signal.SIGCONT)
    wait_for(lambda: at_ns() > stopped, within_s=20)
    beat = heartbeat.read(app.folder / "run", "main-app")
    assert beat is not None
    assert beat.work == "serving"


def test_it_does_not_beat_while_its_reconciler_hangs(start: Start):
    """A supervisord that says a little now and then, and never ends, is one that no limit for silence notices."""
    app, over = start(), threading.Event()

    def at_ns() -> int:
        beat = heartbeat.read(app.folder / "run", "main-app")
        assert beat is not None
        return beat.at_ns

    def drip() -> None:
        with suppress(OSError), door.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.3):
                connection.sendall(b".")

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(app.folder / "run" / "supervisor.sock"))
        door.listen()
        supervisord = threading.Thread(target=drip)
        supervisord.start()
        try:
            wait_for(lambda: time.time_ns() - at_ns() > 4e9, within_s=30)
            hung = at_ns()
            assert app.answers()
        finally:
            over.set()
            supervisord.join()
    wait_for(lambda: at_ns() > hung, within_s=20)


def test_it_lives_without_supervisord_broker_and_database_and_logs_that_once(start: Start, tmp_path: Path):
    app = start(database_url="postgresql://nobody@127.0.0.1:1/nothing", redis_url=f"unix://{tmp_path}/nothing")

    time.sleep(2.5)

    assert app.call("GET", "/health/live")[0] == 200
    status, ready = app.call("GET", "/health/ready")
    away = {check["name"] for check in ready["data"]["checks"] if not check["ok"]}
    assert (status, away) == (503, {"database", "redis", "supervisord"})
    said = [line for line in app.log() if line["level"] == "WARNING" and "steered" in line["message"]]
    assert len(said) == 1


def test_a_second_one_on_the_same_state_folder_does_not_start(start: Start):
    app = start()
    env = os.environ | {"FLOTILLA__STATE__DIR": str(app.folder), "FLOTILLA__API__PORT": "1"}

    second = subprocess.run(
        [sys.executable, "-m", "api.server"], env=env, cwd=ROOT, capture_output=True, timeout=60, check=False
    )

    assert second.returncode != 0
    assert app.answers()


def test_many_idle_connections_hold_up_nobody(start: Start):
    app = start()
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection(("127.0.0.1", app.port), timeout=20))

        assert app.call("GET", "/health/live", within_s=20)[0] == 200


def test_rubbish_on_the_socket_ends_only_its_own_connection(start: Start):
    app = start()
    for rubbish in (b"\x00\xff" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                read_all(connection)

    assert app.answers()


def test_importing_the_server_changes_nothing():
    code = (
        "import socket, api.server, api.serving; from gevent import monkey; print(monkey.is_module_patched('socket'))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "False\n"


def open_stream(app: MainApp, query: str = "") -> socket.socket:
    """Ask for the push stream and read until the hello is there."""
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=20)
    connection.sendall(f"GET /api/v1/market/stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    read_until(connection, b"event: hello")
    return connection


def read_until(connection: socket.socket, words: bytes) -> bytes:
    received = b""
    while words not in received:
        piece = connection.recv(65_536)
        assert piece, received[-500:]
        received += piece
    return received


def told(app: MainApp) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=20)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("flotilla_push")}


def test_streams_are_told_the_news_and_end_cleanly_with_main_app(start: Start, valkey_url: str):
    app = start()
    streams = [open_stream(app) for _ in range(3)]
    with redis.Redis.from_url(valkey_url) as client:
        wait_for(client.pubsub_numpat, within_s=20)
        client.publish("market_data:ticker:BTC/USDT", b'{"exchange":"demo-binance","price":1}')

    for stream in streams:
        assert b'data: {"exchange":"demo-binance","price":1}\n\n' in read_until(stream, b"event: ticker")
    assert told(app)["flotilla_push_clients"] == 3
    app.process.send_signal(signal.SIGTERM)
    for stream in streams:
        rest = read_all(stream)
        assert b"event: bye" in rest
        assert rest.endswith(b"0\r\n\r\n")  # the last piece: the answer is whole
        stream.close()
    assert app.process.wait(timeout=10) == 0
    assert app.log()[-1]["requests_cut_off"] == 0


def test_a_client_that_never_reads_is_cut_off_and_the_others_hear_everything(start: Start, valkey_url: str):
    app = start()
    with ExitStack() as stack:
        slow = stack.enter_context(socket.socket())
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", app.port))
        slow.sendall(b"GET /api/v1/market/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        quick = stack.enter_context(open_stream(app))
        client = stack.enter_context(redis.Redis.from_url(valkey_url))
        wait_for(lambda: told(app).get("flotilla_push_clients") == 2 and client.pubsub_numpat(), within_s=20)
        payload = json.dumps({"exchange": "demo-binance", "padding": "x" * 50_000}).encode()

        for number in range(20):
            client.publish(f"market_data:ticker:COIN{number}", payload)
            read_until(quick, b"}\n\n")

        wait_for(lambda: told(app).get("flotilla_push_dropped_total") == 1, within_s=20)
        assert told(app)["flotilla_push_clients"] == 1
        assert app.answers()


def test_a_head_request_for_the_stream_opens_none(start: Start):
    app = start()
    with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        connection.sendall(b"HEAD /api/v1/market/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")

    assert told(app).get("flotilla_push_clients", 0) == 0
