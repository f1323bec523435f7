"""The process "process-guard": a supervisor event listener that replaces what leaks, hangs or will not end.

Its argument is the supervisord.conf that it guards, and it speaks to nothing but supervisord. ``domain/fleet.py`` decides;
this looks, does what was decided and remembers it in a file, so that a restarted guard does not forget how often it tried.

Draining is SIGTERM: the process finishes its unit of work, writes its checkpoint and ends, and supervisord, whose job
starting is, starts the next one. So there is no moment at which a killed guard could leave a process stopped.
"""

import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.domain.fleet import Observation, ProcessSpec, Step, Verdict, Watch, observe, unexpected_exit
from app.errors import FlotillaError
from app.host import fleet_file, heartbeat, lifecycle, probes, whole_file
from app.host.mending import Mending
from app.host.supervisor import ProcessInfo, Supervisor
from app.notify import outbox
from app.settings import load

log = logging.getLogger("process-guard")
NAME = "process-guard"
LOOK_EVERY_S = 1.0
MEMORY_EVERY_S = 5.0  # PSS costs the kernel a walk over the page tables
UNTOLD_KEPT = 100
_WATCHED = frozenset({"RUNNING", "STARTING"})  # what is STOPPING is already being ended by supervisord


@dataclass(slots=True)
class Guard:
    """Looks at every process, and does what the verdicts say."""

    specs: tuple[ProcessSpec, ...]
    supervisor: Supervisor
    run_dir: Path
    notices: Path
    clock: Callable[[], float] = time.monotonic
    watches: dict[str, Watch] = field(default_factory=dict)
    untold: list[outbox.Notice] = field(default_factory=list)
    mending: Mending = field(init=False)
    boot: str = field(default_factory=probes.boot_id)
    _memory_at_s: float = float("-inf")
    _remembered: str = ""
    _forgets: bool = False

    def __post_init__(self) -> None:
        """Begin to note what is mended."""
        self.mending = Mending(self.run_dir)

    def recall(self) -> None:
        """Take up what an earlier guard remembered; a damaged memory is an empty one."""
        try:
            kept = json.loads(self._memory_file.read_text(encoding="utf-8"))
            if kept["boot"] != self.boot:
                return  # its times are seconds of a machine that was off in between
            for name, watch in kept["watches"].items():
                self.watches[name] = Watch(
                    restarts=tuple(watch["restarts"]), exits=tuple(watch["exits"]), exhausted_told_s=watch["told"]
                )
            self.mending.recall(kept.get("mending", {}))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the guard's memory was damaged and begins anew: %r", error)

    def look(self) -> None:
        """Look at every process once."""
        self._tell()
        now_s = self.clock()
        infos = {info.name: info for info in self.supervisor.processes()}
        with_memory = now_s - self._memory_at_s >= MEMORY_EVERY_S
        if with_memory:
            self._memory_at_s = now_s
        for spec in self.specs:
            if spec.name in infos and spec.name != NAME:
                seen = self._observe(infos[spec.name], now_s, with_memory=with_memory)
                self.mending.look(spec.name, seen.pid, datetime.now(UTC))
                self._take(spec, observe(spec, self.watches.get(spec.name, Watch()), seen))
        self._remember()

    def hear(self, event: str, payload: dict[str, str]) -> None:
        """Take in one event of supervisord: exits that nobody asked for are counted."""
        name = payload.get("processname", "")
        spec = next((spec for spec in self.specs if spec.name == name), None)
        if spec is None:
            return
        if event == "PROCESS_STATE_FATAL":
            fatal = Verdict("tell", f"{name} cannot be started; see: flotilla logs {name}")
            self._do(spec, fatal)
            self._note(name, None, [fatal])
        elif self._is_replaced(name, payload):
            log.info("%s ended, as it was to", name, extra={"pid": payload.get("pid")})
        elif event == "PROCESS_STATE_BACKOFF" or not self._was_asked_to_end(name, payload):
            log.warning("%s ended by itself", name, extra={"pid": payload.get("pid")})
            pid = payload.get("pid", "")
            if name != NAME:  # of ourselves the monitor tells
                self.mending.begin(
                    name, "process_ended", "it ended by itself", int(pid) if pid.isdigit() else None, datetime.now(UTC)
                )
            self._take(spec, unexpected_exit(spec, self.watches.get(name, Watch()), self.clock()))
        self._remember()

    def _is_replaced(self, name: str, payload: dict[str, str]) -> bool:
        """Whether it is the one that we are replacing."""
        watch = self.watches.get(name)
        return watch is not None and watch.draining_since_s is not None and str(watch.pid) == payload.get("pid")

    def _was_asked_to_end(self, name: str, payload: dict[str, str]) -> bool:
        """Whether it drained. A process whose loop just ends has no error to show, and is a fault all the same."""
        beat = heartbeat.read(self.run_dir, name)
        if beat is None or payload.get("expected") != "1":
            return False
        last, before = str(beat.pid), str(beat.ended_before)
        return (last == payload.get("pid") and beat.work == heartbeat.ENDED_AS_ASKED) or before == payload.get("pid")

    def _observe(self, info: ProcessInfo, now_s: float, *, with_memory: bool) -> Observation:
        pid = info.pid if info.state in _WATCHED else None
        beat = heartbeat.read(self.run_dir, info.name)
        return Observation(
            now_s=now_s,
            pid=pid,
            memory_mb=probes.memory_mb(pid) if with_memory and pid else None,
            beat=float(beat.at_ns) if beat and beat.pid == pid else None,  # not its predecessor's
        )

    def _take(self, spec: ProcessSpec, step: Step) -> None:
        before = self.watches.get(spec.name, Watch())
        self.watches[spec.name] = step.watch
        try:
            for verdict in step.verdicts:
                self._do(spec, verdict)
            self._note(spec.name, before.pid, step.verdicts)
        except FlotillaError as error:
            self.watches[spec.name] = before  # nothing was done: the next look decides again
            log.warning("%s: %s", spec.name, error)

    def _note(self, name: str, pid: int | None, verdicts: Sequence[Verdict]) -> None:
        """Note what the verdicts of one look begin, or give up."""
        kinds = {verdict.kind for verdict in verdicts}
        if "drain" in kinds:
            self.mending.begin(name, verdicts[0].fault, verdicts[0].why, pid, datetime.now(UTC))
        elif kinds & {"stop", "tell"}:
            self.mending.give_up(name, verdicts[0].fault, verdicts[0].why, datetime.now(UTC))

    def _do(self, spec: ProcessSpec, verdict: Verdict) -> None:
        log.log(
            logging.CRITICAL if verdict.kind == "tell" else logging.WARNING,
            verdict.why,
            extra={"verdict": verdict.kind, "about": spec.name},
        )
        match verdict.kind:
            case "drain":
                self.supervisor.signal(spec.name, "TERM")
            case "kill":
                self.supervisor.signal(spec.name, "KILL")
            case "stop":
                self.supervisor.stop(spec.name)
            case "tell":
                now = datetime.now(UTC)
                notice_id = f"{now:%Y%m%dT%H%M%S%f}-{spec.name}"
                self.untold.append(outbox.Notice(notice_id, now, "critical", spec.name, verdict.why))
                self._tell()

    def _tell(self) -> None:
        """Post what a person must know. On a full disk it waits here: replacing what is stuck must go on."""
        try:
            while self.untold:
                outbox.post(self.notices, self.untold[0])
                del self.untold[0]
        except OSError as error:
            log.warning("%d notices wait: %s", len(self.untold), error)
            del self.untold[:-UNTOLD_KEPT]

    @property
    def _memory_file(self) -> Path:
        return self.run_dir / "guard.json"

    def _remember(self) -> None:
        """Write down what lasts, where that changed."""
        lasting = {name: _lasting(watch) for name, watch in self.watches.items()}
        kept = json.dumps({"boot": self.boot, "watches": lasting, "mending": self.mending.kept()})
        if kept == self._remembered:
            return
        try:
            whole_file.replace(self._memory_file, kept.encode())
            self._remembered, self._forgets = kept, False
        except OSError as error:
            if not self._forgets:  # it is tried again each second
                log.warning("the guard's memory could not be written: %s", error)
            self._forgets = True


def _lasting(watch: Watch) -> dict[str, object]:
    return {"restarts": watch.restarts, "exits": watch.exits, "told": watch.exhausted_told_s}


class Events:
    """The event listener protocol of supervisord on standard input and output."""

    def __init__(self, source: int, answer: Callable[[bytes], object]) -> None:
        self._source, self._answer = source, answer
        self._buffer = b""
        self._answer(b"READY\n")

    def wait(self, timeout_s: float) -> Iterable[tuple[str, dict[str, str]]]:
        """Wait for events; each is acknowledged once it was handled. Ends the process when supervisord is gone."""
        if select.select([self._source], [], [], timeout_s)[0]:
            data = os.read(self._source, 65_536)
            if not data:
                raise EOFError
            self._buffer += data
        while event := self._next():
            try:
                yield event
            finally:  # supervisord tells nothing more to a listener that owes it an answer
                self._answer(b"RESULT 2\nOKREADY\n")

    def _next(self) -> tuple[str, dict[str, str]] | None:
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        header = _pairs(line)
        length = int(header["len"])
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return header["eventname"], _pairs(rest[:length])


def _pairs(text: bytes) -> dict[str, str]:
    return dict(pair.partition(":")[::2] for pair in text.decode("utf-8", "replace").split())


def _answer(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main() -> None:
    """Look every second, and listen in between."""
    settings = load(os.environ)
    life = lifecycle.begin(NAME, settings.run_dir, level=settings.log.level, protocol_on_stdout=True)
    guard = Guard(
        specs=fleet_file.read_fleet(Path(sys.argv[1])),
        supervisor=Supervisor(settings.supervisor_socket, timeout_s=3),
        run_dir=settings.run_dir,
        notices=settings.notices_dir,
    )
    guard.recall()
    events = Events(sys.stdin.fileno(), _answer)
    looked_at_s = float("-inf")
    while not life.draining.is_set():
        try:
            for event, payload in events.wait(LOOK_EVERY_S):
                guard.hear(event, payload)
            if time.monotonic() - looked_at_s >= LOOK_EVERY_S:
                looked_at_s = time.monotonic()
                guard.look()
                life.beat("looked at every process")
        except EOFError:
            return
        except (FlotillaError, OSError) as error:  # supervisord is busy, the disk is full: look again in a second
            log.warning("%s", error)


if __name__ == "__main__":
    main()
