"""What was mended, on its way to the database."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.recovery import Recovery, begun
from app.host import recoveries
from tests.builders import NOW

BEGUN = begun("process_ended", "monitor", 'it said: "no"\nÜ', NOW)
ENDED = BEGUN.ended("recovered", "it works again", NOW + timedelta(seconds=2))


def taken(run_dir: Path) -> tuple[list[Recovery], int]:
    found, damaged = [], 0
    for segment in recoveries.spool_in(run_dir).segments():
        some, spoilt = recoveries.read(segment)
        found, damaged = [*found, *some], damaged + spoilt
        segment.unlink()
    return found, damaged


def test_what_is_told_can_be_taken_once_in_its_order(tmp_path: Path):
    recoveries.tell(tmp_path, BEGUN)
    recoveries.tell(tmp_path, ENDED)

    assert taken(tmp_path) == ([BEGUN, ENDED], 0)
    assert taken(tmp_path) == ([], 0)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        (
            b'{"key": "k", "at": "2026-11-21T05:24:00", "fault": "process_ended", "subject": "", "reason": "",'
            b' "outcome": "pending", "note": "", "ended_at": null}'
        ),
        (
            b'{"key": "k", "at": "2026-11-21T05:24:00+00:00", "fault": "bored", "subject": "", "reason": "",'
            b' "outcome": "pending", "note": "", "ended_at": null}'
        ),
    ],
)
def test_a_damaged_line_costs_only_itself(tmp_path: Path, line: bytes):
    recoveries.spool_in(tmp_path).append([line])
    recoveries.tell(tmp_path, BEGUN)

    assert taken(tmp_path) == ([BEGUN], 1)


def test_long_words_and_zero_bytes_are_made_fit_for_a_row(tmp_path: Path):
    recoveries.tell(tmp_path, begun("process_ended", "m\0" + "x" * 500, "y" * 5000, NOW))

    ((one,), _) = taken(tmp_path)
    assert (one.subject, len(one.reason), len(one.key)) == ("m" + "x" * 99, 1_000, 160)


def test_a_disk_that_takes_nothing_ends_nobody(tmp_path: Path):
    recoveries.tell(tmp_path / "missing", BEGUN)


def test_half_a_pair_of_surrogates_does_not_stop_what_comes_after_it(tmp_path: Path):
    recoveries.tell(tmp_path, begun("process_ended", "monitor", "it said \ud83d", NOW))

    ((one,), _) = taken(tmp_path)
    assert one.reason == "it said ?"
