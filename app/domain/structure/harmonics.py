"""Harmonics: five alternating swings X A B C D whose legs stand in certain ratios (B2.3, A4)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from app.domain.market.candles import Floats
from app.domain.structure.swings import Swing, alternating

Name: TypeAlias = Literal["CYPHER", "BAT", "SHARK"]
Definition: TypeAlias = Literal["table", "classic"]
Points: TypeAlias = tuple[Swing, Swing, Swing, Swing, Swing]


@dataclass(frozen=True, slots=True)
class Harmonic:
    """A pattern that ends at D. ``direction``: +1 buy, for D is a low; -1 sell."""

    name: Name
    direction: int
    score: float
    definition: Definition
    points: Points
    """X A B C D."""
    at: int
    """D."""
    known_at: int


class _Range(NamedTuple):
    least: float
    ideal: float
    most: float

    def score(self, ratio: float) -> float | None:
        """1 at the ideal, falling straight to 0 at the edges; None beyond them."""
        if not self.least <= ratio <= self.most:
            return None
        side = self.least if ratio < self.ideal else self.most
        return 1 - abs(ratio - self.ideal) / abs(side - self.ideal)


class _Shape(NamedTuple):
    name: Name
    definition: Definition
    b: _Range
    c: _Range
    d: _Range
    d_of_xa: bool
    """Whether D is measured as AD/XA; else as CD/XC."""


def _between(least: float, most: float) -> _Range:
    return _Range(least, (least + most) / 2, most)


_OFF = 0.05  # how far D may be from a ratio that is published as one number
_CAPS: dict[Name, tuple[float, float]] = {"CYPHER": (0.9, 0.9), "BAT": (0.8, 0.8), "SHARK": (0.85, 0.85)}

# B2.3's own ratios: |B-X|/|A-X|, |C-B|/|B-X|, |D-X|/|C-X|.
_TABLE = (
    _Shape("CYPHER", "table", _Range(0.35, 0.5, 0.65), _Range(1.05, 1.272, 1.5), _Range(0.75, 0.836, 0.95), False),
    _Shape("BAT", "table", _Range(0.35, 0.441, 0.55), _Range(0.35, 0.634, 0.95), _Range(0.8, 0.886, 0.95), False),
    _Shape("SHARK", "table", _Range(1.05, 1.374, 1.7), _Range(1.05, 1.374, 1.7), _Range(0.8, 0.943, 1.1), False),
)
# As published for X A B C D: |B-A|/|X-A|, |C-B|/|B-A|, and |D-A|/|X-A| or |D-C|/|X-C|. Of a range the middle is ideal, as in B2.3.
_CLASSIC = (
    _Shape(
        "CYPHER", "classic", _between(0.382, 0.618), _between(1.13, 1.414), _between(0.786 - _OFF, 0.786 + _OFF), False
    ),
    _Shape("BAT", "classic", _between(0.382, 0.5), _between(0.382, 0.886), _between(0.886 - _OFF, 0.886 + _OFF), True),
    _Shape("SHARK", "classic", _between(0.382, 0.618), _between(1.13, 1.618), _between(0.886, 1.13), True),
)


def harmonic(
    found: Sequence[Swing], high: Floats, low: Floats, bar: int | None = None, *, direction: int | None = None
) -> Harmonic | None:
    """The best pattern at the close of ``bar`` (None: of the last one), by either definition, of this direction or of either.

    ``found``: all swings, as ``swings`` gives them; those that nobody knew at ``bar`` are left out. D is the last swing, or the
    farthest price since the last swing C, as long as none went beyond C. Ask how old ``at`` is before you trade it.
    """
    bar = len(high) - 1 if bar is None else bar
    scored = [
        match
        for points, known_at in _candidates(alternating(found, bar), high, low, bar)
        for match in _matches(points, known_at)
        if direction in (None, match.direction)
    ]
    return max(scored, key=lambda match: match.score, default=None)


def _candidates(line: list[Swing], high: Floats, low: Floats, bar: int) -> Iterator[tuple[Points, int]]:
    if len(line) >= 5:
        x, a, b, c, d = line[-5:]
        yield (x, a, b, c, d), d.known_at
    if len(line) >= 4 and line[-1].at < bar:
        x, a, b, c = line[-4:]
        since = slice(c.at + 1, bar + 1)
        beyond, runs = (high, -low) if c.kind == "high" else (-low, high)
        if beyond[since].max() <= (c.price if c.kind == "high" else -c.price):
            at = c.at + 1 + int(runs[since].argmax())
            d = Swing("low", at, bar, float(low[at])) if c.kind == "high" else Swing("high", at, bar, float(high[at]))
            yield (x, a, b, c, d), bar


def _matches(points: Points, known_at: int) -> Iterable[Harmonic]:
    x, a, b, c, d = (point.price for point in points)
    xa, xb, xc = abs(a - x), abs(b - x), abs(c - x)
    ab, bc = abs(b - a), abs(c - b)
    if min(xa, xb, xc, ab) == 0:
        return
    direction = 1 if d < c else -1
    for shape in (*_TABLE, *_CLASSIC):
        is_table = shape.definition == "table"
        to_b = (xb if is_table else ab) / xa
        to_c = bc / (xb if is_table else ab)
        to_d = abs(d - x) / xc if is_table else abs(d - a) / xa if shape.d_of_xa else abs(d - c) / xc
        marks = (shape.b.score(to_b), shape.c.score(to_c), shape.d.score(to_d))
        known = [mark for mark in marks if mark is not None]
        if len(known) < len(marks):
            continue
        cap, factor = _CAPS[shape.name]
        score = min(sum(known) / len(known), cap) * factor
        yield Harmonic(shape.name, direction, score, shape.definition, points, points[-1].at, known_at)
