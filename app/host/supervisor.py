"""Speaking to supervisord over its socket. ``supervisorctl`` speaks the same words."""

import contextlib
import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from app.errors import Conflict, NotFound, Unavailable

ALIVE = frozenset({"STARTING", "RUNNING", "STOPPING"})
_SHUTTING_DOWN, _BAD_NAME, _NOT_RUNNING, _ALREADY_STARTED = 6, 10, 70, 60
_SOCKET_PATH_LIMIT = 90  # the kernel allows 107; supervisord appends its pid while binding


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process as supervisord sees it. ``state`` is supervisord's word: RUNNING, STOPPED, BACKOFF, FATAL ..."""

    name: str
    state: str
    pid: int | None
    started_at_s: int
    now_s: int
    explanation: str

    @property
    def uptime_s(self) -> int | None:
        """Seconds since it was started, or None while it is not alive."""
        return max(0, self.now_s - self.started_at_s) if self.state in ALIVE else None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Supervisor:
    """One supervisord. Each call opens its own connection: a call must not depend on how the last one ended."""

    def __init__(self, socket_path: Path, *, timeout_s: float = 5.0) -> None:
        self._path = str(socket_path)
        self._timeout_s = timeout_s

    def processes(self) -> list[ProcessInfo]:
        """All processes, in the order of supervisord.conf."""
        return [
            ProcessInfo(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] or None,
                started_at_s=info["start"],
                now_s=info["now"],
                explanation=info["spawnerr"] or info["description"],
            )
            for info in self._call("getAllProcessInfo")
        ]

    def start(self, name: str) -> None:
        """Start it; nothing happens when it already runs."""
        self._call("startProcess", name, False, forgive=_ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Ask it to drain and stay stopped; nothing happens when it does not run."""
        self._call("stopProcess", name, False, forgive=_NOT_RUNNING)

    def signal(self, name: str, signal: str) -> None:
        """Send TERM (drain: supervisord starts the next one) or KILL."""
        self._call("signalProcess", name, signal, forgive=_NOT_RUNNING)

    def pid(self) -> int:
        """The process id of supervisord itself."""
        return int(self._call("getPID"))

    def shutdown(self) -> None:
        """Drain and stop everything, then supervisord itself."""
        self._call("shutdown")

    def _call(self, method: str, *args: Any, forgive: int | None = None) -> Any:
        body = xmlrpc.client.dumps(args, f"supervisor.{method}")
        try:
            with contextlib.closing(_UnixConnection(self._path, self._timeout_s)) as connection:
                connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
                answer, _ = xmlrpc.client.loads(connection.getresponse().read())
                return answer[0]
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == forgive:
                return None
            if fault.faultCode == _SHUTTING_DOWN:
                raise Unavailable("supervisord is stopping the fleet.", cure="Start it again: make run") from fault
            if fault.faultCode == _BAD_NAME:
                raise NotFound(
                    f"There is no process {args[0]!r}.", cure="`flotilla ps` lists the processes."
                ) from fault
            raise Conflict(f"supervisord refused {method} {args}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, ExpatError) as error:
            raise Unavailable(
                f"supervisord does not answer at {self._path}: {error}", cure="Start the fleet: make run"
            ) from error


def socket_path_fits(path: Path) -> bool:
    """A socket's path has to fit into the kernel's address structure."""
    return len(str(path).encode()) <= _SOCKET_PATH_LIMIT
