"""Where the demo exchange says what its clock is: one small file that every process of the fleet may read."""

from pathlib import Path

import msgspec

from app.domain.market.market_clock import MarketClock
from app.host import whole_file

NAME = "clock.json"


def path_in(state_dir: Path) -> Path:
    """Where it stands in a state folder."""
    return state_dir / "demo" / NAME


def read(path: Path) -> MarketClock | None:
    """The clock, or None while there is none that can be read."""
    try:
        clock = msgspec.json.decode(path.read_bytes(), type=MarketClock)
    except (OSError, msgspec.DecodeError):
        return None
    return clock if clock.speed > 0 else None


def write(path: Path, clock: MarketClock) -> None:
    """Write it whole or not at all, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.replace(path, msgspec.json.encode(clock) + b"\n")
