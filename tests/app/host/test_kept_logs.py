"""Log entries that are kept for as long as their level is worth."""

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.retention import LOG_DAYS
from app.errors import LimitExceeded
from app.host import kept_logs
from tests.builders import NOW

DAY = timedelta(days=1)


def write(log_dir: Path, name: str, *entries: tuple[timedelta, str, str]) -> None:
    """Entries, each so long before now, at a level, with a message."""
    with (log_dir / name).open("a", encoding="utf-8") as file:
        for ago, level, message in entries:
            at = (NOW - ago).isoformat(timespec="milliseconds")
            file.write(json.dumps({"at": at, "level": level, "process": "monitor", "message": message}) + "\n")


def kept(log_dir: Path, level: str) -> list[str]:
    """The messages of one level, oldest day first."""
    found = []
    for path in sorted((log_dir / "kept" / level).glob("*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found += [json.loads(line)["message"] for line in data.splitlines()]
    return found


def test_an_error_outlives_the_log_that_it_stood_in(tmp_path: Path):
    write(
        tmp_path, "monitor.jsonl", (timedelta(minutes=1), "ERROR", "it broke"), (timedelta(minutes=1), "INFO", "well")
    )
    assert kept_logs.keep(tmp_path, NOW) == 2
    (tmp_path / "monitor.jsonl").unlink()

    kept_logs.keep(tmp_path, NOW + 89 * DAY)
    assert (kept(tmp_path, "error"), kept(tmp_path, "info")) == (["it broke"], [])
    kept_logs.keep(tmp_path, NOW + 91 * DAY)
    assert kept(tmp_path, "error") == []


@pytest.mark.parametrize("level", LOG_DAYS)
def test_what_is_said_just_before_midnight_is_kept_for_all_of_its_days(tmp_path: Path, level: str):
    said_at = NOW.replace(hour=23, minute=58)
    days = LOG_DAYS[level] * DAY
    write(tmp_path, "monitor.jsonl", (NOW - said_at, level, "late"))
    kept_logs.keep(tmp_path, said_at)
    kept_logs.keep(tmp_path, said_at + timedelta(minutes=3))
    after_midnight = kept(tmp_path, level.lower())
    kept_logs.keep(tmp_path, said_at + days + timedelta(minutes=1))
    in_time = kept(tmp_path, level.lower())
    kept_logs.keep(tmp_path, said_at + days + timedelta(minutes=3))

    assert (after_midnight, in_time, kept(tmp_path, level.lower())) == (["late"], ["late"], [])


def test_what_was_kept_is_not_kept_again(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=2), "INFO", "a"), (timedelta(minutes=1), "INFO", "b"))
    kept_logs.keep(tmp_path, NOW)
    write(tmp_path, "monitor.jsonl", (-timedelta(minutes=1), "INFO", "c"))

    assert kept_logs.keep(tmp_path, NOW + timedelta(minutes=10)) == 1
    assert kept(tmp_path, "info") == ["a", "b", "c"]


def test_entries_that_were_rotated_meanwhile_are_found(tmp_path: Path):
    kept_logs.keep(tmp_path, NOW - timedelta(hours=1))
    write(tmp_path, "monitor.jsonl.1", (timedelta(minutes=9), "INFO", "a"), (timedelta(minutes=8), "INFO", "b"))
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=7), "INFO", "c"))
    kept_logs.keep(tmp_path, NOW)

    assert kept(tmp_path, "info") == ["a", "b", "c"]


def test_a_line_that_is_just_being_written_is_left_for_the_next_time(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(seconds=1), "INFO", "whole"))
    with (tmp_path / "monitor.jsonl").open("a") as file:
        file.write("half of ")
    assert kept_logs.keep(tmp_path, NOW) == 1
    with (tmp_path / "monitor.jsonl").open("a") as file:
        file.write("a line\n")

    assert kept_logs.keep(tmp_path, NOW) == 1
    assert kept(tmp_path, "info") == ["whole", "half of a line"]


def test_the_last_words_of_an_interpreter_are_kept_once(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=1), "INFO", "well"))
    with (tmp_path / "monitor.jsonl").open("a") as file:
        file.write("Traceback\nMemoryError\n")

    assert [kept_logs.keep(tmp_path, NOW + timedelta(minutes=10 * n)) for n in range(3)] == [3, 0, 0]
    assert kept(tmp_path, "error") == ["MemoryError"]


def test_a_log_that_was_emptied_in_place_is_read_from_its_beginning(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", *((timedelta(minutes=1), "INFO", f"{n}") for n in range(9)))
    kept_logs.keep(tmp_path, NOW)
    (tmp_path / "monitor.jsonl").write_text("")
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=1), "INFO", "new"))
    kept_logs.keep(tmp_path, NOW)

    assert kept(tmp_path, "info")[-2:] == ["8", "new"]


def test_a_clock_that_was_set_back_leaves_nothing_out(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(0), "INFO", "a"))
    kept_logs.keep(tmp_path, NOW)
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=5), "INFO", "b"), (timedelta(minutes=4), "INFO", "c"))

    assert kept_logs.keep(tmp_path, NOW) == 2


def test_a_long_log_is_taken_up_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_logs, "MOST_READ", 300)
    write(tmp_path, "monitor.jsonl.1", *((timedelta(minutes=9), "INFO", f"{n}") for n in range(4)))
    write(tmp_path, "monitor.jsonl", *((timedelta(minutes=1), "INFO", f"{n}") for n in range(4, 8)))
    counts = [kept_logs.keep(tmp_path, NOW) for _ in range(6)]

    assert max(counts) <= 3
    assert kept(tmp_path, "info") == [f"{n}" for n in range(8)]


def test_a_disk_that_takes_only_a_part_keeps_none_of_it_and_the_next_time_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=2), "INFO", "a"), (timedelta(minutes=1), "ERROR", "b"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "error").write_text("in the way, as a full disk is")
    with pytest.raises(FileExistsError):
        kept_logs.keep(tmp_path, NOW)
    assert kept(tmp_path, "info") == []
    (tmp_path / "kept" / "error").unlink()

    assert kept_logs.keep(tmp_path, NOW) == 2
    assert (kept(tmp_path, "info"), kept(tmp_path, "error")) == (["a"], ["b"])


def test_what_cannot_be_noted_as_kept_is_not_kept(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=2), "INFO", "a"))
    kept_logs.keep(tmp_path, NOW)
    cursor = tmp_path / "kept" / "cursor.json"
    noted = cursor.read_bytes()
    cursor.unlink()
    cursor.mkdir()  # in the way, as a full disk is
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=1), "INFO", "b"))
    for _ in range(3):
        with pytest.raises(LimitExceeded):
            kept_logs.keep(tmp_path, NOW)
    cursor.rmdir()
    cursor.write_bytes(noted)

    kept_logs.keep(tmp_path, NOW)
    assert kept(tmp_path, "info") == ["a", "b"]


def test_days_that_are_over_are_packed_and_what_comes_late_stands_beside_them(tmp_path: Path):
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=1), "WARNING", "first"))
    kept_logs.keep(tmp_path, NOW)
    kept_logs.keep(tmp_path, NOW + DAY)
    folder = tmp_path / "kept" / "warning"
    assert [path.name for path in folder.iterdir()] == [f"{NOW:%Y-%m-%d}.jsonl.gz"]

    write(tmp_path, "other.jsonl", (-timedelta(hours=1), "WARNING", "late"))
    kept_logs.keep(tmp_path, NOW + DAY)
    assert len(list(folder.iterdir())) == 2
    assert sorted(kept(tmp_path, "warning")) == ["first", "late"]


def test_a_level_that_floods_its_day_keeps_what_came_first(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write(tmp_path, "monitor.jsonl", *((timedelta(minutes=9 - n), "INFO", f"{n}") for n in range(8)))
    kept_logs.keep(tmp_path, NOW, most_bytes=300)

    assert kept(tmp_path, "info") == ["0", "1", "2"]
    assert "5 entries are not kept" in caplog.text


@pytest.mark.parametrize("cursor", ["", "[]", '{"monitor": 7}', '{"monitor": {"x": 1}}'])
def test_a_damaged_cursor_means_from_the_beginning(tmp_path: Path, cursor: str):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "cursor.json").write_text(cursor)
    write(tmp_path, "monitor.jsonl", (timedelta(minutes=1), "INFO", "a"))

    assert kept_logs.keep(tmp_path, NOW) == 1


def test_how_long_each_level_is_kept():
    assert LOG_DAYS == {"DEBUG": 1, "INFO": 7, "WARNING": 30, "ERROR": 90, "CRITICAL": 365}
