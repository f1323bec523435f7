"""When a filling disk calls for an early clean-up."""

from datetime import timedelta

import pytest

from app.domain.disk_ceiling import clean_up_is_due, going_for_room, missing_bytes
from tests.builders import NOW


@pytest.mark.parametrize(("used", "due"), [(79.9, False), (80, True), (99, True)])
def test_a_disk_is_cleaned_from_80_percent_on(used: float, due: bool):
    assert clean_up_is_due(None, used, NOW) is due


@pytest.mark.parametrize(("minutes_ago", "due"), [(0, False), (59, False), (60, True), (-60 * 24 * 400, True)])
def test_it_is_asked_for_once_an_hour_and_a_clock_that_was_set_back_holds_nothing_up(minutes_ago: int, due: bool):
    assert clean_up_is_due(NOW - timedelta(minutes=minutes_ago), 95, NOW) is due


@pytest.mark.parametrize(("wanted", "missing"), [(0, 0), (20, 0), (21, 1), (100, 80)])
def test_what_would_leave_less_than_a_tenth_of_the_disk_does_not_fit(wanted: int, missing: int):
    assert missing_bytes(used=70, free=30, wanted=wanted, at_most_percent=90) == missing


@pytest.mark.parametrize(("missing", "going"), [(0, 0), (1, 1), (5, 1), (6, 2), (11, 3), (99, 3)])
def test_as_few_go_as_make_room_the_first_ones_first(missing: int, going: int):
    assert going_for_room([5, 5, 5], missing) == going
