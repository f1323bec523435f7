"""Collectors and their data: wishes are rows with a trace, and figures are those of the feed's own report, or unknown."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.cache.market import MarketCache
from app.host import feed_report
from app.storage import collectors
from app.storage.collectors import NewCollector
from app.storage.database import reading, transaction
from tests.api.market import BTC, EXCHANGES, NOW_MS, market_lived_in, report, ticker
from tests.builders import NOW


@pytest.fixture
def market(deps: Deps) -> None:
    market_lived_in(deps)


@pytest.fixture
def cache(valkey_url: str) -> Iterator[MarketCache]:
    cache = MarketCache(valkey_url)
    yield cache
    cache.close()


def data(client: FlaskClient, path: str) -> Any:
    answer = client.get(f"/api/qingxi/{path}")
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


@pytest.mark.usefixtures("market")
def test_a_wish_is_a_row_with_a_trace_and_never_the_state_itself(client: FlaskClient, deps: Deps):
    stopped = client.post("/api/qingxi/collectors/stop", json={"name": "demo-okx"}, headers={"X-Trace-Id": "t-9"})
    again = client.post("/api/qingxi/collectors/demo-okx/stop")
    with reading(deps.engine) as db:
        row = collectors.get(db, "demo-okx")
    started = client.post("/api/qingxi/collectors/demo-okx/start")

    assert [answer.status_code for answer in (stopped, again, started)] == [202, 200, 202]
    assert [answer.get_json()["data"]["changed"] for answer in (stopped, again, started)] == [True, False, True]
    assert row is not None
    assert (row.desired, row.actual, row.revision) == ("stopped", None, 1)
    entries = client.get("/api/system/audit").get_json()["data"]["entries"]
    assert [(entry["action"], entry["trace_id"]) for entry in entries][-1] == ("stop_collector", "t-9")
    assert len(entries) == 2


@pytest.mark.usefixtures("market")
def test_a_collector_of_the_other_source_cannot_start_and_the_cure_is_named(client: FlaskClient, deps: Deps):
    with transaction(deps.engine) as db:
        collectors.ensure(db, [NewCollector("okx", "okx", "OKX", ("candles",))], NOW)

    stopped = client.post("/api/qingxi/collectors/stop", json={"name": "okx"})
    started = client.post("/api/qingxi/collectors/start", json={"name": "okx"})

    assert (stopped.status_code, started.status_code) == (202, 409)
    assert "feed.exchanges" in started.get_json()["error"]["what_to_do"]
    assert "demo-binance" in started.get_json()["error"]["what_to_do"]
    with reading(deps.engine) as db:
        assert [row.desired for row in collectors.listed(db) if row.name == "okx"] == ["stopped"]


@pytest.mark.usefixtures("market")
def test_a_stopped_collector_is_shown_as_stopped_whether_the_feed_says_so_or_only_its_row(
    client: FlaskClient, deps: Deps
):
    client.post("/api/qingxi/collectors/demo-okx/stop")

    states = {one["name"]: one["state"] for one in data(client, "collectors/status")["collectors"]}
    one = data(client, "collectors/demo-okx/status")["collectors"]
    shown = client.get("/api/v1/market/exchanges").get_json()["data"]["exchanges"]

    assert states == {"demo-binance": "running", "demo-okx": "stopped"}
    assert (one[0]["state"], one[0]["since_ms"], one[0]["quality"]["score"]) == ("stopped", None, None)
    assert {each["name"]: each["state"] for each in shown} == {
        "demo-binance": "running",
        "demo-okx": "stopped",
        "demo-htx": "unknown",
    }
    said = report()
    stopped = msgspec.structs.replace(said.collectors[0], name="demo-okx", exchange="demo-okx", state="stopped")
    feed_report.write(deps.run_dir, msgspec.structs.replace(said, collectors=(*said.collectors, stopped)))
    assert [each["state"] for each in data(client, "collectors/status")["collectors"]] == ["running", "stopped"]


@pytest.mark.usefixtures("market")
def test_what_a_killed_feed_wrote_into_its_row_is_not_believed(client: FlaskClient, deps: Deps):
    with transaction(deps.engine) as db:
        collectors.report(db, "demo-binance", actual="running", note=None, now=NOW)
    before = data(client, "collectors/list")
    feed_report.write(deps.run_dir, report(at_ms=NOW_MS - 60_000))

    after = data(client, "collectors/list")

    assert (before["feed"], before["age_ms"], before["collectors"][0]["actual"]) == ("ok", 400, "running")
    assert (after["feed"], after["age_ms"]) == ("stale", 60_000)
    assert [one["actual"] for one in after["collectors"]] == ["unknown", None, None]


@pytest.mark.usefixtures("market")
@pytest.mark.parametrize("path", ["collectors/demo-ok/stop", "collectors/nobody/start", "collectors/nobody/status"])
def test_a_collector_that_is_not_there_is_said_to_be_unknown(client: FlaskClient, path: str):
    method = "GET" if path.endswith("status") else "POST"

    assert client.open(f"/api/qingxi/{path}", method=method).status_code == 404


@pytest.mark.usefixtures("market")
def test_the_list_says_what_is_wished_and_the_status_what_is_done(client: FlaskClient):
    listed = data(client, "collectors/list")["collectors"]
    states = data(client, "collectors/status")

    assert [one["name"] for one in listed] == sorted(EXCHANGES)
    assert {one["desired"] for one in listed} == {"running"}
    assert {one["actual"] for one in listed} == {None}
    assert (states["feed"], states["age_ms"]) == ("ok", 400)
    first = states["collectors"][0]
    assert (first["name"], first["state"], first["connections"][0]["state"]) == ("demo-binance", "running", "open")
    assert data(client, "collectors/demo-binance/status")["collectors"] == [first]
    assert data(client, "collectors/demo-okx/status")["collectors"] == []


@pytest.mark.usefixtures("market")
def test_quality_has_the_figures_of_each_collector_and_the_state_of_each_book(client: FlaskClient):
    found = data(client, "data/quality")

    assert found["collectors"][0]["quality"]["score"] == 96.5
    assert found["collectors"][0]["counters"]["gaps"] == 1
    assert found["books"] == [
        {
            "exchange": "demo-binance",
            "symbol": BTC,
            "status": "ok",
            "bids": 1000,
            "asks": 990,
            "updated_ms": NOW_MS - 400,
            "resyncs": 1,
        }
    ]


@pytest.mark.usefixtures("market")
def test_flow_is_unknown_at_the_first_look_and_a_rate_at_the_second(client: FlaskClient, deps: Deps):
    first = data(client, "data/flow")
    feed_report.write(deps.run_dir, report(at_ms=NOW_MS + 1_600, messages=1_500))

    second = data(client, "data/flow")

    assert {stage["stage"]: (stage["total"], stage["per_s"]) for stage in first["stages"]} == {
        "received": (1_040, None),
        "refused": (2, None),
        "stored": (1_050, None),
        "published": (30, None),
    }
    rates = {one["channel"]: one["per_s"] for one in second["channels"]}
    assert rates == {"depth": 0.0, "trades": 250.0}
    assert (second["waiting"], second["lost"], second["away_since_ms"]) == (3, 0, None)
    assert (second["held_back"], second["why_held_back"]) == (0, "")


@pytest.mark.usefixtures("market")
def test_clean_stats_say_what_each_check_did(client: FlaskClient):
    found = data(client, "clean-stats")

    assert (found["refused"], found["marked"]) == (2, 5)
    assert found["checks"][0]["last"] == "bid 101 over ask 100"


@pytest.mark.usefixtures("market")
@pytest.mark.parametrize(
    ("mids", "consistency"),
    [((100, 100.5, 100), "ok"), ((100, 101.5, 100), "warning"), ((100, 100, 103), "critical"), ((100,), "unknown")],
)
def test_exchanges_that_disagree_are_said_to(
    client: FlaskClient, cache: MarketCache, mids: tuple[float, ...], consistency: str
):
    cache.put_tickers(
        [
            ticker(exchange, price=mid, bid=mid - 0.1, ask=mid + 0.1)
            for exchange, mid in zip(EXCHANGES, mids, strict=False)
        ]
    )

    found = data(client, "market-data?symbol=BTCUSDT")["symbols"]

    assert [(one["symbol"], one["consistency"]) for one in found] == [(BTC, consistency)]
    assert len(found[0]["tops"]) == 3


@pytest.mark.usefixtures("market")
def test_exchanges_that_speak_at_different_times_are_said_to(client: FlaskClient, cache: MarketCache):
    for age_ms in (200, 15_000):
        exchange = EXCHANGES[age_ms > 200]
        cache.put_tickers([ticker(exchange, age_ms=age_ms, bid=99.9, ask=100.1)])

    found = data(client, "market-data?symbol=BTCUSDT")["symbols"][0]

    assert found["consistency"] == "warning"
    assert found["disagreements"] == [f"demo-binance and demo-okx differ by 14.8 s in the time of {BTC}."]


@pytest.mark.usefixtures("market")
@pytest.mark.parametrize("why", ["stopped", "failing", "unreported", "old"])
def test_a_price_that_nobody_collects_now_disagrees_with_none(
    client: FlaskClient, deps: Deps, cache: MarketCache, why: str
):
    cache.put_tickers([ticker(EXCHANGES[0], bid=99.9, ask=100.1)])
    cache.put_tickers([ticker(EXCHANGES[1], age_ms=31_000 if why == "old" else 20_000, bid=90.0, ask=90.1)])
    before = data(client, "market-data?symbol=BTCUSDT")["symbols"][0]["consistency"]
    if why == "unreported":
        client.post("/api/qingxi/collectors/stop", json={"name": EXCHANGES[1]})
    elif why != "old":
        (one,) = report().collectors
        other = msgspec.structs.replace(one, name=EXCHANGES[1], exchange=EXCHANGES[1], state=why)
        feed_report.write(deps.run_dir, msgspec.structs.replace(report(), collectors=(one, other)))

    found = data(client, "market-data?symbol=BTCUSDT")["symbols"][0]

    assert before == ("unknown" if why == "old" else "critical")
    assert (found["consistency"], found["disagreements"], len(found["tops"])) == ("unknown", [], 3)


@pytest.mark.usefixtures("market")
def test_what_was_refused_can_be_looked_at(client: FlaskClient):
    found = data(client, "refused?reason=price-jump")["refused"]

    assert [(one["reason"], one["symbol"], one["detail"]) for one in found] == [
        ("price-jump", BTC, "9 times the last price")
    ]
    assert data(client, "refused?reason=other")["refused"] == []


@pytest.mark.usefixtures("market")
def test_the_totals_add_up(client: FlaskClient):
    found = data(client, "stats")

    assert (found["collectors"], found["books"], found["messages"]) == ({"running": 1}, {"ok": 1}, 1_040)
    assert (found["lost"], found["streams"]) == (0, 0)


def test_before_the_feed_spoke_all_figures_are_unknown(client: FlaskClient):
    stats, flow, clean = data(client, "stats"), data(client, "data/flow"), data(client, "clean-stats")

    assert (stats["feed"], stats["messages"], stats["lost"]) == ("unknown", None, None)
    assert {stage["total"] for stage in flow["stages"]} == {None}
    assert (clean["refused"], clean["marked"]) == (None, None)
