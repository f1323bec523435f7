"""Quality over the last minutes, and its score."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import quality as module
from app.domain.market.quality import QualityWindow, score
from app.host import feed_report

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def test_nothing_is_known_before_something_came():
    assert QualityWindow().quality(NOW_MS) == module.Quality(None, None, None, None, None, None)


def test_it_has_the_fields_of_the_report():
    assert module.Quality.__struct_fields__ == feed_report.Quality.__struct_fields__


def test_a_good_minute():
    window = QualityWindow()
    for latency_ms in range(1, 101):
        window.message(NOW_MS, latency_ms)
    window.due(NOW_MS, 10, 10)
    found = window.quality(NOW_MS + 1_000)

    assert (found.completeness, found.error_share, found.freshness_ms, found.score) == (1.0, 0.0, 1_000, 100.0)
    assert found.latency_ms_p50 == pytest.approx(50, rel=0.08)
    assert found.latency_ms_p99 == pytest.approx(99, rel=0.08)


def test_what_is_older_than_the_window_no_longer_counts():
    window = QualityWindow(minutes=5)
    window.message(NOW_MS)
    window.error(NOW_MS)
    later_ms = NOW_MS + 10 * MINUTE_MS
    window.message(later_ms)

    assert window.quality(later_ms).error_share == 0.0


def test_errors_without_a_message_are_all_errors():
    window = QualityWindow()
    window.error(NOW_MS, 3)

    assert (window.quality(NOW_MS).error_share, window.quality(NOW_MS).score) == (1.0, 0.0)


def test_more_than_was_due_does_not_hide_what_is_missing():
    window = QualityWindow()
    window.due(NOW_MS, 5, 9)
    window.due(NOW_MS, 5, 0)

    assert window.quality(NOW_MS).completeness == 0.5


def test_a_clock_that_runs_ahead_is_no_latency():
    window = QualityWindow()
    window.message(NOW_MS, -500.0)
    window.message(NOW_MS, 0.0)

    assert window.quality(NOW_MS).latency_ms_p99 == 0.5


def test_a_silent_collector_is_no_good_whatever_it_said_before():
    assert score(1.0, 0.0, 59_999, 10.0) > 79
    assert score(1.0, 0.0, 60_000, 10.0) == 50.0


def test_what_cannot_be_measured_is_left_out_of_the_score():
    assert score(None, None, None, None) is None
    assert score(0.5, None, None, None) == 50.0
    assert score(None, None, 0, None) == 100.0


def test_the_weights_are_as_written():
    assert score(0.0, 0.0, 0, 0.0) == 60.0
    assert score(1.0, 0.05, 0, 0.0) == 75.0
    assert score(1.0, 0.0, 0, 2_000.0) == 85.0


part = st.one_of(st.none(), st.floats(0, 1))


@given(completeness=part, errors=part, freshness=st.one_of(st.none(), st.integers(0, 10**9)), latency=part)
def test_the_score_lies_between_0_and_100(
    completeness: float | None, errors: float | None, freshness: int | None, latency: float | None
):
    found = score(completeness, errors, freshness, latency and latency * 5_000)

    assert found is None or 0.0 <= found <= 100.0


@given(st.lists(st.floats(1, 1_000_000), min_size=1, max_size=300))
def test_percentiles_are_right_within_seven_percent(latencies: list[float]):
    window = QualityWindow()
    for latency_ms in latencies:
        window.message(NOW_MS, latency_ms)
    true = sorted(latencies)[-(-len(latencies) // 2) - 1]

    assert window.quality(NOW_MS).latency_ms_p50 == pytest.approx(true, rel=0.08, abs=0.6)


def test_memory_is_bounded_whatever_comes():
    window = QualityWindow(minutes=3)
    for minute in range(500):
        window.message(NOW_MS + minute * MINUTE_MS, 1e12)

    assert len(window._minutes) == 3
    assert sum(sys.getsizeof(minute.latencies) for minute in window._minutes) < 4_000


def test_freshness_is_our_time():
    window = QualityWindow(speed=60.0)
    window.message(NOW_MS)

    assert window.quality(NOW_MS + 60 * 4_000).freshness_ms == 4_000


def test_a_clock_that_was_set_back_counts_into_the_newest_minute():
    window = QualityWindow()
    window.message(NOW_MS)
    window.message(NOW_MS - 5 * MINUTE_MS)

    assert window.quality(NOW_MS).freshness_ms is not None
    assert len(window._minutes) == 1
