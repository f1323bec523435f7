"""Breaks of structure (BOS) and changes of character (CHoCH) (B2.4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from app.domain.market.candles import Floats
from app.domain.structure.crossings import first_after
from app.domain.structure.swings import Swing, alternations

Kind: TypeAlias = Literal["bos", "choch"]


@dataclass(frozen=True, slots=True)
class Break:
    """A level whose break continues the trend (bos) or turns it (choch). ``direction``: +1 up, -1 down."""

    kind: Kind
    direction: int
    level: float
    at: int
    """The swing that made the level, third from the last of the pattern."""
    known_at: int
    """The last swing of the pattern was known; the level waits to be broken."""
    broken_at: int | None
    """The first later close beyond the level; it is confirmed. None: pending."""


def breaks(found: Sequence[Swing], close: Floats) -> list[Break]:
    """Patterns of four alternating swings, in the order in which they are known. ``found``: all swings, as ``swings`` gives them.

    Up, low L1, high H1, low L2, high H2: bos if L1 < L2 < H1 < H2, choch if L2 < L1 < H1 < H2. Down: the mirror.

    A close beyond H1 that came before H2 was known does not confirm, for nobody could know the pattern; price has to close
    beyond it once more. A more extreme H2 later changes neither kind nor level, so a pattern is told once.
    """
    pending = list(_patterns(found))
    broken: dict[int, int | None] = {}
    for direction, passes in ((1, np.greater), (-1, np.less)):
        mine = [each for each in pending if each.direction == direction]
        bars = first_after(close, [each.known_at for each in mine], passes, [each.level for each in mine])
        broken.update(zip((each.at for each in mine), bars, strict=True))
    return [each if broken[each.at] is None else replace(each, broken_at=broken[each.at]) for each in pending]


def confirmed(found: Iterable[Break]) -> list[Break]:
    """Those whose level was broken."""
    return [each for each in found if each.broken_at is not None]


def _patterns(found: Sequence[Swing]) -> Iterable[Break]:
    line: list[Swing] = []
    told = 2  # the last place whose pattern was told; the first that can have one is 3
    for place, swing in alternations(found):
        line[place:] = [swing]
        if place <= told:
            continue
        sign = 1 if swing.kind == "high" else -1
        first, level, third, last = (sign * each.price for each in line[-4:])
        if not (max(first, third) < level < last) or first == third:
            continue
        told = place
        yield Break("bos" if first < third else "choch", sign, line[-3].price, line[-3].at, swing.known_at, None)
