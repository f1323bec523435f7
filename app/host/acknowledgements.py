"""Who knows of which alert, on its way from the API to the monitor, which alone keeps the alerts."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.host.spool import Spool, parsed

MOST_LINES = 1_000
_log = logging.getLogger(__name__)


def spool_in(run_dir: Path) -> Spool:
    """Where they wait for the monitor's next look."""
    return Spool(run_dir, "acknowledgements", MOST_LINES)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who knows of which alert, as it fired at that moment: if it fires anew, nobody knows of that yet."""

    name: str
    by: str
    fired_at: datetime


def ask(run_dir: Path, asked: Acknowledgement) -> None:
    """Hand it to the monitor. Raises OSError, such as for a full disk."""
    words = {"name": asked.name, "by": asked.by, "fired_at": asked.fired_at.isoformat()}
    spool_in(run_dir).append([json.dumps(words).encode()])


def taken(run_dir: Path) -> Iterator[Acknowledgement]:
    """What was asked; what was handed on is gone. Twice is as good as once."""
    spool = spool_in(run_dir)
    with spool.alone() as alone:
        for segment in spool.segments() if alone else ():
            found, damaged = parsed(segment, _parse)
            if damaged:
                _log.warning("%d damaged acknowledgements were left out", damaged)
            yield from found
            segment.unlink()


def _parse(fields: Any) -> Acknowledgement:
    return Acknowledgement(str(fields["name"]), str(fields["by"]), datetime.fromisoformat(fields["fired_at"]))
