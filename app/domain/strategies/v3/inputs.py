"""What V3 reads of a market: some fifty numbers a symbol, computed for all symbols at once."""

from typing import Any

import numpy as np

from app.domain.indicators.average import ema, sma
from app.domain.indicators.momentum import adx, macd
from app.domain.indicators.ratio import ratio
from app.domain.indicators.volatility import atr, bandwidth, bollinger
from app.domain.indicators.volume import surge, vwap
from app.domain.market.candles import Floats
from app.domain.market.readings import Status
from app.domain.market.timeframes import open_of
from app.domain.strategies.market import Market
from app.domain.strategies.strategy import DIGITS, PRICE_DIGITS, Inputs, rounded, worst_of
from app.domain.strategies.v3.coins import Kind, kind_of

NEEDS = {"4h": 250, "1h": 120, "15m": 200}  # of those that are kept, so many that the last close of 4h has them too
SESSION = 50  # bars over which VWAP runs (B1.1)
_BOX = 20
_TOUCHES = 6
_LOWER_REACH, _UPPER_REACH = 1.015, 0.985  # B1.6
_ATR_LOOK_BACK = 60
_DELTAS = ("delta_4h", "delta_1h", "delta10_1h", "delta20_1h", "delta_15m", "delta10_15m")
_PRICES = ("close", "high", "low", "setup")
_AVERAGES = ("ma20", "ma50", "ma200", "ema", "vwap", "upper", "lower")


class V3Inputs(Inputs, frozen=True):
    """One symbol at one moment. None is not known. The names end in the timeframe; ``status`` is the worst of the inputs."""

    kind: Kind
    status: Status
    bars_4h: int
    close_4h: float | None
    ma20_4h: float | None
    ma50_4h: float | None
    ma200_4h: float | None
    run_4h: int
    """Closes in a row above MA20, or below it where negative."""
    adx_4h: float | None
    plus_di_4h: float | None
    minus_di_4h: float | None
    bandwidth_4h: float | None
    expansion_4h: float | None
    """The last five bandwidths against the five before them."""
    macd_4h: float | None
    delta_4h: float | None
    atr_4h: float | None
    high20_4h: float | None
    """Of the bars before the one that the moment is in, or that closes with it; so with the next three."""
    low20_4h: float | None
    high10_4h: float | None
    low10_4h: float | None
    funding: float | None
    oi_6h: float | None
    close_1h: float | None
    vwap_1h: float | None
    surge_1h: float | None
    delta_1h: float | None
    delta10_1h: float | None
    delta20_1h: float | None
    macd_1h: float | None
    """In units of ATR, as is the next one."""
    macd_before_1h: float | None
    adx_1h: float | None
    upper_1h: float | None
    lower_1h: float | None
    touches_upper: int
    touches_lower: int
    new_extreme_1h: int
    """1 where the close is above the 20 bars before it, -1 where it is below."""
    close_15m: float | None
    high_15m: float | None
    low_15m: float | None
    setup_close: float | None
    setup_high: float | None
    setup_low: float | None
    vwap_15m: float | None
    ema20_15m: float | None
    ema50_15m: float | None
    high20_15m: float | None
    low20_15m: float | None
    surge_15m: float | None
    delta_15m: float | None
    delta10_15m: float | None
    bandwidth_15m: float | None
    atr_15m: float | None
    atr_growth_15m: float | None
    """ATR against its mean of the last 60 bars."""
    structure_15m: float
    """2: higher highs and lows (B1.6), -2: lower ones, 0: neither."""
    tilts: tuple[float, float, float] | None = None
    """What closed trades taught of the three weights (B1.7)."""


def read(market: Market) -> list[V3Inputs]:
    """Read every symbol."""
    columns = {**_of_4h(market), **_of_1h(market), **_of_15m(market)}
    whole = {name: values for name, values in columns.items() if values.dtype.kind == "i"}
    numbers = {name: values for name, values in columns.items() if name not in whole}
    found = []
    for row, symbol in enumerate(market.symbols):
        funding, interest = market.funding[row], market.interest_6h[row]
        delta: Status = "ok" if all(np.isfinite(numbers[name][row]) for name in _DELTAS) else "warming"
        statuses = (*(market.frames[name].statuses[row] for name in NEEDS), funding.status, interest.status, delta)
        found.append(
            V3Inputs(
                kind=kind_of(symbol, market.classes),
                status=worst_of(statuses),
                bars_4h=market.frames["4h"].known[row],
                funding=rounded(funding.value if funding.status == "ok" else None, DIGITS),
                tilts=_tilts(market, row),
                oi_6h=rounded(interest.value if interest.status == "ok" else None, DIGITS),
                **{name: rounded(float(values[row]), _digits(name)) for name, values in numbers.items()},  # type: ignore[arg-type]
                **{name: int(values[row]) for name, values in whole.items()},
            )
        )
    return found


def _digits(name: str) -> int:
    if name.startswith(_AVERAGES):
        return PRICE_DIGITS - 1
    return PRICE_DIGITS if name.startswith(_PRICES) else DIGITS


def _tilts(market: Market, row: int) -> tuple[float, float, float] | None:
    learned = market.learned[row] if market.learned else None
    if learned is None:
        return None
    trend, factors, entry = (rounded(tilt) or 1.0 for tilt in learned)
    return trend, factors, entry


def _of_4h(market: Market) -> dict[str, np.ndarray[Any, Any]]:
    frame = market.frames["4h"]
    high, low, close = frame.high, frame.low, frame.close
    ma20 = sma(close, 20)
    strength = adx(high, low, close)
    width = bandwidth(close)
    closes_now = open_of(market.as_of_ms, "4h") == market.as_of_ms  # no price is beyond the candle that closes with it
    tops, bottoms = (edges[:, :-1] if closes_now else edges for edges in (high, low))
    return {
        "close_4h": close[:, -1],
        "ma20_4h": ma20[:, -1],
        "ma50_4h": sma(close, 50)[:, -1],
        "ma200_4h": sma(close, 200)[:, -1],
        "run_4h": _run(close - ma20),
        "adx_4h": strength.adx[:, -1],
        "plus_di_4h": strength.plus_di[:, -1],
        "minus_di_4h": strength.minus_di[:, -1],
        "bandwidth_4h": width[:, -1],
        "expansion_4h": ratio(width[:, -5:].mean(axis=1), width[:, -10:-5].mean(axis=1)),
        "macd_4h": macd(close).histogram[:, -1],
        "delta_4h": frame.delta[:, -1],
        "atr_4h": atr(high, low, close)[:, -1],
        "high20_4h": tops[:, -_BOX:].max(axis=1),
        "low20_4h": bottoms[:, -_BOX:].min(axis=1),
        "high10_4h": tops[:, -10:].max(axis=1),
        "low10_4h": bottoms[:, -10:].min(axis=1),
    }


def _of_1h(market: Market) -> dict[str, np.ndarray[Any, Any]]:
    frame = market.frames["1h"]
    high, low, close = frame.high, frame.low, frame.close
    bands, reach = bollinger(close), atr(high, low, close)
    pull = ratio(macd(close).histogram, reach)
    last = close[:, -_TOUCHES:]
    upper, lower = bands.upper[:, -1], bands.lower[:, -1]
    before = slice(-_BOX - 1, -1)
    above = close[:, -1] > high[:, before].max(axis=1)
    below = close[:, -1] < low[:, before].min(axis=1)
    return {
        "close_1h": close[:, -1],
        "vwap_1h": vwap(*(part[:, -SESSION:] for part in (high, low, close, frame.volume)))[:, -1],
        "surge_1h": surge(frame.volume)[:, -1],
        "delta_1h": ema(frame.delta, 6)[:, -1],
        "delta10_1h": frame.delta[:, -10:].mean(axis=1),
        "delta20_1h": frame.delta[:, -20:].mean(axis=1),
        "macd_1h": pull[:, -1],
        "macd_before_1h": pull[:, -2],
        "adx_1h": adx(high, low, close).adx[:, -1],
        "upper_1h": upper,
        "lower_1h": lower,
        "touches_upper": (last >= upper[:, None] * _UPPER_REACH).sum(axis=1),
        "touches_lower": (last <= lower[:, None] * _LOWER_REACH).sum(axis=1),
        "new_extreme_1h": above.astype(np.int64) - below.astype(np.int64),
    }


def _of_15m(market: Market) -> dict[str, np.ndarray[Any, Any]]:
    frame = market.frames["15m"]
    high, low, close = frame.high, frame.low, frame.close
    reach, before = atr(high, low, close), slice(-_BOX - 1, -1)
    return {
        "close_15m": close[:, -1],
        "high_15m": high[:, -1],
        "low_15m": low[:, -1],
        "setup_close": close[:, -2],
        "setup_high": high[:, -2],
        "setup_low": low[:, -2],
        "vwap_15m": vwap(*(part[:, -SESSION:] for part in (high, low, close, frame.volume)))[:, -1],
        "ema20_15m": ema(close, 20)[:, -1],
        "ema50_15m": ema(close, 50)[:, -1],
        "high20_15m": high[:, before].max(axis=1),
        "low20_15m": low[:, before].min(axis=1),
        "surge_15m": surge(frame.volume)[:, -1],
        "delta_15m": ema(frame.delta, 3)[:, -1],
        "delta10_15m": frame.delta[:, -10:].mean(axis=1),
        "bandwidth_15m": bandwidth(close)[:, -1],
        "atr_15m": reach[:, -1],
        "atr_growth_15m": ratio(reach[:, -1], reach[:, -_ATR_LOOK_BACK:].mean(axis=1)),
        "structure_15m": _structure(high, low),
    }


def _run(off: Floats) -> np.ndarray[Any, Any]:
    """How many bars in a row stand on the newest one's side; negative below. Unknown bars end it."""
    side = np.sign(np.nan_to_num(off))
    same = side[:, ::-1] == side[:, -1:]
    length = np.where(same.all(axis=1), off.shape[1], same.argmin(axis=1))
    return np.asarray(length * side[:, -1], dtype=np.int64)


def _structure(high: Floats, low: Floats) -> Floats:
    """The last 12 bars against the 12 before, each edge at least 0.1 % further (B1.6)."""
    edge = 0.001
    tops = high[:, -12:].max(axis=1) / high[:, -24:-12].max(axis=1) - 1
    bottoms = low[:, -12:].min(axis=1) / low[:, -24:-12].min(axis=1) - 1
    rising = (tops >= edge) & (bottoms >= edge)
    falling = (tops <= -edge) & (bottoms <= -edge)
    return np.where(rising, 2.0, np.where(falling, -2.0, 0.0))
