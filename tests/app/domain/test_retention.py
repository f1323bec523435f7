"""How long rows are kept."""

from datetime import timedelta

import pytest

from app.domain.market.timeframes import DAY_MS
from app.domain.retention import MOST_IN_A_BATCH, POLICY, Keep, backups_kept, next_batch
from tests.builders import NOW


def test_what_is_older_than_its_days_may_go():
    assert Keep("any", days=7).before(NOW) == NOW - timedelta(days=7)


def test_no_rows_have_two_rules():
    assert len({keep.name for keep in POLICY}) == len(POLICY)


def test_rows_of_the_market_go_by_the_markets_time():
    assert Keep("any", days=7, timeframe="1h").before_ms(100 * DAY_MS, 0) == 93 * DAY_MS


def test_minutes_stay_until_they_are_rolled_up():
    keep = Keep("any", days=7, timeframe="1m", rolled_up=True)

    assert keep.before_ms(100 * DAY_MS, 0) == 0
    assert keep.before_ms(100 * DAY_MS, 90 * DAY_MS) == 90 * DAY_MS
    assert keep.before_ms(100 * DAY_MS, 99 * DAY_MS) == 93 * DAY_MS
    assert all(keep.rolled_up for keep in POLICY if keep.timeframe == "1m")


def test_what_a_person_imported_stays():
    assert not any("import" in keep.sources for keep in POLICY)
    assert all(keep.sources for keep in POLICY if keep.table == "klines")


def test_what_cannot_be_had_again_is_archived_before_it_goes():
    archived = {keep.table: keep.days for keep in POLICY if keep.archive}

    assert archived == {"strategy_judgments": 60, "simulation_trades": 90, "system_monitoring": 30}


def test_what_the_strategies_made_ages_by_the_closes_that_they_judged():
    assert {keep.table for keep in POLICY if keep.judged} == {"strategy_judgments", "simulation_trades"}


@pytest.mark.parametrize(("took_ms", "next_one"), [(1, 200), (12.5, 200), (25, 100), (50, 50), (100, 25), (10_000, 1)])
def test_a_batch_is_as_large_as_keeps_no_other_writer_waiting(took_ms: float, next_one: int):
    assert next_batch(100, took_ms) == next_one


def test_a_batch_never_grows_beyond_its_most():
    assert next_batch(MOST_IN_A_BATCH, 0.1) == MOST_IN_A_BATCH


def test_of_the_newest_days_and_weeks_the_newest_copy_stays():
    """NOW is a Saturday; a copy every night at 02:30 and one at noon."""
    made = [NOW.replace(hour=hour) - timedelta(days=n) for n in range(60) for hour in (2, 12)]
    kept = sorted(backups_kept(made, daily=7, weekly=4), reverse=True)

    assert [(NOW.date() - one.date()).days for one in kept] == [0, 1, 2, 3, 4, 5, 6, 13, 20]
    assert {one.hour for one in kept} == {12}


def test_nights_without_a_copy_take_no_ones_place():
    made = [NOW - timedelta(days=n) for n in (0, 10, 20, 30, 40)]

    assert backups_kept(made, daily=3, weekly=0) == set(made[:3])
    assert backups_kept(made, daily=1, weekly=4) == set(made[:4])
    assert backups_kept([], daily=7, weekly=4) == set()
