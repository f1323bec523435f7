"""Looking for damage in the database, one table a slice."""

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.storage import integrity

SUMMARY = "Look for damage in every table of the database, one after another."
_log = logging.getLogger(__name__)


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: every table is looked at."""
    if payload:
        raise InvalidInput("A check of the database takes no payload.")
    return {"left": None, "checked": 0, "damaged": {}, "too_big": []}


def look(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all kinds
    """Look at the next table; the first time, see which there are."""
    if state["left"] is None:
        return {**state, "left": integrity.table_names(db)}
    if not state["left"]:
        return state
    table, *left = state["left"]
    problems = integrity.check_table(db, table)
    if problems is None:
        return {**state, "left": left, "too_big": [*state["too_big"], table]}
    damaged = {**state["damaged"], table: problems} if problems else state["damaged"]
    return {**state, "left": left, "checked": state["checked"] + 1, "damaged": damaged}


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Keep what was found."""
    looked_at = state["checked"] + len(state["too_big"])
    if state["left"]:
        return Slice(state, looked_at / (looked_at + len(state["left"])))
    if state["damaged"]:
        _log.error("The database is damaged: %s", state["damaged"])
    return Slice(state, 1.0, {name: state[name] for name in ("checked", "damaged", "too_big")})
