import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.host import logs


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("monitor", "INFO", stream)
    yield stream
    root.handlers[:], root.level = before, level


def entry(at: str, message: str, process: str = "monitor", level: str = "INFO", **more: str) -> str:
    return json.dumps({"at": at, "level": level, "process": process, "message": message} | more) + "\n"


def messages(entries: list[dict[str, str]]) -> list[str]:
    return [entry["message"] for entry in entries]


def test_a_line_carries_the_trace_and_what_was_passed_beside_the_message(written: io.StringIO):
    token = logs.trace_id.set("abc123")
    logging.getLogger("x").info("sold %d", 3, extra={"symbol": "BTC/USDT:USDT"})
    logs.trace_id.reset(token)

    line = json.loads(written.getvalue())

    assert (line["message"], line["process"], line["level"]) == ("sold 3", "monitor", "INFO")
    assert (line["trace_id"], line["symbol"]) == ("abc123", "BTC/USDT:USDT")


def test_an_error_keeps_its_traceback_on_one_line(written: io.StringIO):
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("failed")

    (line,) = written.getvalue().splitlines()

    assert 'raise ValueError("broken")' in json.loads(line)["error"]


def test_the_newest_lines_come_oldest_first_and_go_on_into_rotated_files(tmp_path: Path):
    (tmp_path / "monitor.jsonl.2").write_text(entry("1", "a"), encoding="utf-8")
    (tmp_path / "monitor.jsonl.1").write_text(entry("2", "b"), encoding="utf-8")
    (tmp_path / "monitor.jsonl").write_text(entry("3", "c") + entry("4", "d"), encoding="utf-8")

    assert messages(logs.tail(tmp_path, "monitor", 3)) == ["b", "c", "d"]


def test_processes_are_merged_by_time(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(entry("1", "first") + entry("3", "third"), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(entry("2", "second") + entry("4", "fourth"), encoding="utf-8")

    assert messages(logs.tail(tmp_path, None, 3)) == ["second", "third", "fourth"]


def test_a_trace_is_found_however_much_was_written_after_it(tmp_path: Path):
    text = entry("1", "wanted", trace_id="t1") + "".join(entry("2", "x" * 500) for _ in range(1_000))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")

    assert messages(logs.tail(tmp_path, None, 5, trace="t1")) == ["wanted"]


def test_the_level_is_the_least_one_shown(tmp_path: Path):
    text = entry("1", "a", level="DEBUG") + entry("2", "b", level="ERROR") + entry("3", "c", level="WARNING")
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")

    assert messages(logs.tail(tmp_path, "a", 9, level="WARNING")) == ["b", "c"]


def test_what_a_library_printed_past_the_log_is_kept(tmp_path: Path):
    text = entry("1", "a") + "Segmentation fault\n" + '{"half a li\n' + entry("2", "b")
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")

    assert messages(logs.tail(tmp_path, "a", 9)) == ["a", "Segmentation fault", '{"half a li', "b"]


def test_lines_longer_than_a_block_and_torn_bytes_are_read_whole(tmp_path: Path):
    long = "ü" * 100_000
    (tmp_path / "a.jsonl").write_bytes(entry("1", long).encode() + b"\xff\xfe\n" + entry("2", "end").encode())

    found = logs.tail(tmp_path, "a", 9)

    assert found[0]["message"] == long
    assert found[-1]["message"] == "end"


def test_no_log_is_no_lines(tmp_path: Path):
    assert logs.tail(tmp_path, "monitor", 5) == []


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def rotate(path: Path, kept: int = 2) -> None:
    """As supervisord does it."""
    for number in range(kept - 1, 0, -1):
        if (old := path.with_name(f"{path.name}.{number}")).exists():
            old.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
    path.touch()


def test_a_log_that_is_rotated_while_it_is_taken_up_is_not_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "monitor.jsonl"
    write(path.with_name("monitor.jsonl.1"), entry("2026-09-21T10:00:00.000+00:00", "a") + "\n")
    write(path, entry("2026-09-21T10:00:01.000+00:00", "b") + "\n")
    first, read = logs.appended(tmp_path, "monitor", {}, 10_000)
    real = os.fstat

    def rotating(handle: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", real)
        rotate(path)  # the older file was opened just now
        return real(handle)

    monkeypatch.setattr(os, "fstat", rotating)
    meanwhile, read = logs.appended(tmp_path, "monitor", read, 10_000)
    after, _ = logs.appended(tmp_path, "monitor", read, 10_000)

    assert messages(first) == ["a", "b"]
    assert (meanwhile, after) == ([], [])


def test_following_shows_each_line_once_even_when_lines_are_alike(tmp_path: Path):
    log = tmp_path / "a.jsonl"
    write(log, entry("1", "old"), entry("2", "old"))
    with closing(logs.Follower(tmp_path, None)) as follower:
        write(log, entry("3", "new"))

        assert messages(follower.before(9)) == ["old", "old"]
        assert messages(follower.appended()) == ["new"]
        write(log, entry("3", "new"), entry("3", "new"))
        assert messages(follower.appended()) == ["new", "new"]
        assert follower.appended() == []


def test_following_goes_through_rotations_and_deletions_without_loss_or_repetition(tmp_path: Path):
    log = tmp_path / "a.jsonl"
    write(log, entry("0", "old"))
    with closing(logs.Follower(tmp_path, "a")) as follower:
        seen: list[str] = []
        for number in range(1, 41):
            write(log, entry(f"{number:02}", f"{number} before"))
            if number % 3:
                seen += messages(follower.appended())
            rotate(log)
            write(log, entry(f"{number:02}", f"{number} after"))
        seen += messages(follower.appended())

        assert seen == [f"{number} {when}" for number in range(1, 41) for when in ("before", "after")]


def test_what_was_there_before_following_is_found_after_a_rotation_too(tmp_path: Path):
    log = tmp_path / "a.jsonl"
    write(log, entry("1", "old"))
    with closing(logs.Follower(tmp_path, "a")) as follower:
        write(log, entry("2", "new"))
        rotate(log)
        write(log, entry("3", "newer"))

        assert messages(follower.before(9)) == ["old"]
        assert messages(follower.appended()) == ["new", "newer"]


def test_a_line_is_followed_when_it_is_whole_even_if_a_rotation_tears_it(tmp_path: Path):
    log = tmp_path / "a.jsonl"
    first, second = entry("1", "ü" * 100_000), entry("2", "torn")
    write(log, first[:90_000])
    with closing(logs.Follower(tmp_path, "a")) as follower:
        assert follower.before(9) == follower.appended() == []
        write(log, first[90_000:], second[:20])
        assert messages(follower.appended()) == ["ü" * 100_000]
        rotate(log)
        write(log, second[20:])
        assert messages(follower.appended()) == ["torn"]


def test_following_notices_new_logs_and_emptied_ones_and_merges_them_by_time(tmp_path: Path):
    write(tmp_path / "a.jsonl", entry("1", "x" * 500))
    with closing(logs.Follower(tmp_path, None)) as follower:
        (tmp_path / "a.jsonl").write_text(entry("3", "third"), encoding="utf-8")
        write(tmp_path / "b.jsonl", entry("2", "second"), "Segmentation fault\n", entry("4", "fourth"))

        assert messages(follower.appended()) == ["second", "Segmentation fault", "third", "fourth"]


def test_following_keeps_to_the_level_and_the_trace(tmp_path: Path):
    log = tmp_path / "a.jsonl"
    write(log, entry("1", "old", level="ERROR", trace_id="t1"))
    with closing(logs.Follower(tmp_path, "a", level="WARNING", trace="t1")) as follower:
        write(log, entry("2", "t1 in the text", level="ERROR"), entry("3", "mild", trace_id="t1"))
        write(log, entry("4", "wanted", level="ERROR", trace_id="t1"))

        assert messages(follower.before(9)) == ["old"]
        assert messages(follower.appended()) == ["wanted"]
