"""Which market the running fleet watches: a small file that its start writes, so that commands beside it look at the same one."""

from pathlib import Path

import msgspec

from app.host import whole_file

NAME = "source.json"


class FleetSource(msgspec.Struct, frozen=True):
    """What the fleet was started with; the environment that said so is that process' alone."""

    exchanges: tuple[str, ...]


def read(run_dir: Path) -> FleetSource | None:
    """What the last start wrote, whether that fleet still runs or not; None where nothing is written."""
    try:
        return msgspec.json.decode((run_dir / NAME).read_bytes(), type=FleetSource)
    except (OSError, msgspec.MsgspecError):
        return None


def write(run_dir: Path, source: FleetSource) -> None:
    """Write it whole or not at all."""
    whole_file.replace(run_dir / NAME, msgspec.json.encode(source) + b"\n")


def remove(run_dir: Path) -> None:
    """The fleet has ended."""
    (run_dir / NAME).unlink(missing_ok=True)
