"""How long rows are kept. To keep another table for a limited time, add a line to POLICY."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep a row of ``table`` for so many days after the moment in its column ``since``; one without it stays."""

    table: str
    days: int
    since: str = "created_at"

    def before(self, now: datetime) -> datetime:
        """What is older than this may go."""
        return now - timedelta(days=self.days)


# strategy_judgments and simulation_trades have rules of 60 and 90 days, which are not here yet: their rows must be archived
# before they go, and nothing archives them. Until then they stay, for a row deleted without its archive is lost.
POLICY = (
    Keep("tasks", days=7, since="finished_at"),  # what waits or runs has no such moment, so it stays
    Keep("system_monitoring", days=30),
    Keep("audit_log", days=365, since="at"),
)
