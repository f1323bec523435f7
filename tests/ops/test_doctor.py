"""What the doctor concludes; its looks at a whole place are in test_command.py."""

import pytest

from app.host.fleet_report import ProcessReport
from app.settings import Redis, Settings
from ops import doctor


@pytest.mark.parametrize(
    ("answer", "verdict", "said"), [(0, "ok", "sync"), (5, "note", "nothing"), (-1, "note", "unknown")]
)
def test_a_clock_is_synchronised_or_not_or_nobody_knows(answer: int, verdict: str, said: str):
    found = doctor.clock_finding(answer)

    assert (found.verdict, said in found.found) == (verdict, True)


def stopped(name: str) -> ProcessReport:
    return ProcessReport(
        name=name,
        pid=None,
        state="STOPPED",
        uptime_s=None,
        restarts=None,
        memory_mb=None,
        ceiling_mb=80,
        heartbeat_age_s=None,
        last_work=None,
        role="core",
        explanation="",
        fresh=False,
    )


@pytest.mark.parametrize(("url", "named"), [("", ["broker", "monitor"]), ("redis://cache:6379/0", ["monitor"])])
def test_nobody_is_told_to_start_a_broker_that_an_existing_redis_replaces(url: str, named: list[str]):
    found = doctor.process_findings([stopped("broker"), stopped("monitor")], Settings(redis=Redis(url=url)))

    assert [finding.what for finding in found] == named
