"""What holds for every indicator: nothing is rewritten, nobody else matters, and a short history is a later beginning."""

from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest

from tests.app.domain.indicators.table import EVERY, Bars, walk

every = pytest.mark.parametrize("name", EVERY)


def same(left, right) -> bool:
    return np.array_equal(left, right, equal_nan=True)


def rewritten(name: str, bars: Bars, first: int) -> list[int]:
    """Bars whose reading, once settled, is another one when later candles are there."""
    whole = EVERY[name](bars)
    count = bars.close.shape[-1]
    prefixes = {end: EVERY[name](bars.some(bars=slice(0, end))) for end in range(first, count + 1)}
    return [end for end, prefix in prefixes.items() if not same(prefix, whole[..., :end])]


@every
def test_later_candles_rewrite_nothing(name: str):
    assert rewritten(name, walk(1, 120).some(0), 1) == []


@every
def test_later_candles_rewrite_nothing_in_a_matrix(name: str):
    assert rewritten(name, walk(12, 80), 1) == []


@every
@pytest.mark.parametrize("file", ["ADA_USDT_USDT-15m-futures", "ADA_USDT_USDT-1h-futures"])
def test_later_candles_rewrite_nothing_of_a_recorded_market(name: str, file: str, recorded: Path):
    table = pyarrow.feather.read_table(recorded / "klines_binance_usdm" / f"{file}.feather")
    bars = Bars(*(table[column].to_numpy()[-600:] for column in ("high", "low", "close", "volume")))

    assert rewritten(name, bars, 400) == []


@every
def test_a_symbol_has_the_same_bits_alone_and_among_others(name: str):
    many = walk(50, 200)
    together = EVERY[name](many)

    assert same(EVERY[name](many.some(17)), together[17])
    assert same(EVERY[name](many.some(slice(0, 3))), together[:3])


@every
@pytest.mark.parametrize("rows", [1, 20])
def test_a_shorter_history_is_a_later_beginning(name: str, rows: int):
    whole = walk(rows, 200)
    late = Bars(*(np.hstack([np.full((rows, 60), np.nan), column[:, 60:]]) for column in whole))

    assert same(EVERY[name](late)[:, 60:], EVERY[name](whole.some(bars=slice(60, None))))
    assert np.isnan(EVERY[name](late)[:, :60]).all()


@every
def test_without_enough_candles_nothing_is_said(name: str):
    for bars in (0, 1):
        found = EVERY[name](walk(2, bars))

        assert found.shape == (2, bars)
        assert name == "vwap" or np.isnan(found).all()


@every
def test_a_price_that_stands_still_and_no_volume_break_nothing(name: str):
    still = Bars(*(np.full((2, 90), price) for price in (7.7, 7.7, 7.7, 0.0)))
    found = EVERY[name](still)[:, -1]

    assert np.isnan(found).all() if name in ("vwap", "rolling vwap", "vwma", "surge") else np.isfinite(found).all()
