"""Handing back to the disk what deleted rows leave free in the file of SQLite.

A server does that by itself, or keeps it for the next rows. SQLite's file shrinks only where it was made for that
(``auto_vacuum``, see app/storage/database.py); one that was made before stays as large as it ever was, and works as ever.
"""

import time
from pathlib import Path

from sqlalchemy import Connection

_INCREMENTAL = 2
LONGEST_WAL = 64 * 1024 * 1024
"""Somebody reads an old moment, such as a backup: until that ends, each page that is handed back only makes this file longer."""


def hand_back(db: Connection, *, for_ms: float) -> int:
    """Hand back pages for so long, inside of this transaction; how many. None: nothing is left, or this is not the time for it."""
    if db.dialect.name != "sqlite" or _number(db, "auto_vacuum") != _INCREMENTAL or _wal_bytes(db) > LONGEST_WAL:
        return 0
    free = _number(db, "freelist_count")
    until_s = time.monotonic() + for_ms / 1000
    for done in range(free):
        if done and time.monotonic() > until_s:
            return done
        db.exec_driver_sql("PRAGMA incremental_vacuum(1)")  # the driver takes one step of it, which is one page
    return free


def _number(db: Connection, pragma: str) -> int:
    return int(db.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())


def _wal_bytes(db: Connection) -> int:
    wal = Path(f"{db.engine.url.database}-wal")
    return wal.stat().st_size if wal.exists() else 0
