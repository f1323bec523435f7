"""How long rows are kept."""

from datetime import timedelta

from app.domain.retention import DAY_MS, POLICY, Keep
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


def test_what_must_be_archived_first_is_not_deleted():
    assert {"strategy_judgments", "simulation_trades"}.isdisjoint(keep.table for keep in POLICY)
