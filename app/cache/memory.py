"""A cache inside this process: a bounded number of entries, the least recently used of which go first."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from app.cache.cache import HELD_EMPTY_S, READS, Count, uncounted
from app.cache.keys import Key


class MemoryCache:
    """Entries are kept as JSON, so that changing a value that was got, or put, changes nothing in here."""

    def __init__(
        self,
        *,
        entries: int = 1_000,
        longest_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        count: Count = uncounted,
    ) -> None:
        self._room, self._longest_s = entries, longest_s
        self._monotonic, self._count = monotonic, count
        self._entries: OrderedDict[str, tuple[float, bytes | None]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, /, **parts: str) -> Any | None:
        """Return a copy of what is stored, or None."""
        name = key.name(**parts)
        with self._lock:
            held = self._held(name)
            if held is not None:
                self._entries.move_to_end(name)
        text = held[1] if held else None
        self._count(READS, layer="memory", result="miss" if text is None else "hit")
        return None if text is None else msgspec.json.decode(text)

    def put(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was just written: it replaces whatever is there."""
        text = msgspec.json.encode(value)
        with self._lock:
            self._store(key.name(**parts), self._life_s(key), text)

    def fill(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was read after a miss, unless the entry was stored or forgotten meanwhile."""
        name, text = key.name(**parts), msgspec.json.encode(value)
        with self._lock:
            if self._held(name) is None:
                self._store(name, self._life_s(key), text)

    def forget(self, key: Key, /, **parts: str) -> None:
        """Drop an entry, and hold it empty for a moment against those who are still reading the old value."""
        with self._lock:
            self._store(key.name(**parts), HELD_EMPTY_S, None)

    def __len__(self) -> int:
        """How many entries are held, the empty and the outdated ones included."""
        return len(self._entries)

    def _life_s(self, key: Key) -> float:
        return key.ttl_s if self._longest_s is None else min(key.ttl_s, self._longest_s)

    def _held(self, name: str) -> tuple[float, bytes | None] | None:
        held = self._entries.get(name)
        if held is not None and held[0] <= self._monotonic():
            del self._entries[name]
            return None
        return held

    def _store(self, name: str, life_s: float, text: bytes | None) -> None:
        self._entries[name] = (self._monotonic() + life_s, text)
        self._entries.move_to_end(name)
        while len(self._entries) > self._room:
            self._entries.popitem(last=False)
