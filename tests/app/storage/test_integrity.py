"""Looking for damage in real databases that were really damaged, as far as that can be done."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text

from app.storage import audit, integrity
from app.storage.database import reading, transaction
from app.storage.tables import audit_log, metadata
from tests.builders import NOW

ROW = {"at": NOW, "actor": "a", "action": "b", "subject": "c" * 100}


def fill(engine: Engine, rows: int) -> None:
    with transaction(engine) as db:
        db.execute(insert(audit_log), [ROW] * rows)


def test_every_table_of_a_sound_database_is_sound(engine: Engine):
    fill(engine, 100)
    with reading(engine) as db:
        names = integrity.table_names(db)
        found = {name: integrity.check_table(db, name) for name in names}

    assert set(names) == {*metadata.tables, "alembic_version"}
    assert set(map(str, found.values())) == {"[]"}


def test_what_takes_too_long_is_left_and_the_connection_serves_on(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    fill(engine, 30_000)
    monkeypatch.setattr(integrity, "LIMIT_S", 0.002)
    with reading(engine) as db:
        assert integrity.check_table(db, "audit_log") is None
    with reading(engine) as db:
        assert len(audit.recent(db, 3)) == 3


def test_overwritten_pages_of_a_sqlite_file_are_found(sqlite_engine: Engine, tmp_path: Path):
    fill(sqlite_engine, 2000)
    with reading(sqlite_engine) as db:
        root = db.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'audit_log'")).scalar_one()
    sqlite_engine.dispose()  # the last connection moves everything into the file
    with (tmp_path / "flotilla.db").open("r+b") as file:
        file.seek((root - 1) * 4096 + 8)
        file.write(b"\xff" * 2000)
    with reading(sqlite_engine) as db:
        damaged = integrity.check_table(db, "audit_log")
        sound = integrity.check_table(db, "checkpoints")

    assert damaged
    assert sound == []


def test_rows_about_a_symbol_that_is_gone_are_found(sqlite_engine: Engine, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "flotilla.db")) as careless:
        careless.execute("INSERT INTO symbol_statistics (symbol, strategy_type) VALUES ('GONE', 'V3')")
        careless.commit()
    with reading(sqlite_engine) as db:
        assert integrity.check_table(db, "symbol_statistics") == ["row 1 refers to a row of symbols that is not there"]


def test_overwritten_pages_of_a_postgresql_index_are_found(engine: Engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("The files of PostgreSQL.")
    fill(engine, 1000)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text("VACUUM FULL audit_log"))  # writes the index anew, to its file and into no memory
        folder = db.execute(text("SHOW data_directory")).scalar_one()
        path = Path(folder, db.execute(text("SELECT pg_relation_filepath('idx_audit_log_at')")).scalar_one())
    if not os.access(path, os.W_OK):
        pytest.skip("Only on a server of our own can its files be damaged.")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    try:
        with reading(engine) as db:
            problems = integrity.check_table(db, "audit_log") or []
            sound = integrity.check_table(db, "checkpoints")
    finally:
        with transaction(engine) as db:
            db.execute(text("TRUNCATE audit_log"))  # gives it new files, for the tests to come

    assert sound == []
    assert [problem.partition(":")[0] for problem in problems] == ["index idx_audit_log_at"]


def test_what_check_table_says_is_passed_on(engine: Engine):
    if engine.dialect.name != "mysql":
        pytest.skip("CHECK TABLE is MySQL's and MariaDB's.")
    with reading(engine) as db:
        (problem,) = integrity.check_table(db, "no_such_table") or [None]

    assert problem is not None
    assert "no_such_table" in problem
