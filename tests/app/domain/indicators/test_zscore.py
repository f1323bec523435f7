"""How unusual a value is."""

import numpy as np
import pytest

from app.domain.indicators.zscore import zscore


def test_fewer_than_six_samples_say_nothing():
    found = zscore(np.arange(8.0), 12)

    assert np.isnan(found[:5]).all()
    assert found[5] == pytest.approx((5 - 2.5) / np.std(np.arange(6.0)))


def test_only_the_window_counts():
    values = np.array([900.0, *range(12)])

    assert zscore(values, 12)[-1] == pytest.approx((11 - 5.5) / np.std(np.arange(12.0)))


def test_what_never_changes_is_not_unusual():
    assert zscore(np.full(9, 0.1), 12)[-1] == 0


def test_what_is_not_known_is_passed_over():
    values = np.array([1.0, np.nan, 2, 3, np.nan, 4, 5, 6])

    assert zscore(values, 12)[-1] == pytest.approx((6 - 3.5) / np.std([1, 2, 3, 4, 5, 6]))
    assert np.isnan(zscore(values, 12)[4])
