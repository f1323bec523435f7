"""Readings of the fleet, from real files as other processes write them."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.alerts.rules import RULES
from app.domain.alerts.stepping import AlertState, step
from app.domain.market.quality import Quality
from app.host import feed_report
from app.host.feed_report import CollectorReport, FeedReport, StoreReport
from app.host.fleet_report import ProcessReport
from app.host.metrics import Metrics
from app.host.probes import HostSample
from app.usecases.read_fleet import (
    FEWEST_CONNECTIONS,
    FEWEST_REQUESTS,
    PUBLISHED,
    WINDOW_S,
    FleetReader,
    quantile,
)
from tests.builders import NOW

HOST = HostSample(12.5, 500, 1000, 50.0, 70.0, 3000, 0.5, 1.0)


class House:
    """A reader, and processes whose metrics it reads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, NOW
        self.reader = FleetReader(folder)
        self.processes: dict[str, Metrics] = {}

    def process(self, name: str) -> Metrics:
        return self.processes.setdefault(name, Metrics())

    def look(self, after_s: float = 5, reports: tuple[ProcessReport, ...] | None = (), *, redis_up: bool = True) -> Any:
        self.now += timedelta(seconds=after_s)
        for name, metrics in self.processes.items():
            metrics.publish(self.folder, name)
            os.utime(self.folder / "metrics" / f"{name}.json", (self.now.timestamp(), self.now.timestamp()))
        return self.reader.readings(HOST, reports, redis_up=redis_up, now=self.now)

    def reading(self, name: str, subject: str = "", after_s: float = 5) -> float | None:
        return self.look(after_s)[name, subject]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def a_process(
    state: str = "RUNNING", *, fresh: bool = True, beat_s: float | None = 1.0, up_s: int = 5
) -> ProcessReport:
    return ProcessReport("feed", 1, state, up_s, 0, 10.0, 80, beat_s, "worked", "work", "", fresh)


def a_collector(state: str = "running", *, fresh_ms: int | None = 500, since_ms: int = 0) -> CollectorReport:
    quality = Quality(None, None, None, None, fresh_ms, None)
    return CollectorReport("okx", "okx", state, "", since_ms, (), (), {}, {}, quality)


def a_feed(folder: Path, collector: CollectorReport, *, age_s: float = 0, market_ms: int = 0) -> None:
    at_ms = int(NOW.timestamp() * 1000) + 5_000 - int(age_s * 1000)
    feed_report.write(
        folder, FeedReport(at_ms, market_ms, False, (collector,), (), (), (), StoreReport(0, {}, 0, None))
    )


def test_the_machine_and_what_does_not_answer_are_readings(house: House):
    seen = house.look(reports=None, redis_up=False)

    assert seen["host_cpu_percent", ""] == 12.5
    assert seen["host_memory_percent", ""] == 50
    assert seen["host_disk_percent", ""] == 70
    assert (seen["supervisord_away", ""], seen["redis_away", ""]) == (1, 1)


@pytest.mark.parametrize(
    ("report", "down", "frozen"),
    [
        (a_process(), 0, 0),
        (a_process("STOPPED", fresh=False), 0, 0),
        (a_process("FATAL", fresh=False), 1, None),
        (a_process("BACKOFF", fresh=False), 1, None),
        (a_process("STARTING", fresh=False), None, None),
        (a_process(fresh=False, beat_s=30), 0, 1),
        (a_process(fresh=False, beat_s=None, up_s=20), 0, None),
        (a_process(fresh=False, beat_s=None, up_s=90), 0, 1),
    ],
)
def test_a_process_is_well_down_or_frozen(
    house: House, report: ProcessReport, down: float | None, frozen: float | None
):
    seen = house.look(reports=(report,))

    assert (seen["process_down", "feed"], seen["process_frozen", "feed"]) == (down, frozen)


def test_data_are_as_old_as_the_report_and_what_it_says_together(house: House):
    a_feed(house.folder, a_collector(fresh_ms=2_000), age_s=30)

    assert house.reading("feed_age_seconds", "okx") == pytest.approx(32, abs=0.01)


def test_an_exchange_that_never_said_anything_is_as_old_as_its_collector(house: House):
    a_feed(house.folder, a_collector(fresh_ms=None, since_ms=10_000), market_ms=80_000)

    assert house.reading("feed_age_seconds", "okx") == pytest.approx(70, abs=0.01)


def test_what_somebody_stopped_is_not_stale(house: House):
    a_feed(house.folder, a_collector("stopped", fresh_ms=99_000))
    stopped_collector = house.reading("feed_age_seconds", "okx")
    a_feed(house.folder, a_collector(), age_s=500)
    stopped = ProcessReport("market-feed", None, "STOPPED", None, 0, None, 80, None, None, "work", "", fresh=False)

    assert stopped_collector == 0
    assert house.look(reports=(stopped,))["feed_age_seconds", "okx"] == 0


def test_without_a_report_of_the_feed_nothing_is_known_of_it(house: House):
    assert not any(name == "feed_age_seconds" for name, _ in house.look())


def test_failures_of_the_api_are_counted_over_five_minutes(house: House):
    api = house.process("main-app")
    api.count("flotilla_http_requests_total", 1000, method="GET", route="/x", status=500)  # before we looked
    house.look()
    for _ in range(5):
        api.count("flotilla_http_requests_total", method="GET", route="/x", status=503)
    soon = house.reading("api_errors")
    later = house.reading("api_errors", after_s=WINDOW_S + 5)

    assert (soon, later) == (5, 0)


def test_what_is_counted_for_the_first_time_has_grown_from_nothing(house: House):
    worker = house.process("strategy-worker")
    worker.count("flotilla_jobs_total", job="judge", outcome="done")
    house.look()
    worker.count("flotilla_jobs_total", 3, job="judge", outcome="failed")

    assert house.reading("strategy_errors") == 3


def test_a_process_that_began_anew_counts_from_nothing(house: House):
    house.process("strategy-worker").count("flotilla_jobs_total", 7, job="trade", outcome="failed")
    house.look()
    house.processes["strategy-worker"] = Metrics()
    house.process("strategy-worker").count("flotilla_jobs_total", 4, job="trade", outcome="failed")

    assert house.reading("strategy_errors") == 4


def test_a_look_that_was_too_short_may_say_that_all_is_bad_and_not_that_all_is_well(house: House):
    api = house.process("main-app")
    api.count("flotilla_http_requests_total", method="GET", route="/x", status=500)
    house.look()
    api.count("flotilla_http_requests_total", method="GET", route="/x", status=500)
    early = house.reading("api_errors")
    house.look(after_s=WINDOW_S - 50)

    assert early is None
    assert house.reading("api_errors", after_s=60) == 0


def test_the_share_of_good_answers_needs_ten_and_leaves_health_out(house: House):
    api = house.process("main-app")
    house.look()
    api.count("flotilla_http_requests_total", 50, method="GET", route="/health/ready", status=503)
    api.count("flotilla_http_requests_total", 8, method="GET", route="/x", status=404)
    api.count("flotilla_http_requests_total", 1, method="GET", route="/x", status=503)
    house.look()
    api.publish(house.folder, "main-app")
    few = house.reading("api_success_percent")
    api.count("flotilla_http_requests_total", 1, method="GET", route="/x", status=503)

    assert few is None
    assert house.reading("api_success_percent") == 80


def test_an_api_that_nobody_asks_is_well(house: House):
    house.process("main-app")
    house.look()
    seen = house.look(after_s=WINDOW_S + 5)

    assert (seen["api_success_percent", ""], seen["api_p95_seconds", ""]) == (100, 0)


def test_slow_answers_show_in_the_95th_percentile(house: House):
    api = house.process("main-app")
    api.observe("flotilla_http_request_seconds", 0.01, route="/x")
    house.look()
    api.observe("flotilla_http_request_seconds", 0.01, times=80, route="/x")
    api.observe("flotilla_http_request_seconds", 4.0, times=20, route="/y")

    assert house.reading("api_p95_seconds") == pytest.approx(4.375)


def test_a_percentile_lies_straight_within_its_bucket():
    assert quantile([0] * 13 + [9], 0.95) is None
    assert quantile([0] * 13 + [10], 0.95) == 10
    assert quantile([100] + [0] * 13, 0.5) == pytest.approx(0.0005)


def test_errors_of_the_database_are_not_supervisords(house: House):
    api = house.process("main-app")
    api.count("flotilla_reconcile_failures_total")
    house.look()
    api.count("flotilla_reconcile_failures_total", 3)
    while_both = house.look()["database_errors", ""]

    assert while_both == 3
    assert house.look(reports=None)["database_errors", ""] is None


def test_a_chore_that_failed_of_itself_is_no_error_of_the_database(house: House):
    cleaner = house.process("data-cleaner")
    cleaner.count("flotilla_jobs_total", job="sweep", outcome="done")
    house.look()
    cleaner.count("flotilla_jobs_total", 5, job="measure", outcome="failed")
    cleaner.count("flotilla_jobs_total", 3, job="sweep", outcome="unavailable")

    assert house.reading("database_errors") == 3


def test_a_strategy_whose_database_was_away_has_failed_all_the_same(house: House):
    worker = house.process("strategy-worker")
    worker.count("flotilla_jobs_total", job="judge", outcome="done")
    house.look()
    worker.count("flotilla_jobs_total", 3, job="judge", outcome="unavailable")

    assert house.reading("strategy_errors") == 3


def test_what_only_the_database_knows_is_a_reading_as_it_was_measured(house: House):
    worker = house.process("data-cleaner")
    worker.gauge("flotilla_judging_cycles_behind", 2)
    worker.gauge("flotilla_open_interest_still", 0)
    worker.gauge("flotilla_ledger_broken", 1)
    seen = house.look()

    assert seen["judging_cycles_behind", ""] == 2
    assert seen["open_interest_still", ""] == 0
    assert seen["ledger_broken", ""] == 1


def test_every_rule_has_a_reading(house: House):
    a_feed(house.folder, a_collector())
    for name in PUBLISHED:
        house.process("data-cleaner").gauge(name, 0)
    of_exchanges(house, {"ok": 1}, {"ok": 1})
    read = {name for name, _ in house.look(reports=(a_process(),))}

    assert {rule.reads for rule in RULES} <= read


def test_each_kind_of_housekeeping_that_failed_is_a_reading_of_its_own(house: House):
    for kind, failed in (("backup", 1), ("purge", 0)):
        house.process("data-cleaner").gauge("flotilla_chore_failed", failed, kind=kind)
    seen = house.look()

    assert (seen["chore_failed", "backup"], seen["chore_failed", "purge"]) == (1, 0)


def of_exchanges(house: House, rest: dict[str, int], streams: dict[str, int]) -> Metrics:
    """Calls and connections of OKX with these results, by a feed that was seen before."""
    feed = house.process("market-feed")
    feed.count("flotilla_feed_rows_lost_total", 0)
    house.look()
    for result, times in rest.items():
        feed.observe("flotilla_exchange_request_seconds", 0.1, times=times, exchange="okx", result=result)
    for result, times in streams.items():
        feed.count("flotilla_exchange_connections_total", times, exchange="okx", result=result)
    return feed


def test_an_exchange_that_refuses_a_fifth_is_a_reading_of_its_own(house: House):
    feed = of_exchanges(house, {"ok": 7, "limited": 1, "failed": 2}, {"ok": 3, "failed": 2})
    feed.observe("flotilla_exchange_request_seconds", 0.1, times=50, exchange="htx", result="ok")
    seen = house.look()

    assert seen["exchange_rest_percent", "okx"] == 70
    assert seen["exchange_stream_percent", "okx"] == 60
    assert seen["exchange_rest_percent", "htx"] is None  # whether it is well is known after a whole window


def test_fewer_than_ten_calls_or_five_connections_say_nothing(house: House):
    of_exchanges(house, {"failed": 9}, {"failed": 4})
    seen = house.look()

    assert (seen["exchange_rest_percent", "okx"], seen["exchange_stream_percent", "okx"]) == (None, None)


def test_an_exchange_that_was_not_asked_or_answered_for_five_minutes_is_well(house: House):
    feed = of_exchanges(house, {"failed": 20}, {"failed": 20})
    bad = house.look()
    feed.observe("flotilla_exchange_request_seconds", 0.1, times=2, exchange="okx", result="ok")
    seen = house.look(after_s=WINDOW_S + 5)

    assert (bad["exchange_rest_percent", "okx"], bad["exchange_stream_percent", "okx"]) == (0, 0)
    assert (seen["exchange_rest_percent", "okx"], seen["exchange_stream_percent", "okx"]) == (100, 100)


def test_an_exchange_that_a_new_feed_has_not_asked_yet_is_still_watched(house: House):
    of_exchanges(house, {"failed": 20}, {"failed": 20})
    house.look()
    house.processes["market-feed"] = Metrics()
    house.process("market-feed").observe("flotilla_exchange_request_seconds", 0.1, exchange="htx", result="ok")

    assert house.reading("exchange_rest_percent", "okx") == 0


def test_an_exchange_that_was_away_for_a_moment_wakes_nobody_and_one_that_stays_away_does(house: House):
    (rule,) = (rule for rule in RULES if rule.name == "exchange-stream")

    def told(failing_for_s: int) -> list[str]:
        feed, state, kinds = of_exchanges(house, {}, {"failed": 6}), AlertState(), []
        for looks in range(1, 160):
            feed.count(
                "flotilla_exchange_connections_total", looks * 5 < failing_for_s, exchange="okx", result="failed"
            )
            reading = house.reading("exchange_stream_percent", "okx")
            state, events = step(rule, state, reading, house.now, subject="okx")
            kinds += [event.kind for event in events]
        return kinds

    moment, long = told(20), told(400)

    assert moment == []
    assert (long[0], long[-1]) == ("fired", "resolved")


def test_the_limits_are_the_documents():
    limits = {rule.name: (rule.limit, rule.direction) for rule in RULES}

    assert limits["exchange-rest"] == limits["exchange-stream"] == (80, "below")
    assert (FEWEST_REQUESTS, FEWEST_CONNECTIONS) == (10, 5)


def test_each_way_that_cannot_tell_anything_is_a_reading_of_its_own(house: House):
    for way, failures in (("webhook", 12), ("telegram", 0)):
        house.process("monitor").gauge("flotilla_notice_failures", failures, way=way)
    seen = house.look()

    assert (seen["notice_failures", "webhook"], seen["notice_failures", "telegram"]) == (12, 0)


def test_lost_rows_are_counted(house: House):
    house.process("market-feed").gauge("flotilla_feed_rows_waiting", 1)
    house.look()
    house.process("market-feed").count("flotilla_feed_rows_lost_total", 12)

    assert house.reading("feed_rows_lost") == 12
