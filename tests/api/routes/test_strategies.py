"""What the strategies judge, as the API tells it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import get_args

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete

from api.deps import Deps
from api.routes import strategies
from app.domain.market.market_clock import MarketClock
from app.domain.market.market_time import MarketTime
from app.domain.strategies.table import STRATEGIES
from app.host import market_clock_file
from app.storage import judgments
from app.storage.database import reading, transaction
from app.storage.judgments import NewJudgment
from app.storage.tables import klines, strategy_judgments
from app.usecases.asking import Asking
from app.usecases.begin_judging import begin_cycle
from app.usecases.judge import judge_all, rows_of
from app.usecases.live_settings import change_setting
from app.usecases.strategy_market import market_of
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS, VENUE, furnish, names
from tests.builders import NOW

FIRST, SECOND = names(2)


V3_FRAMES, ICT_FRAMES = ("4H", "1H", "15M"), ("1D", "4H", "15M")
each_strategy = pytest.mark.parametrize(("name", "timeframes"), [("V3", V3_FRAMES), ("ICT", ICT_FRAMES)])


@pytest.fixture
def judged(deps: Deps) -> None:
    ids = furnish(deps.engine, (FIRST, SECOND))
    with transaction(deps.engine) as db:
        for strategy in STRATEGIES.values():
            for one in judge_all(strategy, market_of(db, ids, CLOSE_MS, strategy.needs)):
                judgments.keep(db, rows_of(one, CLOSE_MS, one.strategy.timeframes))


def ask(client: FlaskClient, path: str) -> dict:
    answer = client.get(f"/api/v1/strategies/{path}")
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


def send(client: FlaskClient, path: str, body: dict) -> dict:
    answer = client.post(f"/api/v1/strategies/{path}", json=body)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


@pytest.fixture
def clock(deps: Deps) -> None:
    """The market's clock stands 70 s after the close that is judged."""
    path = market_clock_file.path_in(deps.settings.state_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    market_clock_file.write(path, MarketClock(int(NOW.timestamp() * 1000), CLOSE_MS + 70_000, 1.0))


@each_strategy
@pytest.mark.usefixtures("judged")
def test_judgments_carry_what_they_rest_on(client: FlaskClient, name: str, timeframes: tuple[str, ...]):
    [found] = ask(client, f"{name.lower()}/judgments?symbol={FIRST}&timeframe=15M")["judgments"]

    assert {one["timeframe"] for one in ask(client, f"{name.lower()}/judgments")["judgments"]} == set(timeframes)
    assert (found["symbol"], found["strategy"], found["timeframe"]) == (FIRST, name, "15M")
    assert datetime.fromisoformat(found["closed_at"]) == datetime.fromtimestamp(CLOSE_MS / 1000, UTC)
    assert found["inputs"]["bars_4h"] == 250
    assert found["signal"] in ("BUY", "SELL", "WATCH", "HOLD")
    assert 0 <= Decimal(found["score"]) <= 10


@each_strategy
@pytest.mark.usefixtures("judged")
def test_judgments_are_read_page_by_page(client: FlaskClient, name: str, timeframes: tuple[str, ...]):
    path = f"{name.lower()}/judgments?limit=4"
    first = ask(client, path)
    rest = ask(client, f"{path}&before_id={first['next_before_id']}")
    ids = [one["id"] for one in first["judgments"] + rest["judgments"]]

    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next_before_id"]) == (6, None)
    assert {one["strategy"] for one in first["judgments"] + rest["judgments"]} == {name}


@pytest.mark.usefixtures("judged")
def test_the_latest_of_each_timeframe_stand_side_by_side(client: FlaskClient):
    found = ask(client, "current-status")["symbols"]

    assert [one["symbol"] for one in found] == [FIRST, SECOND]
    for one in found:
        assert [(name, judgment["timeframe"]) for name, judgment in one["v3"].items()] == [(at, at) for at in V3_FRAMES]
        assert [(name, judgment["timeframe"]) for name, judgment in one["ict"].items()] == [
            (at, at) for at in ICT_FRAMES
        ]
        assert (one["v3"]["15M"]["strategy"], one["ict"]["15M"]["strategy"]) == ("V3", "ICT")
    assert len(ask(client, "current-status?limit=1")["symbols"]) == 1


def test_what_was_not_judged_yet_is_null(client: FlaskClient, deps: Deps):
    furnish(deps.engine, (FIRST,), days=1)

    assert ask(client, "current-status")["symbols"] == [
        {"symbol": FIRST, "v3": dict.fromkeys(V3_FRAMES), "ict": dict.fromkeys(ICT_FRAMES), "now": []}
    ]
    assert ask(client, "v3/judgments")["judgments"] == ask(client, "ict/judgments")["judgments"] == []


def test_a_row_of_another_hand_is_shown_as_far_as_it_can_be_read(client: FlaskClient, deps: Deps):
    furnish(deps.engine, (FIRST,), days=1)
    with transaction(deps.engine) as db:
        judgments.add(db, NewJudgment(FIRST, "V3", "1H", "UP", None, "LOW", None, NOW))
    [found] = ask(client, "v3/judgments")["judgments"]

    assert (found["trend"], found["score"], found["total"], found["inputs"]) == ("UP", None, None, {})
    with reading(deps.engine) as db:
        assert judgments.recent(db, limit=1)[0].id == found["id"]


@pytest.mark.parametrize(
    "path",
    [
        "v3/judgments?timeframe=1D",
        "ict/judgments?timeframe=1H",
        "v3/judgments?limit=0",
        "v3/judgments?symbol=%3F%3F",
        "ict/judgments?before_id=0",
        "ict/judgments?nothing=1",
        "status?nothing=1",
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(client: FlaskClient, path: str):
    answer = client.get(f"/api/v1/strategies/{path}")

    assert answer.status_code == 400
    assert answer.get_json()["error"]["what_to_do"]


@each_strategy
@pytest.mark.usefixtures("judged", "clock")
def test_an_analysis_says_what_the_judgment_of_that_close_says_and_why(
    client: FlaskClient, name: str, timeframes: tuple[str, ...]
):
    found = send(client, f"{name.lower()}/analyze", {"symbol": "C000USDT"})
    [row] = ask(client, f"{name.lower()}/judgments?symbol={FIRST}&timeframe=15M")["judgments"]
    verdict = found["verdict"]

    assert (found["symbol"], found["strategy"], found["closed_at_ms"]) == (FIRST, name, CLOSE_MS)
    assert {timeframe.upper() for timeframe in found["candles"]} == set(timeframes)
    assert [verdict[key] for key in ("trend", "total", "signal", "strength", "confidence", "inputs")] == [
        row[key] for key in ("trend", "total", "signal", "strength", "confidence", "inputs")
    ]
    assert verdict["blocked_by"] == next((gate for gate in verdict["gates"] if not gate["passed"]), None)
    assert (verdict["levels"] is None) == (verdict["signal"] not in ("BUY", "SELL"))


@pytest.mark.usefixtures("clock")
def test_an_analysis_writes_nothing_and_reads_nothing_after_the_close(client: FlaskClient, deps: Deps):
    furnish(deps.engine, (FIRST,), until_ms=CLOSE_MS + 40 * QUARTER_MS)
    later = send(client, "ict/analyze", {"symbol": FIRST})
    with transaction(deps.engine) as db:
        db.execute(delete(klines).where(klines.c.open_time >= CLOSE_MS))

    assert send(client, "ict/analyze", {"symbol": FIRST}) == later
    with reading(deps.engine) as db:
        assert judgments.recent(db, limit=1) == []


@pytest.mark.usefixtures("clock")
def test_of_a_symbol_whose_newest_candle_has_not_come_nothing_is_said(client: FlaskClient, deps: Deps):
    furnish(deps.engine, (FIRST,), until_ms=CLOSE_MS - QUARTER_MS)
    found = send(client, "ict/analyze", {"symbol": FIRST})

    assert (found["candles"]["15m"], found["verdict"]) == ("stale", None)


@pytest.mark.usefixtures("judged", "clock")
def test_an_analysis_heeds_the_settings_that_the_next_judgment_will_heed(client: FlaskClient, deps: Deps):
    asking = Asking("a person", None, NOW)
    change_setting(deps.engine, deps.look_up, "coinClasses", {"C000": "small"}, asking)

    assert send(client, "v3/analyze", {"symbol": FIRST})["verdict"]["inputs"]["kind"] == "small"
    assert send(client, "v3/analyze", {"symbol": SECOND})["verdict"]["inputs"]["kind"] == "hot"


@pytest.mark.usefixtures("judged", "clock")
def test_a_symbol_that_is_not_watched_cannot_be_analyzed(client: FlaskClient):
    for name in ("v3", "ict"):
        answer = client.post(f"/api/v1/strategies/{name}/analyze", json={"symbol": "NOUSDT"})

        assert (answer.status_code, answer.get_json()["error"]["type"]) == (404, "NotFound")


@pytest.mark.usefixtures("judged")
def test_without_the_markets_clock_nobody_can_say_what_is_now(client: FlaskClient):
    one = client.post("/api/v1/strategies/v3/analyze", json={"symbol": FIRST})
    many = client.post("/api/v1/strategies/batch-analyze", json={"symbols": [FIRST]})

    assert (one.status_code, many.status_code) == (503, 503)


@pytest.mark.usefixtures("judged", "clock")
def test_in_a_batch_each_symbol_stands_for_itself(client: FlaskClient):
    asked = {"symbols": ["NOUSDT", SECOND, "??", "C000USDT", "C000-USDT-SWAP"]}
    entries = send(client, "batch-analyze", asked)["entries"]

    assert [(one["symbol"], one["strategy"]) for one in entries] == [
        (symbol, name) for symbol in ("NO/USDT:USDT", SECOND, "??", FIRST) for name in ("V3", "ICT")
    ]
    assert [one["error"] and one["error"]["type"] for one in entries[::2]] == ["NotFound", None, "InvalidInput", None]
    assert all((one["error"] is None) != (one["analysis"] is None) for one in entries)
    assert all(one["error"]["what_to_do"] for one in entries if one["error"])
    for one in entries:
        if one["analysis"]:
            assert one["analysis"] == send(client, f"{one['strategy'].lower()}/analyze", {"symbol": one["symbol"]})


@pytest.mark.usefixtures("judged", "clock")
def test_a_batch_may_name_its_strategies(client: FlaskClient):
    entries = send(client, "batch-analyze", {"symbols": [FIRST, SECOND], "strategies": ["ICT", "ICT"]})["entries"]

    assert [(one["symbol"], one["strategy"]) for one in entries] == [(FIRST, "ICT"), (SECOND, "ICT")]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    "body",
    [
        {"symbols": []},
        {"symbols": names(51)},
        {"symbols": [FIRST], "strategies": []},
        {"symbols": [FIRST], "strategies": ["V4"]},
        {},
    ],
)
def test_a_batch_that_asks_for_nothing_or_too_much_is_refused(client: FlaskClient, body: dict):
    assert client.post("/api/v1/strategies/batch-analyze", json=body).status_code == 400


@pytest.mark.usefixtures("clock")
def test_fifty_symbols_are_analyzed_as_each_alone(client: FlaskClient, deps: Deps):
    listed = names(50)
    furnish(deps.engine, listed, days=5)
    entries = send(client, "batch-analyze", {"symbols": listed, "strategies": ["ICT"]})["entries"]

    assert [one["symbol"] for one in entries] == listed
    for place in (0, 9, 10, 49):
        assert entries[place]["analysis"] == send(client, "ict/analyze", {"symbol": listed[place]})


@pytest.mark.usefixtures("judged", "clock")
def test_the_status_says_how_far_each_strategy_has_judged(client: FlaskClient, deps: Deps):
    with transaction(deps.engine) as db:  # one symbol's candle was late, and nobody has judged it yet
        db.execute(
            delete(strategy_judgments).where(
                strategy_judgments.c.symbol == SECOND, strategy_judgments.c.strategy_type == "ICT"
            )
        )
    found = ask(client, "status")
    v3, ict = found["strategies"]

    assert [(one["name"], one["timeframes"]) for one in (v3, ict)] == [("V3", [*V3_FRAMES]), ("ICT", [*ICT_FRAMES])]
    assert (v3["symbols"], ict["symbols"]) == (2, 1)
    assert {datetime.fromisoformat(one["judged_at"]) for one in (v3, ict)} == {
        datetime.fromtimestamp(CLOSE_MS / 1000, UTC)
    }
    assert (v3["age_s"], ict["age_s"]) == (70.0, 70.0)
    assert found["cycle_running"] is False


@pytest.mark.usefixtures("judged")
def test_a_row_of_an_older_close_that_came_late_is_not_the_last_one(client: FlaskClient, deps: Deps):
    before = datetime.fromtimestamp((CLOSE_MS - QUARTER_MS) / 1000, UTC)
    with transaction(deps.engine) as db:
        judgments.add(db, NewJudgment(FIRST, "V3", "15M", "UP", None, "LOW", None, before))
    v3 = ask(client, "status")["strategies"][0]

    assert datetime.fromisoformat(v3["judged_at"]) == datetime.fromtimestamp(CLOSE_MS / 1000, UTC)
    assert (v3["symbols"], v3["age_s"]) == (2, None)  # nobody knows what time it is there


def test_the_status_of_strategies_that_never_judged_is_not_known(client: FlaskClient):
    for one in ask(client, "status")["strategies"]:
        assert (one["judged_at"], one["symbols"], one["age_s"]) == (None, 0, None)


@pytest.mark.usefixtures("clock")
def test_the_status_says_while_a_cycle_runs(client: FlaskClient, deps: Deps):
    furnish(deps.engine, (FIRST,), days=1)
    time = MarketTime(CLOSE_MS + 70_000)
    assert begin_cycle(deps.engine, deps.bell, exchanges=(VENUE,), time=time, trace_id=None, now=NOW) == 1

    assert ask(client, "status")["cycle_running"] is True


def test_the_timeframes_of_the_api_are_those_of_the_strategies():
    for name, shape in (("V3", strategies.V3Timeframe), ("ICT", strategies.IctTimeframe)):
        assert get_args(shape) == tuple(timeframe.upper() for timeframe in STRATEGIES[name].timeframes)
