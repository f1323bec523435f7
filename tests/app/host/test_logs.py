import io
import json
import logging
from collections.abc import Iterator
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
