"""Compressed files that are believed only after they were read back: of lines, or of any other bytes.

A file is written under a name that nobody looks for, made durable, read back, and only then given its name. So what has its
name is whole, whatever was killed meanwhile.
"""

import gzip
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from app.errors import CorruptData, LimitExceeded

T = TypeVar("T")
DRAFT = ".draft-"
LEVEL = 6
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """What stands in such a file: how many lines, the checksum and size of what was packed, and the size of the file."""

    lines: int
    sha256: str
    bytes: int
    compressed_bytes: int


def draft(folder: Path) -> Path:
    """Where to write before there is a name; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{DRAFT}{os.getpid()}-{threading.get_ident()}"


def pack(path: Path, pieces: Iterable[bytes], *, level: int = LEVEL) -> Packed:
    """Write and read back. The same pieces come to the same bytes, whenever and wherever. On any failure nothing is left.

    Raises LimitExceeded where the disk does not take it, or does not give back what it took.
    """
    try:
        packed = _write(path, pieces, level)
        if look(path) != packed:
            raise LimitExceeded(
                f"{path.name} does not read back as it was written.", cure="Check the disk and the memory."
            )
    except OSError as error:
        path.unlink(missing_ok=True)
        raise LimitExceeded(
            f"{path.parent} does not take a file: {error.strerror}.", cure="Free space there."
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return packed


def look(path: Path) -> Packed:
    """Read a file through and say what stands in it. Raises CorruptData for one that is missing, cut short or damaged."""
    seen, lines, size = sha256(), 0, 0
    for piece in unpack(path):
        seen.update(piece)
        lines += piece.count(b"\n")
        size += len(piece)
    return Packed(lines, seen.hexdigest(), size, path.stat().st_size)


def unpack(path: Path) -> Iterator[bytes]:
    """What was packed, in pieces of any length."""
    with _readable(path) as file:
        while piece := _next(path, file):
            yield piece


def read_each(paths: Iterable[Path], read: Callable[[Path], T]) -> tuple[list[T], list[CorruptData]]:
    """What ``read`` makes of each file; and why some cannot be read, for one that is damaged must not hide the others."""
    found, damaged = [], []
    for path in paths:
        try:
            found.append(read(path))
        except CorruptData as error:
            damaged.append(error)
    return found, damaged


def lines(path: Path) -> Iterator[bytes]:
    """What was packed, line by line, each without its end."""
    rest = b""
    for piece in unpack(path):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def give_name(path: Path, name: Path) -> None:
    """Give a draft its name, durably; whatever had it is replaced."""
    path.replace(name)
    sync(name.parent)


def write_whole(path: Path, text: bytes) -> None:
    """Write a small file durably, all of it or nothing."""
    new = draft(path.parent)
    try:
        with new.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        give_name(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise LimitExceeded(f"{path} cannot be written: {error.strerror}.", cure="Free space there.") from error


def sync(folder: Path) -> None:
    """Make the names in a folder durable, not only what they stand for."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, pieces: Iterable[bytes], level: int) -> Packed:
    seen, count, size = sha256(), 0, 0
    with path.open("wb") as raw:
        # Neither the name nor the time goes in: the same rows make the same file.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0) as file:
            for piece in pieces:
                file.write(piece)
                seen.update(piece)
                count += piece.count(b"\n")
                size += len(piece)
        raw.flush()
        os.fsync(raw.fileno())
        compressed = raw.tell()
    return Packed(count, seen.hexdigest(), size, compressed)


def _readable(path: Path) -> gzip.GzipFile:
    try:
        return gzip.GzipFile(path)
    except OSError as error:
        raise CorruptData(f"{path} cannot be read: {error.strerror}.", cure="Take it from another copy.") from error


def _next(path: Path, file: gzip.GzipFile) -> bytes:
    try:
        return file.read(_PIECE)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptData(f"{path} is damaged: {error}.", cure="Take it from another copy.") from error
