"""What a cache is: a place that may forget anything at any time, and never says anything older than it was told."""

from typing import Any, Protocol

from app.cache.keys import Key

READS = "flotilla_cache_reads_total"
HELD_EMPTY_S = 5  # longer than any read from the database takes


class Count(Protocol):
    """Where a cache counts its reads: by layer, and by result (hit, miss or trouble)."""

    def __call__(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a counter."""


class Cache(Protocol):
    """Values of JSON, by key. ``None`` is a miss and cannot be stored. Trouble with a cache is a miss, not an error."""

    def get(self, key: Key, /, **parts: str) -> Any | None:
        """Return a copy of what is stored, or None."""

    def put(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was just written: it replaces whatever is there."""

    def fill(self, key: Key, value: Any, /, **parts: str) -> None:
        """Store what was read after a miss, unless the entry was stored or forgotten meanwhile.

        Who reads slowly may hold what another has changed since; it must not bring the old value back.
        """

    def forget(self, key: Key, /, **parts: str) -> None:
        """Drop an entry, and hold it empty for a moment against those who are still reading the old value."""


def uncounted(_name: str, _value: float = 1, /, **_labels: str) -> None:
    """Count nothing: for a cache that nobody measures."""
