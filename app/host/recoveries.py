"""What the fleet did by itself, on its way to the database: a spool, for what is mended may be the database itself."""

import json
import logging
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from app.domain.recovery import BY_FAULT, OUTCOMES, Recovery
from app.host.spool import Spool, parsed, storable

MOST_LINES = 2_000
LONGEST = {"key": 160, "subject": 100, "reason": 1_000, "note": 1_000}
_log = logging.getLogger(__name__)


def spool_in(run_dir: Path) -> Spool:
    """Where they wait."""
    return Spool(run_dir, "recoveries", MOST_LINES)


def tell(run_dir: Path, recovery: Recovery) -> None:
    """Note how it stands now. On a full disk the line is lost, and the deed is done all the same."""
    try:
        spool_in(run_dir).append([json.dumps(fields_of(recovery)).encode()])
    except OSError as error:
        _log.warning("%s of %s could not be noted: %s", recovery.fault, recovery.subject, error)


def fields_of(recovery: Recovery) -> dict[str, Any]:
    """It, as JSON can hold it."""
    ended = None if recovery.ended_at is None else recovery.ended_at.isoformat()
    return asdict(recovery) | {"at": recovery.at.isoformat(), "ended_at": ended}


def read(segment: Path) -> tuple[list[Recovery], int]:
    """What a segment holds, in its order, and how many of its lines were damaged."""
    return parsed(segment, parse)


def parse(fields: Any) -> Recovery:
    """What ``fields_of`` made. Raises KeyError, TypeError or ValueError for anything else."""
    at = _moment(fields["at"])
    ended_at = None if fields["ended_at"] is None else _moment(fields["ended_at"])
    texts = {name: storable(str(fields[name]))[:longest] for name, longest in LONGEST.items()}
    if fields["fault"] not in BY_FAULT or fields["outcome"] not in OUTCOMES or not texts["key"]:
        raise ValueError(fields)
    return Recovery(at=at, fault=fields["fault"], outcome=fields["outcome"], ended_at=ended_at, **texts)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
