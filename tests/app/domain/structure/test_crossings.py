"""The search for the bar at which a level is passed, against the plain way to look for it."""

import numpy as np
import pytest

from app.domain.structure import crossings
from app.domain.structure.crossings import first_after


def plainly(series, known_at, passes, levels):
    return [
        next((bar for bar in range(begin + 1, len(series)) if passes(series[bar], level)), None)
        for begin, level in zip(known_at, levels, strict=True)
    ]


def test_the_first_later_bar_counts_and_the_bar_itself_does_not():
    assert first_after(np.array([5.0, 1, 5, 5]), [0, 2, 3], np.greater, [4, 4, 4]) == [2, 3, None]


def test_nothing_is_found_in_nothing():
    assert first_after(np.array([]), [], np.greater, []) == []
    assert first_after(np.array([1.0]), [0, 7], np.less, [2, 2]) == [None, None]


@pytest.mark.parametrize("passes", [np.greater, np.greater_equal, np.less, np.less_equal])
@pytest.mark.parametrize("most", [1 << 21, 40], ids=["at once", "in small pieces"])
def test_it_finds_what_a_plain_loop_finds(passes, most, monkeypatch):
    monkeypatch.setattr(crossings, "_MOST", most)
    rng = np.random.default_rng(1)
    series = np.round(np.cumsum(rng.normal(0, 1, 900)))
    known_at = rng.integers(0, 900, 150).tolist()
    levels = np.round(series[known_at] + rng.normal(0, 12, 150)).tolist()
    found = first_after(series, known_at, passes, levels)

    assert None in found
    assert found == plainly(series, known_at, passes, levels)
