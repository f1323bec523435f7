"""Deleting what is past its time, in small batches: no other writer waits long, and a stop loses nothing."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.retention import POLICY
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import old_rows

SUMMARY = "Delete rows that are older than app/domain/retention.py lets them become."
BATCH = 500


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: the policy says it all."""
    if payload:
        raise InvalidInput("A purge takes no payload: app/domain/retention.py says what goes.")
    return {"left": [keep.table for keep in POLICY], "deleted": {}}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Delete one batch from the first table that is left."""
    left, deleted = list(state["left"]), dict(state["deleted"])
    rules = {keep.table: keep for keep in POLICY}
    if left and (keep := rules.get(left[0])):  # a rule that was dropped since this task began deletes nothing
        gone = old_rows.delete_batch(db, keep.table, since=keep.since, before=keep.before(now), limit=BATCH)
        deleted[keep.table] = deleted.get(keep.table, 0) + gone
        if gone == BATCH:
            return _slice({"left": left, "deleted": deleted})
    return _slice({"left": left[1:], "deleted": deleted})


def _slice(state: dict[str, Any]) -> Slice:
    result = None if state["left"] else {"deleted": state["deleted"]}
    return Slice(state, 1 - len(state["left"]) / max(1, len(POLICY)), result)
