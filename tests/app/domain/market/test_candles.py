"""Candles as arrays, rolled up and searched for holes; on our own and on recorded ones."""

from pathlib import Path

import numpy as np
import pytest

from app.domain.market.candles import NAMES, Candles, roll_up
from app.domain.market.timeframes import length_ms
from app.errors import CorruptData, InvalidInput

HOUR = 3_600_000
MINUTE = 60_000
START = 1_700_000_400_000 - 1_700_000_400_000 % HOUR
Row = tuple[float | None, ...]


def minutes(count: int, start: int = START) -> list[Row]:
    return [
        (start + place * MINUTE, 10 + place, 12 + place, 9 + place, 11 + place, 2, 20.0, 3, 1.0)
        for place in range(count)
    ]


def test_rows_become_arrays_that_nobody_can_change():
    candles = Candles.from_rows(minutes(3))

    assert len(candles) == 3
    assert candles.close.tolist() == [11, 12, 13]
    assert candles.open_time_ms.dtype == np.int64
    for name in (*NAMES, "open_time_ms"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(candles, name)[0] = 1


def test_what_an_exchange_does_not_say_is_not_a_number():
    candles = Candles.from_rows([(START, 1, 1, 1, 1, 0), (START + MINUTE, 1, 1, 1, 1, 5, None, 7, None)])

    assert np.isnan(candles.quote_volume).all()
    assert candles.trades.tolist()[1] == 7
    assert np.isnan(candles.taker_buy_volume).all()


def test_no_candles_are_candles():
    assert len(Candles.from_rows([])) == len(roll_up(Candles.from_rows([]), "1h")) == 0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((START + MINUTE, 1, 1, 1, float("nan"), 1), "not a number"),
        ((START + MINUTE, 1, 1, 1, None, 1), "not a number"),
        ((None, 1, 1, 1, 1, 1), "time"),
        ((START, 1, 1, 1, 1, 1), "repeated"),
        ((START - MINUTE, 1, 1, 1, 1, 1), "out of order"),
        ((START + MINUTE, 0, 1, 0, 1, 1), "not positive"),
        ((START + MINUTE, 1, 1, 1, 1, -1), "negative"),
        ((START + MINUTE, 2, 1, 1, 1, 1), "outside"),
        ((START + MINUTE, 2, 3, 2, 1, 1), "outside"),
    ],
)
def test_what_cannot_be_candles_is_refused(row: Row, says: str):
    with pytest.raises(CorruptData, match=says):
        Candles.from_rows([(START, 1, 1, 1, 1, 1), row])


def test_a_rolled_up_candle_is_the_sum_of_its_parts():
    hour = roll_up(Candles.from_rows(minutes(60)), "1h")

    assert hour.open_time_ms.tolist() == [START]
    assert [getattr(hour, name)[0] for name in NAMES] == [10, 71, 9, 70, 120, 1200, 180, 60]


def test_a_candle_that_is_not_over_or_has_a_hole_is_not_rolled_up():
    rows = minutes(179)
    del rows[70]

    assert roll_up(Candles.from_rows(rows), "1h").open_time_ms.tolist() == [START]
    assert len(roll_up(Candles.from_rows(minutes(60, START + 30 * MINUTE)), "1h")) == 0


def test_what_is_unknown_in_one_part_is_unknown_in_the_sum():
    rows = minutes(5)
    rows[2] = (*rows[2][:6], None, 3, 1.0)
    five = roll_up(Candles.from_rows(rows), "5m")

    assert np.isnan(five.quote_volume[0])
    assert five.trades[0] == 15


def test_days_can_be_made_of_hours():
    start = START - START % (24 * HOUR)
    hours = Candles.from_rows([(start + place * HOUR, 1, 2, 1, 1, 1) for place in range(30)])

    assert roll_up(hours, "1d", made_of="1h").volume.tolist() == [24]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInput):
        roll_up(Candles.from_rows(minutes(1)), "1m")
    with pytest.raises(CorruptData, match="do not begin"):
        roll_up(Candles.from_rows(minutes(1, START + 1)), "5m")


def test_rolling_up_in_two_steps_is_rolling_up_in_one():
    rows = minutes(600)
    del rows[333]
    whole = Candles.from_rows(rows)

    assert (roll_up(roll_up(whole, "15m"), "1h", made_of="15m").columns() == roll_up(whole, "1h").columns()).all()


# --- recorded


@pytest.mark.parametrize(
    ("symbol", "part", "whole"),
    [("ETH", "1m", "30m"), ("BTC", "5m", "1h"), ("BTC", "5m", "15m"), ("SOL", "15m", "1h"), ("BTC", "1h", "1d")],
)
def test_recorded_candles_rolled_up_are_the_recorded_higher_ones(recorded: Path, symbol: str, part: str, whole: str):
    def read(frame: str) -> Candles:
        import pyarrow.feather  # only this test needs it, and it is large

        name = f"{symbol}_USDT_USDT-{frame}-futures.feather"
        table = pyarrow.feather.read_table(recorded / "klines_binance_usdm" / name)
        columns = np.full((len(NAMES), len(table)), np.nan)
        for place, column in enumerate(NAMES[:5]):
            columns[place] = table[column].to_numpy()
        return Candles.from_arrays(table["date"].to_numpy().astype("datetime64[ms]").astype(np.int64), columns)

    parts, wholes = read(part), read(whole)
    made = roll_up(parts, whole, made_of=part)
    both, here, there = np.intersect1d(made.open_time_ms, wholes.open_time_ms, return_indices=True)

    assert len(both) > 15
    assert len(made) >= len(parts) * length_ms(part) // length_ms(whole) - 2
    for name in ("open", "high", "low", "close"):
        assert (getattr(made, name)[here] == getattr(wholes, name)[there]).all()
    assert np.allclose(made.volume[here], wholes.volume[there], rtol=1e-9)
