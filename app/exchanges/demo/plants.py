"""What is hidden in the market for detectors to find, and where.

Each stretch of ten minutes of a stream has places for each kind, so that they never disturb each other: a mispricing in the
second minute, a wall in the fourth, an iceberg in the sixth, a triangle in the ninth. A wall or an iceberg stands at a price
that the path reaches by itself; the path then stays there while the order is eaten. A large order or a spoof stands where the
path does not come while it rests.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.exchanges.demo import noise
from app.exchanges.demo.instruments import Listing
from app.exchanges.demo.noise import Floats, Whole

SLOT_MINUTES = 10
SLOT_KNOTS = 60
LARGEST_USD, SMALLEST_USD, DAY_SHARE = 100e6, 1e6, 0.005
"""When an order is large (A5)."""
_ALLOWANCE = 2.15
"""The volume of a day against the usual one: it varies, and what is planted is traded too."""
_EATEN_FROM_DAY_USD = 1.5e8
"""Where less is traded, a wall that counts as large would be most of the hour's volume."""
_RATE = {"wall": 0.3, "iceberg": 0.12, "large": 0.7, "spoof": 0.45}
_VENUE_RATE = {"binance": 1.0, "okx": 0.5, "htx": 0.4}
_MOST_REST = 6
_FIRST_LEG = {"wall": 19, "iceberg": 34}
_LEGS = {"wall": 8, "iceberg": 8}


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch of knots at which a stream's price is off."""

    first: int
    knots: int
    share: float


@dataclass(frozen=True, slots=True)
class Pin:
    """Legs in which the price stays at one tick, because an order there is being eaten. Knots count from the listing."""

    kind: Literal["wall", "iceberg"]
    slot: int
    first: int
    legs: int
    rest: int
    """Legs before ``first`` in which the order already rests and the price does not touch it."""
    is_ask: bool
    eaten: float
    """Share of the order; 1 and above: all of it."""


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that nobody trades with. Times are ms since the listing; ``value`` in units of the threshold."""

    kind: Literal["large", "spoof"]
    slot: int
    number: int
    is_ask: bool
    start: int
    end: int
    ticks: int
    value: float


def day_factor(seed: int, listing: Listing, first_minute: int, count: int) -> Floats:
    """How much is traded in these days, against the usual."""
    of = noise.key(seed, "days", listing.coin.name) >> 1
    return np.asarray(np.exp(0.3 * noise.wave(of, first_minute, count, 7200)), dtype=np.float64)


def large_usd(listing: Listing, factor: float) -> float:
    """What counts as a large order on such a day, or a bit more: it must not depend on the plants of the day."""
    return min(LARGEST_USD, max(SMALLEST_USD, DAY_SHARE * _ALLOWANCE * factor * listing.day_usd))


def order_rate(listing: Listing, kind: str) -> float:
    """How often a place in a slot is taken."""
    if not listing.instrument.is_perpetual:
        return 0.0
    if kind in _FIRST_LEG and listing.day_usd < _EATEN_FROM_DAY_USD:
        return 0.0
    return listing.coin.plants * _RATE[kind] * _VENUE_RATE[listing.venue]


def shifts(seed: int, listing: Listing, venues: tuple[str, ...], first_slot: int, slots: int) -> list[Shift]:
    """Where this venue's price is off. Of all venues that trade a symbol, at most one is off at a time."""
    crossed = listing.over is not None
    rate = 0.5 if crossed else 0.35 * listing.coin.plants
    if rate == 0 or (not crossed and len(venues) < 2):
        return []
    of = noise.key(seed, "triangle" if crossed else "mispriced", listing.symbol) >> 1
    index = np.arange(first_slot, first_slot + slots)
    who = (noise.uniform(of + 1, index) * len(venues)).astype(np.int64)
    taken = (noise.uniform(of, index) < rate) & (who == venues.index(listing.venue))
    return [_shift(of, int(slot), crossed=crossed) for slot in index[taken]]


def _shift(of: int, slot: int, *, crossed: bool) -> Shift:
    first, choices = (
        (49, 3) if crossed else (7, 2)
    )  # inside one minute: no candle opens or closes at a price that is off
    place = first + int(choices * noise.one(of + 2, slot))
    size = 0.0065 + 0.0045 * noise.one(of + 3, slot)
    sign = 1 if noise.one(of + 4, slot) < 0.5 else -1
    return Shift(slot * SLOT_KNOTS + place, 2 + int(2 * noise.one(of + 5, slot)), sign * size)


def pins(seed: int, listing: Listing, ticks: Whole, first_slot: int, slots: int) -> list[Pin]:
    """Where orders are eaten, along a path that begins with ``first_slot``."""
    table = ticks[: slots * SLOT_KNOTS].reshape(slots, SLOT_KNOTS)
    return [pin for kind in ("wall", "iceberg") for pin in _pins(seed, listing, kind, table, first_slot)]


def _pins(seed: int, listing: Listing, kind: Literal["wall", "iceberg"], table: Whole, first_slot: int) -> list[Pin]:
    rate = order_rate(listing, kind)
    if rate == 0:
        return []
    of = noise.key(seed, kind, listing.venue, listing.symbol) >> 1
    slots = np.arange(first_slot, first_slot + len(table))
    taken = np.flatnonzero(noise.uniform(of, slots) < rate)
    below, above = _rests(table[taken], kind, -1), _rests(table[taken], kind, 1)
    found = []
    for row, (under, over) in zip(taken, zip(below, above, strict=True), strict=True):
        slot = int(slots[row])
        is_ask = noise.one(of + 1, slot) < 0.5
        if (under if is_ask else over).max() == 0:
            is_ask = not is_ask
        rests = under if is_ask else over
        place = int(rests.argmax())
        if rests[place] == 0:
            continue
        eaten = 0.3 + 0.85 * noise.one(of + 2, slot) if kind == "wall" else 1.0
        legs = 1 if kind == "wall" else 2 + int(2 * noise.one(of + 3, slot))
        first = slot * SLOT_KNOTS + _FIRST_LEG[kind] + place
        found.append(Pin(kind, slot, first, legs, int(rests[place]), is_ask, eaten))
    return found


def _rests(table: Whole, kind: str, sign: int) -> NDArray[np.int64]:
    """For each possible leg: how many knots before it lie strictly below (-1) or above (1) its price."""
    first, legs = _FIRST_LEG[kind], _LEGS[kind]
    here = table[:, first : first + legs]
    open_still = np.ones(here.shape, dtype=bool)
    rests = np.zeros(here.shape, dtype=np.int64)
    for back in range(1, _MOST_REST + 1):
        open_still &= (table[:, first - back : first - back + legs] - here) * sign > 0
        rests += open_still
    return rests


def restings(seed: int, listing: Listing, ticks: Whole, first_slot: int, slots: int) -> list[Resting]:
    """Orders beside the path ``ticks``, which begins with ``first_slot`` and has all plants on it that move it."""
    found = []
    for slot in range(first_slot, first_slot + slots):
        knots = ticks[(slot - first_slot) * SLOT_KNOTS :][: SLOT_KNOTS + 1]
        for kind, number in (("large", 0), ("spoof", 1), ("spoof", 2)):
            one = _resting(seed, listing, kind, number, slot, knots)  # type: ignore[arg-type]
            if one is not None:
                found.append(one)
    return found


def _resting(
    seed: int, listing: Listing, kind: Literal["large", "spoof"], number: int, slot: int, knots: Whole
) -> Resting | None:
    of = noise.key(seed, kind, number, listing.venue, listing.symbol) >> 1
    if noise.one(of, slot) >= order_rate(listing, kind):
        return None
    if kind == "large":
        start = 100 * int(1800 * noise.one(of + 1, slot))
        life = 100 * int(900 + 3200 * noise.one(of + 2, slot))
        away = 0.0002 + 0.001 * noise.one(of + 3, slot)
    else:
        start = 100 * int((100, 3000)[number - 1] + 2700 * noise.one(of + 1, slot))
        life = 100 * int(6 + 20 * noise.one(of + 2, slot))
        away = 0.0004 + 0.0012 * noise.one(of + 3, slot)
    minutes = slice(max(0, start // 60_000 * 6 - 6), (start + life) // 60_000 * 6 + 7)  # whole minutes, and one before
    near = knots[minutes]
    is_ask = noise.one(of + 4, slot) < 0.5
    margin = listing.coin.spread + 2 + number + int(away * int(knots[0]))
    ticks = int(near.max()) + margin if is_ask else int(near.min()) - margin
    begin = slot * SLOT_MINUTES * 60_000 + start
    value = 1.2 + 0.9 * noise.one(of + 5, slot)
    return Resting(kind, slot, number, is_ask, begin, begin + life, ticks, value)
