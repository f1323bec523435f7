"""Settings that live in the database, each with its type. A value is checked against it before it is written."""

import json
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection, delete, select

from app.errors import InvalidInput
from app.storage.insert import insert_or_update
from app.storage.tables import system_config


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One row of ``system_config``."""

    config_key: str
    config_value: str
    config_type: str
    description: str | None
    created_at: datetime
    updated_at: datetime


_COLUMNS = [system_config.c[field.name] for field in fields(ConfigEntry)]


def put(
    db: Connection, key: str, value: str, *, now: datetime, config_type: str = "STRING", description: str | None = None
) -> None:
    """Set a value, new or not. Without a description, the one that is there stays."""
    _check(key, value, config_type)
    row = {"config_key": key, "config_value": value, "config_type": config_type, "description": description}
    moments = {"created_at": now, "updated_at": now}
    change = ["config_value", "config_type", "updated_at", *(["description"] if description is not None else [])]
    insert_or_update(db, system_config, {**row, **moments}, key=["config_key"], change=change)


def get(db: Connection, key: str) -> ConfigEntry | None:
    """Read one setting."""
    row = db.execute(select(*_COLUMNS).where(system_config.c.config_key == key)).one_or_none()
    return None if row is None else ConfigEntry(*row)


def listed(db: Connection) -> list[ConfigEntry]:
    """All of them, by key."""
    return [ConfigEntry(*row) for row in db.execute(select(*_COLUMNS).order_by(system_config.c.config_key))]


def remove(db: Connection, key: str) -> bool:
    """Forget a setting. False when it was not there."""
    return db.execute(delete(system_config).where(system_config.c.config_key == key)).rowcount == 1


def _check(key: str, value: str, config_type: str) -> None:
    """A type that is not one is left to the column to refuse."""
    try:
        if config_type == "NUMBER" and not Decimal(value).is_finite():
            raise ValueError(value)
        if config_type == "JSON":
            json.loads(value)
        if config_type == "BOOLEAN" and value not in ("true", "false"):
            raise ValueError(value)
    except (ValueError, InvalidOperation) as error:
        raise InvalidInput(f"{value!r} is not a {config_type} for {key}.") from error
