"""Who asks for a change, and the trace that it leaves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.storage import audit


@dataclass(frozen=True, slots=True)
class Asking:
    """Who changes something, when, and under which trace id."""

    actor: str
    trace_id: str | None
    now: datetime

    def record(self, db: Connection, action: str, subject: str, *, before: Any, after: Any) -> None:
        """Leave the trace, in the transaction of the change itself."""
        audit.record(
            db,
            now=self.now,
            actor=self.actor,
            action=action,
            subject=subject,
            before=before,
            after=after,
            trace_id=self.trace_id,
        )
