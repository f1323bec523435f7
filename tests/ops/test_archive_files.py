"""`flotilla archive` as it is typed."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.host import archives
from app.host.vault import Vault
from ops.__main__ import main
from tests.app.usecases.test_archive import rows, run, samples


@pytest.fixture
def name(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an archive of two rows, beside the database that they left."""
    monkeypatch.setenv("FLOTILLA__STATE__DIR", str(tmp_path))
    monkeypatch.setenv("FLOTILLA__FEED__EXCHANGES", "binance")
    samples(sqlite_engine, 31, 32)
    folder = tmp_path / "archive"
    run(sqlite_engine, Vault(folder, tmp_path / "backups"))
    return archives.listed(folder)[0].name


def said(capsys: pytest.CaptureFixture[str], *words: str):
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_archives_are_listed_verified_and_restored(
    name: str, sqlite_engine: Engine, capsys: pytest.CaptureFixture[str]
):
    code, listed = said(capsys, "archive", "list")
    assert (code, [(one["name"], one["rows"]) for one in listed]) == (0, [(name, 2)])
    assert said(capsys, "archive", "verify")[1] == [{"name": name, "rows": 2, "whole": True, "why": ""}]
    code, once = said(capsys, "archive", "restore", name)
    assert (code, once["put_back"], once["were_there"]) == (0, 2, 0)
    code, again = said(capsys, "archive", "restore", name)
    assert (code, again["put_back"], again["were_there"]) == (0, 0, 2)
    assert len(rows(sqlite_engine, "system_monitoring")) == 2


def test_a_person_reads_sentences(name: str, capsys: pytest.CaptureFixture[str]):
    assert [main(["archive", "list"]), main(["archive", "verify", name]), main(["archive", "restore", name])] == [0] * 3
    text = capsys.readouterr().out
    assert "1 archives, 2 rows" in text
    assert f"whole    {name}" in text
    assert "2 rows of system_monitoring: 2 put back, 0 were there already" in text


def test_a_damaged_archive_is_exit_1_and_a_missing_one_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "archive" / f"{name}.jsonl.gz").write_bytes(b"damaged")
    code, found = said(capsys, "archive", "verify")
    assert (code, found[0]["whole"]) == (1, False)
    assert said(capsys, "archive", "restore", name)[0] == 1
    assert said(capsys, "archive", "restore", "no/such/one")[0] == 5


def test_where_there_are_none_the_list_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FLOTILLA__STATE__DIR", str(tmp_path))
    assert said(capsys, "archive", "list") == (0, [])
    assert said(capsys, "archive", "verify") == (0, [])


@pytest.mark.parametrize("words", [["archive", "list"], ["archive", "list", "--json"]])
def test_one_unreadable_manifest_hides_no_other_archive_and_is_told_and_exit_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
):
    path = next((tmp_path / "archive").rglob("*.json"))
    broken = path.with_name(f"9-9-0123456789abcdef{path.name[-5:]}")
    broken.write_text("{bad")

    assert main(words) == 1
    told = capsys.readouterr()
    assert name in told.out
    assert broken.stem in told.err
