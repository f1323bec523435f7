"""Copies of the whole database: a folder each, with a manifest. A copy that was cut off never gets its name."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from app.domain.disk_ceiling import missing_bytes
from app.domain.posture import SCARCE_PERCENT
from app.errors import Conflict, CorruptData, LimitExceeded, NotFound
from app.host import packed

MANIFEST, SQLITE, REDIS = "manifest.json", "database.sqlite.gz", "redis.jsonl.gz"
LEVEL = 3  # four fifths of what 6 saves, in a third of the time
NAME = "%Y%m%dT%H%M%SZ"


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup. The checksum is of what was packed."""

    sha256: str
    lines: int
    bytes: int
    compressed_bytes: int


class TableNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table: its columns in the order in which a row is written, and how many rows there are."""

    columns: list[str]
    rows: int


class RedisNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found in Redis."""

    note: str
    answered: bool
    keys: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. SQLite is one file, a server one for each table (``TABLE.jsonl.gz``: a JSON list for each row)."""

    name: str
    made_at: datetime
    asked_by: Literal["clock", "person"]
    kind: str
    schema: str
    tables: dict[str, TableNote]
    redis: RedisNote
    files: dict[str, File]

    @property
    def compressed_bytes(self) -> int:
        """What it takes of the disk."""
        return sum(file.compressed_bytes for file in self.files.values())


def note(written: packed.Packed) -> File:
    """A file as a manifest says it."""
    return File(written.sha256, written.lines, written.bytes, written.compressed_bytes)


@contextmanager
def room(folder: Path) -> Iterator[Path]:
    """A folder beside the backups, for one that is made or unpacked; what is still in it at the end is gone.

    Raises Conflict while somebody else has one, LimitExceeded where there is no room for any.
    """
    with alone(folder):
        new = packed.draft(folder)
        try:
            new.mkdir()
        except OSError as error:
            raise LimitExceeded(f"{folder} takes no folder: {error.strerror}.", cure="Free space there.") from error
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make, read and remove none beside anybody else: so whatever is found half made is of somebody who was killed, and goes.

    Raises Conflict while somebody else does.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise LimitExceeded(f"{folder} cannot be written: {error.strerror}.", cure="Check its rights.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Another backup is just being made or read.", cure="Wait for its end.") from None
        for left in folder.glob(f"{packed.DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def missing(folder: Path, wanted: int, *, at_most_percent: float = SCARCE_PERCENT) -> int:
    """How many bytes have to go from the disk of the backups before so many more are written to it; 0 where they fit."""
    disk = shutil.disk_usage(folder)
    return missing_bytes(disk.used, disk.free, wanted, at_most_percent=at_most_percent)


def require_room(folder: Path, wanted: int, what: str) -> None:
    """Raises LimitExceeded where so many bytes would make the disk scarce: a copy must not stop what it is a copy of."""
    if wanted and (short := missing(folder, wanted)):
        raise LimitExceeded(
            f"{what} takes {_mb(wanted)} at {folder}, whose disk would be more than {SCARCE_PERCENT:.0f} % full: "
            f"{_mb(short)} are missing.",
            cure="Free that much there; older backups may be moved to another machine, or removed (rm -r), folder by folder.",
        )


def _mb(size: int) -> str:
    return f"{-(-size // 1_000_000):,} MB"


def finish(folder: Path, new: Path, manifest: Manifest) -> None:
    """Write the manifest and give the backup its name. Raises Conflict when there is one of this name."""
    packed.write_whole(new / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    if (folder / manifest.name).exists():
        raise Conflict(f"There is a backup {manifest.name} already.", cure="Try again in a second.")
    packed.give_name(new, folder / manifest.name)


def listed(folder: Path) -> list[Manifest]:
    """Every backup whose manifest can be read, the oldest first: one that is damaged must not hide the others."""
    return packed.read_each(_manifests(folder), _read)[0]


def damaged(folder: Path) -> list[CorruptData]:
    """Why the others cannot be read."""
    return packed.read_each(_manifests(folder), _read)[1]


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[!.]*/{MANIFEST}"))


def get(folder: Path, name: str) -> Manifest:
    """Read the manifest of one. Raises NotFound."""
    path = folder / name / MANIFEST
    if "/" in name or name.startswith(".") or not name or not path.exists():
        raise NotFound(f"There is no backup {name[:120]!r}.", cure="See: flotilla backup list")
    return _read(path)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file through. Raises CorruptData when one is not what the manifest says."""
    for name, said in manifest.files.items():
        path = folder / manifest.name / name
        if note(packed.look(path)) != said:
            raise CorruptData(f"{path} is not what its manifest says.", cure="Take the folder from another copy.")


def remove(folder: Path, manifest: Manifest) -> None:
    """Remove a backup: its manifest first, so that half of one is never taken for a whole."""
    (folder / manifest.name / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder / manifest.name, ignore_errors=True)


def _read(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CorruptData(f"{path} is no manifest: {error}.", cure="Take it from another copy.") from error
    if manifest.name != path.parent.name:
        raise CorruptData(f"{path} is the manifest of {manifest.name}.", cure="Give the folder back its name.")
    return manifest
