"""Every name that is cached, with its lifetime: the same server is the broker, so nothing may stay in it for ever.

A part is escaped, so that no symbol or setting, whatever it is called, can reach another one's entry.
"""

from dataclasses import dataclass
from string import Formatter
from urllib.parse import quote

from app.errors import InvalidInput

_LONGEST_PART = 200


@dataclass(frozen=True, slots=True)
class Key:
    """A family of cache entries: how they are named and how long they live."""

    pattern: str
    ttl_s: int

    def __post_init__(self) -> None:
        """Refuse a lifetime that Redis could not keep."""
        if self.ttl_s <= 0:
            raise InvalidInput(
                f"{self.pattern} cannot live {self.ttl_s} s.", cure="Give the key a lifetime of at least one second."
            )

    def name(self, **parts: str) -> str:
        """Return the name of one entry. Every part of the pattern must be given, and none may be empty."""
        wanted = {field for _, field, _, _ in Formatter().parse(self.pattern) if field}
        if parts.keys() != wanted:
            raise InvalidInput(
                f"{self.pattern} was given {', '.join(sorted(parts)) or 'nothing'}.",
                cure=f"Give it {', '.join(sorted(wanted))}.",
            )
        for part, text in parts.items():
            if not 0 < len(text) <= _LONGEST_PART:
                raise InvalidInput(f"The {part} of a cache key has {len(text)} characters; 1 to {_LONGEST_PART} fit.")
        return self.pattern.format(**{part: _escaped(text) for part, text in parts.items()})


def _escaped(text: str) -> str:
    """Keep ``BTC/USDT`` readable, and free of the colon that separates parts."""
    return quote(text, safe="/", errors="surrogatepass")


JUDGMENT = Key("strategy:judgment:{symbol}:{strategy_type}:{timeframe}", ttl_s=300)
SYMBOL = Key("symbol:info:{symbol}", ttl_s=300)
STATISTICS = Key("statistics:{symbol}:{strategy_type}", ttl_s=3_600)
MONITORING = Key("monitoring:{metric_type}:{component}", ttl_s=3_600)
CONFIG = Key("config:{config_key}", ttl_s=86_400)

KEYS = (JUDGMENT, SYMBOL, STATISTICS, MONITORING, CONFIG)
