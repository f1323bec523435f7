"""Harmonic patterns."""

import numpy as np
import pytest

from app.domain.structure.harmonics import harmonic
from app.domain.structure.swings import Swing, swings
from tests.app.domain.structure.bars import Bars, flat, market, mirrored

__all__ = ["market"]

# X A B C D, whose ratios are ideal: X at 100, A at 200.
IDEAL = {
    ("CYPHER", "table"): (100, 200, 150, 213.6, 100 + 0.836 * 113.6),
    ("BAT", "table"): (100, 200, 144.1, 144.1 + 0.634 * 44.1, 100 + 0.886 * (44.1 + 0.634 * 44.1)),
    ("SHARK", "table"): (100, 200, -37.4, -37.4 + 1.374 * 137.4, 100 + 0.943 * (-137.4 + 1.374 * 137.4)),
    ("CYPHER", "classic"): (100, 200, 150, 213.6, 213.6 - 0.786 * 113.6),
    ("BAT", "classic"): (100, 200, 155.9, 155.9 + 0.634 * 44.1, 111.4),
    ("SHARK", "classic"): (100, 200, 150, 218.7, 200 - 1.008 * 100),
}
BEST = {"CYPHER": 0.9 * 0.9, "BAT": 0.8 * 0.8, "SHARK": 0.85 * 0.85}  # cap times factor


def path(*prices: float, middle: int = 1) -> Bars:
    """A market that goes straight from price to price, with a bar in between."""
    steps = np.arange(0, (len(prices) - 1) * (middle + 1) + 1) / (middle + 1)
    return flat(*np.interp(steps, range(len(prices)), prices))


def best(bars: Bars, bar: int | None = None):
    return harmonic(swings(bars.high, bars.low, 1), bars.high, bars.low, bar)


@pytest.mark.parametrize(("name", "definition"), IDEAL)
def test_an_ideal_pattern_has_the_best_score_in_both_orientations(name, definition):
    x, a, b, c, d = IDEAL[name, definition]
    bars = path(a, x, a, b, c, d)
    for either, sign in ((bars, 1), (mirrored(bars), -1)):
        found = best(either)

        assert (found.name, found.definition, found.direction) == (name, definition, sign if d < c else -sign)
        assert found.score == pytest.approx(BEST[name])
        assert [point.price for point in found.points] == pytest.approx([sign * each for each in (x, a, b, c, d)])


def test_d_may_run_and_is_then_known_at_the_present_bar():
    x, a, b, c, d = IDEAL["CYPHER", "classic"]
    bars = path(a, x, a, b, c, d)

    assert (best(bars).at, best(bars).known_at) == (10, 10)
    assert best(bars).points[-1] == Swing("low", 10, 10, pytest.approx(d))


def test_d_that_has_become_a_swing_is_known_since_then():
    x, a, b, c, d = IDEAL["CYPHER", "classic"]
    bars = path(a, x, a, b, c, d, d + 10)

    assert (best(bars).at, best(bars).known_at) == (10, 11)


def test_price_that_went_beyond_c_ended_the_leg():
    x, a, b, c, d = IDEAL["CYPHER", "classic"]
    bars = path(a, x, a, b, c)
    since = flat(*bars.close, c - 1, c - 1, d, c + 1)
    found = [Swing(each.kind, each.at, each.known_at, each.price) for each in swings(bars.high, bars.low, 1)]
    found.append(Swing("high", 8, 9, c))

    assert harmonic(found, since.high, since.low, 11) is not None
    assert harmonic(found, since.high, since.low, 12) is None


def test_a_score_falls_straight_to_the_edges_of_the_ranges():
    def of_d(ratio: float) -> float | None:
        found = best(path(200, 100, 200, 155.9, 155.9 + 0.634 * 44.1, 200 - 100 * ratio))
        return found and found.score / 0.8

    assert of_d(0.886) == pytest.approx(0.8)  # three ideal ratios, capped
    assert of_d(0.936 - 1e-9) == pytest.approx(2 / 3)
    assert of_d(0.836 + 1e-9) == pytest.approx(2 / 3)
    assert of_d(0.926) == pytest.approx((1 + 1 + 0.2) / 3)


def test_other_swings_are_no_pattern():
    assert best(path(200, 100, 200, 190, 195, 150)) is None
    assert best(path(1, 2, 1, 2)) is None
    assert best(flat()) is None


def test_swings_that_nobody_knew_are_not_used(market: Bars):
    whole = swings(market.high, market.low, 2)
    seen = 0
    for bar in range(len(market.close)):
        then = market.until(bar + 1)
        found = harmonic(whole, market.high, market.low, bar)
        seen += found is not None

        assert found == harmonic(swings(then.high, then.low, 2), then.high, then.low)
        assert found is None or max(found.at, *(point.known_at for point in found.points)) <= found.known_at <= bar
    assert seen
