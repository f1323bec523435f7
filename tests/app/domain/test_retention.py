"""How long rows are kept."""

from datetime import timedelta

from app.domain.retention import POLICY, Keep
from tests.builders import NOW


def test_what_is_older_than_its_days_may_go():
    assert Keep("any", days=7).before(NOW) == NOW - timedelta(days=7)


def test_no_table_has_two_rules():
    assert len({keep.table for keep in POLICY}) == len(POLICY)


def test_what_must_be_archived_first_is_not_deleted():
    assert {"strategy_judgments", "simulation_trades"}.isdisjoint(keep.table for keep in POLICY)
