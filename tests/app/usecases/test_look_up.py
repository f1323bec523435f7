"""Looking up through both caches and a real database."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, event

from app.cache import keys
from app.cache.layered import NEAR_S, LayeredCache
from app.cache.memory import MemoryCache
from app.cache.redis import RedisCache
from app.errors import Unavailable
from app.storage import config, judgments, statistics, symbols
from app.storage.database import open_engine, transaction
from app.storage.judgments import NewJudgment
from app.storage.statistics import Statistics
from app.usecases.look_up import LookUp
from tests.builders import later

NOW = datetime(2026, 11, 21, 5, 24, 11, 123456, tzinfo=UTC)


def figures(symbol: str = "BTCUSDT", pnl: str = "2500.50000000") -> Statistics:
    return Statistics(
        symbol=symbol,
        strategy_type="V3",
        total_trades=150,
        winning_trades=95,
        losing_trades=55,
        win_rate=Decimal("63.33"),
        total_pnl=Decimal(pnl),
        avg_pnl_per_trade=None,
        max_drawdown=Decimal("-12.5000"),
        profit_factor=Decimal("1.8500"),
        best_trade=None,
        worst_trade=None,
        avg_holding_time=None,
        last_updated=NOW,
    )


SECONDS = count()


def judge(engine: Engine, score: str = "8.50", timeframe: str = "1H", symbol: str = "BTCUSDT") -> None:
    with transaction(engine) as db:
        data = {"adx": 31.5, "nested": {"list": [1, None, "ä"]}}
        closed = later(next(SECONDS))  # one judgment a candle
        judgments.add(db, NewJudgment(symbol, "V3", timeframe, "UP", Decimal(score), "HIGH", data, closed))


def furnish(engine: Engine) -> None:
    with transaction(engine) as db:
        symbols.add(db, "BTCUSDT", now=NOW)
        symbols.change(
            db, "BTCUSDT", now=NOW, last_price=Decimal("45000.12345678"), funding_rate=Decimal("-0.00010000")
        )
        statistics.put(db, figures())
        config.put(db, "risk.max_loss", "0.02", now=NOW, config_type="NUMBER", description="A share.")
    judge(engine)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Reads:
    """Counts what the database is asked."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        self.slowly: Callable[[], object] = lambda: None
        event.listen(engine, "before_cursor_execute", self._asked)

    def _asked(self, _connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if statement.startswith("SELECT"):
            self.count += 1
            self.slowly()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(valkey_url: str, clock: Clock) -> Iterator[LayeredCache]:
    far = RedisCache(valkey_url, monotonic=clock)
    yield LayeredCache(MemoryCache(longest_s=NEAR_S, monotonic=clock), far)
    far.close()


@pytest.fixture
def look_up(sqlite_engine: Engine, cache: LayeredCache) -> LookUp:
    furnish(sqlite_engine)
    return LookUp(sqlite_engine, cache)


def everything(look_up: LookUp) -> list[Any]:
    return [
        look_up.symbol("BTCUSDT"),
        look_up.judgment("BTCUSDT", "V3", "1H"),
        look_up.statistics("BTCUSDT", "V3"),
        look_up.config("risk.max_loss"),
    ]


def test_what_comes_from_a_cache_is_what_the_database_holds(engine: Engine, cache: LayeredCache, clock: Clock):
    furnish(engine)
    look_up = LookUp(engine, cache)
    from_database = everything(look_up)
    from_memory = everything(look_up)
    clock.now_s += NEAR_S
    from_redis = everything(look_up)

    assert from_database == from_memory == from_redis
    assert None not in from_database
    assert from_redis[0].last_price == Decimal("45000.12345678")
    assert from_redis[0].created_at == NOW
    assert from_redis[1].indicators_data == {"adx": 31.5, "nested": {"list": [1, None, "ä"]}}
    assert from_redis[2] == figures()


def test_the_database_is_asked_once(sqlite_engine: Engine, look_up: LookUp, clock: Clock):
    reads = Reads(sqlite_engine)
    for _ in range(3):
        everything(look_up)
        clock.now_s += NEAR_S

    assert reads.count == 4


def test_another_process_need_not_ask_the_database(sqlite_engine: Engine, look_up: LookUp, valkey_url: str):
    everything(look_up)
    reads = Reads(sqlite_engine)
    far = RedisCache(valkey_url)
    found = everything(LookUp(sqlite_engine, LayeredCache(MemoryCache(), far)))
    far.close()

    assert reads.count == 0
    assert None not in found


def test_what_is_unknown_is_none_and_is_seen_as_soon_as_it_is_there(sqlite_engine: Engine, look_up: LookUp):
    before = look_up.symbol("ETHUSDT"), look_up.judgment("BTCUSDT", "ICT", "1H"), look_up.config("nothing")
    with transaction(sqlite_engine) as db:
        symbols.add(db, "ETHUSDT", now=NOW)  # by somebody who knows no cache
    after = look_up.symbol("ETHUSDT")

    assert before == (None, None, None)
    assert after is not None


def test_a_change_is_seen_at_once_where_it_was_made(sqlite_engine: Engine, look_up: LookUp):
    before = everything(look_up)
    judge(sqlite_engine, score="1.25")
    with transaction(sqlite_engine) as db:
        symbols.change(db, "BTCUSDT", now=NOW, status="SUSPENDED")
        statistics.put(db, figures(pnl="-1.00000000"))
        config.put(db, "risk.max_loss", "0.05", now=NOW, config_type="NUMBER")
    look_up.symbol_changed("BTCUSDT")
    look_up.judged("BTCUSDT", "V3", "1H")
    look_up.statistics_changed("BTCUSDT", "V3")
    look_up.config_changed("risk.max_loss")
    symbol, judgment, statistic, setting = everything(look_up)

    assert before[0].status == "ACTIVE"
    assert symbol.status == "SUSPENDED"
    assert judgment.score == Decimal("1.25")
    assert statistic.total_pnl == Decimal(-1)
    assert setting.config_value == "0.05"


def test_a_symbol_that_was_removed_takes_everything_with_it(sqlite_engine: Engine, look_up: LookUp):
    everything(look_up)
    with transaction(sqlite_engine) as db:
        symbols.remove(db, "BTCUSDT")
    look_up.symbol_removed("BTCUSDT")

    assert everything(look_up)[:3] == [None, None, None]


def test_a_storm_of_misses_reads_the_database_once(sqlite_engine: Engine, look_up: LookUp):
    reads, all_ask = Reads(sqlite_engine), threading.Barrier(20)
    reads.slowly = lambda: threading.Event().wait(0.3)  # so that all of them come while the first one reads
    found: list[Any] = []

    def ask() -> None:
        all_ask.wait()
        found.append(look_up.symbol("BTCUSDT"))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reads.count == 1
    assert len(found) == 20
    assert all(symbol is not None and symbol.symbol == "BTCUSDT" for symbol in found)


def test_a_storm_on_a_database_that_is_away_tells_everybody(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path / 'no' / 'folder.db'}")
    look_up, told, all_ask = LookUp(engine, MemoryCache()), [], threading.Barrier(10)

    def ask() -> None:
        all_ask.wait()
        try:
            look_up.symbol("BTCUSDT")
        except Unavailable as error:
            told.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()

    assert len(told) == 10


def test_who_asks_after_a_change_does_not_get_a_read_that_began_before_it(sqlite_engine: Engine, look_up: LookUp):
    """A slow reader holds the old value while the change is made; neither the cache nor anybody who asks later gets it."""
    reads, has_read, go_on = Reads(sqlite_engine), threading.Event(), threading.Event()
    seen: dict[str, Any] = {}

    def slow_cursor(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if statement.startswith("SELECT") and threading.current_thread().name == "slow":
            has_read.set()
            go_on.wait(30)

    event.listen(sqlite_engine, "after_cursor_execute", slow_cursor)
    slow = threading.Thread(target=lambda: seen.update(slow=look_up.config("risk.max_loss").config_value), name="slow")
    slow.start()
    assert has_read.wait(30)
    with transaction(sqlite_engine) as db:
        config.put(db, "risk.max_loss", "0.05", now=NOW, config_type="NUMBER")
    look_up.config_changed("risk.max_loss")
    seen["asked during"] = look_up.config("risk.max_loss").config_value
    go_on.set()
    slow.join()
    seen["asked after"] = look_up.config("risk.max_loss").config_value

    assert seen == {"slow": "0.02", "asked during": "0.05", "asked after": "0.05"}
    assert reads.count == 3


def test_an_entry_that_another_version_wrote_is_read_afresh(look_up: LookUp, cache: LayeredCache):
    cache.put(keys.SYMBOL, {"name": "BTCUSDT", "colour": "orange"}, symbol="BTCUSDT")
    found = look_up.symbol("BTCUSDT")

    assert found is not None
    assert found.last_price == Decimal("45000.12345678")


def test_without_redis_everything_is_found(sqlite_engine: Engine, tmp_path: Path):
    furnish(sqlite_engine)
    away = LayeredCache(MemoryCache(longest_s=NEAR_S), RedisCache(f"unix://{tmp_path}/nobody.sock"))

    assert None not in everything(LookUp(sqlite_engine, away))


def test_without_a_database_what_is_cached_is_still_found(look_up: LookUp, cache: LayeredCache, tmp_path: Path):
    known = everything(look_up)
    engine = open_engine(f"sqlite:///{tmp_path / 'no' / 'folder.db'}")
    found = everything(LookUp(engine, cache))
    engine.dispose()

    assert found == known


def test_warming_up_fills_the_shared_cache_with_what_is_watched(
    sqlite_engine: Engine, look_up: LookUp, valkey_url: str
):
    judge(sqlite_engine, score="9.75")
    judge(sqlite_engine, score="3.00", timeframe="4H")
    with transaction(sqlite_engine) as db:
        symbols.add(db, "OLDUSDT", now=NOW - timedelta(days=1), status="INACTIVE")
        statistics.put(db, figures("OLDUSDT"))
    filled = look_up.warm_up()
    with redis.Redis.from_url(valkey_url) as client:
        names = {name.decode() for name in client.scan_iter()}
    reads = Reads(sqlite_engine)
    judgment = look_up.judgment("BTCUSDT", "V3", "1H")

    assert names == {
        "symbol:info:BTCUSDT",
        "strategy:judgment:BTCUSDT:V3:1H",
        "strategy:judgment:BTCUSDT:V3:4H",
        "statistics:BTCUSDT:V3",
        "config:risk.max_loss",
    }
    assert filled == 5
    assert judgment is not None
    assert judgment.score == Decimal("9.75")
    assert reads.count == 0


def test_warming_up_does_not_put_old_values_over_new_ones(look_up: LookUp, cache: LayeredCache):
    look_up.config_changed("risk.max_loss")  # somebody changes it while we read
    look_up.warm_up()

    assert cache.get(keys.CONFIG, config_key="risk.max_loss") is None
