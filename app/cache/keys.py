"""Every name that is cached, with its lifetime: the same server is the broker, so nothing may stay in it for ever.

A part is escaped, so that no symbol or setting, whatever it is called, can reach another one's entry.
"""

from dataclasses import dataclass
from functools import cache
from string import Formatter
from urllib.parse import quote, unquote

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
        return _filled(self.pattern, parts)


@dataclass(frozen=True, slots=True)
class Channel:
    """A family of channels on which news are published. A channel keeps nothing, so it has no lifetime."""

    pattern: str

    def name(self, **parts: str) -> str:
        """Return the name of one channel, under the rules of ``Key.name``."""
        return _filled(self.pattern, parts)


def parts_of(channel: str) -> list[str]:
    """The parts of a channel's name, as they were before they were escaped."""
    return [unquote(part, errors="surrogatepass") for part in channel.split(":")]


def _filled(pattern: str, parts: dict[str, str]) -> str:
    wanted = _fields(pattern)
    if parts.keys() != wanted:
        raise InvalidInput(
            f"{pattern} was given {', '.join(sorted(parts)) or 'nothing'}.",
            cure=f"Give it {', '.join(sorted(wanted))}.",
        )
    for part, text in parts.items():
        if not 0 < len(text) <= _LONGEST_PART:
            raise InvalidInput(f"The {part} of a cache key has {len(text)} characters; 1 to {_LONGEST_PART} fit.")
    return pattern.format(**{part: _escaped(text) for part, text in parts.items()})


@cache
def _fields(pattern: str) -> frozenset[str]:
    return frozenset(field for _, field, _, _ in Formatter().parse(pattern) if field)


def _escaped(text: str) -> str:
    """Keep ``BTC/USDT`` readable, and free of the colon that separates parts."""
    return quote(text, safe="/", errors="surrogatepass")


JUDGMENT = Key("strategy:judgment:{symbol}:{strategy_type}:{timeframe}", ttl_s=300)
LIVE_VERDICT = Key("strategy:live:{symbol}:{strategy_type}", ttl_s=600)
SYMBOL = Key("symbol:info:{symbol}", ttl_s=300)
STATISTICS = Key("statistics:{symbol}:{strategy_type}", ttl_s=3_600)
MONITORING = Key("monitoring:{metric_type}:{component}", ttl_s=3_600)
CONFIG = Key("config:{config_key}", ttl_s=86_400)

TICKER = Key("ticker:{exchange}:{symbol}", ttl_s=60)
CANDLES = Key("klines:{exchange}:{symbol}:{timeframe}", ttl_s=300)
BOOK = Key("orderbook:{exchange}:{symbol}", ttl_s=10)

KEYS = (JUDGMENT, LIVE_VERDICT, SYMBOL, STATISTICS, MONITORING, CONFIG, TICKER, CANDLES, BOOK)

EVERYTHING_PUBLISHED = "market_data:*"
TICKER_NEWS = Channel("market_data:ticker:{symbol}")
CANDLE_NEWS = Channel("market_data:kline:{symbol}:{timeframe}")
DEPTH_NEWS = Channel("market_data:depth:{symbol}")
COLLECTOR_NEWS = Channel("market_data:collector:{exchange}")
JUDGMENT_NEWS = Channel("market_data:judgment:{symbol}:{strategy_type}")
TRADE_NEWS = Channel("market_data:trade:{symbol}:{strategy_type}")

CHANNELS = (TICKER_NEWS, CANDLE_NEWS, DEPTH_NEWS, COLLECTOR_NEWS, JUDGMENT_NEWS, TRADE_NEWS)
