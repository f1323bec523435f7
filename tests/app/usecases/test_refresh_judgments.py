"""Between two closes the strategies look again: at what is live by then, for the cache alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.cache.market import LiveVerdict
from app.domain.market.market_time import MarketTime
from app.storage import judgments, tasks
from app.storage.database import reading, transaction
from app.usecases.refresh_judgments import begin_refresh
from app.usecases.run_tasks import run_next
from tests.app.usecases.judged_market import CLOSE_MS, VENUE, furnish, furnish_live, names
from tests.builders import NOW

BELL = Bell("unix:///nowhere/valkey.sock")
FIVE_MS = 5 * 60_000


def refresh(engine: Engine, now_ms: int) -> int:
    return begin_refresh(engine, BELL, exchanges=(VENUE,), time=MarketTime(now_ms), trace_id=None, now=NOW)


def work(engine: Engine) -> list[Any]:
    told: list[Any] = []
    while run_next(
        engine,
        queue="strategy",
        worker="one",
        now=lambda: datetime.now(UTC),
        beat=lambda _: None,
        draining=lambda: False,
        tell=told.extend,
    ):
        pass
    return told


@pytest.fixture
def market(engine: Engine) -> Engine:
    ids = furnish(engine, names(2))
    with transaction(engine) as db:
        for pair_id in ids.values():
            furnish_live(db, pair_id, CLOSE_MS + FIVE_MS)
    return engine


def test_five_minutes_after_a_close_every_symbol_is_looked_at_by_both_strategies(market: Engine):
    assert refresh(market, CLOSE_MS + FIVE_MS + 16_000) == 1

    told = work(market)

    assert {(one.symbol, one.strategy) for one in told} == {(name, by) for name in names(2) for by in ("V3", "ICT")}
    assert all(isinstance(one, LiveVerdict) and one.as_of_ms == CLOSE_MS + FIVE_MS for one in told)


def test_nothing_of_it_is_a_row(market: Engine):
    refresh(market, CLOSE_MS + FIVE_MS + 16_000)
    work(market)

    with reading(market) as db:
        assert judgments.recent(db, limit=10) == []


def test_a_close_of_a_quarter_is_left_to_the_cycle(market: Engine):
    assert refresh(market, CLOSE_MS + 16_000) == 0
    assert refresh(market, CLOSE_MS + 3 * FIVE_MS + 16_000) == 0


def test_each_five_minutes_are_looked_at_once(market: Engine):
    assert refresh(market, CLOSE_MS + FIVE_MS + 16_000) == 1
    work(market)

    assert refresh(market, CLOSE_MS + FIVE_MS + 60_000) == 0
    assert refresh(market, CLOSE_MS + 2 * FIVE_MS + 16_000) == 1


@pytest.mark.parametrize("kind", ["judge", "refresh_judgments"])
def test_while_judging_still_runs_it_waits(market: Engine, kind: str):
    with transaction(market) as db:
        tasks.ask(db, kind=kind, queue="strategy", payload={}, trace_id=None, now=NOW)

    assert refresh(market, CLOSE_MS + FIVE_MS + 16_000) == 0
