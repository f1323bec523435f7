"""A bounded file of lines on their way to the database, written without one by whoever must work while it is away.

Writers append to ``run/<name>.jsonl``. Who moves the lines into the database first renames that file to a segment with a name of
its own, so that what was stored can be told from what was not, whatever is killed in between.
"""

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from app.host import whole_file

T = TypeVar("T")
_WAIT_S, _LOOK_AGAIN_S = 0.5, 0.02


def storable(text: str) -> str:
    """The text without what databases refuse: a zero byte is PostgreSQL's, half a pair of surrogates is everybody's."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def parsed(segment: Path, parse: Callable[[Any], T]) -> tuple[list[T], int]:
    """What the lines of a segment come to, in their order, and how many of them were damaged."""
    found, damaged = [], 0
    for line in segment.read_bytes().splitlines():
        try:
            found.append(parse(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError):
            damaged += 1
    return found, damaged


@dataclass(frozen=True, slots=True)
class Spool:
    """One file of lines in the folder ``run_dir``. Past its bound, the oldest lines give way."""

    run_dir: Path
    name: str
    most_lines: int

    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines, each without its end. Raises OSError where the disk is full, or whoever holds the file does not let go."""
        with self._locked(self.name):
            with self._file.open("ab+") as file:
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    file.write(b"\n")  # a full disk cut the last line off: let it spoil only itself
                file.write(b"".join(line + b"\n" for line in lines))
            kept = self._file.read_bytes().splitlines(keepends=True)
            if len(kept) > self.most_lines:
                whole_file.replace(self._file, b"".join(kept[-self.most_lines :]), durable=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the only one who moves lines. False inside means that somebody else is at it."""
        with self._locked(f"{self.name}-segments", wait=False) as held:
            yield held

    def segments(self) -> Iterator[Path]:
        """Every segment that was left behind; then, once those are dealt with, the file cut off as a new one.

        So an outage of the database leaves at most one segment, and the file keeps its bound.
        """
        segment_name = re.compile(re.escape(self.name) + r"-[0-9a-f]{16}\.jsonl")
        yield from sorted(path for path in self.run_dir.iterdir() if segment_name.fullmatch(path.name))
        segment = self.run_dir / f"{self.name}-{secrets.token_hex(8)}.jsonl"
        with self._locked(self.name):
            try:
                self._file.rename(segment)
            except FileNotFoundError:
                return
        yield segment

    @property
    def _file(self) -> Path:
        return self.run_dir / f"{self.name}.jsonl"

    @contextmanager
    def _locked(self, what: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock that the kernel takes back from whoever dies. Without waiting, say whether it was to be had.

        Nobody waits long: who holds it may be frozen, and who waits may be the one who would end that.
        """
        until_s = time.monotonic() + _WAIT_S
        with (self.run_dir / f".{what}.lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if not wait:
                        yield False
                        return
                    if time.monotonic() > until_s:
                        raise TimeoutError(f"{self._file} is held by somebody who does not let go") from error
                    time.sleep(_LOOK_AGAIN_S)
            yield True
