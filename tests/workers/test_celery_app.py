"""A job of the clock: how its end is counted, whatever that end is."""

from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import InvalidInput, Unavailable
from app.host.metrics import Metrics
from workers import celery_app
from workers.schedule import Job

JOB = Job("judge", "strategy", "somewhere:judge", timedelta(seconds=5))


def outcomes(monkeypatch: pytest.MonkeyPatch, trouble: Exception | None) -> list[tuple[str, float | None]]:
    """Run the job once; what was counted."""

    def work(_parts: object) -> None:
        if trouble:
            raise trouble

    monkeypatch.setattr(celery_app, "handler", lambda _job: work)
    parts: Any = SimpleNamespace(metrics=Metrics())
    run = celery_app._run_job(parts, JOB, lambda _work: None)
    with suppress(ZeroDivisionError):
        run()
    (family,) = (one for one in parts.metrics.snapshot("x").families if one.name == "flotilla_jobs_total")
    return [(series.labels["outcome"], series.value) for series in family.series]


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (None, "done"),
        (Unavailable("away"), "unavailable"),
        (InvalidInput("odd"), "failed"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_a_job_that_fails_is_counted_with_whether_something_was_away_even_by_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception | None, outcome: str
):
    assert outcomes(monkeypatch, trouble) == [(outcome, 1)]
