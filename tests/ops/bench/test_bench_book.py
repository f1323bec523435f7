"""The bench of the book measures what it says: every contender builds the same book."""

import pytest

from ops.bench.bench_book import book_figures, generated, pipeline_figures, recorded

TAPE = generated(3_000)


def test_every_contender_that_is_installed_builds_the_same_book():
    assert {"ours", "dict + bisect"} <= set(book_figures(TAPE, rounds=1))  # it raises where they disagree


def test_every_message_goes_through_all_steps():
    assert all(rate > 0 for rate in pipeline_figures(TAPE, rounds=1).values())


def test_without_a_recording_a_stream_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr("ops.bench.bench_book.RECORDED", tmp_path / "none")

    assert recorded() is None
    assert generated(50).messages == generated(50).messages
