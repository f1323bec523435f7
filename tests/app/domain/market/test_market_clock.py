"""Market time runs at its speed and never backwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market.market_clock import MarketClock, begun, resumed, skew_ms


def test_a_clock_begins_with_our_time_and_runs_at_its_speed():
    clock = begun(1_000, 60.0)

    assert [clock.now_ms(real_ms) for real_ms in (1_000, 2_000, 3_500)] == [1_000, 61_000, 151_000]


def test_a_restart_does_not_stop_the_market():
    clock = begun(1_000, 2.0)

    assert resumed(clock, 2.0, 5_000) == clock


def test_another_speed_goes_on_from_the_same_market_time():
    slower = resumed(begun(1_000, 60.0), 1.0, 61_000)

    assert slower == MarketClock(61_000, 1_000 + 60 * 60_000, 1.0)


def test_when_our_clock_is_set_back_the_market_stands_still_and_then_goes_on():
    clock = begun(10_000, 1.0)

    assert clock.now_ms(4_000) == 10_000
    assert resumed(clock, 1.0, 4_000).now_ms(4_500) == 10_500


@given(st.lists(st.tuples(st.integers(0, 10_000_000), st.floats(0.1, 1000)), max_size=8))
def test_no_order_of_restarts_and_speeds_turns_market_time_back(starts: list[tuple[int, float]]):
    clock, real_ms, last = begun(0, 1.0), 0, 0
    for later, speed in starts:
        real_ms += later
        clock = resumed(clock, speed, real_ms)
        assert clock.now_ms(real_ms) >= last
        last = clock.now_ms(real_ms)


@pytest.mark.parametrize(
    ("theirs_ms", "off_ms"), [(1_000, 0), (3_000, 0), (6_000, 0), (6_500, 500), (900, -100), (-9_000, -10_000)]
)
def test_a_clock_is_off_by_what_no_waiting_of_the_question_can_explain(theirs_ms: int, off_ms: int):
    assert skew_ms(1_000, theirs_ms, 6_000) == off_ms
