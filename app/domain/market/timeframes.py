"""Timeframes: one form inside (``15m``), every common spelling at the door."""

import re

from app.errors import InvalidInput

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_LENGTH_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1440 * MINUTE_MS,
}
TIMEFRAMES = tuple(_LENGTH_MS)
_UNITS = {
    "m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "t": "m",
    "h": "h", "hr": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d",
}  # fmt: skip
_IN_MINUTES = {"m": 1, "h": 60, "d": 1440}


def parse(text: str) -> str:
    """``15M``, ``15min``, ``Min15``, ``60m`` or ``1D`` as we write it. A month is not a timeframe, so ``1M`` is a minute."""
    found = re.fullmatch(r"([0-9]{1,5})\s*([a-z]+)|([a-z]+)\s*([0-9]{1,5})", text.strip().lower())
    if found:
        count, unit = (found[1], found[2]) if found[1] else (found[4], found[3])
        if unit in _UNITS:
            minutes = int(count) * _IN_MINUTES[_UNITS[unit]]
            for name, length in _LENGTH_MS.items():
                if length == minutes * MINUTE_MS:
                    return name
    raise InvalidInput(f"{text[:20]!r} is not a timeframe.", cure=f"Use one of {', '.join(TIMEFRAMES)}.")


def length_ms(timeframe: str) -> int:
    """How long one candle lasts."""
    return _LENGTH_MS[timeframe]


def open_of(time_ms: int, timeframe: str) -> int:
    """When the candle that holds this moment opened. Days begin at midnight UTC."""
    return time_ms - time_ms % _LENGTH_MS[timeframe]


def last_closed(now_ms: int, timeframe: str) -> int:
    """The open time of the newest candle that is over."""
    return open_of(now_ms, timeframe) - _LENGTH_MS[timeframe]
