"""Rates from totals: known from the second look on, and never invented."""

from api.feed_rates import FeedRates


def test_the_first_look_knows_no_rate():
    assert FeedRates().per_s(1_000, {"trades": 50}) == {"trades": None}


def test_the_second_look_knows_how_fast_a_counter_grew():
    rates = FeedRates()
    rates.per_s(1_000, {"trades": 50})

    assert rates.per_s(3_000, {"trades": 150, "depth": 4}) == {"trades": 50.0, "depth": 2.0}


def test_the_same_report_twice_knows_no_more():
    rates = FeedRates()
    rates.per_s(1_000, {"trades": 50})

    assert rates.per_s(1_000, {"trades": 50}) == {"trades": None}


def test_a_counter_that_began_anew_has_no_rate():
    rates = FeedRates()
    rates.per_s(1_000, {"trades": 50})

    assert rates.per_s(2_000, {"trades": 3}) == {"trades": None}


def test_what_is_older_than_a_minute_does_not_count():
    rates = FeedRates()
    rates.per_s(1_000, {"trades": 0})
    rates.per_s(50_000, {"trades": 100})

    assert rates.per_s(70_000, {"trades": 300}) == {"trades": 10.0}
