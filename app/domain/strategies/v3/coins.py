"""How the factors weigh for different kinds of coins (B1.5).

The weighted share is told with the gates, for people: what counts is the number of factors (A3), of which B1.4 wants three.
"""

from collections.abc import Mapping
from typing import Literal

Kind = Literal["mainstream", "high-cap", "hot", "small"]

KINDS: Mapping[Kind, tuple[str, ...]] = {
    "mainstream": ("BTC", "ETH", "BNB"),
    "high-cap": ("SOL", "ADA", "XRP", "DOGE", "DOT", "LTC", "TRX", "BCH", "ETC"),
    "hot": ("PEPE", "APT", "PENDLE", "LINK", "MKR", "SUI"),
    "small": ("ONDO", "LDO", "MPL"),
}

TREND: Mapping[Kind, Mapping[str, float]] = {
    "mainstream": {"breakout": 0.30, "volume": 0.20, "oi": 0.25, "delta": 0.15, "funding": 0.10},
    "high-cap": {"breakout": 0.25, "volume": 0.25, "oi": 0.20, "delta": 0.20, "funding": 0.10},
    "hot": {"breakout": 0.15, "volume": 0.30, "oi": 0.15, "delta": 0.30, "funding": 0.10},
    "small": {"breakout": 0.15, "volume": 0.35, "oi": 0.15, "delta": 0.25, "funding": 0.10},
}

RANGE: Mapping[Kind, Mapping[str, float]] = {
    "mainstream": {"vwap": 0.20, "touch": 0.30, "volume": 0.20, "delta": 0.15, "oi": 0.10, "no_breakout": 0.05},
    "high-cap": {"vwap": 0.20, "touch": 0.30, "volume": 0.25, "delta": 0.15, "oi": 0.10, "no_breakout": 0.0},
    "hot": {"vwap": 0.10, "touch": 0.25, "volume": 0.30, "delta": 0.25, "oi": 0.10, "no_breakout": 0.0},
    "small": {"vwap": 0.10, "touch": 0.25, "volume": 0.30, "delta": 0.25, "oi": 0.10, "no_breakout": 0.0},
}


TREND_15M: Mapping[Kind, Mapping[str, float]] = {
    "mainstream": {"vwap": 0.40, "delta": 0.20, "oi": 0.20, "volume": 0.20},
    "high-cap": {"vwap": 0.35, "delta": 0.25, "oi": 0.20, "volume": 0.20},
    "hot": {"vwap": 0.30, "delta": 0.25, "oi": 0.20, "volume": 0.25},
    "small": {"vwap": 0.25, "delta": 0.25, "oi": 0.15, "volume": 0.35},
}

RANGE_15M: Mapping[Kind, Mapping[str, float]] = {
    "mainstream": {"vwap": 0.30, "delta": 0.30, "oi": 0.20, "volume": 0.20},
    "high-cap": {"vwap": 0.20, "delta": 0.30, "oi": 0.30, "volume": 0.20},
    "hot": {"vwap": 0.20, "delta": 0.20, "oi": 0.20, "volume": 0.40},
    "small": {"vwap": 0.10, "delta": 0.20, "oi": 0.20, "volume": 0.50},
}


def kind_of(symbol: str, classes: Mapping[str, str]) -> Kind:
    """Of ``BTC/USDT:USDT`` or ``1000PEPE/USDT:USDT``, by what a person says or this table; who is not listed counts as hot."""
    coin = symbol.partition("/")[0].removeprefix("1000")
    said = classes.get(coin)
    if said is not None:
        return next(kind for kind in KINDS if kind == said)
    return next((kind for kind, coins in KINDS.items() if coin in coins), "hot")


def weighted(weights: Mapping[str, float], factors: Mapping[str, bool | None]) -> float | None:
    """The share of the weight whose factors hold, of those that are known."""
    known = [name for name in weights if factors[name] is not None]
    whole = sum(weights[name] for name in known)
    return sum(weights[name] for name in known if factors[name]) / whole if whole else None
