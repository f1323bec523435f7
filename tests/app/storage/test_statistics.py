"""Figures of a strategy on a symbol."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import NotFound
from app.storage import statistics, symbols
from app.storage.database import reading, transaction
from app.storage.statistics import Statistics
from tests.builders import NOW, later

FIGURES = Statistics(
    symbol="BTCUSDT",
    strategy_type="V3",
    total_trades=150,
    winning_trades=95,
    losing_trades=55,
    win_rate=Decimal("63.33"),
    total_pnl=Decimal("-2500.50000001"),
    avg_pnl_per_trade=Decimal("-16.67"),
    max_drawdown=Decimal("12.3456"),
    profit_factor=None,
    best_trade=Decimal(300),
    worst_trade=Decimal(-200),
    avg_holding_time=90,
    last_updated=NOW,
)


@pytest.fixture(autouse=True)
def listed(engine: Engine) -> None:
    with transaction(engine) as db:
        for name in ("BTCUSDT", "ETHUSDT", "XRPUSDT"):
            symbols.add(db, name, now=NOW)


def test_the_newest_figures_take_the_place_of_the_last(engine: Engine):
    newer = replace(FIGURES, total_trades=151, total_pnl=Decimal("17.5"), last_updated=later(1))
    with transaction(engine) as db:
        statistics.put(db, FIGURES)
        first = statistics.get(db, "BTCUSDT", "V3")
        statistics.put(db, newer)
        second = statistics.get(db, "BTCUSDT", "V3")

        assert (first, second) == (FIGURES, newer)
        assert statistics.listed(db) == [newer]


def test_the_greatest_profit_comes_first_and_the_unknown_last(engine: Engine):
    with transaction(engine) as db:
        for symbol, pnl in (("BTCUSDT", Decimal(-3)), ("ETHUSDT", None), ("XRPUSDT", Decimal(2))):
            statistics.put(db, replace(FIGURES, symbol=symbol, total_pnl=pnl))
        statistics.put(db, replace(FIGURES, strategy_type="ICT", total_pnl=Decimal(-20)))

        assert [one.total_pnl for one in statistics.listed(db)] == [2, -3, -20, None]
        assert [one.symbol for one in statistics.listed(db, strategy_type="ICT")] == ["BTCUSDT"]


def test_figures_that_nobody_computed_are_none(engine: Engine):
    with reading(engine) as db:
        assert statistics.get(db, "BTCUSDT", "ICT") is None


def test_a_symbol_that_is_not_listed_is_named(engine: Engine):
    with pytest.raises(NotFound, match="NOSUCH"), transaction(engine) as db:
        statistics.put(db, replace(FIGURES, symbol="NOSUCH"))
