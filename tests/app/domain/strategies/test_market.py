"""The market at one moment: candles side by side, holes told, nothing of what came later."""

import numpy as np
import pytest

from app.domain.market.candles import Candles
from app.domain.strategies.market import frame

HOUR = 3_600_000
AS_OF = 100 * HOUR


def hours(*opened: int, volume: float = 10.0, taken: float | None = 7.0) -> Candles:
    return Candles.from_rows([(hour * HOUR, *[hour] * 4, volume, None, None, taken) for hour in opened])


@pytest.mark.parametrize(
    ("opened", "status", "known"),
    [
        ((96, 97, 98, 99), "ok", 4),
        ((97, 98, 99), "warming", 3),
        ((95, 96, 98, 99), "gap", 2),
        ((96, 97, 98), "stale", 0),
        ((), "warming", 0),
        ((96, 97, 98, 99, 100), "ok", 4),  # the last one is not over
        ((90, 96, 97, 98, 99), "ok", 4),  # a hole before what is needed is nobody's concern
    ],
)
def test_a_series_says_what_it_is_worth(opened: tuple[int, ...], status: str, known: int):
    found = frame([hours(*opened)], "1h", 4, AS_OF)

    assert (found.statuses, found.known) == ((status,), (known,))
    assert np.isfinite(found.close[0]).sum() == known


def test_the_newest_candle_is_the_last_one_that_is_over():
    found = frame([hours(96, 97, 98, 99, 100)], "1h", 4, AS_OF + HOUR - 1)

    assert found.close[0].tolist() == [96, 97, 98, 99]


@pytest.mark.parametrize(("taken", "delta"), [(7.0, 0.4), (0.0, -1.0), (10.0, 1.0), (None, None)])
def test_delta_is_what_takers_bought_more_than_they_sold(taken: float | None, delta: float | None):
    found = frame([hours(98, 99, taken=taken)], "1h", 2, AS_OF).delta[0, -1]

    assert np.isnan(found) if delta is None else found == pytest.approx(delta)


def test_where_nothing_was_traded_nobody_was_ahead():
    assert frame([hours(99, volume=0.0, taken=0.0)], "1h", 1, AS_OF).delta[0, 0] == 0
