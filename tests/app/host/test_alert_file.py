"""The file of the alerts: what comes back after a restart, and what becomes of a damaged one."""

from pathlib import Path

import pytest

from app.domain.alerts.stepping import AlertState, Event
from app.host import alert_file
from app.host.alert_file import Kept, apart, key
from tests.builders import NOW, later

STATE = AlertState("firing", since=NOW, bad=3, fired_at=NOW, told_at=later(5), told=2, value=71.5, acknowledged_by="me")
EVENT = Event("fired", "cpu", "", later(5), NOW, 1, "warning", "The processors are 71.5 % busy.")


def test_what_was_written_comes_back_to_the_microsecond(tmp_path: Path):
    kept = Kept({"cpu/": STATE}, (EVENT,))
    alert_file.write(tmp_path, kept)

    assert alert_file.read(tmp_path) == kept


def test_without_a_file_nothing_is_remembered(tmp_path: Path):
    assert alert_file.read(tmp_path) == Kept()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"states": {"cpu/": {"status": "burning"}}}',
        '{"states": {"cpu/": {"since": "2026-11-21T05:00:00"}}}',
    ],
)
def test_a_damaged_file_begins_anew(tmp_path: Path, text: str):
    (tmp_path / alert_file.NAME).write_text(text, encoding="utf-8")

    assert alert_file.read(tmp_path) == Kept()


def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    alert_file.write(tmp_path, Kept({"cpu/": STATE}))

    def full(*_anything: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        alert_file.write(tmp_path, Kept())

    assert alert_file.read(tmp_path) == Kept({"cpu/": STATE})
    assert [path.name for path in tmp_path.iterdir()] == [alert_file.NAME]


def test_a_key_holds_a_rule_and_whatever_subject():
    assert apart(key("feed-stale", "demo/binance")) == ("feed-stale", "demo/binance")
    assert apart(key("cpu", "")) == ("cpu", "")
