"""Judging stored markets: each candle once, with everything that it rests on, and nothing of what came later."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, delete, text, update

from app.cache.bell import Bell
from app.domain.market.market_time import MarketTime
from app.domain.market.timeframes import open_of
from app.domain.strategies.strategy import Strategy
from app.domain.strategies.table import STRATEGIES
from app.errors import InvalidInput, NotFound
from app.storage import checkpoints, judgments, klines, tasks
from app.storage.database import reading, transaction
from app.storage.judgments import Judgment
from app.storage.tables import klines as klines_table
from app.storage.tables import strategy_judgments
from app.usecases import begin_judging
from app.usecases.begin_judging import begin_cycle, judged_until_ms
from app.usecases.judge import begin, inputs_of, judge_all, rederive
from app.usecases.run_tasks import run_next
from app.usecases.strategy_market import market_of, pair_ids
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS, VENUE, furnish, names
from tests.builders import NOW

V3 = STRATEGIES["V3"]
FRAMES = [("ICT", "15M"), ("ICT", "1D"), ("ICT", "4H"), ("V3", "15M"), ("V3", "1H"), ("V3", "4H")]
each_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
BELL = Bell("unix:///nowhere/valkey.sock")


def cycle(engine: Engine, now_ms: int = CLOSE_MS + 20_000, speed: float = 1.0) -> int:
    return begin_cycle(engine, BELL, exchanges=(VENUE,), time=MarketTime(now_ms, speed), trace_id=None, now=NOW)


def judged_until(engine: Engine) -> int:
    with reading(engine) as db:
        return judged_until_ms(checkpoints.load(db, "judge", "cycle"))


def work(engine: Engine, worker: str = "one", tell: Callable[[Sequence[Any]], None] = lambda _: None) -> int:
    done = 0
    while run_next(
        engine,
        queue="strategy",
        worker=worker,
        now=lambda: datetime.now(UTC),
        beat=lambda _: None,
        draining=lambda: False,
        tell=tell,
    ):
        done += 1
    return done


def stored(engine: Engine) -> list[tuple[str, str, str, datetime]]:
    with reading(engine) as db:
        found = judgments.recent(db, limit=10_000)
    return sorted((one.symbol, one.strategy_type, one.timeframe, one.created_at) for one in found)


def closes(engine: Engine, symbol: str, strategy: str, timeframe: str) -> list[datetime]:
    return [at for *what, at in stored(engine) if what == [symbol, strategy, timeframe]]


def moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def furnish_but_the_first_ones_newest(engine: Engine) -> None:
    """Two symbols; the newest candles of 15m of the first one have not come yet."""
    ids = furnish(engine, names(2))
    late = (klines_table.c.pair_id == ids[names(2)[0]], klines_table.c.open_time == CLOSE_MS - QUARTER_MS)
    with transaction(engine) as db:
        db.execute(delete(klines_table).where(*late))


def test_a_cycle_judges_every_symbol_by_every_strategy_in_each_of_its_timeframes(engine: Engine):
    listed = names(3)
    furnish(engine, listed)

    assert cycle(engine) == 1
    assert work(engine) == 1
    assert stored(engine) == [
        (symbol, strategy, timeframe, moment(open_of(CLOSE_MS, timeframe.lower())))
        for symbol in listed
        for strategy, timeframe in FRAMES
    ]
    with reading(engine) as db:
        [task] = tasks.recent(db, limit=5)
    assert task.result == {"judged": 18, "late": 0}


def test_a_doubled_cycle_changes_nothing(sqlite_engine: Engine):
    furnish(sqlite_engine, names(2))
    cycle(sqlite_engine)
    work(sqlite_engine)
    before = stored(sqlite_engine)

    assert cycle(sqlite_engine) == 0
    with transaction(sqlite_engine) as db:
        db.execute(text("DELETE FROM checkpoints"))  # as if nobody knew that it was
    assert cycle(sqlite_engine) == 1
    assert work(sqlite_engine) == 1
    assert stored(sqlite_engine) == before


def test_a_missed_cycle_is_caught_up(sqlite_engine: Engine):
    furnish(sqlite_engine, names(1), until_ms=CLOSE_MS + 8 * QUARTER_MS)
    cycle(sqlite_engine)
    work(sqlite_engine)
    cycle(sqlite_engine, CLOSE_MS + 8 * QUARTER_MS + 20_000)
    work(sqlite_engine)
    [symbol] = names(1)
    quarters = [moment(CLOSE_MS + number * QUARTER_MS) for number in range(9)]

    assert closes(sqlite_engine, symbol, "V3", "15M") == closes(sqlite_engine, symbol, "ICT", "15M") == quarters
    assert closes(sqlite_engine, symbol, "V3", "1H") == quarters[::4]
    assert closes(sqlite_engine, symbol, "ICT", "1D") == [moment(open_of(CLOSE_MS, "1d"))]


def test_candles_that_closed_before_the_first_cycle_are_judged_as_of_their_own_close(sqlite_engine: Engine):
    """A judgment of 4h that rested on what came an hour later would know too much."""
    [symbol], later_ms = names(1), CLOSE_MS + 5 * QUARTER_MS
    ids = furnish(sqlite_engine, [symbol], until_ms=later_ms)
    cycle(sqlite_engine, later_ms + 20_000)
    work(sqlite_engine)
    with reading(sqlite_engine) as db:
        found = {(one.strategy_type, one.timeframe): one for one in judgments.recent(db, limit=99)}
        for (_, timeframe), one in found.items():
            at_ms = open_of(later_ms, timeframe.lower())
            [candle] = klines.tables(db, "15m", at_ms - QUARTER_MS, at_ms, [ids[symbol]])[ids[symbol]]
            assert one.created_at == moment(at_ms)
            assert inputs_of(one).close_15m == pytest.approx(candle[4], rel=1e-7)  # type: ignore[attr-defined]

    assert sorted(found) == FRAMES


def test_after_a_downtime_of_the_whole_fleet_what_was_missed_is_judged_when_its_candles_were_fetched(
    sqlite_engine: Engine,
):
    furnish(sqlite_engine, names(1))
    cycle(sqlite_engine)
    work(sqlite_engine)
    back = CLOSE_MS + 16 * QUARTER_MS
    cycle(sqlite_engine, back + 20_000)  # before anything was fetched
    work(sqlite_engine)
    assert judged_until(sqlite_engine) == CLOSE_MS
    furnish(sqlite_engine, names(1), until_ms=back + 5 * QUARTER_MS)
    cycle(sqlite_engine, back + QUARTER_MS + 20_000)
    work(sqlite_engine)

    quarters = [moment(CLOSE_MS + number * QUARTER_MS) for number in range(18)]
    assert closes(sqlite_engine, names(1)[0], "V3", "15M") == quarters
    for number in range(2, 6):
        cycle(sqlite_engine, back + number * QUARTER_MS + 20_000)
        work(sqlite_engine)
    assert judged_until(sqlite_engine) == back + 5 * QUARTER_MS


def test_only_what_was_judged_now_is_told(sqlite_engine: Engine):
    furnish_but_the_first_ones_newest(sqlite_engine)
    cycle(sqlite_engine)
    work(sqlite_engine)
    furnish(sqlite_engine, names(2), until_ms=CLOSE_MS + QUARTER_MS)
    cycle(sqlite_engine, CLOSE_MS + QUARTER_MS + 20_000)
    news: list[Judgment] = []
    work(sqlite_engine, tell=news.extend)

    told = {(one.symbol, one.created_at) for one in news}
    assert told == {
        (names(2)[0], moment(CLOSE_MS)),
        (names(2)[0], moment(CLOSE_MS + QUARTER_MS)),
        (names(2)[1], moment(CLOSE_MS + QUARTER_MS)),
    }


def test_nothing_is_asked_while_a_cycle_runs_or_no_candle_has_closed(sqlite_engine: Engine):
    furnish(sqlite_engine, names(1), until_ms=CLOSE_MS + QUARTER_MS)

    assert cycle(sqlite_engine, CLOSE_MS + 20_000) == 1
    assert cycle(sqlite_engine, CLOSE_MS + QUARTER_MS + 20_000) == 0  # the first one is not done
    work(sqlite_engine)
    assert cycle(sqlite_engine, CLOSE_MS + QUARTER_MS + 10_000) == 0  # its candles may still be on their way
    assert cycle(sqlite_engine, CLOSE_MS + QUARTER_MS + 20_000) == 1
    assert begin_cycle(sqlite_engine, BELL, exchanges=(VENUE,), time=MarketTime(None), trace_id=None, now=NOW) == 0


def test_two_workers_on_one_queue_judge_every_symbol_once(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(begin_judging, "CHUNK", 3)
    furnish(engine, names(12), days=12)
    asked = cycle(engine)
    done: dict[str, int] = {}
    workers = [
        threading.Thread(target=lambda name=name: done.update({name: work(engine, name)})) for name in ("a", "b")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert asked == sum(done.values()) == 4
    assert len(stored(engine)) == len(set(stored(engine))) == 12 * len(FRAMES)


def test_a_candle_that_is_late_is_judged_when_it_has_come(sqlite_engine: Engine):
    furnish_but_the_first_ones_newest(sqlite_engine)
    cycle(sqlite_engine)
    work(sqlite_engine)
    assert {symbol for symbol, *_, at in stored(sqlite_engine) if at == moment(CLOSE_MS)} == {names(2)[1]}

    furnish(sqlite_engine, names(2), until_ms=CLOSE_MS + QUARTER_MS)
    cycle(sqlite_engine, CLOSE_MS + QUARTER_MS + 20_000)
    work(sqlite_engine)

    for strategy in STRATEGIES:
        assert closes(sqlite_engine, names(2)[0], strategy, "15M") == [moment(CLOSE_MS), moment(CLOSE_MS + QUARTER_MS)]


def test_what_came_late_for_a_close_is_judged_within_minutes_and_not_at_the_next_one(sqlite_engine: Engine):
    """A signal opens nothing once it is five minutes old: after a restart across a close, all would be lost."""
    furnish_but_the_first_ones_newest(sqlite_engine)
    cycle(sqlite_engine)
    work(sqlite_engine)
    furnish(sqlite_engine, names(2))

    assert cycle(sqlite_engine, CLOSE_MS + 40_000) == 0
    assert cycle(sqlite_engine, CLOSE_MS + 60_000) == 1
    work(sqlite_engine)
    for strategy in STRATEGIES:
        assert closes(sqlite_engine, names(2)[0], strategy, "15M") == [moment(CLOSE_MS)]
    assert cycle(sqlite_engine, CLOSE_MS + 130_000) == 1  # the first answer still says that something was late
    work(sqlite_engine)
    assert [cycle(sqlite_engine, CLOSE_MS + second * 1000) for second in (250, 400, 800)] == [1, 0, 0]


def test_a_close_for_which_all_came_is_not_looked_at_again(sqlite_engine: Engine):
    furnish(sqlite_engine, names(2))
    cycle(sqlite_engine)
    work(sqlite_engine)

    assert [cycle(sqlite_engine, CLOSE_MS + second * 1000) for second in (60, 120, 240, 600)] == [0, 0, 0, 0]


@each_strategy
def test_what_comes_later_changes_no_reading(sqlite_engine: Engine, strategy: Strategy):
    listed = names(2)
    ids = furnish(sqlite_engine, listed)
    with reading(sqlite_engine) as db:
        then = strategy.read(market_of(db, ids, CLOSE_MS, strategy.needs))
    furnish(sqlite_engine, listed, until_ms=CLOSE_MS + 40 * QUARTER_MS)
    with reading(sqlite_engine) as db:
        again = strategy.read(market_of(db, ids, CLOSE_MS, strategy.needs))
        later = strategy.read(market_of(db, ids, CLOSE_MS + 40 * QUARTER_MS, strategy.needs))

    assert then == again
    assert then != later


@each_strategy
def test_a_symbol_is_judged_alike_alone_and_among_others(sqlite_engine: Engine, strategy: Strategy):
    ids = furnish(sqlite_engine, names(10))
    with reading(sqlite_engine) as db:
        together = strategy.read(market_of(db, ids, CLOSE_MS, strategy.needs))
        alone = [strategy.read(market_of(db, {symbol: ids[symbol]}, CLOSE_MS, strategy.needs))[0] for symbol in ids]

    assert alone == together


@each_strategy
def test_a_hole_is_told_and_nothing_before_it_counts(sqlite_engine: Engine, strategy: Strategy):
    ids = furnish(sqlite_engine, names(1))
    hole = CLOSE_MS - 100 * QUARTER_MS
    with transaction(sqlite_engine) as db:
        db.execute(delete(klines_table).where(klines_table.c.timeframe == "15m", klines_table.c.open_time == hole))
    with reading(sqlite_engine) as db:
        market = market_of(db, ids, CLOSE_MS, strategy.needs)
        [found] = judge_all(strategy, market)

    assert (market.frames["15m"].statuses, market.frames["15m"].known) == (("gap",), (99,))
    assert found.inputs.status == "gap"
    assert found.verdict.confidence != "HIGH"


def test_funding_and_open_interest_that_are_old_are_not_known(sqlite_engine: Engine):
    ids = furnish(sqlite_engine, names(1))
    with transaction(sqlite_engine) as db:
        db.execute(text("UPDATE tickers SET open_time = open_time - 3600000"))
        db.execute(text(f"DELETE FROM open_interest WHERE open_time > {CLOSE_MS - 3_600_000}"))
    with reading(sqlite_engine) as db:
        [found] = V3.read(market_of(db, ids, CLOSE_MS, V3.needs))

    assert (found.funding, found.oi_6h, found.status) == (None, None, "stale")


def test_the_change_of_open_interest_is_over_six_hours(sqlite_engine: Engine):
    ids = furnish(sqlite_engine, names(1))
    with reading(sqlite_engine) as db:
        [found] = V3.read(market_of(db, ids, CLOSE_MS, V3.needs))

    assert found.oi_6h == pytest.approx(36.0)  # one a minute: from 1000 to 1360


def test_a_stored_judgment_comes_out_the_same_again(engine: Engine):
    furnish(engine, names(2))
    cycle(engine)
    work(engine)
    with reading(engine) as db:
        found = [rederive(db, one.id) for one in judgments.recent(db, limit=100)]

    assert len(found) == 2 * len(FRAMES)
    assert {one.stored.strategy_type for one in found} == set(STRATEGIES)
    assert all(not one.differences for one in found)


def test_a_stored_judgment_that_was_changed_is_found_out(sqlite_engine: Engine):
    furnish(sqlite_engine, names(1))
    cycle(sqlite_engine)
    work(sqlite_engine)
    with transaction(sqlite_engine) as db:
        db.execute(update(strategy_judgments).values(score=Decimal("9.99")))
        [one, *_] = judgments.recent(db, limit=1)

        assert rederive(db, one.id).differences == ("score",)
        with pytest.raises(NotFound):
            rederive(db, one.id + 1_000)


def test_the_first_exchange_that_has_a_symbol_is_judged(sqlite_engine: Engine):
    ids = furnish(sqlite_engine, names(1))
    with reading(sqlite_engine) as db:
        assert pair_ids(db, set(ids), ("demo-okx", VENUE)) == ids
        assert pair_ids(db, {"NO/USDT:USDT"}, (VENUE,)) == {}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"symbols": [], "exchanges": [VENUE], "from_ms": 0, "until_ms": 1},
        {"symbols": names(1), "exchanges": [VENUE], "from_ms": 1, "until_ms": 1},
        {"symbols": names(1), "exchanges": [VENUE], "from_ms": 0, "until_ms": 1, "more": 1},
    ],
)
def test_what_cannot_be_judged_is_refused(payload: dict):
    with pytest.raises(InvalidInput):
        begin(payload)
