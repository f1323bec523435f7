"""The present source: the demo exchange or live ones, never both."""

from pathlib import Path

import pytest

from app.domain.market.market_clock import MarketClock
from app.domain.market.venue import DEMO as PREFIX
from app.errors import InvalidInput
from app.exchanges.table import EXCHANGES
from app.host import market_clock_file
from app.usecases.market_source import DEMO, Source


def test_the_demo_has_every_venue_that_has_an_adapter():
    assert set(DEMO) == {f"{PREFIX}{venue}" for venue in EXCHANGES}


def test_the_first_exchange_is_meant_when_none_is_named(tmp_path: Path):
    assert Source(False, ("okx", "binance"), tmp_path).exchange(None) == "okx"
    assert Source(True, ("demo",), tmp_path).exchange(" Demo-HTX ") == "demo-htx"


@pytest.mark.parametrize(("simulated", "named"), [(True, "binance"), (False, "demo-binance"), (False, "htx")])
def test_an_exchange_of_another_source_is_refused(tmp_path: Path, simulated: bool, named: str):
    with pytest.raises(InvalidInput):
        Source(simulated, ("binance",), tmp_path).exchange(named)


def test_without_any_exchange_none_can_be_meant(tmp_path: Path):
    with pytest.raises(InvalidInput):
        Source(False, (), tmp_path).exchange(None)


def test_a_live_market_has_our_time_and_a_demo_its_own_once_it_said_so(tmp_path: Path):
    assert Source(False, ("binance",), tmp_path).time(1_000).now_ms == 1_000
    demo = Source(True, ("demo",), tmp_path)
    assert demo.time(1_000).now_ms is None
    market_clock_file.write(market_clock_file.path_in(tmp_path), MarketClock(500, 9_000, 2.0))

    assert (demo.time(1_000).now_ms, demo.time(1_000).speed) == (10_000, 2.0)
