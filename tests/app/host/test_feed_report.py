"""What market-feed says of itself, and whether it says how things are now."""

from pathlib import Path

import msgspec

from app.host import feed_report
from app.host.feed_report import CURRENT_S, FeedReport, StoreReport

STORE = StoreReport(0, {"klines": 3}, 0, None, told={"ok": 7})
REPORT = FeedReport(1_000_000, 5_000_000, True, (), (), (), (), STORE)
OLD_MS = int(CURRENT_S * 1000)


def test_a_report_is_read_as_it_was_written(tmp_path: Path):
    feed_report.write(tmp_path, REPORT)

    assert feed_report.read(tmp_path) == REPORT


def test_a_report_says_how_things_are_for_seconds_and_then_how_they_were(tmp_path: Path):
    feed_report.write(tmp_path, REPORT)

    assert feed_report.look(tmp_path, REPORT.at_ms + OLD_MS) == (REPORT, "ok", OLD_MS)
    assert feed_report.look(tmp_path, REPORT.at_ms + OLD_MS + 1) == (REPORT, "stale", OLD_MS + 1)
    assert feed_report.look(tmp_path, REPORT.at_ms - 5) == (REPORT, "ok", 5)
    set_back_ms = REPORT.at_ms - 3_600_000
    assert feed_report.look(tmp_path, set_back_ms) == (REPORT, "stale", 3_600_000), "from before a clock was set back"


def test_before_the_feed_reported_nothing_is_known(tmp_path: Path):
    assert feed_report.look(tmp_path, 1) == (None, "unknown", None)
    (tmp_path / feed_report.NAME).write_bytes(b"{half of")
    assert feed_report.look(tmp_path, 1) == (None, "unknown", None)


def test_a_report_of_a_feed_that_does_not_count_what_it_tells_redis_is_read_too(tmp_path: Path):
    told = msgspec.to_builtins(REPORT)
    del told["store"]["told"]
    (tmp_path / feed_report.NAME).write_bytes(msgspec.json.encode(told))

    assert feed_report.read(tmp_path).store.told == {}
