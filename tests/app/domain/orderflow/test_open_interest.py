"""Open interest: a change is only ever computed against a stored value."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market.readings import Reading
from app.domain.market.values import OpenInterest
from app.domain.orderflow.open_interest import KEPT_MS, STALE_MS, OpenInterestState, advance, change_percent

MINUTE_MS = 60_000
START_MS = 1_700_000_040_000


def value(minute: float, quantity: float) -> OpenInterest:
    return OpenInterest("binance", "BTC/USDT:USDT", START_MS + int(minute * MINUTE_MS), 0, quantity=quantity)


def after(*values: OpenInterest) -> OpenInterestState:
    state = OpenInterestState()
    for each in values:
        state, _ = advance(state, each)
    return state


def test_the_first_value_has_no_change():
    state, change = advance(OpenInterestState(), value(0, 100.0))

    assert change is None
    assert state.last == (START_MS, 100.0)


def test_a_change_is_in_percent_of_the_value_before():
    _, change = advance(after(value(0, 100.0)), value(1, 103.0))

    assert change == pytest.approx(3.0)


def test_after_a_restart_the_change_is_computed_against_the_stored_value():
    stored = msgspec.json.encode(after(value(0, 100.0)))
    _, change = advance(msgspec.json.decode(stored, type=OpenInterestState), value(3, 98.0))

    assert change == pytest.approx(-2.0)


def test_a_value_that_was_seen_changes_nothing():
    state = after(value(0, 100.0), value(1, 110.0))

    assert advance(state, value(1, 120.0)) == (state, None)
    assert advance(state, value(0.5, 120.0)) == (state, None)


def test_a_minute_keeps_its_newest_value():
    assert after(value(0, 100.0), value(0.25, 101.0), value(0.5, 102.0)).minutes == ((START_MS + 30_000, 102.0),)


def test_nothing_is_compared_with_nothing():
    assert advance(after(value(0, 0.0)), value(1, 5.0))[1] is None


def test_what_is_older_than_any_window_is_forgotten():
    state = after(*(value(minute, 100.0) for minute in range(600)))

    assert len(state.minutes) <= KEPT_MS // MINUTE_MS + 3


def test_the_change_over_a_window():
    state = after(*(value(minute, 100.0 + minute) for minute in range(31)))
    now_ms = START_MS + 30 * MINUTE_MS

    assert change_percent(state, 15, now_ms) == Reading(pytest.approx(15 / 115 * 100), "ok")
    assert change_percent(state, 30, now_ms) == Reading(pytest.approx(30.0), "ok")


def test_a_window_that_is_not_full_warms_up():
    assert change_percent(OpenInterestState(), 15, START_MS) == Reading(None, "warming")
    assert change_percent(after(value(0, 100.0)), 15, START_MS) == Reading(None, "warming")
    state = after(*(value(minute, 100.0) for minute in range(10)))
    assert change_percent(state, 15, START_MS + 9 * MINUTE_MS) == Reading(None, "warming")


def test_a_window_whose_beginning_was_missed_is_a_gap():
    state = after(value(0, 100.0), value(28, 101.0), value(30, 102.0))

    assert change_percent(state, 15, START_MS + 30 * MINUTE_MS) == Reading(None, "gap")


def test_an_old_change_is_stale():
    state = after(*(value(minute, 100.0 + minute) for minute in range(16)))
    late_ms = START_MS + 15 * MINUTE_MS + STALE_MS + 1

    assert change_percent(state, 15, late_ms).status == "stale"


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1e9)), max_size=30), st.integers(0, 29))
def test_a_restart_anywhere_changes_nothing(values: list[tuple[int, float]], restart: int):
    plain = restarted = OpenInterestState()
    for place, (minute, quantity) in enumerate(values):
        if place == restart:
            restarted = msgspec.json.decode(msgspec.json.encode(restarted), type=OpenInterestState)
        one, other = advance(plain, value(minute, quantity)), advance(restarted, value(minute, quantity))
        assert one == other
        plain, restarted = one[0], other[0]
