"""What every cache promises, tested on each of them."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app.cache.cache import Cache
from app.cache.keys import CONFIG, SYMBOL, Key
from app.cache.layered import NEAR_S, LayeredCache
from app.cache.memory import MemoryCache
from app.cache.redis import RedisCache

BITCOIN: dict[str, Any] = {"symbol": "BTCUSDT", "last_price": 45000.0, "tags": ["a", {"b": None}], "active": True}


@pytest.fixture(params=["memory", "redis", "layered"])
def cache(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[Cache]:
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    near, far = MemoryCache(longest_s=NEAR_S), RedisCache(valkey_url)
    yield {"memory": near, "redis": far, "layered": LayeredCache(near, far)}[request.param]
    far.close()


def test_what_was_put_can_be_got(cache: Cache):
    cache.put(SYMBOL, BITCOIN, symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") == BITCOIN


@pytest.mark.parametrize("value", [0, "", False, [], {}, "text", 1.5, -7, ["ä", "🚢"]])
def test_a_value_that_looks_like_nothing_is_something(cache: Cache, value: Any):
    cache.put(CONFIG, value, config_key="setting")

    assert cache.get(CONFIG, config_key="setting") == value


def test_what_was_never_put_is_missing(cache: Cache):
    assert cache.get(SYMBOL, symbol="NOBODY") is None


def test_what_was_put_last_is_got(cache: Cache):
    cache.put(SYMBOL, {"last_price": 1}, symbol="BTCUSDT")
    cache.put(SYMBOL, {"last_price": 2}, symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") == {"last_price": 2}


def test_entries_do_not_reach_each_other(cache: Cache):
    cache.put(SYMBOL, 1, symbol="a")
    cache.put(SYMBOL, 2, symbol="b")
    cache.put(CONFIG, 3, config_key="a")
    cache.forget(SYMBOL, symbol="b")

    assert cache.get(SYMBOL, symbol="a") == 1
    assert cache.get(SYMBOL, symbol="b") is None
    assert cache.get(CONFIG, config_key="a") == 3


def test_what_was_forgotten_is_missing(cache: Cache):
    cache.put(SYMBOL, BITCOIN, symbol="BTCUSDT")
    cache.forget(SYMBOL, symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") is None


def test_forgetting_what_is_not_there_is_no_error(cache: Cache):
    cache.forget(SYMBOL, symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") is None


def test_an_empty_place_can_be_filled(cache: Cache):
    cache.fill(SYMBOL, BITCOIN, symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") == BITCOIN


def test_filling_does_not_replace_what_a_writer_put(cache: Cache):
    cache.put(SYMBOL, "new", symbol="BTCUSDT")
    cache.fill(SYMBOL, "old", symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") == "new"


def test_a_slow_reader_does_not_bring_back_what_was_forgotten(cache: Cache):
    cache.forget(SYMBOL, symbol="BTCUSDT")
    cache.fill(SYMBOL, "read before the change", symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") is None


def test_a_writer_puts_where_something_was_just_forgotten(cache: Cache):
    cache.forget(SYMBOL, symbol="BTCUSDT")
    cache.put(SYMBOL, "new", symbol="BTCUSDT")

    assert cache.get(SYMBOL, symbol="BTCUSDT") == "new"


def test_changing_what_was_put_or_got_changes_nothing_inside(cache: Cache):
    value: dict[str, Any] = {"tags": [1]}
    cache.put(SYMBOL, value, symbol="BTCUSDT")
    value["tags"].append(2)
    got = cache.get(SYMBOL, symbol="BTCUSDT")
    assert got is not None
    got["tags"].append(3)

    assert cache.get(SYMBOL, symbol="BTCUSDT") == {"tags": [1]}


def test_several_threads_use_one_cache(cache: Cache):
    wrong: list[Any] = []

    def use(number: int) -> None:
        for turn in range(40):
            cache.put(SYMBOL, [number, turn], symbol=f"own-{number}")
            cache.fill(SYMBOL, "shared", symbol="shared")
            if cache.get(SYMBOL, symbol=f"own-{number}") != [number, turn]:
                wrong.append(turn)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert cache.get(SYMBOL, symbol="shared") == "shared"


def test_an_entry_outlives_nothing_but_its_key_says(cache: Cache):
    """The shortest lifetime that Redis knows: the entry is there, and then it is not."""
    brief = Key("brief:{name}", ttl_s=1)
    cache.put(brief, 1, name="a")
    seen = cache.get(brief, name="a")
    deadline = threading.Event()
    for _ in range(200):
        if cache.get(brief, name="a") is None:
            break
        deadline.wait(0.05)

    assert seen == 1
    assert cache.get(brief, name="a") is None
