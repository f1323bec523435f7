"""Order blocks: where those who moved the price are thought to have bought or sold.

Two kinds: the last opposite extreme before a broken swing (B2.4), and a few bars in which price dwelt (B2.3, corrected by A4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from app.domain.market.candles import Floats
from app.domain.structure.crossings import first_after
from app.domain.structure.swings import Swing, alternations

DWELLING_BARS = 5  # B2.3
LEAST_HEIGHT_ATR = 0.25  # A4; B2.3 had 0.15
MOST_HEIGHT_SHARE = 0.03  # B2.3: of the average price
LEAST_VOLUME_SHARE = 0.6  # B2.3: the last two volumes, of the average one


@dataclass(frozen=True, slots=True)
class OrderBlock:
    """The candle from which a swing was broken. ``direction``: +1 below a broken high, -1 above a broken low."""

    direction: int
    at: int
    known_at: int
    """The close that broke the swing."""
    bottom: float
    top: float
    volume: float
    """Of the bar that broke and the two before it."""
    strength_percent: float | None
    """The smaller one of the last two bars' volume and that of the bar before, as a share of the larger. None: no volume."""
    mitigated_at: int | None
    """Price first went through its far edge: a breaker now."""
    removed_at: int | None
    """Price came back through the near edge after that: it means nothing any more."""


@dataclass(frozen=True, slots=True)
class DwellingBlock:
    """A zone in which price stayed, from bar ``at`` to ``known_at``. Which direction it has is up to who asks:
    it supports a price above ``mid``, and is used up once a bar closed below (bullish) or above it (bearish).
    """

    at: int
    known_at: int
    bottom: float
    top: float
    closed_below_at: int | None
    closed_above_at: int | None

    @property
    def mid(self) -> float:
        """Halfway between its edges."""
        return (self.bottom + self.top) / 2


def order_blocks(high: Floats, low: Floats, close: Floats, volume: Floats, found: Sequence[Swing]) -> list[OrderBlock]:
    """One for each swing that is broken while it is the last known of its kind; in the order in which they are known.

    ``found``: all swings, as ``swings`` gives them. Up: a close above the last high; the block is the candle with the lowest low
    in between, the latest of equal ones. Down: the mirror. Two swings broken from one candle make two blocks.
    """
    steps = [swing for _, swing in alternations(found)]
    blocks = [
        *_blocks(1, [swing for swing in steps if swing.kind == "high"], high, low, close, volume),
        *_blocks(-1, [swing for swing in steps if swing.kind == "low"], high, low, close, volume),
    ]
    return sorted(blocks, key=lambda block: block.known_at)


def dwelling_blocks(
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    atr: Floats,
    *,
    bars: int = DWELLING_BARS,
    least_height_atr: float = LEAST_HEIGHT_ATR,
    most_height_share: float = MOST_HEIGHT_SHARE,
    least_volume_share: float = LEAST_VOLUME_SHARE,
) -> list[DwellingBlock]:
    """Every window of ``bars`` high enough for its volatility, low for its price (the average close), and traded to its end.

    The ATR is that at the window's last bar; while it is unknown (NaN) there is no block. Windows overlap, and so do blocks.
    """
    if len(close) < bars:
        return []
    top = sliding_window_view(high, bars).max(axis=-1)
    bottom = sliding_window_view(low, bars).min(axis=-1)
    least_volume = least_volume_share * sliding_window_view(volume, bars).mean(axis=-1)
    height = top - bottom
    is_block = (
        (height >= least_height_atr * atr[bars - 1 :])
        & (height <= most_height_share * sliding_window_view(close, bars).mean(axis=-1))
        & (volume[bars - 1 :] >= least_volume)
        & (volume[bars - 2 : -1] >= least_volume)
    )
    at = np.flatnonzero(is_block)
    known_at, bottoms, tops = (at + bars - 1).tolist(), bottom[at].tolist(), top[at].tolist()
    below = first_after(close, known_at, np.less, bottoms)
    above = first_after(close, known_at, np.greater, tops)
    return [DwellingBlock(*block) for block in zip(at.tolist(), known_at, bottoms, tops, below, above, strict=True)]


def _blocks(
    direction: int, of_kind: list[Swing], high: Floats, low: Floats, close: Floats, volume: Floats
) -> list[OrderBlock]:
    signed_close, far = (close, low) if direction > 0 else (-close, -high)
    found = []
    for place, swing in enumerate(of_kind):
        end = of_kind[place + 1].known_at if place + 1 < len(of_kind) else len(close)
        broken = signed_close[swing.known_at : end] > direction * swing.price
        if not broken.any():
            continue
        known_at = swing.known_at + int(broken.argmax())
        # Nothing lies between a swing of length 1 and a break by the very next bar: the swing's own candle, then.
        between = far[min(swing.at + 1, known_at - 1) : known_at]
        found.append((known_at - 1 - int(between[::-1].argmin()), known_at))
    far_edges = [float(far[at]) for at, _ in found]
    near_edges = [direction * float((high if direction > 0 else low)[at]) for at, _ in found]
    near = high if direction > 0 else -low
    mitigated = first_after(far, [known_at for _, known_at in found], np.less, far_edges)
    beaten = [place for place, bar in enumerate(mitigated) if bar is not None]
    removed = dict(
        zip(
            beaten,
            first_after(
                near,
                [bar for bar in mitigated if bar is not None],
                np.greater,
                [near_edges[place] for place in beaten],
            ),
            strict=True,
        )
    )
    blocks = []
    for place, (at, known_at) in enumerate(found):
        before, middle, last = volume[known_at - 2 : known_at + 1].tolist()
        less, more = sorted((before, middle + last))
        strength = 100.0 * less / more if more > 0 else None
        blocks.append(
            OrderBlock(
                direction=direction,
                at=at,
                known_at=known_at,
                bottom=float(low[at]),
                top=float(high[at]),
                volume=last + middle + before,
                strength_percent=strength,
                mitigated_at=mitigated[place],
                removed_at=removed.get(place),
            )
        )
    return blocks
