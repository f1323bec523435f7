"""What ICT reads of a market: structures are found symbol by symbol, and what they come to is a handful of numbers.

They are read for the side to which the day's closes have moved, the only one that may be traded.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.domain.indicators.volatility import atr
from app.domain.indicators.volume import surge
from app.domain.market.candles import Floats
from app.domain.market.readings import Status
from app.domain.strategies.market import Frame, Market
from app.domain.strategies.strategy import DIGITS, Inputs, rounded, worst_of
from app.domain.structure.breaks import Break, breaks, confirmed
from app.domain.structure.candlesticks import engulfing
from app.domain.structure.gaps import Gap, gaps
from app.domain.structure.harmonics import Harmonic, harmonic
from app.domain.structure.order_blocks import LEAST_HEIGHT_ATR, dwelling_blocks, order_blocks
from app.domain.structure.sweeps import (
    HTF_LEAST_SPEED,
    HTF_LOOK_BACK,
    HTF_WITHIN,
    LTF_LEAST_SPEED,
    LTF_LOOK_BACK,
    LTF_WITHIN,
    Sweep,
    sweeps,
)
from app.domain.structure.swings import Swing, swings

NEEDS = {"1d": 25, "4h": 250, "15m": 120}
LOOK_BACK_1D = 20
SWING_4H, SWING_15M = 5, 3
"""Bars on both sides. B2.4's 50 would leave two swings in what is read, and tell each of them eight days late."""
OLDEST_BLOCK = 180  # bars of 4h: 30 days (A4)
_REFERENCE = 10  # bars whose extreme is swept where no block's edge is (B2.3)
_STOP_BARS = 6
_FRESH_PATTERN = 10  # bars of 15m since its last point (B2.3)

Block = Literal["dwelling", "broken"]


class IctInputs(Inputs, frozen=True):
    """One symbol at one moment. None is not known, or not there. Ages are in bars of the timeframe that they end in."""

    status: Status
    bars_1d: int
    bars_4h: int
    change_1d: float | None
    """Of the close over 20 days, in percent."""
    close_15m: float | None
    atr_4h: float | None
    far6_4h: float | None
    """The lowest low of six bars where the days rose, else the highest high."""
    block: Block | None
    """The newest block that still stands: price dwelt there, or broke a swing from there."""
    block_bottom: float | None
    block_top: float | None
    block_age_4h: int | None
    gap_bottom: float | None
    """The newest gap of that side that overlaps the block or holds the price, and was not come back to."""
    gap_top: float | None
    break_4h: Literal["bos", "choch"] | None
    """The last break of structure that was confirmed."""
    break_side_4h: int
    break_level_4h: float | None
    sweep_level_4h: float | None
    sweep_extreme_4h: float | None
    sweep_speed_4h: float | None
    """Price a bar, in units of ATR."""
    sweep_level_15m: float | None
    sweep_speed_15m: float | None
    engulfs_15m: int
    """1 a rising candle, -1 a falling one."""
    engulfing_15m: float | None
    surge_15m: float | None
    pattern_15m: str | None
    """The harmonic that ended lately."""
    pattern_side_15m: int
    pattern_score_15m: float | None


def read(market: Market) -> list[IctInputs]:
    """Read every symbol."""
    days, hours, quarters = (market.frames[timeframe] for timeframe in NEEDS)
    reach_4h = atr(hours.high, hours.low, hours.close)
    reach_15m = atr(quarters.high, quarters.low, quarters.close)
    shape, volume = engulfing(quarters.open, quarters.close), surge(quarters.volume)
    found = []
    for row in range(len(market.symbols)):
        change = (days.close[row, -1] / days.close[row, -1 - LOOK_BACK_1D] - 1) * 100
        sign = -1 if change < 0 else 1
        of_4h, of_15m = _bars(hours, reach_4h, row), _bars(quarters, reach_15m, row)
        price = float(of_15m.close[-1]) if len(of_15m.close) else np.nan
        of_swings = swings(of_4h.high, of_4h.low, SWING_4H)
        block = _block(of_4h, of_swings, sign, price)
        gap = _gap(of_4h, sign, block, price)
        broken = _last_break(of_swings, of_4h)
        swept, nearby = _sweep_4h(of_4h, sign, block), _sweep_15m(of_15m, sign)
        pattern = _pattern(of_15m, sign)
        far = of_4h.low[-_STOP_BARS:] if sign > 0 else -of_4h.high[-_STOP_BARS:]
        found.append(
            IctInputs(
                status=worst_of(tuple(market.frames[timeframe].statuses[row] for timeframe in NEEDS)),
                bars_1d=days.known[row],
                bars_4h=hours.known[row],
                change_1d=rounded(float(change), DIGITS),
                close_15m=rounded(price),
                atr_4h=rounded(float(reach_4h[row, -1]), DIGITS),
                far6_4h=rounded(sign * float(far.min())) if len(far) else None,
                block=block.kind if block else None,
                block_bottom=rounded(block.bottom) if block else None,
                block_top=rounded(block.top) if block else None,
                block_age_4h=len(of_4h.close) - 1 - block.known_at if block else None,
                gap_bottom=rounded(gap.bottom) if gap else None,
                gap_top=rounded(gap.top) if gap else None,
                break_4h=broken.kind if broken else None,
                break_side_4h=broken.direction if broken else 0,
                break_level_4h=rounded(broken.level) if broken else None,
                sweep_level_4h=rounded(swept.level) if swept else None,
                sweep_extreme_4h=rounded(swept.extreme) if swept else None,
                sweep_speed_4h=rounded(swept.speed / float(of_4h.atr[swept.known_at]), DIGITS) if swept else None,
                sweep_level_15m=rounded(nearby.level) if nearby else None,
                sweep_speed_15m=rounded(nearby.speed / float(of_15m.atr[nearby.known_at]), DIGITS) if nearby else None,
                engulfs_15m=int(shape.direction[row, -1]),
                engulfing_15m=rounded(float(shape.strength[row, -1]), DIGITS),
                surge_15m=rounded(float(volume[row, -1]), DIGITS),
                pattern_15m=pattern.name if pattern else None,
                pattern_side_15m=pattern.direction if pattern else 0,
                pattern_score_15m=rounded(pattern.score, DIGITS) if pattern else None,
            )
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Bars:
    """One symbol's bars without a hole, oldest first."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    atr: Floats


@dataclass(frozen=True, slots=True)
class _Block:
    kind: Block
    known_at: int
    bottom: float
    top: float


def _bars(frame: Frame, reach: Floats, row: int) -> _Bars:
    begin = frame.close.shape[1] - frame.known[row]
    columns = (frame.open, frame.high, frame.low, frame.close, frame.volume, reach)
    return _Bars(*(column[row, begin:] for column in columns))


def _block(of: _Bars, found: list[Swing], sign: int, price: float) -> _Block | None:
    """The newest one of this side that is high and young enough and was not closed through. Two kinds count (B2.3, B2.4).

    A zone in which price dwelt takes the side of the price that left it: above its middle it supports.
    """
    oldest = len(of.close) - OLDEST_BLOCK
    standing = [
        _Block("dwelling", block.known_at, block.bottom, block.top)
        for block in dwelling_blocks(of.high, of.low, of.close, of.volume, of.atr)
        if (block.closed_below_at if sign > 0 else block.closed_above_at) is None and sign * (price - block.mid) > 0
    ]
    standing += [
        _Block("broken", block.known_at, block.bottom, block.top)
        for block in order_blocks(of.high, of.low, of.close, of.volume, found)
        if block.direction == sign
        and block.mitigated_at is None
        and block.top - block.bottom >= LEAST_HEIGHT_ATR * of.atr[block.known_at]
    ]
    young = [block for block in standing if block.known_at >= oldest]
    return max(young, key=lambda block: block.known_at, default=None)


def _gap(of: _Bars, sign: int, block: _Block | None, price: float) -> Gap | None:
    """Of A4: it lies on the block or around the price."""
    for gap in reversed(gaps(of.high, of.low, of.open, of.close)):
        if gap.direction != sign or gap.mitigated_at is not None:
            continue
        on_block = block is not None and gap.bottom <= block.top and gap.top >= block.bottom
        if on_block or gap.bottom <= price <= gap.top:
            return gap
    return None


def _last_break(found: list[Swing], of: _Bars) -> Break | None:
    return max(confirmed(breaks(found, of.close)), key=lambda each: each.broken_at or 0, default=None)


def _sweep_4h(of: _Bars, sign: int, block: _Block | None) -> Sweep | None:
    """Of the block's far edge, else of the extreme of ten bars: the stops that a trade of this side wants to be taken first."""
    settled = len(of.close) - HTF_LOOK_BACK - HTF_WITHIN + 1
    levels = [(block.bottom if sign > 0 else block.top, block.known_at)] if block else []
    levels += _extreme(of, sign, settled)
    for level, known_at in levels:
        swept = _swept(of, sign, level, known_at, HTF_WITHIN, HTF_LEAST_SPEED, HTF_LOOK_BACK)
        if swept:
            return swept
    return None


def _sweep_15m(of: _Bars, sign: int) -> Sweep | None:
    settled = len(of.close) - LTF_LOOK_BACK - LTF_WITHIN + 1
    for level, known_at in _extreme(of, sign, settled):
        return _swept(of, sign, level, known_at, LTF_WITHIN, LTF_LEAST_SPEED, LTF_LOOK_BACK)
    return None


def _extreme(of: _Bars, sign: int, end: int) -> list[tuple[float, int]]:
    """That of the ten bars before ``end``, and when it was known."""
    if end < _REFERENCE:
        return []
    those = slice(end - _REFERENCE, end)
    return [(float(of.low[those].min() if sign > 0 else of.high[those].max()), end - 1)]


def _swept(
    of: _Bars, sign: int, level: float, known_at: int, within: int, speed: float, look_back: int
) -> Sweep | None:
    """The last one: below the level for a trade up (A4)."""
    found = sweeps(
        of.high,
        of.low,
        of.close,
        level=level,
        side="below" if sign > 0 else "above",
        atr=of.atr,
        within=within,
        least_speed=speed,
        look_back=look_back,
        level_known_at=known_at,
    )
    return found[-1] if found else None


def _pattern(of: _Bars, sign: int) -> Harmonic | None:
    """The best one of this side whose last point is young."""
    if not len(of.close):
        return None
    found = harmonic(swings(of.high, of.low, SWING_15M), of.high, of.low, direction=sign)
    return found if found and found.at >= len(of.close) - _FRESH_PATTERN else None
