"""Weights that learn from trades that are over (domain B1.7)."""

import pytest

from app.domain.strategies.strategy import Lesson
from app.domain.strategies.v3.learning import learn, tilts
from app.domain.strategies.v3.strategy import judge
from tests.app.domain.strategies.v3.readings import rising

HIGH, LOW = 8.0, 2.0


def lessons(
    count: int,
    won: int,
    symbol: str = "BTC/USDT:USDT",
    *,
    trend: float = HIGH,
    factors: float = LOW,
    entry: float = LOW,
):
    scores = {"4h": trend, "1h": factors, "15m": entry}
    return [Lesson(symbol, scores, number < won) for number in range(count)]


def test_nine_trades_teach_nothing():
    assert tilts(lessons(9, 9)) is None


def test_a_part_that_stood_high_in_trades_that_won_counts_more():
    assert tilts(lessons(10, 10)) == (1.125, 1.0, 1.0)
    assert tilts(lessons(10, 0)) == (0.875, 1.0, 1.0)


def test_a_part_that_won_half_of_its_trades_stays_as_it_is():
    assert tilts(lessons(10, 5)) == (1.0, 1.0, 1.0)


def test_each_part_learns_from_the_trades_in_which_it_stood_high():
    taught = tilts(lessons(10, 10) + lessons(20, 5, trend=LOW, factors=HIGH))

    assert taught == (1.125, 1 + 0.25 * (0.25 - 0.5), 1.0)


def test_coins_of_one_class_learn_together_and_others_do_not():
    of_btc, of_eth, of_sol = learn(lessons(10, 10), ["BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"], {})

    assert of_btc == of_eth == (1.125, 1.0, 1.0)
    assert of_sol is None


def test_a_coin_whose_class_a_person_changed_learns_with_that_class():
    [of_wif] = learn(lessons(10, 10), ["WIF/USDT:USDT"], {"WIF": "mainstream"})

    assert of_wif == (1.125, 1.0, 1.0)


def test_the_weights_are_shared_out_anew_so_that_they_are_parts_of_one():
    plain = judge(rising())
    tilted = judge(rising(tilts=(1.125, 1.125, 1.125)))

    assert tilted.total == plain.total


@pytest.mark.parametrize(("tilts", "sign"), [((1.125, 0.875, 0.875), 1), ((0.875, 1.125, 1.125), -1)])
def test_what_was_learned_moves_the_total_towards_the_part_that_is_trusted(
    tilts: tuple[float, float, float], sign: int
):
    weak_entry = {"surge_15m": 1.3, "delta_15m": 0.05, "oi_6h": 0.5}
    plain, tilted = judge(rising(**weak_entry)), judge(rising(**weak_entry, tilts=tilts))

    assert sign * (tilted.total - plain.total) > 0
