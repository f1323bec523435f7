"""Starting and stopping the whole fleet: `flotilla run`, `start` and `stop`.

Start is recovery: the same steps after a first install, a power cut or a `kill -9` of supervisord.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import psutil

from app.errors import Conflict, FlotillaError, Misconfigured, Unavailable
from app.host import fleet_file, fleet_source, heartbeat, lifecycle, systemd
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.fleet_source import FleetSource
from app.host.supervisor import Supervisor, socket_path_fits
from app.settings import ROOT, Settings
from app.storage.database import open_engine
from ops import migrate, one_world

FLEET_FILE = ROOT / "supervisord.conf"
READY_WITHIN_S = 60.0
SERVES_BUT_S = 15.0  # for something outside, such as another Redis: the fleet waits for it and goes on
FREE_DISK_MB = 200
_GUARDED_S = 60.0
_POLL_S = 0.2

Say = Callable[[str], None]


def run(settings: Settings, say: Say) -> int:
    """Start everything, stay in the foreground until Ctrl-C, SIGTERM or the end of supervisord, and stop everything."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked.append(received))
    supervisord = _begin(settings, say)
    supervisor = Supervisor(settings.supervisor_socket)
    ready = False
    try:
        ready = _wait_until_ready(settings, supervisor, supervisord, say, cancelled=lambda: bool(asked))
        if ready:
            systemd.tell("READY=1")
        while ready and not asked and supervisord.poll() is None:
            if systemd.listens() and _is_guarded(settings):
                systemd.tell("WATCHDOG=1")
            time.sleep(_POLL_S)
    finally:
        systemd.tell("STOPPING=1")
        ended_by_itself = supervisord.poll() is not None and not asked
        _stop(settings, supervisord.pid, say)
    if ended_by_itself:
        say(f"supervisord ended by itself; its last words are in {settings.log_dir / 'supervisord.log'}")
    return 0 if asked or (ready and not ended_by_itself) else 1


def _is_guarded(settings: Settings) -> bool:
    """Whether somebody watches the processes: the guard does, and the monitor watches it. Only where both are stuck, or
    supervisord is, must systemd start everything anew.
    """
    beats = (heartbeat.read(settings.run_dir, name) for name in ("process-guard", "monitor"))
    newest_ns = max((beat.at_ns for beat in beats if beat is not None), default=0)
    return time.time_ns() - newest_ns < _GUARDED_S * 1_000_000_000


def start(settings: Settings, say: Say) -> int:
    """Start everything in the background and come back when it is ready."""
    supervisord = _begin(settings, say)
    if not _wait_until_ready(
        settings, Supervisor(settings.supervisor_socket), supervisord, say, cancelled=lambda: False
    ):
        _stop(settings, supervisord.pid, say)
        return 1
    return 0


def stop(settings: Settings, say: Say) -> int:
    """Drain and stop everything."""
    if (supervisord := running(settings)) is None:
        _end_orphans(settings, say)
        say(f"Flotilla does not run in {settings.state_dir}.")
    else:
        _stop(settings, supervisord.pid, say)
    return 0


def running(settings: Settings) -> psutil.Process | None:
    """This state folder's supervisord, also one that is too busy to answer. Its pid file outlives a `kill -9`."""
    try:
        found = psutil.Process(int((settings.run_dir / "supervisord.pid").read_text(encoding="ascii")))
        mine = "ops.supervise" in found.cmdline() and found.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return None
    return found if mine else None


def _begin(settings: Settings, say: Say) -> subprocess.Popen[bytes]:
    state = settings.state_dir
    try:
        for folder in (settings.run_dir, settings.log_dir, settings.notices_dir):
            folder.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)  # it holds the database and the sockets of this fleet
    except OSError as error:
        raise Misconfigured(
            f"The state folder {state} cannot be made or used: {error.strerror}.",
            cure="Set FLOTILLA__STATE__DIR to a folder of your own.",
        ) from error
    with _one_at_a_time(settings):
        _check_place(settings)
        say(f"state folder    {state}")
        _end_orphans(settings, say)
        _check_ports(settings)
        _check_exchanges(settings)
        before, after = migrate.upgrade(settings.database_url)
        _check_world(settings)
        say(
            f"database        {_kind(settings)}, schema {after}"
            + ("" if before == after else f" (was {before or 'empty'})")
        )
        say(f"broker          {'Valkey of our own' if settings.embedded_broker else 'the Redis of your setting'}")
        say(f"market          {_market(settings)}")
        fleet_source.write(settings.run_dir, FleetSource(settings.feed.exchanges))
        supervisord = _supervisord(settings)
        while supervisord.poll() is None and running(settings) is None:
            time.sleep(_POLL_S / 4)  # until its pid file stands: a second start must see it
        return supervisord


def _supervisord(settings: Settings) -> subprocess.Popen[bytes]:
    env = os.environ | {
        "FLOTILLA_RUN": str(settings.run_dir),
        "FLOTILLA_LOG": str(settings.log_dir),
        "FLOTILLA_PYTHON": sys.executable,
        "FLOTILLA_BROKER": "true" if settings.embedded_broker else "false",
        "FLOTILLA_DEMO": "true" if settings.simulated else "false",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc keeps an arena for each thread otherwise, tens of MB on a small machine
    }
    with (settings.log_dir / "supervisord.out").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "ops.supervise", "-c", str(FLEET_FILE)],
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C reaches us alone, and we drain in order
        )


def _wait_until_ready(
    settings: Settings,
    supervisor: Supervisor,
    supervisord: subprocess.Popen[bytes],
    say: Say,
    *,
    cancelled: Callable[[], bool],
) -> bool:
    specs = fleet_file.read_fleet(FLEET_FILE)
    told: set[str] = set()
    until = time.monotonic() + READY_WITHIN_S
    served_s = time.monotonic()
    reports: list[ProcessReport] = []
    while time.monotonic() < until and not cancelled():
        if supervisord.poll() is not None:
            say(f"supervisord could not start; see {settings.log_dir / 'supervisord.out'}")
            return False
        with contextlib.suppress(Unavailable):
            reports = fleet_report(specs, supervisor, settings.run_dir, time.time())
        for report in reports:
            if report.fresh and report.name not in told:
                told.add(report.name)
                say(f"{report.name:<15} running, pid {report.pid}")
        if reports and all(_as_wished(settings, report) for report in reports):
            missing = _missing(settings)
            if missing == []:
                _say_what_rests(settings, reports, say)
                say(f"Flotilla is ready: {settings.address}")
                return True
            served_s = served_s if missing is not None else time.monotonic()
            if time.monotonic() - served_s > SERVES_BUT_S:
                say(f"Flotilla serves {settings.address}, but is not ready: {'; '.join(missing or [])}")
                return True
        time.sleep(_POLL_S)
    if not cancelled():
        _say_what_is_wrong(settings, reports, say)
    return False


def _say_what_rests(settings: Settings, reports: list[ProcessReport], say: Say) -> None:
    for report in reports:
        if not report.fresh and report.name not in settings.unneeded:
            say(f"{report.name:<15} is stopped, as somebody wished; start it: flotilla ctl start {report.name}")


def _say_what_is_wrong(settings: Settings, reports: list[ProcessReport], say: Say) -> None:
    for report in reports:
        if not _as_wished(settings, report):
            say(f"{report.name:<15} {report.state}: {report.explanation}. See: flotilla logs {report.name}")
    say(f"Flotilla was not ready after {READY_WITHIN_S:.0f} s. `flotilla doctor` says what is wrong.")


def _as_wished(settings: Settings, report: ProcessReport) -> bool:
    """Fresh, or stopped because a person wishes so."""
    if report.name in settings.unneeded:
        return True
    return report.fresh or report.state in {"STOPPED", "STOPPING"}


def _missing(settings: Settings) -> list[str] | None:
    """What the fleet still lacks to be ready, by its own account; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"{settings.address}/health/ready", timeout=3) as answer:  # noqa: S310 - our own address
            json.load(answer)
            return []
    except urllib.error.HTTPError as refusal:
        with refusal:
            checks = json.load(refusal)["data"]["checks"]
        return [f"{check['name']}: {check['detail']}" for check in checks if not check["ok"]]
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return None


def _stop(settings: Settings, pid: int, say: Say) -> None:
    """Ask supervisord to drain and stop all, and wait; what has not ended within all graces together is ended hard."""
    say("draining and stopping every process")
    graces_s = sum(spec.grace_s for spec in fleet_file.read_fleet(FLEET_FILE))
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by itself
        supervisord = psutil.Process(pid)
        try:
            Supervisor(settings.supervisor_socket).shutdown()
        except FlotillaError:
            supervisord.terminate()  # the same wish by another way
        try:
            supervisord.wait(timeout=graces_s)
        except psutil.TimeoutExpired:
            say("supervisord does not end; ending it hard")
            supervisord.kill()
    _end_orphans(settings, say)
    fleet_source.remove(settings.run_dir)
    say("stopped")


def _end_orphans(settings: Settings, say: Say) -> None:
    """End what a killed supervisord left behind: only processes that hold this state folder's lock under that name."""
    for spec in fleet_file.read_fleet(FLEET_FILE):
        pid = lifecycle.holder(settings.run_dir, spec.name)
        if pid is None:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan = psutil.Process(pid)
            say(f"{spec.name:<15} was left behind by an earlier fleet (pid {pid}); ending it")
            orphan.terminate()
            try:
                orphan.wait(timeout=spec.grace_s)
            except psutil.TimeoutExpired:
                orphan.kill()
                orphan.wait(timeout=5)


@contextlib.contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """Two starts on one state folder at once: the second one is told so."""
    with (settings.run_dir / ".launch.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Flotilla is just being started in {settings.state_dir}.", cure="Wait for it.") from None
        if supervisord := running(settings):
            raise Conflict(
                f"Flotilla already runs in {settings.state_dir} (supervisord is pid {supervisord.pid}).",
                cure="Use it, stop it with `make stop`, or give this one another FLOTILLA__STATE__DIR and FLOTILLA__API__PORT.",
            )
        yield


def _check_place(settings: Settings) -> None:
    if not socket_path_fits(settings.broker_socket) or not socket_path_fits(settings.supervisor_socket):
        raise Misconfigured(
            f"The path of the state folder is too long for a socket: {settings.state_dir}",
            cure="Set FLOTILLA__STATE__DIR to a path of fewer than 75 characters.",
        )
    if "%" in f"{settings.state_dir}{ROOT}{sys.executable}":
        raise Misconfigured(
            "supervisord cannot work in a path with a % in it.",
            cure="Move Flotilla, or set FLOTILLA__STATE__DIR elsewhere.",
        )
    free_mb = shutil.disk_usage(settings.state_dir).free // 1_000_000
    if free_mb < FREE_DISK_MB:
        raise Misconfigured(
            f"Only {free_mb} MB are free where the state folder is: {settings.state_dir}",
            cure=f"Free at least {FREE_DISK_MB} MB, or move the state folder with FLOTILLA__STATE__DIR.",
        )


def _check_exchanges(settings: Settings) -> None:
    """A name that nobody knows is told here, to whoever typed it, and not in the log of a process that starts again and again."""
    from app.exchanges.generic import check_id

    for name in settings.feed.exchanges:
        if name != "demo":
            check_id(name)


def _check_world(settings: Settings) -> None:
    """A database in the state folder is one world's by its name; one that a person names may be the other's."""
    if not settings.database.url:
        return
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        one_world.check(engine, simulated=settings.simulated)
    finally:
        engine.dispose()


def _check_ports(settings: Settings) -> None:
    _check_port(settings.api.host, settings.api.port, "FLOTILLA__API__PORT=8081")
    if settings.simulated:
        _check_port("127.0.0.1", settings.demo.port, "FLOTILLA__DEMO__PORT=8091")


def _check_port(host: str, port: int, other: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(
                f"Port {port} of {host} cannot be used ({error.strerror}){_who(port)}.",
                cure=f"Stop what uses it, or choose another: {other} make run",
            ) from error


def _who(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f": pid {connection.pid} ({psutil.Process(connection.pid).name()}) has it"
    except (psutil.Error, OSError):
        pass  # without root, other people's processes are not shown
    return ""


def _market(settings: Settings) -> str:
    if settings.simulated:
        return f"simulated, by the demo exchange on port {settings.demo.port}"
    return f"live: {', '.join(settings.feed.exchanges)}" if settings.feed.exchanges else "none: feed.exchanges is empty"


def _kind(settings: Settings) -> str:
    name = settings.database_url.partition(":")[0].partition("+")[0]
    return {"sqlite": "SQLite", "mysql": "MariaDB/MySQL", "postgresql": "PostgreSQL"}[name]


def say_on(stream_is_json: bool) -> Say:
    """How steps are told: sentences with the seconds since the start on standard output, or JSON lines."""
    began = time.monotonic()

    def say(text: str) -> None:
        after_s = time.monotonic() - began
        step = (
            json.dumps({"after_s": round(after_s, 1), "step": text}) if stream_is_json else f"[{after_s:5.1f} s] {text}"
        )
        with contextlib.suppress(OSError):  # a closed terminal or pipe must not keep us from stopping the fleet
            print(step, flush=True)

    return say
