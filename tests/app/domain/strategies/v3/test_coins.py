"""Classes of coins, and how their factors weigh."""

import pytest

from app.domain.strategies.v3 import coins

TABLES = {"trend": coins.TREND, "range": coins.RANGE, "trend 15m": coins.TREND_15M, "range 15m": coins.RANGE_15M}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_weights_of_each_class_are_parts_of_one(table):
    assert set(table) == set(coins.KINDS)
    assert all(sum(weights.values()) == pytest.approx(1) for weights in table.values())


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("BTC/USDT:USDT", "mainstream"),
        ("SOL/USDT:USDT", "high-cap"),
        ("1000PEPE/USDT:USDT", "hot"),
        ("ONDO/USDT:USDT", "small"),
        ("NEVERSEEN/USDT:USDT", "hot"),
    ],
)
def test_a_coin_belongs_to_a_class(symbol: str, kind: str):
    assert coins.kind_of(symbol, {}) == kind


def test_what_a_person_says_of_a_coin_outranks_the_table():
    assert coins.kind_of("BTC/USDT:USDT", {"BTC": "small"}) == "small"


def test_the_share_is_of_the_factors_that_are_known():
    weights = {"breakout": 0.3, "volume": 0.2, "oi": 0.5}

    assert coins.weighted(weights, {"breakout": True, "volume": False, "oi": None}) == pytest.approx(0.6)
    assert coins.weighted(weights, dict.fromkeys(weights)) is None
