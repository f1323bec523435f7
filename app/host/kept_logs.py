"""Log entries for as long as their level is worth: ``log/kept/<level>/<day>.jsonl``, packed once the day is over.

What supervisord writes is bounded by its size, so that a talkative day pushes out the error of the day before. Here each level has
files of its own. None is left out, unless a day of one level grows past its bound, or a log is rotated away before it was read; one
may stand twice where somebody was killed between writing it and noting that.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from app.domain.retention import LOG_DAYS
from app.errors import LimitExceeded
from app.host import logs
from app.host.packed import draft, give_name, pack, write_whole

MOST_BYTES = 20_000_000  # of one level and day
MOST_READ = 4_000_000  # of one log at a time
_CURSOR = "cursor.json"
_PIECE = 256 * 1024
_log = logging.getLogger(__name__)


def keep(log_dir: Path, now: datetime, *, most_bytes: int = MOST_BYTES) -> int:
    """Let go what is too old, take up what was logged since the last time, pack a day that is over; how many entries.

    Raises OSError or LimitExceeded, such as for a full disk: then of this time nothing was kept, and the next one begins there.
    """
    folder, today = log_dir / "kept", now.astimezone(UTC).date()
    for level, days in LOG_DAYS.items():
        _let_go(folder / level.lower(), today - timedelta(days=days))
    read, reached = _cursor(folder), {}
    found: dict[Path, list[bytes]] = defaultdict(list)
    for process in logs.processes(log_dir):
        entries, reached[process] = logs.appended(log_dir, process, read.get(process, {}), MOST_READ)
        for entry in entries:
            path = folder / str(entry["level"]).lower() / f"{_day(entry, today)}.jsonl"
            found[path].append(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
    with _all_or_none(found):
        _append(found, most_bytes)
        if reached != read:
            write_whole(folder / _CURSOR, json.dumps(reached).encode())
    _pack_one(folder, today)
    return sum(map(len, found.values()))


def _day(entry: dict[str, Any], today: date) -> date:
    try:
        return date.fromisoformat(str(entry["at"])[:10])
    except ValueError:
        return today


def _cursor(folder: Path) -> dict[str, dict[int, int]]:
    """Up to where each file was read, by process and inode. A damaged one means from the beginning."""
    try:
        kept = json.loads((folder / _CURSOR).read_bytes())
        return {str(process): {int(inode): int(end) for inode, end in files.items()} for process, files in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        _log.warning("where the logs were read up to is not known: %s", error)
        return {}


@contextmanager
def _all_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """Leave these files as they were when it fails."""
    before = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    try:
        yield
    except (OSError, LimitExceeded):
        for path, size in before.items():
            with suppress(OSError):
                os.truncate(path, size)
        raise


def _append(found: Mapping[Path, Sequence[bytes]], most_bytes: int) -> None:
    for path, lines in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            size = file.tell()
            fitting = [line for line in lines if (size := size + len(line)) <= most_bytes]
            file.write(b"".join(fitting))
        if len(fitting) < len(lines):
            _log.warning("%s is full: %d entries are not kept", path.name, len(lines) - len(fitting))


def _pack_one(folder: Path, today: date) -> None:
    """One at a time: packing takes a while, and others wait."""
    over = (path for path, day in _files(folder, "*/*.jsonl") if day < today)
    if (path := next(over, None)) is None:
        return
    packed = path.with_suffix(".jsonl.gz")
    if packed.exists():  # what came late, after a clock was set back: beside the rest
        packed = path.with_suffix(f".{path.stat().st_mtime_ns}.jsonl.gz")
    new = draft(path.parent)
    with path.open("rb") as file:
        pack(new, iter(partial(file.read, _PIECE), b""))
    give_name(new, packed)
    path.unlink()


def _let_go(folder: Path, before: date) -> None:
    """A day goes once its last moment is past its time, not its first."""
    for path, day in _files(folder, "*.jsonl*"):
        if day < before:
            path.unlink()


def _files(folder: Path, pattern: str) -> Iterator[tuple[Path, date]]:
    """Every file that is named by its day."""
    for path in sorted(folder.glob(pattern)):
        with suppress(ValueError):
            yield path, date.fromisoformat(path.name.partition(".")[0])
