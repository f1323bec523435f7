"""`flotilla backup` as it is typed."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.host import backups
from app.storage import audit
from app.storage.database import open_engine, reading
from app.usecases.back_up import let_old_ones_go
from ops.__main__ import main
from ops.migrate import upgrade
from tests.app.usecases.test_archive import rows, samples
from tests.app.usecases.test_restore_backup import hurt


@pytest.fixture
def state(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a database of two rows."""
    monkeypatch.setenv("FLOTILLA__STATE__DIR", str(tmp_path))
    monkeypatch.setenv("FLOTILLA__FEED__EXCHANGES", "binance")
    samples(sqlite_engine, 1, 2)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str):
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_backup_is_made_listed_verified_and_restored_into_an_empty_place(
    state: Path, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    code, made = said(capsys, "backup", "create")
    assert (code, made["kind"], made["tables"]["system_monitoring"]["rows"]) == (0, "sqlite", 2)
    name = made["name"]
    assert [one["name"] for one in said(capsys, "backup", "list")[1]] == [name]
    assert said(capsys, "backup", "verify", name) == (0, {"name": name, "whole": True, "why": ""})
    code, refused = said(capsys, "backup", "restore", name)
    assert (code, refused["error"]["type"]) == (5, "Conflict")

    monkeypatch.setenv("FLOTILLA__DATABASE__URL", f"sqlite:///{state / 'another.db'}")
    assert said(capsys, "backup", "restore", name)[0] == 0
    other = open_engine(f"sqlite:///{state / 'another.db'}")
    assert rows(other, "system_monitoring") == rows(sqlite_engine, "system_monitoring")
    with reading(other) as db:
        assert [row.action for row in audit.recent(db, 9)] == ["restore_backup"]
    other.dispose()


def test_a_person_reads_sentences(state: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["backup", "create"]) == 0
    (made,) = backups.listed(state / "backups")
    assert main(["backup", "list"]) == 0
    assert main(["backup", "verify", made.name]) == 0
    assert main(["backup", "restore", made.name, "--force"]) == 0
    text = capsys.readouterr().out
    assert f"made {made.name}: 2 rows" in text
    assert "1 backups" in text
    assert f"whole {made.name}" in text
    assert f"restored {made.name}: 2 rows" in text


def test_a_damaged_backup_is_exit_1_and_a_missing_one_is_refused(state: Path, capsys: pytest.CaptureFixture[str]):
    name = said(capsys, "backup", "create")[1]["name"]
    (state / "backups" / name / backups.SQLITE).write_bytes(b"damaged")
    code, seen = said(capsys, "backup", "verify", name)
    assert (code, seen["whole"]) == (1, False)
    assert said(capsys, "backup", "verify", "nothing")[0] == 5
    assert said(capsys, "backup", "restore", "nothing")[0] == 5


def test_the_demos_backups_stand_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FLOTILLA__STATE__DIR", str(tmp_path))
    assert main(["migrate"]) == 0
    assert main(["backup", "create"]) == 0
    assert len(backups.listed(tmp_path / "demo" / "backups")) == 1


def test_one_unreadable_manifest_hides_no_other_copy_and_is_told(state: Path, capsys: pytest.CaptureFixture[str]):
    made = said(capsys, "backup", "create")[1]
    broken = state / "backups" / "20261101T000000Z"
    broken.mkdir()
    (broken / backups.MANIFEST).write_text("{bad")

    assert main(["backup", "list"]) == 1
    told = capsys.readouterr()
    assert made["name"] in told.out
    assert "20261101T000000Z" in told.err
    assert let_old_ones_go(state / "backups", keep_daily=1, keep_weekly=1) == []


def test_a_damaged_database_is_set_aside_by_force_and_what_was_copied_comes_back(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = state / "hurt.db"
    monkeypatch.setenv("FLOTILLA__DATABASE__URL", f"sqlite:///{path}")
    upgrade(f"sqlite:///{path}")
    engine = open_engine(f"sqlite:///{path}", pool_size=1)
    samples(engine, *range(2_000))
    before = rows(engine, "system_monitoring")
    name = said(capsys, "backup", "create")[1]["name"]
    engine.dispose()
    hurt(path)
    assert said(capsys, "backup", "create")[0] == 1

    assert main(["backup", "restore", "--force", name]) == 0

    assert "the database is damaged: its file is now" in capsys.readouterr().err
    assert len(list(state.glob("hurt.db.damaged-*"))) == 1
    engine = open_engine(f"sqlite:///{path}", pool_size=1)
    assert rows(engine, "system_monitoring") == before
    engine.dispose()
