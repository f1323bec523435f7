"""What a process remembers over a restart: small JSON states, by owner and name."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.storage.insert import insert_or_update
from app.storage.tables import checkpoints


def save(db: Connection, owner: str, name: str, state: dict[str, Any], now: datetime) -> None:
    """Keep this state in place of the one before."""
    row = {"owner": owner, "name": name, "state": state, "saved_at": now}
    insert_or_update(db, checkpoints, row, key=["owner", "name"], change=["state", "saved_at"])


def load(db: Connection, owner: str, name: str) -> dict[str, Any] | None:
    """The state that was last kept, or None."""
    query = select(checkpoints.c.state).where(checkpoints.c.owner == owner, checkpoints.c.name == name)
    return db.execute(query).scalar_one_or_none()


def load_all(db: Connection, owner: str) -> dict[str, dict[str, Any]]:
    """All states of one owner, by name."""
    query = select(checkpoints.c.name, checkpoints.c.state).where(checkpoints.c.owner == owner)
    return {row.name: row.state for row in db.execute(query)}
