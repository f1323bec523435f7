"""The monitor's health samples on their way to the database, in a spool that needs no database to be written."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.host.spool import Spool, parsed, storable

MOST_LINES = 5_000  # about twelve hours of seven processes; then the oldest give way
_LONGEST_ERROR = 1_000
_LONGEST_COMPONENT = 50


@dataclass(frozen=True, slots=True)
class HealthSample:
    """How often one component was looked at within a minute, how often it was well, and what was last wrong with it."""

    at: datetime
    component: str
    success_count: int
    total_count: int
    error_message: str | None = None


def spool_in(run_dir: Path) -> Spool:
    """Where the samples wait."""
    return Spool(run_dir, "samples", MOST_LINES)


def append(run_dir: Path, samples: Sequence[HealthSample]) -> None:
    """Add samples to the spool."""
    spool_in(run_dir).append(
        [json.dumps(asdict(sample) | {"at": sample.at.isoformat()}).encode() for sample in samples]
    )


def read(segment: Path) -> tuple[list[HealthSample], int]:
    """The samples of a segment, and how many of its lines were damaged."""
    return parsed(segment, _parse)


def _parse(fields: Any) -> HealthSample:
    at = datetime.fromisoformat(fields["at"])
    component, error = fields["component"], fields["error_message"]
    success, total = fields["success_count"], fields["total_count"]
    if at.tzinfo is None or not (isinstance(component, str) and 0 < len(component) <= _LONGEST_COMPONENT):
        raise ValueError(fields)
    if type(success) is not int or type(total) is not int or not 0 <= success <= total < 2**31:
        raise ValueError(fields)
    if error is not None:
        error = storable(str(error))[:_LONGEST_ERROR]
    return HealthSample(at, storable(component), success, total, error)
