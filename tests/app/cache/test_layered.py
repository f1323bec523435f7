"""The two layers together: the near one answers, the far one is where processes meet."""

from collections.abc import Iterator

import pytest
import redis

from app.cache.keys import CONFIG, SYMBOL
from app.cache.layered import NEAR_S, LayeredCache
from app.cache.memory import MemoryCache
from app.cache.redis import RedisCache
from tests.builders import Valkey


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class OneProcess:
    """The caches of one process, and which layer answered."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.hits: list[str] = []
        self.near = MemoryCache(longest_s=NEAR_S, monotonic=self.clock, count=self._count)
        self.far = RedisCache(url, monotonic=self.clock, count=self._count)
        self.cache = LayeredCache(self.near, self.far)

    def _count(self, _name: str, _value: float = 1, /, **labels: str) -> None:
        if labels["result"] == "hit":
            self.hits.append(labels["layer"])


@pytest.fixture
def processes(own_valkey: Valkey) -> Iterator[tuple[OneProcess, OneProcess]]:
    pair = OneProcess(own_valkey.url), OneProcess(own_valkey.url)
    yield pair
    for process in pair:
        process.far.close()


def test_the_second_read_is_answered_inside_the_process(processes: tuple[OneProcess, OneProcess]):
    writer, reader = processes
    writer.cache.put(SYMBOL, 1, symbol="BTC")
    for _ in range(3):
        reader.cache.get(SYMBOL, symbol="BTC")

    assert reader.hits == ["redis", "memory", "memory"]


def test_what_another_process_changed_is_seen_within_seconds(processes: tuple[OneProcess, OneProcess]):
    writer, reader = processes
    writer.cache.put(CONFIG, "old", config_key="limit")
    before = reader.cache.get(CONFIG, config_key="limit")
    writer.cache.put(CONFIG, "new", config_key="limit")
    reader.clock.now_s += NEAR_S

    assert before == "old"
    assert reader.cache.get(CONFIG, config_key="limit") == "new"


def test_what_this_process_changed_is_seen_at_once(processes: tuple[OneProcess, OneProcess]):
    writer, _ = processes
    writer.cache.put(CONFIG, "old", config_key="limit")
    writer.cache.get(CONFIG, config_key="limit")
    writer.cache.forget(CONFIG, config_key="limit")

    assert writer.cache.get(CONFIG, config_key="limit") is None


def test_forgetting_reaches_the_other_process(processes: tuple[OneProcess, OneProcess]):
    writer, reader = processes
    writer.cache.put(CONFIG, "old", config_key="limit")
    reader.cache.get(CONFIG, config_key="limit")
    writer.cache.forget(CONFIG, config_key="limit")
    reader.clock.now_s += NEAR_S

    assert reader.cache.get(CONFIG, config_key="limit") is None


def test_without_redis_the_near_cache_goes_on(own_valkey: Valkey, processes: tuple[OneProcess, OneProcess]):
    process, _ = processes
    own_valkey.kill()
    process.cache.put(SYMBOL, 1, symbol="BTC")
    process.cache.fill(SYMBOL, 2, symbol="ETH")

    assert process.cache.get(SYMBOL, symbol="BTC") == 1
    assert process.cache.get(SYMBOL, symbol="ETH") == 2


def test_both_layers_hold_what_was_filled(own_valkey: Valkey, processes: tuple[OneProcess, OneProcess]):
    process, _ = processes
    process.cache.fill(SYMBOL, 1, symbol="BTC")
    with redis.Redis.from_url(own_valkey.url) as client:
        far = client.get("symbol:info:BTC")

    assert far == b"1"
    assert process.near.get(SYMBOL, symbol="BTC") == 1
