"""The calculators and the system test, as the API answers them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from api.deps import Deps
from api.main import create_app
from app.storage import symbols
from app.storage.database import open_engine, transaction
from tests.api.market import market_lived_in
from tests.builders import NOW

ROLLING = ("tools/rolling-calculator", "strategies/rolling/calculate")
CALCULATORS = ("tools/leverage-calculator", "tools/risk-calculator", *ROLLING, "tools/dynamic-rolling-calculator")


def plan(client: FlaskClient, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["data"]


def numbers(found: dict[str, Any], *names: str) -> list[Decimal]:
    return [Decimal(found[name]) for name in names]


def test_leverage_without_a_word_is_that_of_the_documents(client: FlaskClient):
    found = plan(client, "tools/leverage-calculator")

    assert (found["direction"], found["leverage"], found["affordable"]) == ("LONG", 40, True)
    assert numbers(found, "distance_percent", "margin", "quantity", "notional") == [2, 250, Decimal("0.2"), 10_000]


def test_a_stop_above_the_entry_is_that_of_a_short(client: FlaskClient):
    found = plan(client, "tools/leverage-calculator", entry=49_000, stop="50000", max_loss=100, balance=1)

    assert (found["direction"], found["affordable"]) == ("SHORT", False)


def test_risk_is_a_share_of_the_balance(client: FlaskClient):
    found = plan(client, "tools/risk-calculator", balance=10_000, entry=100, stop=98, leverage=10)
    halved = plan(client, "tools/risk-calculator", balance=10_000, entry=100, stop=98, leverage=10, risk_fraction=0.01)

    assert numbers(found, "risk", "quantity", "notional", "margin") == [200, 100, 10_000, 1_000]
    assert numbers(halved, "risk", "quantity") == [100, 50]


@pytest.mark.parametrize("path", ROLLING)
def test_rolling_answers_under_both_its_names(client: FlaskClient, path: str):
    found = plan(client, path, entry=100, target=120)

    withdrawn, locked, equity, principal, profit = numbers(
        found, "withdrawn", "locked", "equity", "principal", "profit"
    )
    assert (principal, found["direction"], found["liquidated"]) == (200, "LONG", False)
    assert [roll["number"] for roll in found["rolls"]] == list(range(1, len(found["rolls"]) + 1))
    assert Decimal(found["rolls"][0]["price"]) == 102  # 2 % at 50 times doubles the principal
    assert withdrawn + locked + equity == principal + profit


def test_dynamic_rolling_follows_rules_and_prices_of_ones_own(client: FlaskClient):
    path, way = "tools/dynamic-rolling-calculator", {"entry": 100, "target": 120, "leverage": 10}

    kept = plan(client, path, **way, trigger=0.5, lock_share=1, prices=[105, 110])
    lost = plan(client, path, **way, prices=["101.5", 89])
    plain = plan(client, path, entry=100, target=120)

    assert Decimal(kept["rolls"][0]["locked"]) == 100
    assert numbers(kept, "equity") == [0]
    assert (lost["liquidated"], lost["liquidated_step"], Decimal(lost["profit"])) == (True, 1, -200)
    assert plain == plan(client, "tools/rolling-calculator", entry=100, target=120)


WRONG = [
    ("tools/leverage-calculator", {"entry": 0}, "The entry must be above 0, not 0."),
    ("tools/leverage-calculator", {"entry": 100, "stop": 100}, ""),
    ("tools/leverage-calculator", {"max_loss": "NaN"}, "NaN is not a number that can be booked."),
    ("tools/leverage-calculator", {"balance": "1e999999999"}, "1E+999999999 is too large to be booked."),
    ("tools/leverage-calculator", {"entry": True}, ""),
    ("tools/leverage-calculator", {"leverage": 5}, "Unknown field 'leverage' in the body."),
    ("tools/risk-calculator", {"entry": 100, "stop": 98, "leverage": 10}, "balance is missing."),
    (
        "tools/risk-calculator",
        {"balance": 1, "entry": 100, "stop": 98, "leverage": 126},
        "The leverage must be from 1 to 125, not 126.",
    ),
    (
        "tools/risk-calculator",
        {"balance": 1, "entry": 100, "stop": 98, "leverage": 9, "risk_fraction": 2},
        "The risk must be above 0 and at most 1 (0.02 is 2 %), not 2.",
    ),
    *[
        (path, {"entry": 100, "target": 100}, "The target must lie away from the entry: both are 100")
        for path in ROLLING
    ],
    *[
        (path, {"entry": 1, "target": 2, "leverage": 51}, "The leverage must be from 1 to 50, not 51.")
        for path in ROLLING
    ],
    *[(path, {"entry": 1, "target": 2, "trigger": 1}, "Unknown field 'trigger' in the body.") for path in ROLLING],
    ("tools/dynamic-rolling-calculator", {"entry": 1, "target": 2, "prices": []}, ""),
    (
        "tools/dynamic-rolling-calculator",
        {"entry": 1, "target": 2, "prices": [1, -1]},
        "The price must be above 0, not -1.",
    ),
    (
        "tools/dynamic-rolling-calculator",
        {"entry": 1, "target": 2, "lock_share": 1.1},
        "The locked share must be from 0 to 1, not 1.1.",
    ),
    ("tools/dynamic-rolling-calculator", {"entry": 1, "target": 2, "prices": [1] * 10_001}, ""),
]


@pytest.mark.parametrize(("path", "body", "said"), WRONG)
def test_numbers_that_make_no_plan_are_refused_in_a_sentence(
    client: FlaskClient, path: str, body: dict[str, Any], said: str
):
    answer = client.post(f"/api/v1/{path}", json=body)

    assert answer.status_code == 400, answer.get_json()
    assert answer.get_json()["error"]["message"].startswith(said)


def test_every_calculator_is_asked_for_nonsense_by_that_table():
    assert {path for path, *_ in WRONG} == set(CALCULATORS)


def test_the_rolling_parameters_are_those_that_hold(client: FlaskClient):
    found = client.get("/api/v1/tools/rolling-parameters").get_json()["data"]
    named = {"principal", "leverage", "trigger", "lock_share", "leverage_decay", "min_leverage"}
    told = {name: found[name] for name in named}

    assert numbers(found, *sorted(named)) == [50, Decimal("0.5"), Decimal("0.5"), 5, 200, 1]
    assert (Decimal(found["most_leverage"]), found["steps"], found["most_steps"]) == (50, 100, 10_000)
    assert plan(client, "tools/dynamic-rolling-calculator", entry=100, target=120, **told) == plan(
        client, "tools/rolling-calculator", entry=100, target=120
    )


def test_the_example_of_the_rolling_parameters_is_what_they_are(client: FlaskClient):
    described = client.get("/openapi.json").get_json()["paths"]["/api/v1/tools/rolling-parameters"]["get"]
    example = described["responses"]["200"]["content"]["application/json"]["example"]["data"]

    assert client.get("/api/v1/tools/rolling-parameters").get_json()["data"] == example


def tried(client: FlaskClient) -> dict[str, tuple[bool, str]]:
    answer = client.post("/api/v1/tools/system-test", json={})
    assert answer.status_code == 200, answer.get_json()
    found = answer.get_json()["data"]
    assert found["ok"] is all(part["ok"] for part in found["parts"])
    assert all(part["seconds"] >= 0 and part["what"] for part in found["parts"])
    return {part["name"]: (part["ok"], part["what"]) for part in found["parts"]}


def test_the_system_test_says_what_it_saw(client: FlaskClient, deps: Deps):
    market_lived_in(deps)

    parts = tried(client)

    assert (parts["database"][0], parts["redis"]) == (True, (True, "It answers."))
    assert parts["symbols"] == (True, "1 are watched.")
    assert parts["candles"] == (
        True,
        "1 of 1 symbols have their last minute; the newest is 0.1 s old, by the market's time.",
    )
    assert parts["prices"][0]
    assert parts["calculators"][0]
    assert not parts["supervisord"][0]  # these tests have none


def test_the_system_test_of_an_empty_system_invents_nothing(client: FlaskClient):
    parts = tried(client)

    assert parts["symbols"] == (False, "0 are watched.")
    assert parts["candles"] == (False, "0 of 0 symbols have their last minute; the newest has no age that is known.")
    assert parts["prices"] == (False, "0 of 0 symbols have a price of the last minute.")


def test_candles_are_not_fresh_while_nobody_knows_what_time_it_is(client: FlaskClient, deps: Deps):
    market_lived_in(deps)
    (deps.settings.state_dir / "demo" / "clock.json").unlink()

    ok, said = tried(client)["candles"]

    assert (ok, said) == (False, "0 of 1 symbols have their last minute; the newest has no age that is known.")


def test_one_watched_symbol_without_candles_is_enough_to_fail(client: FlaskClient, deps: Deps):
    market_lived_in(deps)
    with transaction(deps.engine) as db:
        symbols.add(db, "ETH/USDT:USDT", now=NOW)

    ok, said = tried(client)["candles"]

    assert not ok
    assert said.startswith("1 of 2 symbols")


def test_the_system_test_goes_on_where_the_database_is_away(deps: Deps):
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    parts = tried(create_app(replace(deps, engine=engine)).test_client())
    engine.dispose()

    assert [parts[name][0] for name in ("database", "symbols", "candles")] == [False, False, False]
    assert parts["redis"][0]
    assert parts["calculators"][0]


def test_the_system_test_goes_on_where_redis_is_away(deps: Deps):
    with Redis.from_url(f"unix://{deps.run_dir}/nothing") as nobody:
        parts = tried(create_app(replace(deps, redis=nobody)).test_client())

    assert not parts["redis"][0]
    assert parts["database"][0]
