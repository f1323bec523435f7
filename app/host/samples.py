"""The monitor's health samples on their way to the database: a bounded file that needs no database to be written.

The monitor appends to ``run/samples.jsonl``. Who moves the samples into the database first renames that file to a segment
with a name of its own: the name is stored with the rows, so that no kill at any moment can store a segment twice.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

MOST_LINES = 5_000  # about twelve hours of seven processes; then the oldest give way
_LONGEST_ERROR = 1_000
_LONGEST_COMPONENT = 50
_SPOOL = "samples.jsonl"
_SEGMENT = re.compile(r"samples-[0-9a-f]{16}\.jsonl")


@dataclass(frozen=True, slots=True)
class HealthSample:
    """How often one component was looked at within a minute, how often it was well, and what was last wrong with it."""

    at: datetime
    component: str
    success_count: int
    total_count: int
    error_message: str | None = None


def append(run_dir: Path, samples: Sequence[HealthSample]) -> None:
    """Add samples to the spool. Past its bound, the oldest lines give way."""
    lines = b"".join(json.dumps(asdict(sample) | {"at": sample.at.isoformat()}).encode() + b"\n" for sample in samples)
    spool = run_dir / _SPOOL
    with _locked(run_dir, "samples"):
        with spool.open("ab+") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                file.write(b"\n")  # a full disk cut the last line off: let it spoil only itself
            file.write(lines)
        kept = spool.read_bytes().splitlines(keepends=True)
        if len(kept) > MOST_LINES:
            new = run_dir / f".{_SPOOL}.new"
            with new.open("wb") as file:
                file.writelines(kept[-MOST_LINES:])
                file.flush()
                os.fsync(file.fileno())
            new.replace(spool)


@contextmanager
def alone(run_dir: Path) -> Iterator[bool]:
    """Be the only one who moves samples. False inside means that somebody else is at it."""
    with _locked(run_dir, "segments", wait=False) as held:
        yield held


def segments(run_dir: Path) -> Iterator[Path]:
    """Every segment that was left behind; then, once those are dealt with, the spool cut off as a new one.

    So an outage of the database leaves at most one segment, and the spool keeps its bound.
    """
    yield from sorted(path for path in run_dir.iterdir() if _SEGMENT.fullmatch(path.name))
    segment = run_dir / f"samples-{secrets.token_hex(8)}.jsonl"
    with _locked(run_dir, "samples"):
        try:
            (run_dir / _SPOOL).rename(segment)
        except FileNotFoundError:
            return
    yield segment


def read(segment: Path) -> tuple[list[HealthSample], int]:
    """The samples of a segment, and how many of its lines were damaged."""
    samples, damaged = [], 0
    for line in segment.read_bytes().splitlines():
        try:
            samples.append(_parse(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError):
            damaged += 1
    return samples, damaged


def _parse(fields: Any) -> HealthSample:
    at = datetime.fromisoformat(fields["at"])
    component, error = fields["component"], fields["error_message"]
    success, total = fields["success_count"], fields["total_count"]
    if at.tzinfo is None or not (isinstance(component, str) and 0 < len(component) <= _LONGEST_COMPONENT):
        raise ValueError(fields)
    if type(success) is not int or type(total) is not int or not 0 <= success <= total < 2**31:
        raise ValueError(fields)
    if error is not None:
        error = str(error).replace("\0", "")[:_LONGEST_ERROR]  # a zero byte is what PostgreSQL refuses
    return HealthSample(at, component.replace("\0", ""), success, total, error)


@contextmanager
def _locked(run_dir: Path, what: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock that the kernel takes back from whoever dies. Without waiting, say whether it was to be had."""
    with (run_dir / f".{what}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
