"""The cache inside a process: bounded in number and in time."""

from app.cache.cache import HELD_EMPTY_S
from app.cache.keys import CONFIG, SYMBOL
from app.cache.memory import MemoryCache


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_entry_lives_as_long_as_its_key_says():
    clock = Clock()
    cache = MemoryCache(monotonic=clock)
    cache.put(SYMBOL, "here", symbol="BTC")
    clock.now_s += 299.9
    before = cache.get(SYMBOL, symbol="BTC")
    clock.now_s += 0.1

    assert before == "here"
    assert cache.get(SYMBOL, symbol="BTC") is None


def test_a_near_cache_keeps_nothing_longer_than_its_own_limit():
    clock = Clock()
    cache = MemoryCache(monotonic=clock, longest_s=5)
    cache.put(CONFIG, "here", config_key="a")
    clock.now_s += 5

    assert cache.get(CONFIG, config_key="a") is None


def test_reading_does_not_make_an_entry_live_longer():
    clock = Clock()
    cache = MemoryCache(monotonic=clock, longest_s=5)
    cache.put(CONFIG, "here", config_key="a")
    for _ in range(5):
        clock.now_s += 1
        cache.get(CONFIG, config_key="a")

    assert cache.get(CONFIG, config_key="a") is None


def test_a_forgotten_place_can_be_filled_again_after_a_moment():
    clock = Clock()
    cache = MemoryCache(monotonic=clock)
    cache.forget(SYMBOL, symbol="BTC")
    clock.now_s += HELD_EMPTY_S
    cache.fill(SYMBOL, "read afresh", symbol="BTC")

    assert cache.get(SYMBOL, symbol="BTC") == "read afresh"


def test_the_entry_that_was_used_longest_ago_goes_first():
    cache = MemoryCache(entries=3)
    for name in ("a", "b", "c"):
        cache.put(SYMBOL, name, symbol=name)
    cache.get(SYMBOL, symbol="a")
    cache.put(SYMBOL, "d", symbol="d")

    assert [cache.get(SYMBOL, symbol=name) for name in ("a", "b", "c", "d")] == ["a", None, "c", "d"]


def test_the_number_of_entries_stays_bounded_whatever_is_done():
    cache = MemoryCache(entries=10)
    for number in range(100):
        cache.put(SYMBOL, number, symbol=f"put-{number}")
        cache.fill(SYMBOL, number, symbol=f"filled-{number}")
        cache.forget(SYMBOL, symbol=f"forgotten-{number}")

    assert len(cache) == 10


def test_hits_and_misses_are_counted():
    counted: list[tuple[str, str]] = []
    cache = MemoryCache(count=lambda _name, _value=1, /, **labels: counted.append((labels["layer"], labels["result"])))
    cache.get(SYMBOL, symbol="BTC")
    cache.put(SYMBOL, 0, symbol="BTC")
    cache.get(SYMBOL, symbol="BTC")
    cache.forget(SYMBOL, symbol="BTC")
    cache.get(SYMBOL, symbol="BTC")

    assert counted == [("memory", "miss"), ("memory", "hit"), ("memory", "miss")]
