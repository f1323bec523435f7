"""Two caches as one: a near one inside this process, and a far one that all processes share."""

from typing import Any

from app.cache.cache import Cache
from app.cache.keys import Key

NEAR_S = 5  # the lifetime to give the near cache: what another process changes is seen here within this


class LayeredCache:
    """Reads from the near cache, then from the far one. What is written or forgotten is so in both."""

    def __init__(self, near: Cache, far: Cache) -> None:
        self._near, self._far = near, far

    def get(self, key: Key, /, **parts: str) -> Any | None:
        """Return a copy of what is stored, or None."""
        value = self._near.get(key, **parts)
        if value is None:
            value = self._far.get(key, **parts)
            if value is not None:
                self._near.fill(key, value, **parts)
        return value

    def put(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was just written: it replaces whatever is there."""
        self._far.put(key, value, **parts)
        self._near.put(key, value, **parts)

    def fill(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was read after a miss, unless the entry was stored or forgotten meanwhile."""
        self._far.fill(key, value, **parts)
        self._near.fill(key, value, **parts)

    def forget(self, key: Key, /, **parts: str) -> None:
        """Drop an entry, and hold it empty for a moment against those who are still reading the old value."""
        self._far.forget(key, **parts)
        self._near.forget(key, **parts)
