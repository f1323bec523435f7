"""How much prices move, where it is known without counting."""

import tracemalloc

import numpy as np
import pytest

from app.domain.indicators.volatility import bandwidth, bollinger, deviation
from tests.app.domain.indicators.table import EVERY, walk


@pytest.mark.parametrize("rows", [1, 12])
def test_a_price_that_stands_still_has_exactly_no_deviation(rows: int):
    prices = np.random.default_rng(0).uniform(0.001, 90_000, (rows, 1))  # the means of most are rounded
    still = np.tile(prices, (1, 30))

    assert (deviation(still, 20)[:, 19:] == 0).all()
    assert (bandwidth(still)[:, 19:] == 0).all()
    assert (bollinger(still).upper == bollinger(still).lower)[:, 19:].all()


def test_the_smallest_move_is_a_deviation():
    values = np.full(30, 0.1)
    values[-1] = np.nextafter(0.1, 1)

    assert deviation(values, 20)[-1] > 0


def test_what_is_not_known_is_not_still():
    assert np.isnan(deviation(np.full(30, np.nan), 1)).all()


@pytest.mark.parametrize("name", ["sma", "deviation", "bandwidth", "vwma", "surge"])
def test_windows_are_not_copied(name: str):
    bars = walk(200, 250)
    tracemalloc.start()
    try:
        EVERY[name](bars)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 10 * bars.close.nbytes  # a copy of its windows is 20 times as large
