"""When V3 gives up an open trade: the trend has turned, or what carried the trade is gone."""

from typing import Any

import msgspec
import pytest

from app.domain.strategies.strategy import Held
from app.domain.strategies.v3.exits import leave
from app.domain.strategies.v3.inputs import V3Inputs
from app.domain.strategies.v3.strategy import STRATEGY
from app.domain.trading.simulation import FACTOR_STOP, TREND_FLIP
from tests.app.domain.strategies.v3.readings import falling, resting, rising

HOUR_MS = 500_000 * 3_600_000
QUARTER_MS = HOUR_MS + 900_000
"""A close of 15m at which no hour closes."""


def bought(as_of_ms: int = QUARTER_MS, trend: Any = "UP") -> Held:
    return Held(1, trend, as_of_ms)


def sold(as_of_ms: int = QUARTER_MS, trend: Any = "DOWN") -> Held:
    return Held(-1, trend, as_of_ms)


@pytest.mark.parametrize("as_of_ms", [QUARTER_MS, HOUR_MS])
def test_a_trade_is_kept_while_the_trend_goes_its_way(as_of_ms: int):
    assert leave(rising(), bought(as_of_ms)) is None
    assert leave(falling(), sold(as_of_ms)) is None


def test_a_trend_that_turned_ends_a_trade_at_any_close():
    assert leave(falling(), bought()) == TREND_FLIP
    assert leave(rising(), sold()) == TREND_FLIP


def test_a_trend_that_only_paused_does_not():
    paused = {"run_4h": 1, "adx_4h": 15.0, "expansion_4h": 1.0, "ma200_4h": 104.0}

    assert leave(rising(**paused), bought()) is None


WEAK: dict[str, Any] = {"oi_6h": 0.0, "delta_1h": 0.0, "surge_1h": 1.0, "close_1h": 108.0}
"""Of the hour's factors, only VWAP and funding hold."""


def test_fewer_than_three_factors_end_a_trade_when_the_hour_has_closed():
    assert leave(rising(**WEAK), bought(HOUR_MS)) == TREND_FLIP
    assert leave(rising(**(WEAK | {"oi_6h": 2.0})), bought(HOUR_MS)) is None  # three


def test_until_the_hour_has_closed_its_factors_say_nothing():
    assert leave(rising(**WEAK), bought(QUARTER_MS)) is None


def test_the_wrong_side_of_vwap_ends_a_trade_when_the_hour_has_closed():
    assert leave(rising(close_1h=106.9), bought(HOUR_MS)) == TREND_FLIP
    assert leave(falling(close_1h=113.1), sold(HOUR_MS)) == TREND_FLIP


@pytest.mark.parametrize("missing", [("oi_6h",), ("funding",), ("delta_1h",), ("vwap_1h",), ("oi_6h", "delta_1h")])
def test_an_input_that_is_lost_is_no_reason_to_give_up_a_trade(missing: tuple[str, ...]):
    barely = WEAK | {"oi_6h": 2.0}

    assert leave(rising(**(barely | dict.fromkeys(missing))), bought(HOUR_MS)) is None


def test_a_trade_of_a_range_is_kept_while_the_box_holds():
    assert leave(resting(), bought(HOUR_MS, "RANGE")) is None


def test_a_range_that_broke_ends_its_trade_when_the_hour_has_closed():
    broke = {"surge_1h": 2.0, "delta_1h": -0.1, "oi_6h": 4.0, "new_extreme_1h": -1}

    assert leave(resting(**broke), bought(HOUR_MS, "RANGE")) == TREND_FLIP
    assert leave(resting(**broke), bought(QUARTER_MS, "RANGE")) is None


def test_a_trade_of_a_range_rests_on_its_own_side_of_the_box():
    one_sided = {"touches_upper": 0, "surge_1h": 2.0, "delta_1h": -0.1, "oi_6h": 4.0}

    assert leave(resting(**one_sided), bought(HOUR_MS, "RANGE")) is None
    assert leave(resting(**one_sided), sold(HOUR_MS, "RANGE")) == TREND_FLIP


def test_a_trend_against_a_trade_of_a_range_ends_it():
    assert leave(falling(), bought(QUARTER_MS, "RANGE")) == TREND_FLIP


AGAINST: list[tuple[str, dict[str, Any]]] = [
    ("vwap", {"vwap_15m": 111.0}),
    ("oi", {"oi_6h": -2.0}),
    ("delta", {"delta_15m": -0.2}),
    ("volume", {"setup_close": 110.5}),  # the surge went down
]
NEUTRAL: dict[str, Any] = {"vwap_15m": 110.0, "oi_6h": 0.0, "delta_15m": 0.0, "surge_15m": 1.0}


def neutral(*against: int) -> dict[str, Any]:
    changes = dict(NEUTRAL)
    for place in against:
        changes |= AGAINST[place][1]
        if AGAINST[place][0] == "volume":
            changes["surge_15m"] = 1.5
    return changes


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_two_factors_against_a_trade_stop_it_and_one_does_not(pair: tuple[int, int]):
    assert leave(rising(**neutral(*pair)), bought()) == FACTOR_STOP
    assert leave(rising(**neutral(pair[0])), bought()) is None
    assert leave(rising(**neutral(pair[1])), bought()) is None


def test_what_speaks_for_a_trade_outweighs_what_speaks_against_it():
    changes = neutral(0, 1)

    assert leave(rising(**(changes | {"delta_15m": 0.2})), bought()) is None


def test_factors_against_a_sale_are_those_for_a_purchase():
    changes = {"vwap_15m": 109.0, "delta_15m": 0.2, "oi_6h": 0.0, "surge_15m": 1.0}

    assert leave(falling(**changes), sold()) == FACTOR_STOP
    assert leave(falling(**(changes | {"delta_15m": 0.0})), sold()) is None


@pytest.mark.parametrize("as_of_ms", [QUARTER_MS, HOUR_MS])
def test_a_trade_is_not_given_up_because_nothing_is_known(as_of_ms: int):
    nothing = {name: None for name, value in msgspec.structs.asdict(rising()).items() if isinstance(value, float)}
    unknown: V3Inputs = rising(**(nothing | {"structure_15m": 0.0, "bars_4h": 0}))

    assert leave(unknown, bought(as_of_ms)) is None
    assert leave(unknown, sold(as_of_ms)) is None


def test_a_trade_lasts_twelve_quarters_at_most():
    assert STRATEGY.longest_ms == 3 * 3_600_000
