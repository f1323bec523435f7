"""What the samples of a long run come to."""

import pytest

from ops.bench.soak import Sample, grown, slope


def samples(*lives: tuple[int, list[float]]) -> list[Sample]:
    """Processes one after the other, each sampled once a minute."""
    found = []
    for pid, sizes in lives:
        found += [Sample(60.0 * (len(found) + number), "monitor", pid, size, True) for number, size in enumerate(sizes)]
    return found


def test_the_slope_is_told_by_the_hour_and_one_outlier_does_not_bend_it():
    steady = [30 + minute / 60 for minute in range(120)]
    steady[70] = 90.0

    row = grown("monitor", samples((1, steady)), 50)

    assert row.slope_mb_h == pytest.approx(1.0, abs=0.01)
    assert (row.most_mb, row.lives, row.flat) == (90.0, 1, False)
    assert grown("monitor", samples((1, [30.0] * 120)), 50).flat


def test_a_process_that_was_replaced_is_not_flat_and_is_measured_by_its_longest_life():
    row = grown("monitor", samples((1, [30.0, 40.0, 50.0]), (2, [30.0] * 60)), 100)

    assert (row.lives, row.slope_mb_h, row.flat) == (2, 0.0, False)


def test_a_process_that_never_lived_is_not_flat():
    row = grown("monitor", [Sample(0.0, "monitor", None, None, False)], 50)

    assert (row.lives, row.flat) == (0, False)
    assert slope([(0.0, 1.0)]) == 0.0
