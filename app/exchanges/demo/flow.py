"""Trades, and the sums of them that candles are, without making the trades.

A minute has six legs between seven knots of the path. In a leg trades come in pairs: the first with the last, the second with
the second last, and so on. The two of a pair have one quantity and one side, and their prices mirror each other about the
middle of the leg. So what a leg's trades cost is the sum of its two ends times half its quantity, whatever the prices between
are, and a year of candles costs no trades. All sums are of whole ticks and whole lots: exact.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.exchanges.demo import noise, plants
from app.exchanges.demo.instruments import LEGS, Listing
from app.exchanges.demo.noise import Floats, Ints, Whole
from app.exchanges.demo.plants import SLOT_KNOTS, Pin, Shift
from app.exchanges.demo.prices import BLOCK_KNOTS, BLOCK_MINUTES, Path, move_of

MINUTE_MS = 60_000
OPEN, HIGH, LOW, CLOSE, LOTS, COST, BUY_LOTS, BUY_COST = range(8)
"""Rows of ``candles``."""
_LEG_SHARE = 1.04
"""So that a usual day has the usual volume."""


@dataclass(frozen=True, slots=True)
class Legs:
    """Some blocks of a stream. Counted from the listing."""

    first_block: int
    ticks: Whole
    """The price at every knot, and at the first of the next block."""
    half: Whole
    """Half of each leg's lots."""
    half_buy: Whole
    """Of which the taker bought."""
    buy_pairs: Whole
    pins: tuple[Pin, ...]
    shifts: tuple[Shift, ...]

    def compact(self) -> "Legs":
        """The same in less memory, to be kept."""
        small = [table.astype(np.int32) for table in (self.ticks, self.half, self.half_buy)]
        return replace(self, ticks=small[0], half=small[1], half_buy=small[2], buy_pairs=self.buy_pairs.astype(np.int8))

    @property
    def first_minute(self) -> int:
        """Where it begins."""
        return self.first_block * BLOCK_MINUTES


@dataclass(frozen=True, slots=True)
class MinuteTrades:
    """The trades of one minute in order."""

    time_ms: Ints
    """Since the listing."""
    ticks: Ints
    lots: Ints
    is_buy: NDArray[np.bool_]


def time_knots(seed: int, minute: int) -> Ints:
    """When the legs of a minute begin, the same for every stream, so that prices that hang together move together."""
    weights = 0.4 + noise.uniform(noise.key(seed, "times") >> 1, np.arange(minute * LEGS, (minute + 1) * LEGS))
    ends = np.zeros(LEGS + 1, dtype=np.int64)
    ends[1:] = np.cumsum(weights) / weights.sum() * MINUTE_MS
    ends[-1] = MINUTE_MS
    return ends + minute * MINUTE_MS


def knot_ms(seed: int, knot: int) -> int:
    """When the leg that begins at this knot begins."""
    minute, leg = divmod(knot, LEGS)
    return int(time_knots(seed, minute)[leg])


def legs(seed: int, listing: Listing, venues: tuple[str, ...], first: int, path: Path, offset: Floats) -> Legs:
    """The legs of the blocks from ``first`` on, along the path of the coin (of the two coins, for a cross)."""
    knots = len(path.level) - 1
    slots = knots // SLOT_KNOTS
    first_slot = first * BLOCK_KNOTS // SLOT_KNOTS
    level = path.level + offset
    moved = plants.shifts(seed, listing, venues, first_slot, slots)
    for shift in moved:
        begin = shift.first - first * BLOCK_KNOTS
        level[begin : begin + shift.knots] += np.log1p(shift.share)
    ticks = np.rint(np.exp(level) * 10.0**listing.instrument.price_digits).astype(np.int64)
    rise = np.diff(level)
    pinned = plants.pins(seed, listing, ticks, first_slot, slots)
    factor = plants.day_factor(seed, listing, first * BLOCK_MINUTES, len(path.activity))
    half, half_buy, buy_pairs = _volumes(seed, listing, first, path.activity, rise, factor)
    for pin in pinned:
        begin = pin.first - first * BLOCK_KNOTS
        ticks[begin + 1 : begin + pin.legs + 1] = ticks[begin]
        large_usd = plants.large_usd(listing, float(factor[(pin.slot - first_slot) * plants.SLOT_MINUTES]))
        lots = min(pin.eaten, 1) * pin_lots(listing, pin, large_usd, int(ticks[begin]))
        eaten = half[begin : begin + pin.legs]
        np.maximum(eaten, int(lots / (2 * pin.legs)) + 1, out=eaten)
        forced = slice(begin - 1, begin + pin.legs)  # with the leg that comes to the price
        half_buy[forced] = half[forced] if pin.is_ask else 0
        buy_pairs[forced] = listing.pairs if pin.is_ask else 0
    return Legs(first, ticks, half, half_buy, buy_pairs, tuple(pinned), tuple(moved))


def _volumes(
    seed: int, listing: Listing, first: int, activity: Floats, rise: Floats, factor: Floats
) -> tuple[Ints, Ints, Ints]:
    of = noise.key(seed, "volume", listing.venue, listing.symbol) >> 1
    minute, minutes, pairs = first * BLOCK_MINUTES, len(activity), listing.pairs
    index = np.arange(minute * LEGS, (minute + minutes) * LEGS)
    usual = 10.0**listing.quantity_digits * listing.day_quantity / (1440 * LEGS * 2) / _LEG_SHARE
    lively = usual * activity * factor
    force = rise.reshape(minutes, LEGS) / (move_of(listing.coin) * activity)[:, None]
    many = np.exp(0.6 * noise.normal(of, index) - 0.18).reshape(minutes, LEGS)
    many *= 0.7 + 0.3 * np.minimum(np.abs(force), 5)
    many *= lively[:, None]
    half = np.maximum(many, pairs).astype(np.int64).ravel()
    lean = 0.5 + 0.06 * noise.wave(of + 1, minute, minutes, 60)
    share = lean[:, None] + 0.33 * np.tanh(force)
    share += 0.07 * noise.normal(of + 2, index).reshape(minutes, LEGS)
    share = np.clip(share.ravel(), 0.03, 0.97)
    buy_pairs = np.rint(share * pairs).astype(np.int64)
    half_buy = np.rint(share * half).astype(np.int64)
    half_buy = np.clip(half_buy, buy_pairs, half - (pairs - buy_pairs))
    half_buy[buy_pairs == 0] = 0
    full = buy_pairs == pairs
    half_buy[full] = half[full]
    return half, half_buy, buy_pairs


def pin_lots(listing: Listing, pin: Pin, large_usd: float, ticks: int) -> float:
    """How large the order is that is eaten there."""
    return large_usd * (1.2 + 0.25 * min(pin.eaten, 1)) / listing.price(ticks) * 10.0**listing.quantity_digits


def candles(found: Legs, first: int = 0, last: int | None = None) -> Ints:
    """One column for each minute, in ticks, lots and their products. Minutes are counted from the first of ``found``."""
    stop = len(found.half) // LEGS if last is None else last
    part = slice(first * LEGS, stop * LEGS)
    ticks = found.ticks[first * LEGS : stop * LEGS + 1].astype(np.int64)
    starts = ticks[:-1].reshape(-1, LEGS)
    both = (ticks[:-1] + ticks[1:]).reshape(-1, LEGS)
    half, buy = found.half[part].reshape(-1, LEGS), found.half_buy[part].reshape(-1, LEGS)
    table = np.empty((8, stop - first), dtype=np.int64)
    table[OPEN] = starts[:, 0]
    table[CLOSE] = ticks[LEGS::LEGS]
    highest, lowest = table[HIGH], table[LOW]
    highest[:], lowest[:] = table[CLOSE], table[CLOSE]
    lots, cost, buy_lots, buy_cost = table[LOTS], table[COST], table[BUY_LOTS], table[BUY_COST]
    table[LOTS:] = 0
    for leg in range(LEGS):  # far quicker than to reduce along an axis of six
        np.maximum(highest, starts[:, leg], out=highest)
        np.minimum(lowest, starts[:, leg], out=lowest)
        lots += half[:, leg]
        buy_lots += buy[:, leg]
        cost += both[:, leg] * half[:, leg]
        buy_cost += both[:, leg] * buy[:, leg]
    lots *= 2
    buy_lots *= 2
    return table


def minute_trades(seed: int, listing: Listing, found: Legs, minute: int) -> MinuteTrades:
    """All trades of a minute; ``minute`` counts from the listing."""
    at = (minute - found.first_minute) * LEGS
    pairs = listing.pairs
    count = 2 * pairs
    of = noise.key(seed, "trades", listing.venue, listing.symbol) >> 1
    size = LEGS * pairs * 5
    draws = noise.uniform(of, np.arange(minute * size, (minute + 1) * size)).reshape(5, LEGS, pairs)
    knots = found.ticks[at : at + LEGS + 1].astype(np.int64)
    left, right = knots[:-1, None], knots[1:, None]
    rise = right - left
    place = np.arange(pairs) / (count - 1)
    wobble = (draws[0] - 0.5) * 0.7
    wobble[:, 0] = 0
    first = np.rint(left + rise * np.clip(place + wobble, 0, 1)).astype(np.int64)
    ticks = np.concatenate((first, (left + right - first)[:, ::-1]), axis=1)
    buys = found.buy_pairs[at : at + LEGS].astype(np.int64)
    is_buy = np.argsort(np.argsort(draws[1], axis=1), axis=1) < buys[:, None]
    weight = (draws[2] + 0.02) ** -0.9
    half, half_buy = found.half[at : at + LEGS], found.half_buy[at : at + LEGS]
    lots = 1 + _split(weight * is_buy, half_buy - buys) + _split(weight * ~is_buy, half - half_buy - (pairs - buys))
    ends = time_knots(seed, minute)
    jitter = np.concatenate((draws[3], draws[4]), axis=1)
    times = ends[:-1, None] + np.diff(ends)[:, None] * (np.arange(count) + jitter) / count
    return MinuteTrades(
        times.astype(np.int64).ravel(),
        ticks.ravel(),
        np.concatenate((lots, lots[:, ::-1]), axis=1).ravel(),
        np.concatenate((is_buy, is_buy[:, ::-1]), axis=1).ravel(),
    )


def _split(weight: Floats, totals: Ints) -> Ints:
    """Share each row's total out by weight, to the last lot."""
    sums = np.cumsum(weight, axis=1)
    whole = np.where(sums[:, -1:] > 0, sums[:, -1:], 1)
    edges = np.floor(sums / whole * totals[:, None]).astype(np.int64)
    return np.diff(edges, axis=1, prepend=0)
