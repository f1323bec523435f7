"""How well everything works, as the API tells it."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.domain.alerts.stepping import AlertState
from app.domain.market.market_clock import MarketClock
from app.host import acknowledgements, alert_file, market_clock_file
from app.host.metrics import Metrics
from app.storage import checkpoints, monitoring
from app.storage.database import transaction
from app.storage.monitoring import Sample
from app.usecases import measure_work
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS
from tests.app.usecases.paper_market import BTC, PRICE, PaperMarket
from tests.app.usecases.test_read_fleet import a_collector, a_feed
from tests.builders import NOW


def ask(client: FlaskClient, path: str, status: int = 200) -> dict:
    answer = client.get(path)
    assert answer.status_code == status, answer.get_json()
    return answer.get_json()["data"]


def at(deps: Deps, market_ms: int) -> None:
    """The market's clock stands there."""
    path = market_clock_file.path_in(deps.settings.state_dir)
    market_clock_file.write(path, MarketClock(int(NOW.timestamp() * 1000), market_ms, 1.0))


@pytest.fixture
def traded(deps: Deps) -> PaperMarket:
    """One trade that reached its target, and a judgment that is three minutes old."""
    market = PaperMarket(deps.engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE, (PRICE, 120.0, PRICE, 115.0))
    market.trade(3)
    at(deps, CLOSE_MS + 180_000)
    return market


def test_the_machine_and_every_process_are_shown_though_nothing_runs(client: FlaskClient):
    found = ask(client, "/api/v1/monitoring/system")

    assert found["host"]["memory_percent"] is not None
    assert found["problems"]


def test_samples_are_found_by_what_they_measure_and_by_age(client: FlaskClient, deps: Deps):
    def sample(component: str, hours: int) -> Sample:
        return Sample("API_SUCCESS_RATE", component, 1, 1, None, None, NOW - timedelta(hours=hours))

    with transaction(deps.engine) as db:
        monitoring.add_all(db, [sample("main-app", 1), sample("okx", 1), sample("main-app", 30)])

    found = ask(client, "/api/v1/monitoring/metrics?component=main-app")["samples"]
    longer = ask(client, "/api/v1/monitoring/metrics?component=main-app&hours=48")["samples"]
    assert (len(found), len(longer)) == (1, 2)
    assert ask(client, "/api/v1/monitoring/metrics?metric_type=SYSTEM_HEALTH")["samples"] == []


def test_what_a_probe_measured_is_written_down(client: FlaskClient):
    probe = {"metric_type": "API_SUCCESS_RATE", "component": "probe-1", "success_count": 59, "total_count": 60}

    answer = client.post("/api/v1/monitoring/metrics", json=probe | {"avg_response_time": 12.5})

    assert answer.status_code == 201
    [found] = ask(client, "/api/v1/monitoring/metrics?component=probe-1")["samples"]
    assert (found["success_rate"], found["avg_response_time"]) == ("98.33", "12.500")


def test_more_successes_than_tries_are_refused(client: FlaskClient):
    probe = {"metric_type": "API_SUCCESS_RATE", "component": "probe-1", "success_count": 61, "total_count": 60}

    answer = client.post("/api/v1/monitoring/metrics", json=probe)

    assert answer.status_code == 400
    assert "61 of 60" in answer.get_json()["error"]["message"]


def test_each_symbol_says_when_it_was_judged_and_what_its_trades_came_to(client: FlaskClient, traded: PaperMarket):
    [found] = ask(client, "/api/v1/monitoring/symbols")["symbols"]

    assert found["symbol"] == BTC
    assert found["price_status"] == "warming"
    assert found["judged_at"]["V3"] is not None
    assert found["judged_at"]["ICT"] is None
    assert (found["open_trades"], found["figures"]["V3"]["total_trades"]) == (0, 1)
    assert traded.trades()[0].pnl is not None


def test_figures_are_computed_from_the_trades_and_not_taken_from_a_client(client: FlaskClient, traded: PaperMarket):
    answer = client.post("/api/v1/monitoring/BTCUSDT/statistics", json={"strategy": "V3"})

    assert answer.get_json()["data"]["figures"]["total_pnl"] == str(traded.trades()[0].pnl)
    said = client.post("/api/v1/monitoring/BTCUSDT/statistics", json={"strategy": "V3", "total_pnl": 1_000_000})
    assert said.status_code == 400
    assert client.post("/api/v1/monitoring/ETHUSDT/statistics", json={"strategy": "V3"}).status_code == 404


def test_business_that_stands_still_is_unhealthy_and_says_why(client: FlaskClient, deps: Deps, traded: PaperMarket):
    def checks() -> dict:
        found = ask(client, "/api/v1/monitoring/health", 503)
        assert found["status"] == "unhealthy"  # no supervisord runs in this test
        return {check["name"]: check for check in found["checks"]}

    assert all(checks()[name]["ok"] for name in ("judging", "ledger", "housekeeping", "integrity"))

    at(deps, CLOSE_MS + 3 * QUARTER_MS + 180_000)
    assert checks()["judging"]["detail"] == "3 closes wait to be judged."
    assert not checks()["judging"]["ok"]
    assert traded.conserved()


def test_a_fleet_that_has_never_judged_does_not_warm_up_for_ever(client: FlaskClient, deps: Deps):
    def judging() -> tuple[bool, str]:
        checks = ask(client, "/api/v1/monitoring/health", 503)["checks"]
        return next((check["ok"], check["state"]) for check in checks if check["name"] == "judging")

    at(deps, CLOSE_MS + 60_000)
    fresh = judging()
    with transaction(deps.engine) as db:
        checkpoints.save(db, "judge", "cycle", {"until_ms": CLOSE_MS, "since_ms": CLOSE_MS - QUARTER_MS}, NOW)
    begun = judging()
    at(deps, CLOSE_MS + 3 * QUARTER_MS + 60_000)

    assert (fresh, begun, judging()) == ((True, "warming"), (True, "ok"), (False, "behind"))


def test_what_cannot_be_looked_at_is_not_well(client: FlaskClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure_work, "_broken", lambda _db: 1 / 0)
    checks = ask(client, "/api/v1/monitoring/health", 503)["checks"]
    states = {check["name"]: (check["ok"], check["state"]) for check in checks}

    assert states["ledger"] == (False, "unknown")
    assert states["integrity"] == (True, "ok")


@pytest.mark.parametrize(
    ("fresh_ms", "told"), [(500, (True, "ok")), (95_000, (False, "stale")), (None, (True, "unknown"))]
)
def test_an_exchange_that_is_not_heard_any_more_is_not_healthy(
    client: FlaskClient, deps: Deps, fresh_ms: int | None, told: tuple[bool, str]
):
    if fresh_ms is not None:
        a_feed(Path(deps.run_dir), a_collector(fresh_ms=fresh_ms))

    [check] = (one for one in ask(client, "/api/v1/monitoring/health", 503)["checks"] if one["name"] == "market data")

    assert (check["ok"], check["state"]) == told
    assert ("okx 100 s" in check["detail"]) == (fresh_ms == 95_000)


def test_figures_of_all_processes_are_there_as_json(client: FlaskClient, deps: Deps):
    counted = Metrics()
    counted.observe("flotilla_job_seconds", 0.5, times=4, job="judge")
    counted.publish(Path(deps.run_dir), "strategy-worker")

    series = ask(client, "/api/observability/metrics")["series"]

    [one] = [each for each in series if each["name"] == "flotilla_job_seconds"]
    assert (one["process"], one["value"], one["count"]) == ("strategy-worker", 2.0, 4)
    assert one in ask(client, "/api/architecture/metrics")["series"]


def test_a_trace_that_nobody_could_have_is_refused(client: FlaskClient):
    assert client.get("/api/observability/traces?trace_id=../../etc").status_code == 400
    assert ask(client, "/api/observability/traces?trace_id=abc")["logs"] == []


def test_an_alert_that_fires_is_shown_and_one_that_is_well_is_not(client: FlaskClient, deps: Deps):
    firing = AlertState("firing", since=NOW, fired_at=NOW, value=91.0)
    kept = alert_file.Kept(
        {alert_file.key("disk-critical", "machine"): firing, alert_file.key("cpu", "machine"): AlertState()}
    )
    alert_file.write(deps.settings.state_dir, kept)

    [found] = ask(client, "/api/observability/alerts")["alerts"]

    assert (found["rule"], found["subject"], found["status"], found["value"]) == (
        "disk-critical",
        "machine",
        "firing",
        91.0,
    )


def test_somebody_who_knows_of_what_fires_says_so_and_the_monitor_hears_it(client: FlaskClient, deps: Deps):
    states = {
        alert_file.key("process-down", "okx"): AlertState("firing", since=NOW, fired_at=NOW),
        alert_file.key("process-down", "htx"): AlertState("firing", since=NOW, fired_at=NOW),
        alert_file.key("cpu", ""): AlertState("pending", since=NOW),
    }
    alert_file.write(deps.settings.state_dir, alert_file.Kept(states))

    def known(body: dict) -> tuple[int, list[str]]:
        answer = client.post("/api/observability/alerts/acknowledge", json=body)
        data = answer.get_json()["data"] if answer.status_code == 202 else {"acknowledged": []}
        return answer.status_code, data["acknowledged"]

    assert known({"name": "process-down/okx"}) == (202, ["process-down/okx"])
    assert known({"name": "cpu"}) == (404, [])
    assert known({}) == (202, ["process-down/htx", "process-down/okx"])
    heard = list(acknowledgements.taken(Path(deps.run_dir)))
    assert [one.name for one in heard] == ["process-down/okx", "process-down/htx", "process-down/okx"]
    assert {one.fired_at for one in heard} == {NOW}
