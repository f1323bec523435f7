"""The cache that all processes share. An outage of it costs time, never an answer: whatever fails here is a miss."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
import redis

from app.cache.cache import HELD_EMPTY_S, READS, Count, uncounted
from app.cache.keys import Key
from app.cache.link import Link

_MOST_OWED = 10_000
_EMPTY = b""
_T = TypeVar("_T")


class RedisCache:
    """Entries in Redis as JSON. Safe from several threads and greenlets.

    An entry that could not be dropped or replaced while Redis was away is owed: it is dropped before anything else is read.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic, count: Count = uncounted) -> None:
        self._link = Link(url, meanwhile="values are read from the database", monotonic=monotonic)
        self._count = count
        self._owed: dict[str, None] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, /, **parts: str) -> Any | None:
        """Return a copy of what is stored, or None."""
        name = key.name(**parts)
        well, text = self._try(lambda client: client.get(name))
        value, result = None, "miss" if well else "trouble"
        if text:
            try:
                value, result = msgspec.json.decode(text), "hit"
            except msgspec.DecodeError:
                result = "trouble"
                self.forget(key, **parts)
        self._count(READS, layer="redis", result=result)
        return value

    def put(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was just written: it replaces whatever is there."""
        name, text = key.name(**parts), msgspec.json.encode(value)
        self._change(name, lambda client: client.set(name, text, ex=key.ttl_s))

    def put_all(self, key: Key, entries: Iterable[tuple[dict[str, str], Any]]) -> None:
        """Store many that were just written, in one round trip."""
        texts = {key.name(**parts): msgspec.json.encode(value) for parts, value in entries}

        def put(client: redis.Redis) -> None:
            with client.pipeline(transaction=False) as pipe:
                for name, text in texts.items():
                    pipe.set(name, text, ex=key.ttl_s)
                pipe.execute()

        if not self._try(put)[0]:
            self._owe(texts)

    def fill(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was read after a miss, unless the entry was stored or forgotten meanwhile."""
        name, text = key.name(**parts), msgspec.json.encode(value)
        self._try(lambda client: client.set(name, text, ex=key.ttl_s, nx=True))

    def forget(self, key: Key, /, **parts: str) -> None:
        """Drop an entry, and hold it empty for a moment against those who are still reading the old value."""
        name = key.name(**parts)
        self._change(name, lambda client: client.set(name, _EMPTY, ex=HELD_EMPTY_S))

    def close(self) -> None:
        """Let go of the connections; the next use opens another one."""
        self._link.close()

    def _change(self, name: str, change: Callable[[redis.Redis], object]) -> None:
        if not self._try(change)[0]:
            self._owe([name])

    def _owe(self, names: Iterable[str]) -> None:
        with self._lock:
            self._owed |= dict.fromkeys(names)
            while len(self._owed) > _MOST_OWED:
                del self._owed[next(iter(self._owed))]

    def _try(self, ask: Callable[[redis.Redis], _T]) -> tuple[bool, _T | None]:
        """Do one thing with Redis, after what is owed. Returns whether it went well, and what it came to."""

        def pay_and_ask(client: redis.Redis) -> _T:
            self._pay(client)
            return ask(client)

        return self._link.attempt(pay_and_ask)

    def _pay(self, client: redis.Redis) -> None:
        if not self._owed:
            return
        with self._lock:
            names = list(self._owed)
        with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.set(name, _EMPTY, ex=HELD_EMPTY_S)
            pipe.execute()
        with self._lock:
            for name in names:
                self._owed.pop(name, None)
