"""The spool of health samples: bounded, and never torn by a kill or by two who use it at once."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.host import samples
from app.host.samples import MOST_LINES, HealthSample

AT = datetime(2026, 11, 21, 5, 24, tzinfo=UTC)


def a_sample(number: int = 0, component: str = "broker", error: str | None = None) -> HealthSample:
    return HealthSample(AT + timedelta(minutes=number), component, 11, 12, error)


def taken(run_dir: Path) -> list[HealthSample]:
    """All samples, removed as a flush removes them."""
    found = []
    for segment in samples.spool_in(run_dir).segments():
        found += samples.read(segment)[0]
        segment.unlink()
    return found


def test_what_was_appended_can_be_taken_once(tmp_path: Path):
    written = [a_sample(0), a_sample(1, error='it said: "no"\nÜ')]
    samples.append(tmp_path, written[:1])
    samples.append(tmp_path, written[1:])

    assert taken(tmp_path) == written
    assert taken(tmp_path) == []


def test_a_segment_that_was_left_behind_comes_first(tmp_path: Path):
    samples.append(tmp_path, [a_sample(0)])
    for _ in samples.spool_in(tmp_path).segments():
        break  # killed before the segment was stored
    samples.append(tmp_path, [a_sample(1)])

    assert taken(tmp_path) == [a_sample(0), a_sample(1)]


def test_an_outage_leaves_one_segment_and_a_bounded_spool(tmp_path: Path):
    for number in range(5):
        samples.append(tmp_path, [a_sample(number)])
        for _ in samples.spool_in(tmp_path).segments():
            break  # the database refuses it, each time

    assert len(list(tmp_path.glob("samples-*.jsonl"))) == 1
    assert len(taken(tmp_path)) == 5


def test_past_its_bound_the_oldest_samples_give_way(tmp_path: Path):
    samples.append(tmp_path, [a_sample(number) for number in range(MOST_LINES)])
    samples.append(tmp_path, [a_sample(MOST_LINES + number) for number in range(7)])
    kept = taken(tmp_path)

    assert len(kept) == MOST_LINES
    assert kept[0] == a_sample(7)
    assert kept[-1] == a_sample(MOST_LINES + 6)


def test_a_line_that_was_cut_off_spoils_only_itself(tmp_path: Path):
    samples.append(tmp_path, [a_sample(0), a_sample(1)])
    spool = tmp_path / "samples.jsonl"
    spool.write_bytes(spool.read_bytes()[:-20])
    samples.append(tmp_path, [a_sample(2)])
    (segment,) = samples.spool_in(tmp_path).segments()

    assert samples.read(segment) == ([a_sample(0), a_sample(2)], 1)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"null",
        b"[]",
        b"\xff\xff",
        b"{}",
        b'{"at": "today", "component": "a", "success_count": 1, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00", "component": "a", "success_count": 1, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00Z", "component": "", "success_count": 1, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00Z", "component": "a", "success_count": 2, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00Z", "component": "a", "success_count": -1, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00Z", "component": "a", "success_count": true, "total_count": 1, "error_message": null}',
        b'{"at": "2026-11-21T05:24:00Z", "component": "a", "success_count": 1, "total_count": 1}',
        b'{"at": "2026-11-21T05:24:00Z", "component": ' + b'"a' * 60 + b'", "success_count": 1, "total_count": 1}',
    ],
)
def test_a_damaged_line_is_counted_and_left_out(tmp_path: Path, line: bytes):
    segment = tmp_path / "samples-0123456789abcdef.jsonl"
    segment.write_bytes(line + b"\n")

    assert samples.read(segment) == ([], 1)


def test_an_error_is_cut_to_what_every_database_takes(tmp_path: Path):
    samples.append(tmp_path, [a_sample(error="a\0b" + "x" * 5_000)])
    (kept,) = taken(tmp_path)

    assert kept.error_message == "ab" + "x" * 998


def test_only_one_moves_samples_at_a_time(tmp_path: Path):
    with samples.spool_in(tmp_path).alone() as first, samples.spool_in(tmp_path).alone() as second:
        held = first, second
    with samples.spool_in(tmp_path).alone() as third:
        pass

    assert held == (True, False)
    assert third


def test_appending_and_taking_at_once_loses_and_doubles_nothing(tmp_path: Path):
    found: list[HealthSample] = []
    done = threading.Event()

    def take_often() -> None:
        while not done.is_set():
            found.extend(taken(tmp_path))

    taker = threading.Thread(target=take_often)
    taker.start()
    for number in range(300):
        samples.append(tmp_path, [a_sample(number)])
    done.set()
    taker.join()
    found.extend(taken(tmp_path))

    assert found == [a_sample(number) for number in range(300)]
