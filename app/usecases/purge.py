"""Deleting what is past its time, in small batches: no other writer waits long, and a stop loses nothing.

At the end, what SQLite keeps free of it goes back to the disk, in slices as short.
"""

import time
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.retention import FIRST_BATCH, GIVE_WAY_S, LONGEST_LOCK_MS, POLICY, Keep, next_batch
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import free_pages, old_rows
from app.usecases import roll_up

SUMMARY = "Delete rows that are older than app/domain/retention.py lets them become."
RULES = tuple(keep for keep in POLICY if not keep.archive)
"""The others go through the archive: app/usecases/archive.py."""
_HAND_BACK_MS = LONGEST_LOCK_MS / 4  # as next_batch aims: the checkpoint is written in the same transaction


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: the policy says it all."""
    if payload:
        raise InvalidInput("A purge takes no payload: app/domain/retention.py says what goes.")
    return {"left": [keep.name for keep in RULES], "deleted": {}, "batch": FIRST_BATCH}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all kinds
    """Let others write between two batches; nothing is held meanwhile."""
    if state["deleted"] or state.get("handed_back"):
        time.sleep(GIVE_WAY_S)
    return state


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Delete one batch by the first rule that is left, and by those after it for as long as there is nothing to delete. Once
    there is nothing at all, hand back free pages.
    """
    left, deleted = list(state["left"]), dict(state["deleted"])
    rules = {keep.name: keep for keep in RULES}
    batch = state.get("batch", FIRST_BATCH)  # a task that an older version began has none
    reached = dict(state.get("reached", {}))
    began_s = time.monotonic()
    gone = 0
    while left and gone == 0:
        keep = rules.get(left[0])  # a rule that was dropped since this task began deletes nothing
        gone = _delete(db, keep, now, batch, reached) if keep else 0
        if gone:
            deleted[left[0]] = deleted.get(left[0], 0) + gone
        if gone < batch:
            left, reached = left[1:], {}
    if gone:
        batch = next_batch(batch, (time.monotonic() - began_s) * 1000)
    pages = 0 if gone else free_pages.hand_back(db, for_ms=_HAND_BACK_MS)
    handed_back = state.get("handed_back", 0) + pages
    new = {"left": left, "deleted": deleted, "batch": batch, "reached": reached, "handed_back": handed_back}
    return _slice(new, finished=not left and not gone and not pages)


def _delete(db: Connection, keep: Keep, now: datetime, batch: int, reached: dict[str, int]) -> int:
    """Delete a batch; ``reached`` says where the last one of each source ended, and is told where this one does."""
    if keep.timeframe is None:
        return old_rows.delete_batch(db, keep.table, since=keep.since, before=keep.before(now), limit=batch).rows
    market_ms = old_rows.newest_minute(db)
    if market_ms is None:
        return 0
    before_ms = keep.before_ms(market_ms, roll_up.until_ms(db))
    gone = 0
    for source in keep.sources or (None,):
        done = old_rows.delete_batch(
            db,
            keep.table,
            since=keep.since,
            before=before_ms,
            limit=batch - gone,
            timeframe=keep.timeframe,
            source=source,
            at_least=reached.get(source or ""),
        )
        gone += done.rows
        if done.until is not None:
            reached[source or ""] = done.until
        if gone == batch:
            break
    return gone


def _slice(state: dict[str, Any], *, finished: bool) -> Slice:
    result = {"deleted": state["deleted"], "pages_handed_back": state["handed_back"]} if finished else None
    return Slice(state, 1 - (len(state["left"]) + 1) / (len(RULES) + 1), result)
