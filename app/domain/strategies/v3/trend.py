"""The trend of 4h: which way (B1.2), and how strong from 0 to 10 (B1.3, made symmetric)."""

from itertools import pairwise

from app.domain.strategies.strategy import Direction
from app.domain.strategies.v3.inputs import V3Inputs

LEAST_BARS = 200
THRESHOLD = 4  # points; the documents' other number is 3
_MOMENTUM = 0.005
_EXPANDS = 1.05
_FUNDING = 0.0005
_DELTA = 0.1


def direction(of: V3Inputs) -> tuple[Direction, int]:
    """Which way, and with how many points. Without two points of the averages, or enough bars, it is a range."""
    if of.bars_4h < LEAST_BARS or of.close_4h is None or of.ma20_4h is None:
        return "RANGE", 0
    up, down = alignment(of, 1), alignment(of, -1)
    if max(up, down) < 2:
        return "RANGE", max(up, down)
    sign = 1 if up > down else -1
    points = max(up, down) + _steps(of, sign)
    if points < THRESHOLD:
        return "RANGE", points
    return ("UP" if sign > 0 else "DOWN"), points


def alignment(of: V3Inputs, sign: int) -> int:
    """How many of close, MA20, MA50 and MA200 stand in the order of a trend: 0 to 3."""
    line = (of.close_4h, of.ma20_4h, of.ma50_4h, of.ma200_4h)
    return sum(a is not None and b is not None and sign * (a - b) > 0 for a, b in pairwise(line))


def score(of: V3Inputs, trend: Direction) -> int:
    """T, 0 to 10. In a range there is no side, so the histogram counts for what it is: not nothing."""
    sign = {"UP": 1, "DOWN": -1, "RANGE": 0}[trend]
    aligned = max(alignment(of, 1), alignment(of, -1)) if sign == 0 else alignment(of, sign)
    adx = of.adx_4h or 0.0
    pull = of.macd_4h or 0.0
    return (
        (2 if aligned == 3 else 1 if aligned == 2 else 0)
        + (2 if adx > 30 else 1 if adx > 20 else 0)
        + (3 if sign * pull > 0 else 1 if pull != 0 else 0)
        + (of.bandwidth_4h is not None and of.bandwidth_4h > 0.02)
        + (of.delta_4h is not None and abs(of.delta_4h) > _DELTA)
        + (of.funding is not None and abs(of.funding) > _FUNDING)
    )


def _steps(of: V3Inputs, sign: int) -> int:
    """What else speaks for the trend: stability, strength, expansion, momentum."""
    stable = sign * of.run_4h >= 2
    leads = of.plus_di_4h is not None and of.minus_di_4h is not None and sign * (of.plus_di_4h - of.minus_di_4h) > 0
    strong = of.adx_4h is not None and of.adx_4h > 20 and leads
    expands = of.expansion_4h is not None and of.expansion_4h > _EXPANDS
    moves = of.close_4h is not None and of.ma20_4h is not None and abs(of.close_4h / of.ma20_4h - 1) >= _MOMENTUM
    return stable + strong + expands + moves
