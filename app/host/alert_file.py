"""What is remembered of every alert: one file, replaced whole, so that a restart neither repeats nor forgets an alert.

The monitor writes it; whoever shows alerts reads it. An event stands in it from the moment that it happened until it lies
in the outbox, so that a kill between the two loses nothing.
"""

import logging
from datetime import datetime
from pathlib import Path

import msgspec

from app.domain.alerts.stepping import AlertState, Event
from app.host import whole_file

NAME = "alerts.json"
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """The alerts, by rule and subject as ``key`` joins them, and the events that do not lie in the outbox yet."""

    states: dict[str, AlertState] = msgspec.field(default_factory=dict)
    unsent: tuple[Event, ...] = ()


def key(rule: str, subject: str) -> str:
    """What names one alert."""
    return f"{rule}/{subject}"


def apart(name: str) -> tuple[str, str]:
    """The rule and the subject of a key."""
    rule, _, subject = name.partition("/")
    return rule, subject


def shown(name: str) -> str:
    """A key for people: ``cpu/`` has no subject, so it is called ``cpu``."""
    return name.rstrip("/")


def is_meant(name: str, asked: str | None) -> bool:
    """Whether somebody means this one: in full, by its rule, or, naming none, all of them."""
    return asked in (None, name, shown(name), apart(name)[0])


def read(state_dir: Path) -> Kept:
    """What is remembered. A missing or damaged file means nothing: better told twice than never."""
    try:
        kept = msgspec.json.decode((state_dir / NAME).read_bytes(), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("The alerts were damaged and begin anew: %s", error)
        return Kept()
    times = [time for state in kept.states.values() for time in (state.since, state.fired_at, state.told_at)]
    times += [time for event in kept.unsent for time in (event.at, event.fired_at)]
    if any(isinstance(time, datetime) and time.tzinfo is None for time in times):
        _log.warning("The alerts had times without a zone and begin anew.")
        return Kept()
    return kept


def write(state_dir: Path, kept: Kept) -> None:
    """Replace the file durably. Raises OSError, such as for a full disk, and then leaves the old one."""
    whole_file.replace(state_dir / NAME, msgspec.json.encode(kept), durable=True)
