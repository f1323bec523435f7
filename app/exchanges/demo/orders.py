"""The plants that are orders, as the book shows them and as the trades eat them. Times are ms since the listing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.exchanges.demo import noise, plants
from app.exchanges.demo.flow import Legs, MinuteTrades, knot_ms, pin_lots
from app.exchanges.demo.instruments import LEGS, Listing
from app.exchanges.demo.noise import Ints
from app.exchanges.demo.plants import SLOT_KNOTS, SLOT_MINUTES, Pin, Resting
from app.exchanges.demo.values import PlantKind

BUCKET_MS = 100
"""The book changes so often."""


@dataclass(frozen=True, slots=True)
class Order:
    """One planted order. It rests from ``start`` to before ``end``."""

    kind: PlantKind
    slot: int
    number: int
    is_ask: bool
    ticks: int
    lots: int
    start: int
    end: int
    slice_lots: int
    """What it shows at most, where it hides the rest; else 0."""
    eaten_at: Ints
    eaten: Ints
    """What was traded of it until after each of those moments."""

    @property
    def traded(self) -> int:
        """Lots, over its whole life."""
        return int(self.eaten[-1]) if len(self.eaten) else 0

    def shown(self, at: int) -> int:
        """The lots that the book shows, of trades before ``at``; 0 when it is not there."""
        if not self.start <= at < self.end:
            return 0
        before = int(np.searchsorted(self.eaten_at, at))
        left = self.lots - (int(self.eaten[before - 1]) if before else 0)
        return min(left, (left - 1) % self.slice_lots + 1) if self.slice_lots and left > 0 else left


def orders(
    seed: int, listing: Listing, found: Legs, first_block: int, trades_of: Callable[[int], MinuteTrades]
) -> tuple[Order, ...]:
    """All orders that were planted in the blocks of ``found``, by their start."""
    if not plants.order_rate(listing, "large"):
        return ()
    slots = (len(found.ticks) - 1) // SLOT_KNOTS
    first_slot = first_block * (240 // SLOT_MINUTES)
    factor = plants.day_factor(seed, listing, found.first_minute, slots * SLOT_MINUTES)[::SLOT_MINUTES]
    usd = [plants.large_usd(listing, float(one)) for one in factor]
    resting = plants.restings(seed, listing, found.ticks, first_slot, slots)
    every = [_resting(listing, one, usd[one.slot - first_slot]) for one in resting]
    every += [_eaten(seed, listing, found, pin, usd[pin.slot - first_slot], trades_of) for pin in found.pins]
    return tuple(sorted(every, key=lambda order: (order.start, order.number)))


def _resting(listing: Listing, one: Resting, large_usd: float) -> Order:
    lots = int(large_usd * one.value / listing.price(one.ticks) * 10.0**listing.quantity_digits) + 1
    none = np.zeros(0, dtype=np.int64)
    return Order(one.kind, one.slot, one.number, one.is_ask, one.ticks, lots, one.start, one.end, 0, none, none)


def _eaten(
    seed: int, listing: Listing, found: Legs, pin: Pin, large_usd: float, trades_of: Callable[[int], MinuteTrades]
) -> Order:
    ticks = int(found.ticks[pin.first - found.first_minute * LEGS])
    start = -(-knot_ms(seed, pin.first - pin.rest) // BUCKET_MS) * BUCKET_MS
    end = knot_ms(seed, pin.first + pin.legs)
    at, lots = [], []
    for minute in range(start // 60_000, (end - 1) // 60_000 + 1):
        trades = trades_of(minute)
        mine = (
            (trades.ticks == ticks) & (trades.is_buy == pin.is_ask) & (trades.time_ms >= start) & (trades.time_ms < end)
        )
        at.append(trades.time_ms[mine])
        lots.append(trades.lots[mine])
    eaten_at, eaten = np.concatenate(at), np.cumsum(np.concatenate(lots))
    traded = int(eaten[-1])
    whole = traded if pin.eaten >= 1 else max(traded, int(pin_lots(listing, pin, large_usd, ticks)))
    if whole == traded:
        end = int(eaten_at[-1]) + 1
    parts = 8 + int(8 * noise.one(noise.key(seed, "slices", listing.venue, listing.symbol), pin.slot))
    slice_lots = -(-whole // parts) if pin.kind == "iceberg" else 0
    number = 3 if pin.kind == "wall" else 4
    return Order(pin.kind, pin.slot, number, pin.is_ask, ticks, whole, start, end, slice_lots, eaten_at, eaten)
