"""Liquidity: swings at nearly the same price, beyond which many stops are thought to rest (B2.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.domain.market.candles import Floats
from app.domain.structure.crossings import first_after
from app.domain.structure.swings import Kind, Swing

BAND_SHARE = 0.01  # B2.4: of the whole range of prices


@dataclass(frozen=True, slots=True)
class Pool:
    """Two or more highs, or lows, near each other."""

    kind: Kind
    level: float
    """The mean of its members."""
    edge: float
    """The end of its band: price that reaches it has swept the pool."""
    at: int
    """Its last member."""
    known_at: int
    members: tuple[int, ...]
    swept_at: int | None
    grown_at: int | None
    """From here on a pool with one more member says it all."""


@dataclass(slots=True)
class _Group:
    first: Swing
    members: list[Swing]
    peak: float = -np.inf
    pools: list[int] = field(default_factory=list)


def pools(found: Sequence[Swing], high: Floats, low: Floats, *, band_share: float = BAND_SHARE) -> list[Pool]:
    """Every pool, in the order in which they are known. ``found``: all swings, as ``swings`` gives them.

    The band reaches ``band_share`` of the range of prices so far to both sides of the first member; a swing joins the oldest pool
    that has room for it and was not swept before. A pool that grows stays as it was, and carries ``grown_at``.
    """
    reach = band_share * (np.maximum.accumulate(high) - np.minimum.accumulate(low))
    both = _pools("high", found, high, reach) + _pools("low", found, -low, reach)
    return sorted(both, key=lambda pool: pool.known_at)


def _pools(kind: Kind, found: Sequence[Swing], series: Floats, reach: Floats) -> list[Pool]:
    """The series is that of the highs; for the lows it is turned over."""
    sign = 1 if kind == "high" else -1
    told: list[Pool] = []
    groups: list[_Group] = []
    seen = 0
    for swing in found:
        if swing.kind != kind:
            continue
        room = float(reach[swing.known_at])
        highest = float(series[seen : swing.at + 1].max())
        seen = swing.at + 1
        for group in groups:
            group.peak = max(group.peak, highest)
        groups = [
            group for group in groups if group.peak < sign * group.first.price + room and _lasts(group, told, swing)
        ]
        joined = next((each for each in groups if abs(swing.price - each.first.price) <= room), None)
        if joined is None:
            groups.append(_Group(swing, [swing]))
            continue
        joined.members.append(swing)
        if joined.pools:
            told[joined.pools[-1]] = replace(told[joined.pools[-1]], grown_at=swing.known_at)
        joined.pools.append(len(told))
        told.append(_pool(joined, sign, series, room))
    return told


def _lasts(group: _Group, told: list[Pool], swing: Swing) -> bool:
    swept_at = told[group.pools[-1]].swept_at if group.pools else None
    return swept_at is None or swept_at > swing.at


def _pool(group: _Group, sign: int, series: Floats, room: float) -> Pool:
    last = group.members[-1]
    edge = sign * group.first.price + room
    [swept_at] = first_after(series, [last.known_at], np.greater_equal, [edge])
    return Pool(
        kind=last.kind,
        level=sum(member.price for member in group.members) / len(group.members),
        edge=sign * edge,
        at=last.at,
        known_at=last.known_at,
        members=tuple(member.at for member in group.members),
        swept_at=swept_at,
        grown_at=None,
    )
