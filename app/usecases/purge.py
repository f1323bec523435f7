"""Deleting what is past its time, in small batches: no other writer waits long, and a stop loses nothing."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.retention import POLICY, Keep
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import old_rows
from app.usecases import roll_up

SUMMARY = "Delete rows that are older than app/domain/retention.py lets them become."
BATCH = 500


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: the policy says it all."""
    if payload:
        raise InvalidInput("A purge takes no payload: app/domain/retention.py says what goes.")
    return {"left": [keep.name for keep in POLICY], "deleted": {}}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Delete one batch by the first rule that is left, and by those after it for as long as there is nothing to delete."""
    left, deleted = list(state["left"]), dict(state["deleted"])
    rules = {keep.name: keep for keep in POLICY}
    gone = 0
    while left and gone == 0:
        keep = rules.get(left[0])  # a rule that was dropped since this task began deletes nothing
        gone = _delete(db, keep, now) if keep else 0
        if gone:
            deleted[left[0]] = deleted.get(left[0], 0) + gone
        if gone < BATCH:
            left = left[1:]
    return _slice({"left": left, "deleted": deleted})


def _delete(db: Connection, keep: Keep, now: datetime) -> int:
    if keep.timeframe is None:
        return old_rows.delete_batch(db, keep.table, since=keep.since, before=keep.before(now), limit=BATCH)
    market_ms = old_rows.newest_minute(db)
    if market_ms is None:
        return 0
    before_ms = keep.before_ms(market_ms, roll_up.until_ms(db))
    gone = 0
    for source in keep.sources or (None,):
        gone += old_rows.delete_batch(
            db,
            keep.table,
            since=keep.since,
            before=before_ms,
            limit=BATCH - gone,
            timeframe=keep.timeframe,
            source=source,
        )
        if gone == BATCH:
            break
    return gone


def _slice(state: dict[str, Any]) -> Slice:
    result = None if state["left"] else {"deleted": state["deleted"]}
    return Slice(state, 1 - len(state["left"]) / max(1, len(POLICY)), result)
