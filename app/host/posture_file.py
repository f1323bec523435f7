"""How much the fleet takes on, as the monitor tells it: one small file, replaced whole, that is believed for a minute.

Its time is the file's own, for it stands on the disk that may be full: that it still holds can be said there without any room.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path

from app.domain.posture import BELIEVED_FOR, Posture
from app.domain.recovery import Recovery
from app.host import recoveries, whole_file

_NONE: Mapping[str, Recovery] = {}
_NAMES = {field.name for field in fields(Posture)}
_log = logging.getLogger(__name__)


def path_in(run_dir: Path) -> Path:
    """Where it stands."""
    return run_dir / "posture.json"


def write(run_dir: Path, posture: Posture, now: datetime, begun: Mapping[str, Recovery] = _NONE) -> None:
    """Tell it anew. On a full disk another posture than before cannot be told, and the one before ages.

    ``begun`` is what was noted of its beginning, by the fault, and is to be noted of its end.
    """
    noted = {fault: recoveries.fields_of(one) for fault, one in begun.items()}
    path, text = path_in(run_dir), json.dumps(asdict(posture) | {"begun": noted})
    try:
        if _text(path) != text:
            whole_file.replace(path, text.encode())
        os.utime(path, (now.timestamp(), now.timestamp()))
    except OSError as error:
        _log.warning("the posture could not be told: %s", error)


def read(run_dir: Path, now: datetime) -> Posture:
    """What is told. Nothing, damage and what nobody renews all mean that everything is taken on."""
    path = path_in(run_dir)
    try:
        if not abs(now.timestamp() - path.stat().st_mtime) < BELIEVED_FOR.total_seconds():
            return Posture()
        told = json.loads(path.read_bytes())
        if not told.keys() >= _NAMES:
            return Posture()
        return Posture(bool(told["strained"]), bool(told["scarce"]), str(told["why_strained"]), str(told["why_scarce"]))
    except FileNotFoundError:
        return Posture()
    except (OSError, ValueError, AttributeError) as error:
        _log.warning("the posture was damaged, and all is taken on: %s", error)
        return Posture()


def begun(run_dir: Path) -> dict[str, Recovery]:
    """What was noted of its beginning and not yet of its end, however old the file is."""
    try:
        told = json.loads(path_in(run_dir).read_bytes())
        return {str(fault): recoveries.parse(fields) for fault, fields in told["begun"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of an older Flotilla, or damaged
        return {}


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return None
