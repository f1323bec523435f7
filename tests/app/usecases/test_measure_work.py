"""How well the work is done, by the minute: what was counted, and what only the database knows."""

import math
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text, update

from app.domain.market.market_time import MarketTime
from app.domain.tasks import Slice
from app.errors import FlotillaError, Unavailable
from app.host.metrics import Metrics
from app.storage import accounts, checkpoints, monitoring, open_interest, tasks
from app.storage.database import open_engine, reading, transaction
from app.storage.open_interest import OpenInterestRow
from app.storage.tables import trade_fills
from app.usecases import measure_work
from app.usecases.measure_work import Business, business, measure
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS
from tests.app.usecases.paper_market import BTC, ETH, MINUTE_MS, PRICE, PaperMarket
from tests.builders import NOW

SOON = MarketTime(CLOSE_MS + 60_000)


def rows(engine: Engine, kind: str) -> dict[tuple[str, str], monitoring.Sample]:
    with reading(engine) as db:
        return {(one.component, one.strategy_type): one for one in monitoring.recent(db, limit=100, metric_type=kind)}


def look(engine: Engine, folder: Path, *, minute: int = 0, time: MarketTime = SOON) -> Business:
    return measure(engine, folder, Metrics(), time=time, now=NOW + timedelta(minutes=minute))


def seen(engine: Engine, time: MarketTime = SOON) -> Business:
    with reading(engine) as db:
        return business(db, time)


def test_requests_are_taken_up_by_the_minute_with_how_many_failed_and_how_long_they_took(
    engine: Engine, tmp_path: Path
):
    counted = Metrics()
    counted.count("flotilla_http_requests_total", 9, status=200)
    counted.count("flotilla_http_requests_total", 1, status=503)
    counted.observe("flotilla_http_request_seconds", 0.02, times=10)
    counted.publish(tmp_path, "main-app")

    look(engine, tmp_path)
    first = rows(engine, "API_SUCCESS_RATE")["main-app", "ALL"]
    counted.count("flotilla_http_requests_total", 4, status=200)
    counted.publish(tmp_path, "main-app")
    look(engine, tmp_path, minute=1)
    second = rows(engine, "API_SUCCESS_RATE")["main-app", "ALL"]

    assert (first.success_count, first.total_count, first.success_rate) == (9, 10, Decimal(90))
    assert first.avg_response_time == Decimal(20)
    with reading(engine) as db:
        counts = [one.total_count for one in monitoring.recent(db, limit=9, metric_type="API_SUCCESS_RATE")]
    assert sorted(counts) == [4, 10]
    assert second.total_count in counts


def test_what_a_health_route_found_is_no_failure_of_the_api(engine: Engine, tmp_path: Path):
    counted = Metrics()
    counted.count("flotilla_http_requests_total", 9, route="/x", status=200)
    counted.count("flotilla_http_requests_total", 50, route="/health/ready", status=503)
    counted.observe("flotilla_http_request_seconds", 0.02, times=9, route="/x")
    counted.observe("flotilla_http_request_seconds", 2.0, times=50, route="/health/ready")
    counted.publish(tmp_path, "main-app")
    look(engine, tmp_path)

    found = rows(engine, "API_SUCCESS_RATE")["main-app", "ALL"]
    assert (found.success_count, found.total_count, found.avg_response_time) == (9, 9, Decimal(20))


def test_a_process_that_began_anew_counts_from_nought(engine: Engine, tmp_path: Path):
    for count, minute in ((100, 0), (7, 1)):
        counted = Metrics()
        counted.count("flotilla_http_requests_total", count, status=200)
        counted.publish(tmp_path, "main-app")
        look(engine, tmp_path, minute=minute)

    with reading(engine) as db:
        newest = monitoring.recent(db, limit=1, metric_type="API_SUCCESS_RATE")[0]
    assert newest.total_count == 7


def test_each_exchange_has_its_share_of_calls_that_it_answered_and_the_time_it_took(engine: Engine, tmp_path: Path):
    counted = Metrics()
    counted.observe("flotilla_exchange_request_seconds", 0.1, times=18, exchange="okx", result="ok")
    counted.observe("flotilla_exchange_request_seconds", 0.3, exchange="okx", result="limited")
    counted.observe("flotilla_exchange_request_seconds", 3.0, exchange="okx", result="failed")
    counted.observe("flotilla_exchange_request_seconds", 3.0, exchange="okx-eu", result="failed")
    counted.publish(tmp_path, "market-feed")

    look(engine, tmp_path)

    okx = rows(engine, "API_SUCCESS_RATE")["okx", "ALL"]
    assert (okx.success_count, okx.total_count, okx.success_rate) == (18, 20, Decimal(90))
    assert okx.avg_response_time == Decimal("255.000")
    assert rows(engine, "API_SUCCESS_RATE")["okx-eu", "ALL"].success_rate == 0


def test_each_cycle_says_once_how_many_symbols_each_strategy_could_judge(engine: Engine, tmp_path: Path):
    market = PaperMarket(engine, [BTC, ETH])
    market.judge(inputs=rising())
    market.judged_until(0)

    look(engine, tmp_path)
    look(engine, tmp_path, minute=1)

    found = rows(engine, "STRATEGY_CALCULATION_RATE")
    v3, ict = found["strategy-worker", "V3"], found["strategy-worker", "ICT"]
    assert (v3.success_count, v3.total_count, v3.timeframe) == (1, 2, "15M")
    assert (ict.success_count, ict.total_count) == (0, 2)
    with reading(engine) as db:
        assert len(monitoring.recent(db, limit=9, metric_type="STRATEGY_CALCULATION_RATE")) == 2


def test_a_cycle_that_still_runs_is_not_measured(engine: Engine, tmp_path: Path):
    PaperMarket(engine).judged_until(0)
    with transaction(engine) as db:
        tasks.ask(db, kind="judge", queue="strategy", payload={}, trace_id=None, now=NOW)

    look(engine, tmp_path)

    assert rows(engine, "STRATEGY_CALCULATION_RATE") == {}


def test_judging_that_stands_still_is_seen_by_its_age_and_the_cycles_that_it_is_behind(engine: Engine):
    market = PaperMarket(engine)
    assert (seen(engine).judged_age_s, seen(engine).cycles_behind) == (None, None)
    market.judge(inputs=rising())
    assert seen(engine).cycles_behind == 0

    later = seen(engine, MarketTime(CLOSE_MS + 2 * QUARTER_MS + 60_000, speed=2.0))

    assert later.cycles_behind == 2
    assert later.judged_age_s == pytest.approx((2 * 900 + 60) / 2)


def test_a_fleet_that_has_never_judged_is_behind_since_its_first_cycle(engine: Engine):
    PaperMarket(engine).judged_until(0)  # whose first cycle began at the beginning of time
    with transaction(engine) as db:
        state = {"until_ms": CLOSE_MS + 2 * QUARTER_MS, "since_ms": CLOSE_MS - QUARTER_MS}
        checkpoints.save(db, "judge", "cycle", state, NOW)

    later = seen(engine, MarketTime(CLOSE_MS + 2 * QUARTER_MS + 60_000))

    assert later.cycles_behind == 3
    assert later.judged_age_s == 3 * 900 + 60


def test_a_strategy_that_has_never_judged_is_behind_though_the_other_judges(engine: Engine):
    market = PaperMarket(engine)
    market.judge(inputs=rising(), close=2)
    with transaction(engine) as db:
        checkpoints.save(db, "judge", "cycle", {"until_ms": CLOSE_MS, "since_ms": CLOSE_MS - QUARTER_MS}, NOW)

    assert seen(engine, MarketTime(CLOSE_MS + 2 * QUARTER_MS + 60_000)).cycles_behind == 3


def test_a_fleet_in_which_no_cycle_ever_began_is_behind_since_one_was_first_looked_for(engine: Engine, tmp_path: Path):
    look(engine, tmp_path)
    look(engine, tmp_path, minute=30, time=MarketTime(CLOSE_MS + 2 * QUARTER_MS + 60_000))

    assert seen(engine, MarketTime(CLOSE_MS + 2 * QUARTER_MS + 60_000)).cycles_behind == 1
    assert seen(engine, MarketTime(CLOSE_MS + 3 * QUARTER_MS + 60_000)).cycles_behind == 2


def test_a_fleet_that_has_nothing_to_judge_is_never_behind(engine: Engine, tmp_path: Path):
    look(engine, tmp_path)
    measure(engine, tmp_path, Metrics(), time=SOON, now=NOW, judging=False)

    assert seen(engine, MarketTime(CLOSE_MS + 9 * QUARTER_MS)).cycles_behind is None


def gauges(metrics: Metrics) -> dict[str, float | None]:
    """Each gauge, by its name; of one with labels, the last."""
    return {one.name: series.value for one in metrics.snapshot("x").families for series in one.series}


BUSINESS = (
    "flotilla_judged_age_seconds",
    "flotilla_judging_cycles_behind",
    "flotilla_open_interest_still",
    "flotilla_ledger_broken",
    "flotilla_chore_failed",
    "flotilla_database_damaged_tables",
)


def test_a_database_whose_file_was_moved_away_is_said_to_be_gone(sqlite_engine: Engine, tmp_path: Path):
    metrics, file = Metrics(), Path(str(sqlite_engine.url.database))
    measure(sqlite_engine, tmp_path, metrics, time=SOON, now=NOW)
    before = gauges(metrics)["flotilla_database_gone"]
    file.rename(tmp_path / "elsewhere.db")
    with suppress(Unavailable):  # whether a connection that is open still answers is not the question
        measure(sqlite_engine, tmp_path, metrics, time=SOON, now=NOW)

    assert (before, gauges(metrics)["flotilla_database_gone"]) == (0, 1)


def test_what_is_no_longer_known_does_not_stay_as_it_was(engine: Engine, tmp_path: Path):
    PaperMarket(engine).judge(inputs=rising())
    metrics = Metrics()
    measure(engine, tmp_path, metrics, time=SOON, now=NOW)
    before = gauges(metrics)
    measure(engine, tmp_path, metrics, time=MarketTime(None), now=NOW)
    after = gauges(metrics)

    unknown = {name for name, value in after.items() if value is not None and math.isnan(value)}
    assert not any(math.isnan(before[name] or 0) for name in BUSINESS)
    assert unknown == set(BUSINESS[:3])


def test_while_the_database_is_away_nothing_of_it_is_known(tmp_path: Path, engine: Engine):
    metrics = Metrics()
    PaperMarket(engine).judge(inputs=rising())
    measure(engine, tmp_path, metrics, time=SOON, now=NOW)
    away = open_engine(f"sqlite:///{tmp_path}/no such folder/x.db")
    with pytest.raises(Unavailable):
        measure(away, tmp_path, metrics, time=SOON, now=NOW)
    away.dispose()

    after = gauges(metrics)
    wanted = {*BUSINESS, "flotilla_database_bytes", "flotilla_database_query_seconds"}
    assert {name for name in wanted if not math.isnan(after[name] or 0)} == set()


def unreadable(engine: Engine, state: str) -> None:
    """Somebody has written this into the accounts of BTC by hand."""
    with transaction(engine) as db:
        db.execute(
            text("UPDATE paper_accounts SET state = :state WHERE symbol = :symbol"), {"state": state, "symbol": BTC}
        )


@pytest.mark.parametrize("state", ['{"order": 7}', "[1]"])
def test_an_account_that_cannot_be_read_is_told_and_hides_nothing_else(engine: Engine, state: str):
    market = PaperMarket(engine, [BTC, ETH])
    for symbol in (BTC, ETH):
        market.judge(inputs=rising(), symbol=symbol)
    market.minutes(PRICE, PRICE)
    market.minutes(PRICE, PRICE, symbol=ETH)
    market.trade(2)
    ended(engine, "backup", minute=0, error="the disk is full")
    unreadable(engine, state)
    with transaction(engine) as db:
        db.execute(update(trade_fills).values(price=Decimal(1)))

    found = seen(engine)

    assert found.broken_accounts is not None
    assert {f"V3 {BTC}", f"V3 {ETH}"} <= set(found.broken_accounts)
    assert found.failed_chores == ("backup",)
    assert found.cycles_behind == 0


@pytest.mark.parametrize(
    ("look_of", "field"),
    [
        ("_judging", "cycles_behind"),
        ("_still", "still_interest"),
        ("_broken", "broken_accounts"),
        ("_chores", "failed_chores"),
    ],
)
@pytest.mark.parametrize("wrong", ["a mistake", "a damaged table"])
def test_a_look_that_fails_stops_none_of_the_others(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_of: str, field: str, wrong: str
):
    PaperMarket(engine).judge(inputs=rising())

    def fails(db: Connection, *_anything: object) -> None:
        if wrong == "a mistake":
            raise AttributeError("'list' object has no attribute 'get'")
        db.execute(text("SELECT x FROM no_such_table"))

    monkeypatch.setattr(measure_work, look_of, fails)
    metrics = Metrics()
    found = measure(engine, tmp_path, metrics, time=SOON, now=NOW)

    assert getattr(found, field) is None
    known = (found.cycles_behind, found.still_interest, found.broken_accounts, found.failed_chores)
    assert known.count(None) == 1
    assert gauges(metrics)["flotilla_database_bytes"]


def test_when_every_look_is_refused_the_database_is_to_blame(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def fails(db: Connection, *_anything: object) -> None:
        db.execute(text("SELECT x FROM no_such_table"))

    for look_of in ("_judging", "_still", "_broken", "_chores"):
        monkeypatch.setattr(measure_work, look_of, fails)

    with pytest.raises(FlotillaError):
        seen(engine)


def test_open_interest_that_is_the_same_for_an_hour_is_told(engine: Engine):
    market = PaperMarket(engine, [BTC, ETH])
    minutes = range(CLOSE_MS - 60 * MINUTE_MS, CLOSE_MS + MINUTE_MS, MINUTE_MS)
    with transaction(engine) as db:
        open_interest.store(db, [OpenInterestRow(market.ids[BTC], "1m", minute, 50.0) for minute in minutes])
        moving = [OpenInterestRow(market.ids[ETH], "1m", minute, 50.0 + place) for place, minute in enumerate(minutes)]
        open_interest.store(db, moving)

    assert seen(engine).still_interest == (BTC,)


def test_a_short_time_of_it_tells_nothing(engine: Engine):
    market = PaperMarket(engine)
    minutes = range(CLOSE_MS - 20 * MINUTE_MS, CLOSE_MS, MINUTE_MS)
    with transaction(engine) as db:
        open_interest.store(db, [OpenInterestRow(market.ids[BTC], "1m", minute, 50.0) for minute in minutes])

    assert seen(engine).still_interest == ()


def test_a_ledger_that_adds_up_is_well_with_a_trade_open_and_after_it(engine: Engine):
    market = PaperMarket(engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(2)
    assert market.account().desk.trade is not None
    assert seen(engine).broken_accounts == ()

    market.minutes((PRICE, 120.0, PRICE, 115.0), begin=2)
    market.trade(3)
    assert seen(engine).broken_accounts == ()


def test_a_ledger_from_which_a_digit_was_taken_is_told(engine: Engine):
    market = PaperMarket(engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(2)
    kept = market.account()
    poorer = replace(kept.desk.account, cash=kept.desk.account.cash - Decimal("0.00000001"))
    with transaction(engine) as db:
        assert accounts.change(db, kept, replace(kept.desk, account=poorer), kept.trade_id)

    assert seen(engine).broken_accounts == (f"V3 {BTC}",)


def test_a_fill_that_somebody_changed_is_told(engine: Engine):
    market = PaperMarket(engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    market.trade(2)
    with transaction(engine) as db:
        db.execute(update(trade_fills).values(price=Decimal(1)))

    assert seen(engine).broken_accounts == (f"V3 {BTC}",)


def ended(engine: Engine, kind: str, *, minute: int, error: str = "", result: dict[str, Any] | None = None) -> None:
    """A task of this kind that is done, or failed."""
    now = NOW + timedelta(minutes=minute)
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind=kind, queue="cleaner", payload={}, trace_id=None, now=now)
        tasks.claim(db, task_id, worker="data-cleaner", token="t", now=now)
        if error:
            tasks.fail(db, task_id, "t", error, now)
        else:
            tasks.save_slice(db, task_id, "t", Slice({}, 1.0, result or {"well": True}), now)


def test_housekeeping_that_failed_is_told_until_its_next_try_succeeds(engine: Engine, tmp_path: Path):
    assert seen(engine).failed_chores == ()
    ended(engine, "backup", minute=0, error="the disk is full")
    ended(engine, "purge", minute=1)
    ended(engine, "judge", minute=2, error="it is no housekeeping")
    metrics = Metrics()
    measure(engine, tmp_path, metrics, time=SOON, now=NOW)

    [family] = (one for one in metrics.snapshot("data-cleaner").families if one.name == "flotilla_chore_failed")
    told = {series.labels["kind"]: series.value for series in family.series}
    assert seen(engine).failed_chores == ("backup",)
    assert {kind for kind, value in told.items() if value} == {"backup"}
    assert set(told) == {"archive", "backup", "check_database", "purge", "roll_up"}

    ended(engine, "backup", minute=3)
    assert seen(engine).failed_chores == ()


def test_damage_that_the_newest_check_found_is_told(engine: Engine):
    ended(engine, "check_database", minute=0, result={"damaged": {"klines": ["page 7"]}, "checked": 20, "too_big": []})
    assert seen(engine).damaged_tables == ("klines",)

    ended(engine, "check_database", minute=1, result={"damaged": {}, "checked": 20, "too_big": []})
    assert seen(engine).damaged_tables == ()


def test_a_cycle_that_outlasted_a_night_is_measured_without_its_time(engine: Engine, tmp_path: Path):
    market = PaperMarket(engine, [BTC])
    market.judge(inputs=rising())
    market.judged_until(0)
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="judge", queue="strategy", payload={}, trace_id=None, now=NOW)
        tasks.claim(db, task_id, worker="w", token="t", now=NOW)
        tasks.save_slice(db, task_id, "t", Slice({}, 1.0, {}), NOW + timedelta(hours=8))

    look(engine, tmp_path)

    assert rows(engine, "STRATEGY_CALCULATION_RATE")["strategy-worker", "V3"].avg_response_time is None
