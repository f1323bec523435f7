"""The life of main-app: serve, reconcile, prove that it serves, and drain. ``api/server.py`` starts it."""

import contextlib
import gc
import http.client
import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from flask import Flask
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from api.deps import Deps, T
from api.main import CUT, create_app
from api.parts import open_deps
from app.errors import FlotillaError
from app.host import lifecycle
from app.host.metrics import Metrics
from app.settings import Settings, load
from app.usecases.check_health import told
from app.usecases.reconcile_fleet import reconcile

NAME = "main-app"
RECONCILE_EVERY_S = 0.5
BEAT_EVERY_S = 1.0
DRAIN_S = 5.0
TURN_S = 8.0  # a reconciler that is not back after this hangs: a hanging database and supervisord take less
IDLE_S = 75.0  # a connection that says nothing for so long is closed
CONNECTIONS = 2_000
SEND_BUFFER = 64 * 1024
_SPARE_HANDLES = 100  # for the database, the broker, logs and sockets of our own
_log = logging.getLogger("api")


def run() -> None:
    """Serve until asked to drain."""
    settings = load(os.environ)
    life = lifecycle.begin(NAME, settings.run_dir, level=settings.log.level)
    deps = replace(open_deps(settings, draining=life.draining.is_set), apart=_in_a_thread)
    life.beat("starting")  # on a machine that is busy, what comes next takes longer than a heartbeat
    connections = _room_for_connections()
    deps.hub.leave_room(connections)
    server = Server((settings.api.host, settings.api.port), create_app(deps), connections=connections)
    life.beat("starting")
    server.start()
    push = deps.hub.start()
    _log.info("serving at %s", settings.address)
    sys.setswitchinterval(0.001)  # a thread that reads long logs hands over five times as often as by default
    gc.freeze()  # what is loaded now stays: the collector need not walk it again
    turns = _Turns()
    gevent.spawn(_warm_up, deps)
    loops = [
        gevent.spawn(_reconcile_forever, deps, turns),
        gevent.spawn(_beat_forever, settings, life, turns, deps.metrics),
    ]
    while not life.draining.is_set() and push.is_alive() and not any(loop.dead for loop in loops):
        gevent.sleep(0.1)
    broken = not life.draining.is_set()  # a loop ended by an error that nobody foresaw: supervisord starts us afresh
    deps.hub.end()  # streams never end by themselves
    server.drain(DRAIN_S)
    gevent.killall(loops)
    deps.bell.close()
    deps.engine.dispose()
    _log.info("ended", extra={"requests_cut_off": server.in_flight})
    sys.exit(1 if broken else 0)


def _in_a_thread(work: Callable[[], T], /) -> T:
    """Work that never waits for a socket would stop all greenlets; in a real thread they go on beside it."""
    failed: list[Exception] = []

    def attempt() -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - it is raised again below, where the request is answered
            failed.append(error)
            return None

    done: Any = gevent.get_hub().threadpool.apply(attempt)
    if failed:
        raise failed[0]
    result: T = done
    return result


class Server(WSGIServer):  # type: ignore[misc]  # gevent's classes carry no types
    """A server that knows how many requests it is answering, so that it can let them finish."""

    def __init__(self, address: tuple[str, int], app: Flask, *, connections: int) -> None:
        super().__init__(
            address, app, backlog=1024, spawn=Pool(connections), log=None, error_log=_log, handler_class=_Connection
        )
        self.in_flight = 0
        self.draining = False

    def drain(self, within_s: float) -> None:
        """Accept nothing more, let requests finish, then close all connections."""
        self.draining = True
        self.close()
        until = time.monotonic() + within_s
        while self.in_flight and time.monotonic() < until:
            gevent.sleep(0.02)
        self.pool.kill(timeout=1)


class _Connection(WSGIHandler):  # type: ignore[misc]  # likewise
    """One connection and its requests, one after the other."""

    def __init__(self, sock: Any, address: Any, server: Server) -> None:
        sock.settimeout(IDLE_S)
        # pywsgi writes the head and the body apart: without this the body waits 40 ms for the head to be acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The system would keep up to 4 MB for each client that does not read: a thousand streams have no such memory.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().__init__(sock, address, server)

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[CUT] = self._cut
        return environ

    def _cut(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it may be gone already
            self.socket.shutdown(socket.SHUT_RDWR)

    def handle_one_response(self) -> None:
        self.server.in_flight += 1
        try:
            super().handle_one_response()
        finally:
            self.server.in_flight -= 1

    def finalize_headers(self) -> None:
        super().finalize_headers()
        if self.server.draining:
            self.close_connection = True
            self.response_headers.append((b"Connection", b"close"))


class _Turns:
    """When the reconciler last ended a turn, well or not."""

    def __init__(self) -> None:
        self.ended()

    def ended(self) -> None:
        self._ended_s = time.monotonic()

    @property
    def go_on(self) -> bool:
        return time.monotonic() - self._ended_s < TURN_S


def _reconcile_forever(deps: Deps, turns: _Turns) -> None:
    """Carry out wishes twice a second. What is away is logged when that begins and when it ends."""
    away = False
    while True:
        began_s = time.perf_counter()
        try:
            reconcile(deps.engine, deps.supervisor, fleet=_fleet(deps.settings.supervisor_socket), now=deps.now())
        except FlotillaError as error:
            deps.metrics.count("flotilla_reconcile_failures_total")
            if not away:
                _log.warning("the fleet cannot be steered: %s", told(error))
            away = True
        else:
            deps.metrics.observe("flotilla_reconcile_seconds", time.perf_counter() - began_s)
            if away:
                _log.info("the fleet can be steered again")
            away = False
        turns.ended()
        gevent.sleep(RECONCILE_EVERY_S)


def _warm_up(deps: Deps) -> None:
    """Fill the caches with what is asked for first. Without it the first readers wait a little longer."""
    try:
        _log.info("%d entries are warm", deps.look_up.warm_up())
    except FlotillaError as error:
        _log.info("the caches begin empty: %s", told(error))


def _beat_forever(settings: Settings, life: lifecycle.Life, turns: _Turns, metrics: Metrics) -> None:
    """Touch the heartbeat while both jobs are done: wishes are looked at, and a request of our own is answered, over the
    network, like anybody's.
    """
    while True:
        if turns.go_on and _answers(settings):
            life.beat("serving")
            metrics.publish(settings.run_dir, NAME)
        gevent.sleep(BEAT_EVERY_S)


def _answers(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(settings.api.host, settings.api.port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException) as error:
        _log.warning("a request to ourselves was not answered: %s", error)
        return False
    finally:
        connection.close()


def _fleet(supervisor_socket: Path) -> str:
    """Which run of supervisord this is: each binds its socket anew, a reload included, while process ids come again."""
    try:
        found = supervisor_socket.stat()
    except OSError:
        return ""
    return f"{found.st_ino}-{found.st_mtime_ns}"


def _room_for_connections() -> int:
    """Raise the limit of open handles as far as we need and may; how many connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _SPARE_HANDLES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _SPARE_HANDLES
