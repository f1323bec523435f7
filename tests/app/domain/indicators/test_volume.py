"""Where volume was traded."""

import numpy as np
import pytest

from app.domain.indicators.volume import profile, surge

HIGH, LOW = np.array([2.0, 3.0, 3.0]), np.array([1.0, 2.0, 2.0])


def test_the_fullest_price_is_the_point_of_control():
    found = profile(HIGH, LOW, np.array([1.0, 5.0, 5.0]), bins=2)

    assert found is not None
    assert found.point_of_control == 2.5
    assert found.volumes.tolist() == [1.0, 10.0]
    assert (found.value_low, found.value_high) == (2.0, 3.0)


def test_all_volume_stands_in_the_profile():
    random = np.random.default_rng(3)
    low = random.uniform(90, 100, 60)
    high = low + random.uniform(0, 5, 60) * (random.uniform(size=60) < 0.8)  # some bars are a single price
    volume = random.gamma(2, 10, 60)
    found = profile(high, low, volume)

    assert found is not None
    assert found.volumes.sum() == pytest.approx(volume.sum())
    inside = (found.edges[:-1] >= found.value_low) & (found.edges[1:] <= found.value_high)
    assert found.volumes[inside].sum() >= 0.7 * volume.sum()


def test_one_price_is_the_whole_profile():
    found = profile(np.array([5.0]), np.array([5.0]), np.array([2.0]))

    assert found is not None
    assert (found.point_of_control, found.value_low, found.value_high) == (5.0, 5.0, 5.0)


def test_without_volume_there_is_no_profile():
    assert profile(HIGH, LOW, np.zeros(3)) is None
    assert profile(HIGH, LOW, np.full(3, np.nan)) is None


def test_a_surge_compares_with_the_bars_before():
    assert surge(np.array([1.0, 1.0, 4.0, 1.0]), 2).tolist()[2:] == [4.0, 0.4]
