"""Samples of how well the fleet serves."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput
from app.storage import monitoring
from app.storage.database import reading, transaction
from app.storage.monitoring import Sample
from tests.builders import NOW, later

SAMPLE = Sample("API_SUCCESS_RATE", "binance", 197, 200, Decimal("98.5"), Decimal("120.512"), NOW)


def test_many_samples_are_written_at_once_and_read_newest_first(engine: Engine):
    samples = [replace(SAMPLE, created_at=later(n), success_count=n) for n in range(700)]
    with transaction(engine) as db:
        monitoring.add_all(db, samples)
    with reading(engine) as db:
        assert monitoring.recent(db, limit=3) == samples[:-4:-1]
        assert len(monitoring.recent(db, limit=1000, since=later(600))) == 100


def test_samples_are_found_by_metric_and_component(engine: Engine):
    other = replace(SAMPLE, metric_type="SYSTEM_HEALTH", component="disk", error_message="full", success_rate=None)
    with transaction(engine) as db:
        monitoring.add_all(db, [SAMPLE, other])
    with reading(engine) as db:
        assert monitoring.recent(db, limit=9, metric_type="SYSTEM_HEALTH") == [other]
        assert monitoring.recent(db, limit=9, component="binance") == [SAMPLE]


def test_no_samples_write_no_row(engine: Engine):
    with transaction(engine) as db:
        monitoring.add_all(db, [])

        assert monitoring.recent(db, limit=9) == []


def test_a_bad_sample_keeps_all_of_its_batch_out(engine: Engine):
    with pytest.raises(InvalidInput, match="SYSTEM_HEALTH"), transaction(engine) as db:
        monitoring.add_all(db, [SAMPLE, replace(SAMPLE, metric_type="MOOD")])
    with reading(engine) as db:
        assert monitoring.recent(db, limit=9) == []
