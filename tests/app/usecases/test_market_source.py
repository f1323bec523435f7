"""The present source: the demo exchange or live ones, never both."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.domain.market.market_clock import MarketClock
from app.domain.market.venue import DEMO as PREFIX
from app.errors import InvalidInput, NotFound, Unavailable
from app.exchanges.exchange import Instrument
from app.exchanges.table import EXCHANGES
from app.host import market_clock_file
from app.host.feed_report import CollectorReport, FeedReport, Quality, Seen, StoreReport
from app.storage import pairs
from app.storage.database import transaction
from app.usecases.market_source import DEMO, Source, why_not_there


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


def seen(state: str, note: str = "") -> Seen:
    quality = Quality(None, None, None, None, None, None)
    collector = CollectorReport("okx", "okx", state, note, 0, (), (), {}, {}, quality)
    return Seen(FeedReport(0, 0, False, (collector,), (), (), (), StoreReport(0, {}, 0, None)), "ok", 0)


def test_an_exchange_that_never_answered_is_to_blame_and_not_the_name(sqlite_engine: Engine):
    wrong_name = NotFound("okx has no pair.")
    why = why_not_there(sqlite_engine, "okx", seen("failing", "www.okx.com does not answer"), wrong_name)

    assert isinstance(why, Unavailable)
    assert str(why) == "okx has not been reached yet: www.okx.com does not answer."
    assert why_not_there(sqlite_engine, "okx", seen("running"), wrong_name) is wrong_name
    assert why_not_there(sqlite_engine, "htx", seen("failing"), wrong_name) is wrong_name
    assert why_not_there(sqlite_engine, "okx", Seen(None, "unknown", None), wrong_name) is wrong_name


def test_an_exchange_that_answered_once_has_pairs_and_the_name_may_be_wrong(sqlite_engine: Engine):
    with transaction(sqlite_engine) as db:
        pairs.ensure_pairs(db, "okx", [Instrument("BTC/USDT", "BTC", "USDT")], datetime(2026, 11, 21, tzinfo=UTC))
    wrong_name = NotFound("okx has no pair.")

    assert why_not_there(sqlite_engine, "okx", seen("failing"), wrong_name) is wrong_name
