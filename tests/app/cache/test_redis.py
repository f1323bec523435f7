"""The shared cache when Redis is away, hangs, comes back, or holds what it should not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.cache.keys import CONFIG, KEYS, SYMBOL
from app.cache.redis import RedisCache
from tests.builders import Valkey


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Counted:
    def __init__(self) -> None:
        self.results: list[str] = []

    def __call__(self, _name: str, _value: float = 1, /, **labels: str) -> None:
        assert labels["layer"] == "redis"
        self.results.append(labels["result"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def cache(own_valkey: Valkey, clock: Clock, counted: Counted) -> Iterator[RedisCache]:
    cache = RedisCache(own_valkey.url, monotonic=clock, count=counted)
    yield cache
    cache.close()


def test_every_entry_has_its_lifetime_in_redis(own_valkey: Valkey, cache: RedisCache):
    cache.put(SYMBOL, 1, symbol="put")
    cache.fill(SYMBOL, 1, symbol="filled")
    cache.put(CONFIG, 1, config_key="forgotten")
    cache.forget(CONFIG, config_key="forgotten")
    with redis.Redis.from_url(own_valkey.url) as client:
        lives = {name.decode(): client.ttl(name) for name in client.scan_iter()}

    assert len(lives) == 3
    assert 290 < lives["symbol:info:put"] <= 300
    assert 290 < lives["symbol:info:filled"] <= 300
    assert 0 < lives["config:forgotten"] <= 5


def test_reads_without_redis_are_misses_that_are_counted(tmp_path: Path, counted: Counted):
    cache = RedisCache(f"unix://{tmp_path}/nobody.sock", count=counted)
    cache.put(SYMBOL, 1, symbol="BTC")
    cache.fill(SYMBOL, 1, symbol="BTC")
    cache.forget(SYMBOL, symbol="BTC")

    assert cache.get(SYMBOL, symbol="BTC") is None
    assert counted.results == ["trouble"]


def test_hits_and_misses_are_counted(cache: RedisCache, counted: Counted):
    cache.get(SYMBOL, symbol="BTC")
    cache.put(SYMBOL, 1, symbol="BTC")
    cache.get(SYMBOL, symbol="BTC")
    cache.forget(SYMBOL, symbol="BTC")
    cache.get(SYMBOL, symbol="BTC")

    assert counted.results == ["miss", "hit", "miss"]


def test_the_cache_works_again_after_a_restart_that_it_did_not_see(own_valkey: Valkey, cache: RedisCache):
    cache.put(SYMBOL, 1, symbol="BTC")
    own_valkey.kill()
    own_valkey.start()
    cache.put(SYMBOL, 2, symbol="BTC")

    assert cache.get(SYMBOL, symbol="BTC") == 2


def test_after_trouble_redis_is_left_alone_for_a_moment(
    own_valkey: Valkey, cache: RedisCache, clock: Clock, counted: Counted
):
    cache.put(SYMBOL, 1, symbol="BTC")
    own_valkey.freeze()
    for _ in range(1_000):  # at half a second each, this would take minutes
        cache.get(SYMBOL, symbol="BTC")
    own_valkey.thaw()
    during = cache.get(SYMBOL, symbol="BTC")
    clock.now_s += 1

    assert during is None
    assert cache.get(SYMBOL, symbol="BTC") == 1
    assert counted.results == ["trouble"] * 1_001 + ["hit"]


@pytest.mark.parametrize("change", ["put", "forget"])
def test_a_change_made_while_redis_hangs_does_not_leave_the_old_value(
    own_valkey: Valkey, cache: RedisCache, clock: Clock, change: str
):
    cache.put(CONFIG, "old", config_key="limit")
    own_valkey.freeze()
    cache.get(SYMBOL, symbol="anything")  # from now on Redis is left alone, so it does not even hear of the change
    if change == "put":
        cache.put(CONFIG, "new", config_key="limit")
    else:
        cache.forget(CONFIG, config_key="limit")
    own_valkey.thaw()
    clock.now_s += 1
    reader = RedisCache(own_valkey.url)
    cache.get(SYMBOL, symbol="anything")  # the first use after the outage drops what is owed
    seen = [cache.get(CONFIG, config_key="limit"), reader.get(CONFIG, config_key="limit")]
    reader.close()

    assert "old" not in seen


def test_a_damaged_entry_is_a_miss_and_is_dropped(own_valkey: Valkey, cache: RedisCache, counted: Counted):
    with redis.Redis.from_url(own_valkey.url) as client:
        client.set("symbol:info:BTC", b"{not json")
        first = cache.get(SYMBOL, symbol="BTC")

        assert first is None
        assert client.get("symbol:info:BTC") == b""
    assert counted.results == ["trouble"]


def test_an_entry_of_another_kind_is_a_miss(own_valkey: Valkey, cache: RedisCache):
    with redis.Redis.from_url(own_valkey.url) as client:
        client.lpush("symbol:info:BTC", "a queue with the name of a key")

    assert cache.get(SYMBOL, symbol="BTC") is None


def test_a_full_redis_is_no_error(own_valkey: Valkey, cache: RedisCache):
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", "1")
        client.config_set("maxmemory-policy", "noeviction")
    cache.put(SYMBOL, 1, symbol="BTC")

    assert cache.get(SYMBOL, symbol="BTC") is None


def test_no_cache_entry_can_be_mistaken_for_a_queue_of_celery():
    assert all(":" in key.pattern.partition("{")[0] for key in KEYS)


def test_many_are_stored_at_once_each_with_its_lifetime(own_valkey: Valkey, cache: RedisCache):
    cache.put_all(SYMBOL, (({"symbol": name}, {"name": name}) for name in ("BTC", "A:B")))
    with redis.Redis.from_url(own_valkey.url) as client:
        lives = {name.decode(): client.ttl(name) for name in client.scan_iter()}

    assert [cache.get(SYMBOL, symbol=name) for name in ("BTC", "A:B")] == [{"name": "BTC"}, {"name": "A:B"}]
    assert len(lives) == 2
    assert all(290 < life <= 300 for life in lives.values())


def test_nothing_is_stored_of_nothing(own_valkey: Valkey, cache: RedisCache):
    cache.put_all(SYMBOL, [])
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.dbsize() == 0


def test_many_that_could_not_be_stored_while_redis_hangs_are_owed(own_valkey: Valkey, cache: RedisCache, clock: Clock):
    cache.put_all(SYMBOL, (({"symbol": name}, "old") for name in ("BTC", "ETH", "SOL")))
    own_valkey.freeze()
    cache.get(SYMBOL, symbol="anything")  # from now on Redis is left alone
    cache.put_all(SYMBOL, (({"symbol": name}, "new") for name in ("BTC", "ETH")))
    own_valkey.thaw()
    clock.now_s += 1
    cache.get(SYMBOL, symbol="anything")  # the first use after the outage drops what is owed
    reader = RedisCache(own_valkey.url)
    seen = [reader.get(SYMBOL, symbol=name) for name in ("BTC", "ETH", "SOL")]
    reader.close()

    assert seen == [None, None, "old"]


def test_many_replace_what_is_there_and_what_was_forgotten(cache: RedisCache):
    cache.put(SYMBOL, 1, symbol="BTC")
    cache.forget(SYMBOL, symbol="ETH")
    cache.put_all(SYMBOL, [({"symbol": "BTC"}, 2), ({"symbol": "ETH"}, 2)])

    assert [cache.get(SYMBOL, symbol=name) for name in ("BTC", "ETH")] == [2, 2]
