"""What the doctor concludes; its looks at a whole place are in test_command.py."""

import msgspec
import pytest

from app.host.feed_report import CollectorReport, Quality, Seen
from app.host.fleet_report import ProcessReport
from app.settings import Feed, Redis, Settings
from ops import doctor
from tests.api.market import report


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


def collector(name: str, state: str, note: str = "") -> CollectorReport:
    quality = Quality(None, None, None, None, None, None)
    return CollectorReport(name, name, state, note, 0, (), (), {}, {}, quality)


def test_a_feed_that_runs_and_gets_nothing_is_not_well():
    seen = Seen(
        msgspec.structs.replace(
            report(),
            collectors=(
                collector("binance", "failing", "fapi.binance.com does not answer"),
                collector("okx", "degraded", "1 of 3 connections are not open"),
                collector("htx", "running"),
                collector("gate", "stopped"),
            ),
        ),
        "ok",
        400,
    )

    found = list(doctor.collector_findings(seen, Settings(feed=Feed(exchanges=("binance",)))))

    assert [(one.what, one.verdict) for one in found] == [
        ("binance", "bad"), ("okx", "note"), ("htx", "ok"), ("gate", "note"),
    ]  # fmt: skip
    assert "fapi.binance.com does not answer" in found[0].found
    assert "network" in found[0].what_to_do
    assert "not open" in found[1].found
    assert "POST /api/qingxi/collectors/gate/start" in found[3].what_to_do


@pytest.mark.parametrize("seen", [Seen(None, "unknown", None), Seen(report(), "stale", 60_000)])
def test_collectors_of_a_silent_feed_are_not_spoken_of(seen: Seen):
    assert [one.what for one in doctor.collector_findings(seen, Settings())] == ["collectors"]
