"""Where this fleet keeps files of what left the database, and copies of the database, and how many of these."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Vault:
    """Two folders, one pair for each world: what was simulated never stands beside what was not."""

    archives: Path
    backups: Path
    keep_daily: int = 7
    keep_weekly: int = 4
    redis_url: str = ""
