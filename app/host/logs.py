"""Logs: one JSON object a line on standard output. supervisord writes them to log/<process>.jsonl and rotates them."""

import json
import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

from app.errors import FlotillaError

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BLOCK = 65_536

trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""Follows a request into the tasks that it causes; bound by the API and by whoever runs a task."""


def new_trace_id() -> str:
    """Make one as W3C trace context has it: 32 hex digits."""
    return secrets.token_hex(16)


class JsonLines(logging.Formatter):
    """A record as one line of JSON; what was passed as ``extra`` becomes fields of its own."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := trace_id.get():
            line["trace_id"] = trace
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1]:
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(process: str, level: str, stream: TextIO | None = None) -> None:
    """Send every log record of this process to ``stream`` (standard output) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    sys.excepthook = _last_words


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends a process is a log entry too. Our own errors say what to do; others show where they came from."""
    if isinstance(error, FlotillaError):
        logging.getLogger(__name__).critical("%s %s", error, error.cure)
    elif not issubclass(kind, KeyboardInterrupt):
        logging.getLogger(__name__).critical("ended by an error nobody caught", exc_info=(kind, error, trace))


def tail(
    log_dir: Path,
    process: str | None,
    lines: int,
    *,
    level: str | None = None,
    trace: str | None = None,
    ends: Mapping[int, int] | None = None,
) -> list[dict[str, Any]]:
    """The newest ``lines`` entries, oldest first, of one process or of all, at or above ``level``, of one ``trace``.

    ``ends`` holds, by inode, up to where a file is read; a file without an end is not read at all.
    """
    found: list[dict[str, Any]] = []
    for path in _paths(log_dir, process):
        wanted = (entry for entry in _backwards(path, trace, ends) if _wanted(entry, level, trace))
        found += reversed(list(islice(wanted, lines)))
    found.sort(key=lambda entry: str(entry["at"]))
    return found[-lines:]


class Follower:
    """Reads on in the logs: ``before`` is what they held when it was made, ``appended`` what came since, each line once."""

    def __init__(
        self, log_dir: Path, process: str | None, *, level: str | None = None, trace: str | None = None
    ) -> None:
        self._log_dir, self._process, self._level, self._trace = log_dir, process, level, trace
        self._logs = {path: _Appended(path) for path in _paths(log_dir, process)}
        self._ends = {inode: end for log in self._logs.values() for inode, end in log.skip().items()}

    def before(self, lines: int) -> list[dict[str, Any]]:
        """The newest entries from before the following began; to be asked first, while their files are surely there."""
        return tail(self._log_dir, self._process, lines, level=self._level, trace=self._trace, ends=self._ends)

    def appended(self) -> list[dict[str, Any]]:
        """What was written since the last call, oldest first."""
        for path in _paths(self._log_dir, self._process):
            self._logs.setdefault(path, _Appended(path))
        found = [
            entry
            for log in self._logs.values()
            for entry in log.entries(containing=self._trace)
            if _wanted(entry, self._level, self._trace)
        ]
        return sorted(found, key=lambda entry: str(entry["at"]))

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs.values():
            log.close()


class _Appended:
    """What is appended to one log and the files it is rotated into.

    They are told apart by inode and stay open until they are deleted: the kernel gives no inode away that is still open, and
    what was written just before a deletion can still be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[int, BinaryIO] = {}  # oldest first
        self._rest = b""  # a line whose end is not written yet; it may come in the next file
        self._at = ""

    def skip(self) -> dict[int, int]:
        """Pass over every whole line that is there; where each file was left, by inode."""
        self._open_new()
        for file in self._files.values():
            file.seek(0, os.SEEK_END)
        if self._files:
            newest = list(self._files.values())[-1]
            newest.seek(_after_last_line(newest))
        return {inode: file.tell() for inode, file in self._files.items()}

    def entries(self, containing: str | None) -> Iterator[dict[str, Any]]:
        """The entries of every whole line that was written since; only lines with the text ``containing``, if given."""
        self._open_new()
        for line in self._new_lines():
            if containing and containing not in line:
                continue
            entry = _entry(line, self._path.name.removesuffix(".jsonl"))
            self._at = entry["at"] = str(entry.get("at") or self._at)
            yield entry

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _new_lines(self) -> list[str]:
        for inode, file in list(self._files.items()):
            about = os.fstat(file.fileno())
            if about.st_size < file.tell():  # emptied in place
                file.seek(0)
                self._rest = b""
            self._rest += file.read()
            if about.st_nlink == 0:
                self._files.pop(inode).close()
        *whole, self._rest = self._rest.split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole if line.strip()]

    def _open_new(self) -> None:
        """Open from the newest to the oldest: a file that is rotated meanwhile is then met under its next name."""
        opened: dict[int, BinaryIO] = {}
        for path in _newest_first(self._path):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError:
                continue
            inode = os.fstat(file.fileno()).st_ino
            if inode in self._files or inode in opened:
                file.close()
            else:
                opened[inode] = file
        self._files |= dict(reversed(opened.items()))


def _after_last_line(file: BinaryIO) -> int:
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        size = min(_BLOCK, position)
        position = file.seek(position - size)
        if (found := file.read(size).rfind(b"\n")) >= 0:
            return position + found + 1
    return 0


def processes(log_dir: Path) -> list[str]:
    """Whose logs there are."""
    return [path.stem for path in _paths(log_dir, None)]


def appended(
    log_dir: Path, process: str, read: Mapping[int, int], most_bytes: int
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """What stands in a log and its rotated files behind what was ``read`` of each, by inode; and up to where it is read now.

    Oldest first, whole lines only, and about ``most_bytes`` at a time: whoever asks again gets what follows. A file that is
    shorter than what was read of it is another one.
    """
    found: list[dict[str, Any]] = []
    reached: dict[int, int] = {}
    left = most_bytes
    for path in reversed(list(_newest_first(log_dir / f"{process}.jsonl"))):
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                start = read.get(about.st_ino, 0)
                start = start if start <= about.st_size else 0
                file.seek(start)
                data = file.read(left) if left > 0 else b""
        except FileNotFoundError:
            continue
        # A line that is not over is left for the next time, unless nobody could ever read it.
        whole = data[: data.rfind(b"\n") + 1] or (data if len(data) == most_bytes else b"")
        reached[about.st_ino] = start + len(whole)
        left -= len(whole)
        at = datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="milliseconds")
        for line in whole.decode("utf-8", "replace").splitlines():
            if line.strip():
                entry = _entry(line, process)
                at = entry["at"] = str(entry.get("at") or at)  # a line without a time belongs to the one before it
                found.append(entry)
    # One that was rotated while this looked was met under neither name: it goes on where it was left.
    there = {inode for path in _newest_first(log_dir / f"{process}.jsonl") if (inode := _inode(path)) is not None}
    return found, {inode: end for inode, end in read.items() if inode in there} | reached


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _paths(log_dir: Path, process: str | None) -> list[Path]:
    return [log_dir / f"{process}.jsonl"] if process else sorted(log_dir.glob("*.jsonl"))


def _newest_first(path: Path) -> Iterator[Path]:
    """A log and the files that it was rotated into; these are listed only when the first one has been dealt with."""
    yield path
    yield from sorted(path.parent.glob(f"{path.name}.*"), key=lambda old: int(re.sub(r"\D", "", old.suffix) or 0))


def _wanted(entry: Mapping[str, Any], level: str | None, trace: str | None) -> bool:
    return (not level or entry["level"] in LEVELS[LEVELS.index(level) :]) and (
        not trace or entry.get("trace_id") == trace
    )


def _backwards(path: Path, containing: str | None, ends: Mapping[int, int] | None) -> Iterator[dict[str, Any]]:
    """Entries from the newest to the oldest, through the rotated files ``.1``, ``.2`` ... too.

    A line without the text ``containing`` is not even parsed: a trace is a few lines among hundreds of thousands.
    """
    at = ""
    for file in _newest_first(path):
        for line in _lines_backwards(file, ends):
            if containing and containing not in line:
                continue
            entry = _entry(line, path.name.removesuffix(".jsonl"))
            at = entry["at"] = str(entry.get("at") or at)  # a line without a time belongs to the one written after it
            yield entry


def _lines_backwards(path: Path, ends: Mapping[int, int] | None) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            position, rest = file.seek(0, os.SEEK_END), b""
            if ends is not None:
                position = min(position, ends.get(os.fstat(file.fileno()).st_ino, 0))
            while position > 0:
                size = min(_BLOCK, position)
                position -= size
                file.seek(position)
                rest, *whole = (file.read(size) + rest).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in reversed(whole) if line.strip())
            if rest.strip():
                yield rest.decode("utf-8", "replace")
    except FileNotFoundError:
        return  # rotated away between the listing and the reading, or never written


def _entry(line: str, process: str) -> dict[str, Any]:
    """A line as an entry; what a library printed past the log is kept as it is."""
    try:
        entry = json.loads(line)
        if isinstance(entry, dict) and "message" in entry and entry.get("level") in LEVELS:
            return entry
    except ValueError:
        pass
    return {"at": "", "level": "ERROR" if "rror" in line else "INFO", "process": process, "message": line}
