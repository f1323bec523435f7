"""Wishing that collectors start or stop. The wish and its trace are rows; market-feed carries it out and reports."""

from collections.abc import Collection

from sqlalchemy import Engine

from app.errors import Conflict, NotFound
from app.storage import collectors
from app.storage.collectors import Collector, Desired
from app.storage.database import transaction
from app.usecases.asking import Asking


def steer_collector(
    engine: Engine, name: str, desired: Desired, asking: Asking, *, exchanges: Collection[str]
) -> tuple[Collector, bool]:
    """Write the wish, unless it stands there already; the row, and whether it was changed. Raises NotFound, and Conflict where one
    shall start whose exchange is not among those of the present source: nobody would carry it out.
    """
    with transaction(engine) as db:
        row = collectors.get(db, name)
        if row is None:
            known = ", ".join(one.name for one in collectors.listed(db)) or "none yet"
            raise NotFound(f"There is no collector {name[:60]!r}.", cure=f"Known: {known}.")
        if desired == "running" and row.exchange not in exchanges:
            raise Conflict(
                f"{row.exchange} is not watched, so that its collector cannot start.",
                cure="Name it in feed.exchanges and restart the fleet. "
                f"Watched now: {', '.join(exchanges) or 'no exchange'}.",
            )
        if row.desired == desired:
            return row, False
        wished = collectors.wish(db, name, desired, actor=asking.actor, now=asking.now, trace_id=asking.trace_id)
        return wished, True
