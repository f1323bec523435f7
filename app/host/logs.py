"""Logs: one JSON object a line on standard output. supervisord writes them to log/<process>.jsonl and rotates them."""

import json
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

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
    log_dir: Path, process: str | None, lines: int, *, level: str | None = None, trace: str | None = None
) -> list[dict[str, Any]]:
    """The newest ``lines`` entries, oldest first, of one process or of all, at or above ``level``, of one ``trace``."""
    paths = [log_dir / f"{process}.jsonl"] if process else sorted(log_dir.glob("*.jsonl"))
    allowed = LEVELS[LEVELS.index(level) :] if level else None
    found: list[dict[str, Any]] = []
    for path in paths:
        wanted = (
            entry
            for entry in _backwards(path, trace)
            if (not allowed or entry["level"] in allowed) and (not trace or entry.get("trace_id") == trace)
        )
        found += reversed(list(islice(wanted, lines)))
    found.sort(key=lambda entry: str(entry["at"]))
    return found[-lines:]


def _backwards(path: Path, containing: str | None) -> Iterator[dict[str, Any]]:
    """Entries from the newest to the oldest, through the rotated files ``.1``, ``.2`` ... too.

    A line without the text ``containing`` is not even parsed: a trace is a few lines among hundreds of thousands.
    """
    rotated = sorted(path.parent.glob(f"{path.name}.*"), key=lambda old: int(re.sub(r"\D", "", old.suffix) or 0))
    at = ""
    for file in (path, *rotated):
        for line in _lines_backwards(file):
            if containing and containing not in line:
                continue
            entry = _entry(line, path.name.removesuffix(".jsonl"))
            at = entry["at"] = str(entry.get("at") or at)  # a line without a time belongs to the one written after it
            yield entry


def _lines_backwards(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            position, rest = file.seek(0, 2), b""
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
