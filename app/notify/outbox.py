"""The outbox: notices to a person, as files, so that telling survives whoever noticed, the broker and the database.

``pending/`` holds what waits, ``sent/`` the newest of what was delivered, ``damaged/`` what cannot be read. The process
guard posts here too, so this module imports next to nothing.
"""

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from app.errors import CorruptData, InvalidInput

Level = Literal["info", "warning", "critical"]
LEVELS: tuple[Level, ...] = get_args(Level)
SENT_KEPT = 500
_PENDING, _SENT, _DAMAGED = "pending", "sent", "damaged"
_DAMAGED_KEPT = 50


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know.

    ``id`` names the occurrence: one id is told once, however often it is posted. Notices of one ``subject`` that wait
    together are told together, those of one ``group`` and level within a minute in one line with their number. One that
    says that something is over ``resolves`` that level: whoever was told of the one must be told of the other.
    """

    id: str
    at: datetime
    level: Level
    subject: str
    text: str
    group: str = ""
    resolves: Level | Literal[""] = ""

    def __post_init__(self) -> None:
        """Refuse what could not be stored or read back."""
        _check_id(self.id)
        if self.level not in LEVELS:
            raise InvalidInput(f"{self.level!r} is no level of a notice.", cure=f"Use one of {', '.join(LEVELS)}.")
        if self.resolves not in ("", *LEVELS):
            raise InvalidInput(f"{self.resolves!r} is no level of a notice.", cure=f"Use one of {', '.join(LEVELS)}.")
        if self.at.tzinfo is None:
            raise InvalidInput("A notice needs a time with its zone.", cure="Pass a UTC-aware datetime.")


def post(directory: Path, notice: Notice) -> None:
    """Store a notice durably. One that waits already, or was sent lately, is the same notice and changes nothing."""
    if _file(directory, _PENDING, notice.id).exists() or _file(directory, _SENT, notice.id).exists():
        return
    text = json.dumps(asdict(notice) | {"at": notice.at.isoformat()}, ensure_ascii=False)
    whole = text.encode(errors="replace").decode()  # half a pair of surrogates, as of a file's odd name, is no text
    write_file(_file(directory, _PENDING, notice.id), whole)


def pending(directory: Path) -> list[Notice]:
    """Return what waits, oldest first. A file that cannot be read is set aside, so that it holds up nothing."""
    return sorted(_read_all(directory, _PENDING), key=_by_age)


class Waiting:
    """``pending`` for one who asks every second: the folder is looked through only when it has changed, and a file is read once,
    for what is written does not change. A storm that waits for the end of quiet hours costs next to nothing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ids: frozenset[str] = frozenset()
        self._changed_ns, self._is_certain = -1, False
        self._read: dict[str, Notice] = {}
        self._answer: tuple[frozenset[str], frozenset[str], list[Notice]] = (self._ids, self._ids, [])

    def ids(self) -> frozenset[str]:
        """The ids of what waits."""
        folder = self._directory / _PENDING
        try:
            changed_ns = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return frozenset()
        if changed_ns == self._changed_ns and self._is_certain:
            return self._ids
        # Its time is coarse: what was put there in the moment of a look is seen by the next one.
        self._is_certain = changed_ns == self._changed_ns
        self._changed_ns = changed_ns
        found = frozenset(path.stem for path in _files(folder))
        self._ids = self._ids if found == self._ids else found
        return self._ids

    def notices(self, *, without: frozenset[str]) -> list[Notice]:
        """What waits, oldest first. Those ``without`` which the answer is enough are not even read."""
        ids = self.ids()
        if self._answer[0] is ids and self._answer[1] == without:
            return self._answer[2]
        read = {one: self._read.get(one) or _read(self._directory, self._file(one)) for one in ids - without}
        self._read = {one: notice for one, notice in read.items() if notice is not None}
        found = sorted(self._read.values(), key=_by_age)
        if len(found) == len(read):  # else one could not be read just now, and is looked at again
            self._answer = ids, without, found
        return found

    def sent(self, notice_id: str) -> None:
        """Mark one as delivered."""
        sent(self._directory, notice_id)
        self._is_certain = False

    def _file(self, notice_id: str) -> Path:
        return self._directory / _PENDING / f"{notice_id}.json"


def _by_age(notice: Notice) -> tuple[datetime, str]:
    return notice.at, notice.id


def sent(directory: Path, notice_id: str) -> None:
    """Mark a notice as delivered; nothing happens when it is marked already."""
    target = _file(directory, _SENT, notice_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    source = _file(directory, _PENDING, notice_id)
    try:
        source.rename(target)
    except FileNotFoundError:
        return
    _sync(target.parent)
    _sync(source.parent)
    _thin(target.parent, SENT_KEPT)


def recent(directory: Path, limit: int) -> list[Notice]:
    """Return the newest notices, newest first, whether they wait or were delivered."""
    known = {notice.id: notice for state in (_SENT, _PENDING) for notice in _read_all(directory, state)}
    return sorted(known.values(), key=lambda notice: (notice.at, notice.id), reverse=True)[:limit]


def write_file(path: Path, text: str) -> None:
    """Write a file so that a crash leaves either all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:  # such as a full disk, which a pile of drafts would keep full
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _check_id(notice_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}", notice_id):
        raise InvalidInput(f"{notice_id!r} cannot name a notice.", cure="Use letters, digits, dot, dash, underscore.")


def _file(directory: Path, state: str, notice_id: str) -> Path:
    _check_id(notice_id)  # it becomes the name of a file
    return directory / state / f"{notice_id}.json"


def _read_all(directory: Path, state: str) -> list[Notice]:
    read = (_read(directory, path) for path in _files(directory / state))
    return [notice for notice in read if notice is not None]


def _read(directory: Path, path: Path) -> Notice | None:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except OSError:  # mostly: it was marked as sent meanwhile
        return None
    except (ValueError, RecursionError, InvalidInput):
        _set_aside(directory, path)
        return None


def _parse(text: str) -> Notice:
    fields: Any = json.loads(text)
    if not isinstance(fields, dict):
        raise CorruptData("A notice is a JSON object.")
    words: list[Any] = [fields.get(name) for name in ("id", "at", "level", "subject", "text")]
    words += [fields.get(name, "") for name in ("group", "resolves")]  # a notice of an older Flotilla has neither
    if not all(isinstance(word, str) for word in words):
        raise CorruptData("A notice lacks one of its fields.")
    notice_id, at, level, subject, body, group, resolves = words
    return Notice(notice_id, datetime.fromisoformat(at), level, subject, body, group, resolves)


def _set_aside(directory: Path, path: Path) -> None:
    aside = directory / _DAMAGED / path.name
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(aside)
    except FileNotFoundError:  # another reader was faster
        return
    _thin(aside.parent, _DAMAGED_KEPT)


def _thin(folder: Path, kept: int) -> None:
    """Remove the files that were put there first."""
    for path in _newest_last(folder)[:-kept]:
        path.unlink(missing_ok=True)


def _newest_last(folder: Path) -> Sequence[Path]:
    def changed(path: Path) -> int:
        try:
            return path.stat().st_ctime_ns  # a rename moves ctime, so this is when it was put there
        except FileNotFoundError:
            return 0

    return sorted(_files(folder), key=lambda path: (changed(path), path.name))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.json") if not path.name.startswith(".")]


def _sync(folder: Path) -> None:
    """Make the names in a folder durable, not only the contents of its files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
