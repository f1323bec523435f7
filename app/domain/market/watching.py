"""What is watched: which symbols, in which timeframes, how far back."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.domain.market import symbols

LARGEST = tuple(
    f"{coin}/USDT:USDT"
    for coin in ("BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "LINK", "AVAX", "LTC", "TRX", "SUI", "BCH")
)
"""Watched on a live market when nobody has said anything."""

STREAMED = "1m"
"""The one timeframe that is streamed; the higher ones are made of it."""

HISTORY = {"4h": 250, "1h": 250, "15m": 250, "1d": 120, "1m": 1_000, "5m": 300}
"""So many candles of each timeframe are kept complete, what strategies wait for first; 1m is what open trades are settled over
after a downtime, and the delta of four hours."""

MADE_OF = {"5m": "1m", "15m": "1m", "1h": "1m", "4h": "1h", "1d": "1h"}
"""Which closed candles a higher timeframe is rolled up from."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What one exchange is asked for. ``deep`` symbols have a whole book, the others only its top."""

    perpetuals: tuple[str, ...]
    spots: tuple[str, ...]
    deep: frozenset[str]

    @property
    def symbols(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.perpetuals, *self.spots)


def watch(active: Sequence[str], spots: Sequence[str], listed: Collection[str], *, books: int) -> Watch:
    """What of the active symbols and spot pairs an exchange lists. The first ``books`` perpetuals and all spot pairs are deep:
    large orders are sought in the first, triangles in the second.
    """
    perpetuals = tuple(name for name in active if name in listed and symbols.taken_apart(name).is_perpetual)
    others = [name for name in active if not symbols.taken_apart(name).is_perpetual]
    beside = tuple(dict.fromkeys(name for name in (*spots, *others) if name in listed))
    return Watch(perpetuals, beside, frozenset((*perpetuals[:books], *(beside if books else ()))))
