"""The archive: rows that left the database, as compressed lines with a manifest beside them, by table and month.

An archive is there once both its files have their names: first its manifest, then its lines. A manifest beside a draft was cut
off while it was written; nobody has deleted anything for its sake, and both are removed. Lines without a manifest have lost it:
they are told of, and never removed. The name is made of the ids and the checksum, so the same rows are the same archive.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.errors import CorruptData, NotFound
from app.host import packed

_DATA, _MANIFEST = ".jsonl.gz", ".json"
_OWN_NAME = re.compile(r"(\d+)-(\d+)-")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in an archive. A line is a JSON list: ``columns``, then, for each of ``parts``, the rows that belong to it."""

    name: str
    table: str
    columns: list[str]
    parts: dict[str, list[str]]
    schema: str
    rows: int
    first_id: int
    last_id: int
    first_moment: str
    last_moment: str
    sha256: str
    bytes: int
    compressed_bytes: int
    made_at: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive is to hold, without its lines. The moments are texts of the database's UTC."""

    table: str
    month: str
    columns: list[str]
    parts: dict[str, list[str]]
    schema: str
    first_id: int
    last_id: int
    first_moment: str
    last_moment: str


def write(folder: Path, contents: Contents, lines: Iterable[bytes], made_at: str) -> Manifest:
    """Write an archive and read it back. The same rows again change nothing. Raises LimitExceeded when the disk fails."""
    place = folder / contents.table / contents.month
    new = packed.draft(place).with_suffix(".lines")  # beside that of the manifest
    written = packed.pack(new, (line + b"\n" for line in lines))
    own = f"{contents.first_id}-{contents.last_id}-{written.sha256[:12]}"
    manifest = Manifest(
        name=f"{contents.table}/{contents.month}/{own}",
        table=contents.table,
        columns=contents.columns,
        parts=contents.parts,
        schema=contents.schema,
        rows=written.lines,
        first_id=contents.first_id,
        last_id=contents.last_id,
        first_moment=contents.first_moment,
        last_moment=contents.last_moment,
        sha256=written.sha256,
        bytes=written.bytes,
        compressed_bytes=written.compressed_bytes,
        made_at=made_at,
    )
    said = place / f"{own}{_MANIFEST}"
    if not packed.read_each([said], _read)[0]:  # there is none, or one that nobody can read
        packed.write_whole(said, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    packed.give_name(new, place / f"{own}{_DATA}")
    for above in (place.parent, folder):
        packed.sync(above)
    return manifest


def remove_unfinished(folder: Path, table: str) -> int:
    """Remove what a killed writer left of this table; how many files. Call it only where nobody else writes."""
    gone = 0
    for draft in (folder / table).glob(f"*/{packed.DRAFT}*"):
        without = [path for path in draft.parent.glob(f"[!.]*{_MANIFEST}") if not _data_of(path).exists()]
        for path in (*without, draft):
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def listed(folder: Path) -> list[Manifest]:
    """Every archive whose manifest can be read, by table and month: one that is damaged must not hide the others."""
    return sorted(
        packed.read_each(_manifests(folder), _read)[0],
        key=lambda one: (one.table, one.name.split("/")[1], one.first_id),
    )


def damaged(folder: Path) -> list[CorruptData]:
    """Why the others cannot be read, and which lines have lost their manifest."""
    manifests = _manifests(folder)
    _, unread = packed.read_each(manifests, _read)
    told = {_data_of(path) for path in manifests}
    lost = [path for path in sorted(folder.glob(f"*/*/[!.]*{_DATA}")) if path not in told]
    cure = "Take it from another copy: nobody knows what its lines are."
    return [*unread, *(CorruptData(f"{path} has no manifest.", cure=cure) for path in lost)]


def get(folder: Path, name: str) -> Manifest:
    """Read the manifest of one. Raises NotFound."""
    parts = name.split("/")
    path = folder / f"{name}{_MANIFEST}"
    if len(parts) != 3 or any(part.startswith(".") or not part for part in parts) or not path.exists():
        raise NotFound(f"There is no archive {name[:120]!r}.", cure="See: flotilla archive list")
    return _read(path)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read an archive through. Raises CorruptData when it is not what its manifest says."""
    path = _data(folder, manifest.name)
    said = packed.Packed(manifest.rows, manifest.sha256, manifest.bytes, manifest.compressed_bytes)
    if packed.look(path) != said:
        raise CorruptData(f"{path} is not what its manifest says.", cure="Take both files from another copy.")


def lines(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    """The rows of an archive."""
    return packed.lines(_data(folder, manifest.name))


def beside(folder: Path, table: str, month: str, first_id: int, last_id: int) -> list[Manifest]:
    """The archives of that month in which one of these ids may stand. The range is part of the name: few files are opened.

    One whose manifest cannot be read says nothing of what stands in it, as one whose lines are damaged.
    """
    near = []
    for path in (folder / table / month).glob(f"[!.]*{_MANIFEST}"):
        ids = _OWN_NAME.match(path.name)
        if ids and int(ids[1]) <= last_id and first_id <= int(ids[2]):
            near.append(path)
    return packed.read_each(near, _read)[0]


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*/[!.]*{_MANIFEST}"))


def _data_of(manifest: Path) -> Path:
    return manifest.with_name(manifest.name.removesuffix(_MANIFEST) + _DATA)


def _data(folder: Path, name: str) -> Path:
    return folder / f"{name}{_DATA}"


def _read(path: Path) -> Manifest:
    try:
        found: Any = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CorruptData(f"{path} is no manifest: {error}.", cure="Take it from another copy.") from error
    if path.name != f"{found.name.rpartition('/')[2]}{_MANIFEST}":
        raise CorruptData(f"{path} is the manifest of {found.name}.", cure="Give it back its name.")
    manifest: Manifest = found
    return manifest
