"""What a strategy is: a value that says what it needs, reads, and judges.

Reading makes of a market, for each symbol, the few numbers that the judgment rests on; judging is a function of these numbers
alone. They are rounded when they are read, so that what is stored is what was judged, and the same numbers give the same verdict
to the last bit, years later.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from app.domain.market.readings import Status
from app.domain.strategies.market import Market

Direction = Literal["UP", "DOWN", "RANGE"]
Signal = Literal["BUY", "SELL", "WATCH", "HOLD"]
Strength = Literal["STRONG", "MEDIUM", "WEAK"]
Confidence = Literal["HIGH", "MEDIUM", "LOW"]
LEAST_STOP = 0.005
"""A stop is never nearer, as a share of the price: what trading costs twice would be more than what is risked."""
PRICE_DIGITS = 8  # more than any price step needs
DIGITS = 4  # of what is not a price: thousands of rows a day have to be kept


class Inputs(msgspec.Struct, frozen=True, array_like=True):
    """What a judgment rests on: written as a list, for names would cost more room than numbers. A new field goes to the end."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition on the way to a trade, with the numbers that decided. Nothing after the first closed one matters."""

    name: str
    passed: bool
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a trade would be entered, given up and won."""

    entry: float
    stop: float
    target: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows. ``scores`` are 0 to 10 for each timeframe; ``gates`` say why, in their order."""

    trend: Direction
    scores: Mapping[str, float]
    total: int
    signal: Signal
    strength: Strength | None
    confidence: Confidence
    gates: tuple[Gate, ...]
    levels: Levels | None

    @property
    def blocked_by(self) -> Gate | None:
        """Why there is no trade."""
        return next((gate for gate in self.gates if not gate.passed), None)


@dataclass(frozen=True, slots=True)
class Held:
    """An open trade, as the strategy that opened it asks about it. ``sign``: 1 bought, -1 sold."""

    sign: int
    trend: Direction
    """At its entry: RANGE for a trade of a range."""
    as_of_ms: int
    """The close that is judged."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A trade of the strategy that is over: the scores, 0 to 10, of its timeframes at its entry, and whether it won."""

    symbol: str
    scores: Mapping[str, float]
    won: bool


Learned: TypeAlias = tuple[tuple[float, ...] | None, ...]
"""What there is to know of each symbol; None: nothing yet."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A plug-in. ``needs`` says how many closed candles of which timeframe it reads.

    ``leave`` says why an open trade should be given up at this close, if it should; ``longest_ms`` is its time stop.
    """

    name: str
    timeframes: tuple[str, ...]
    needs: Mapping[str, int]
    inputs: type[Inputs]
    read: Callable[[Market], list[Any]]
    judge: Callable[[Any], Verdict]
    leave: Callable[[Any, Held], str | None]
    longest_ms: int
    learn: Callable[[Sequence[Lesson], Sequence[str], Mapping[str, str]], Learned] | None = None
    """What its closed trades teach of these symbols, of which a person may say what kind of coins they are."""


def confidence_of(total: int, worst: Status) -> Confidence:
    """A judgment that rests on something that is not well is never sure."""
    if total >= 70 and worst == "ok":
        return "HIGH"
    return "MEDIUM" if total >= 45 else "LOW"


def rounded(value: float | None, digits: int = PRICE_DIGITS) -> float | None:
    """As it is judged and stored. What is not known is None."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def worst_of(statuses: tuple[Status, ...]) -> Status:
    """The status of what rests on all of these."""
    order: tuple[Status, ...] = ("gap", "stale", "warming", "ok")
    return min(statuses, key=order.index, default="ok")
