"""The book at any moment: what rests at a price is a hash of the price and of the stretch of time that the quantity lives.

So a book needs no history, and two books of different moments differ just where a stretch ended or the touch moved. Near the
touch every tick may hold a level, farther away only multiples of a step, so that a thousand levels reach one percent away.
"""

from dataclasses import dataclass, replace

import numpy as np

from app.exchanges.demo import noise
from app.exchanges.demo.instruments import Listing
from app.exchanges.demo.noise import Floats, Ints, Words

MOST_LEVELS = 1_000
_NEAR, _FAR = 180, 400
"""Levels by single ticks, and in each of the two zones behind. Together fewer than the most: plants come on top."""
_SMALL = 4
"""Where little is traded, there are so many times fewer levels."""
_REACH = 0.012
_LEVEL_SHARE = 1.6e-5
"""Of a usual day's volume: what rests at one tick."""
_SIZES = np.exp(1.1 * (noise.normal(0x5EED, np.arange(4096)) - 0.5))
"""Quantities differ; twelve bits choose one."""
_ZONE_WORTH = np.array([1.0, 2.0, 4.0])
_LIFE_BITS = np.array([3, 6, 6])
"""The shortest life of a quantity, as a power of two of 100 ms, by zone."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a listing's book looks like."""

    keys: tuple[int, int]
    """Of bids and asks."""
    zones: Ints
    """Of each level, from the touch outwards."""
    near: int
    far: int
    steps: tuple[int, int]
    worth: Floats
    """Lots at a level, before chance."""
    life_bits: Words


@dataclass(frozen=True, slots=True)
class Grid:
    """The prices of one side that may hold a level, from the touch outwards, and what depends on them alone."""

    touch: int
    ticks: Ints
    bits: Words
    lives: Words
    phases: Words


def shape(seed: int, listing: Listing) -> Shape:
    """Made once for each listing."""
    fewer = 1 if listing.instrument.trades_a_minute > 24 else _SMALL
    near, far = _NEAR // fewer, _FAR // fewer
    reach = _REACH * listing.usual_price * 10.0**listing.instrument.price_digits * (1 if fewer == 1 else 0.5)
    steps = (max(1, round(0.2 * reach / far)), max(1, round(0.8 * reach / far)))
    zones = np.repeat(np.arange(3), (near, far, far))
    usual = _LEVEL_SHARE * fewer * listing.day_quantity * 10.0**listing.quantity_digits
    of = noise.key(seed, "book", listing.venue, listing.symbol) >> 2
    return Shape((of, of + 1), zones, near, far, steps, usual * _ZONE_WORTH[zones], _LIFE_BITS[zones].astype(np.uint64))


def grid(of: Shape, touch: int, *, is_ask: bool) -> Grid:
    """Where levels of a side may be while the best is at ``touch``."""
    ticks = np.empty(len(of.zones), dtype=np.int64)
    sign = 1 if is_ask else -1
    near, far = of.near, of.far
    ticks[:near] = touch + sign * np.arange(near)
    last = touch + sign * (near - 1)
    for place, step in zip((near, near + far), of.steps, strict=True):
        first = (last // step + 1) * step if is_ask else (last - 1) // step * step
        ticks[place : place + far] = first + sign * step * np.arange(far)
        last = first + sign * step * (far - 1)
    bits = noise.words(of.keys[is_ask], ticks)
    lives = of.life_bits + (bits & np.uint64(7)) % np.uint64(5)
    return Grid(touch, ticks, bits, lives, bits >> np.uint64(40))


def lots(of: Shape, at: Grid, bucket: int) -> Ints:
    """What rests at each price of the grid in this 100 ms; 0 where nothing does."""
    stretch = (np.uint64(bucket) + at.phases) >> at.lives
    drawn = noise.words(of.keys[0], ((at.bits >> np.uint64(8)) + stretch).view(np.int64))
    size = (_SIZES[(drawn >> np.uint64(52)).view(np.int64)] * of.worth).astype(np.int64)
    np.maximum(size, 1, out=size)
    empty = (drawn[: of.near] & np.uint64(15)) == 0
    empty[0] = False  # the touch always holds something
    size[: of.near][empty] = 0
    size[at.ticks <= 0] = 0
    return size


def side(of: Shape, at: Grid, bucket: int, planted: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    """Ticks and lots of one side, best first. ``planted`` (ticks, lots) stand there whatever chance says."""
    size = lots(of, at, bucket)
    there = size > 0
    ticks, size = at.ticks[there], size[there]
    for tick, quantity in planted:
        sign = -1 if at.ticks[0] > at.ticks[1] else 1
        place = int(np.searchsorted(sign * ticks, sign * tick))
        if place < len(ticks) and ticks[place] == tick:
            size[place] = quantity
        else:
            ticks, size = np.insert(ticks, place, tick), np.insert(size, place, quantity)
    return ticks[:MOST_LEVELS], size[:MOST_LEVELS]


def changes(before: tuple[Ints, Ints], after: tuple[Ints, Ints], *, is_ask: bool) -> tuple[Ints, Ints]:
    """What must be said to turn one side into another: ticks and their new lots, 0 for a level that is gone; best first."""
    if len(before[0]) == len(after[0]) and (before[0] == after[0]).all():
        other = before[1] != after[1]
        return after[0][other], after[1][other]
    sign = 1 if is_ask else -1
    old, new = sign * before[0], sign * after[0]
    place = np.minimum(np.searchsorted(old, new), len(old) - 1)
    other = (old[place] != new) | (before[1][place] != after[1])
    back = np.minimum(np.searchsorted(new, old), len(new) - 1)
    gone = old[new[back] != old]
    ticks = np.concatenate((new[other], gone))
    size = np.concatenate((after[1][other], np.zeros(len(gone), dtype=np.int64)))
    order = np.argsort(ticks)
    return sign * ticks[order], size[order]


def best_lots(of: Shape, tick: int, bucket: int, *, is_ask: bool) -> int:
    """What rests at the touch, without the rest of the side."""
    bits = noise.words(of.keys[is_ask], np.array([tick]))
    lives = of.life_bits[:1] + (bits & np.uint64(7)) % np.uint64(5)
    best = Grid(tick, np.array([tick]), bits, lives, bits >> np.uint64(40))
    return int(lots(replace(of, near=1, worth=of.worth[:1]), best, bucket)[0])
