"""The file of the market's clock."""

from pathlib import Path

from app.domain.market.market_clock import MarketClock
from app.host import market_clock_file


def test_what_was_written_is_read(tmp_path: Path):
    path = market_clock_file.path_in(tmp_path)
    clock = MarketClock(1, 2, 60.0)

    market_clock_file.write(path, clock)

    assert market_clock_file.read(path) == clock
    assert [file.name for file in path.parent.iterdir()] == ["clock.json"]


def test_without_a_file_there_is_no_clock(tmp_path: Path):
    assert market_clock_file.read(tmp_path / "clock.json") is None


def test_a_file_that_says_nonsense_is_no_clock(tmp_path: Path):
    path = tmp_path / "clock.json"
    for text in ("", "{", "[]", '{"anchor_real_ms":1,"anchor_market_ms":2,"speed":0}'):
        path.write_text(text, encoding="utf-8")

        assert market_clock_file.read(path) is None
