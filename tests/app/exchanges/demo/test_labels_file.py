"""The truth is told once, in its order, also by a process that was ended in between."""

from pathlib import Path

import msgspec

from app.exchanges.demo.labels_file import LabelLine, LabelsFile
from app.exchanges.demo.market import Market
from tests.app.exchanges.demo.served import BEGAN_MS

HOUR_MS = 3_600_000


def told(path: Path) -> list[str]:
    return [msgspec.json.decode(line, type=LabelLine).label.id for line in path.read_bytes().splitlines()]


def began(market: Market, start_ms: int, end_ms: int) -> set[str]:
    return {label.id for label in market.labels(start_ms, end_ms) if start_ms <= label.start_ms < end_ms}


def test_each_plant_is_told_once_over_restarts(tmp_path: Path):
    market, path = Market(1, 3), tmp_path / "labels.jsonl"
    first = LabelsFile(path, market, BEGAN_MS)
    for minute in range(0, 90, 7):
        first.tell(BEGAN_MS + minute * 60_000)
    second = LabelsFile(path, market, BEGAN_MS + 2 * HOUR_MS)
    second.tell(BEGAN_MS + 2 * HOUR_MS)
    LabelsFile(path, market, BEGAN_MS + 2 * HOUR_MS).tell(BEGAN_MS + 3 * HOUR_MS)

    assert len(told(path)) == len(set(told(path)))
    assert set(told(path)) == began(market, BEGAN_MS, BEGAN_MS + 3 * HOUR_MS)


def test_a_line_that_was_cut_off_is_told_again(tmp_path: Path):
    market, path = Market(1, 3), tmp_path / "labels.jsonl"
    LabelsFile(path, market, BEGAN_MS).tell(BEGAN_MS + HOUR_MS)
    LabelsFile(path, market, BEGAN_MS).tell(BEGAN_MS + HOUR_MS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    LabelsFile(path, market, BEGAN_MS + HOUR_MS).tell(BEGAN_MS + HOUR_MS)
    lines = [line for line in path.read_bytes().splitlines() if line.endswith(b"}}")]

    assert len(lines) == len(whole.splitlines())


def test_another_seed_is_another_truth(tmp_path: Path):
    path = tmp_path / "labels.jsonl"
    LabelsFile(path, Market(1, 3), BEGAN_MS).tell(BEGAN_MS + HOUR_MS)
    before = len(told(path))
    LabelsFile(path, Market(2, 3), BEGAN_MS + HOUR_MS).tell(BEGAN_MS + HOUR_MS + 1)

    assert len(told(path)) - before < 3  # it begins now, not where the other one's began
