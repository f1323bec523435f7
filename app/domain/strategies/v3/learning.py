"""Weights that learn (B1.7): a part that stood high in trades that were won counts more in the next ones.

w' = w x (1 + a x (win rate - 0.5)), then renormalised. A part says nothing before ten trades began with it in its upper half. Coins
of one class learn together, as they share the weights of their factors: alone, each would take a year to have ten trades.
"""

from collections.abc import Mapping, Sequence

from app.domain.strategies.strategy import Learned, Lesson
from app.domain.strategies.v3.coins import Kind, kind_of

PARTS = ("4h", "1h", "15m")
_SPEED = 0.25
_LEAST = 10
_HIGH = 5.0  # of 10
Tilts = tuple[float, float, float]
"""What the weights of trend, factors and entry are multiplied by."""


def learn(lessons: Sequence[Lesson], symbols: Sequence[str], classes: Mapping[str, str]) -> Learned:
    """What these trades teach of each symbol's class."""
    kinds = [kind_of(symbol, classes) for symbol in symbols]
    of_kind: dict[Kind, list[Lesson]] = {kind: [] for kind in kinds}
    for lesson in lessons:
        of_kind.setdefault(kind_of(lesson.symbol, classes), []).append(lesson)
    taught = {kind: tilts(those) for kind, those in of_kind.items()}
    return tuple(taught[kind] for kind in kinds)


def tilts(lessons: Sequence[Lesson]) -> Tilts | None:
    """What so many trades taught; None: nothing yet."""
    found = [_tilt([lesson.won for lesson in lessons if lesson.scores.get(part, 0.0) >= _HIGH]) for part in PARTS]
    if all(tilt is None for tilt in found):
        return None
    trend, factors, entry = (1.0 if tilt is None else tilt for tilt in found)
    return trend, factors, entry


def _tilt(won: Sequence[bool]) -> float | None:
    return 1 + _SPEED * (sum(won) / len(won) - 0.5) if len(won) >= _LEAST else None
