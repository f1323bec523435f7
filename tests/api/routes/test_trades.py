"""Paper trades, as the API tells and changes them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.cache.market import CachedTicker, MarketCache
from app.cache.pubsub import Listener
from app.storage import audit
from app.storage.database import reading
from app.usecases.asking import Asking
from app.usecases.live_settings import change_setting
from tests.api.paper import Paper, order
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS, VENUE
from tests.app.usecases.paper_market import BTC, ETH, MINUTE_MS, PRICE
from tests.builders import NOW


@pytest.fixture
def paper(deps: Deps, client: FlaskClient) -> Paper:
    """One coin, a minute after its candle closed; nobody has traded."""
    paper = Paper(deps, client)
    paper.clock(1)
    return paper


def actions(deps: Deps) -> list[str]:
    with reading(deps.engine) as db:
        return [row.action for row in audit.recent(db, 100)][::-1]


def test_an_open_trade_says_what_it_is_and_what_it_has_not_got_yet_is_null(paper: Paper):
    trade_id = paper.opened()
    [found] = paper.ask("trades")["trades"]

    assert {name: found[name] for name in ("id", "symbol", "strategy", "direction", "status", "leverage")} == {
        "id": trade_id,
        "symbol": BTC,
        "strategy": "V3",
        "direction": "LONG",
        "status": "ACTIVE",
        "leverage": 24,
    }
    assert (Decimal(found["entry_price"]), Decimal(found["stop_loss"])) == (Decimal("110.055"), Decimal("108.8"))
    assert {name for name, value in found.items() if value is None} == {
        "closed_at",
        "exit_price",
        "exit_reason",
        "pnl",
        "pnl_percentage",
    }
    assert datetime.fromisoformat(found["opened_at"]) == datetime.fromtimestamp(CLOSE_MS / 1000 + 60, UTC)
    assert Decimal("99.99") < Decimal(found["risk_amount"]) <= 100


def test_a_trade_of_two_percent_and_100_has_leverage_24_and_margin_209(paper: Paper, deps: Deps):
    change_setting(deps.engine, deps.look_up, "slippageBps", 0, Asking("alice", None, NOW))
    paper.minutes(PRICE, PRICE)
    paper.send("POST", "trades", order(stop_loss="107.8"), status=202)
    paper.trade(2)
    [found] = paper.ask("trades")["trades"]

    assert (found["leverage"], Decimal(found["margin"]), Decimal(found["entry_price"])) == (24, 209, 110)
    assert Decimal(found["quantity"]) == Decimal("45.45454545")  # 100 / 2.2


def test_a_closed_trade_is_told_whole_and_its_fills_add_up_to_it(paper: Paper):
    trade_id = paper.stopped()
    found = paper.ask(f"trades/{trade_id}")
    trade, fills = found["trade"], found["fills"]

    assert (trade["status"], trade["exit_reason"]) == ("STOPPED", "STOP_LOSS")
    assert [fill["kind"] for fill in fills] == ["ENTRY", "EXIT"]
    assert [fill["time_ms"] for fill in fills] == [CLOSE_MS + MINUTE_MS, CLOSE_MS + 3 * MINUTE_MS - 1]
    assert [fill["reason"] for fill in fills] == [None, "STOP_LOSS"]
    assert sum(Decimal(fill["margin"]) for fill in fills) == 0
    paid = sum(Decimal(fill["realised"]) - Decimal(fill["fee"]) - Decimal(fill["funding"]) for fill in fills)
    assert Decimal(trade["pnl"]) == paid < 0
    assert fills[0]["assumed"]["source"] == "bps"
    assert fills[0]["assumed"]["why"]["close_ms"] == CLOSE_MS


def test_trades_are_read_page_by_page_and_by_what_they_are(paper: Paper):
    first = paper.stopped()
    paper.minutes(*[PRICE] * 12, begin=3)
    paper.judge(inputs=rising(), close=1)
    paper.minutes(PRICE, PRICE, begin=15)
    paper.trade(17)
    page = paper.ask("trades?limit=1")
    rest = paper.ask(f"trades?limit=1&before_id={page['next_before_id']}")

    assert [one["id"] for one in page["trades"] + rest["trades"]] == [page["trades"][0]["id"], first]
    assert rest["next_before_id"] is None
    assert [one["id"] for one in paper.ask("trades?status=STOPPED")["trades"]] == [first]
    assert len(paper.ask("trades?symbol=btcusdt&strategy=V3&status=ACTIVE")["trades"]) == 1
    assert paper.ask("trades?strategy=ICT")["trades"] == paper.ask("trades?symbol=ETHUSDT")["trades"] == []


@pytest.mark.parametrize(
    "path",
    [
        "trades?limit=0",
        "trades?limit=501",
        "trades?status=OPEN",
        "trades?strategy=V9",
        "trades?symbol=%3F%3F",
        "trades?before_id=0",
        "trades?nothing=1",
        "trades/0",
        "trades/abc",
        "trades/check-creation",
        "trades/check-creation?symbol=BTCUSDT",
        "trades/check-creation?symbol=%3F%3F&strategy=V3",
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(paper: Paper, path: str):
    error = paper.ask(path, status=400)

    assert error["message"]
    assert error["what_to_do"]


def test_a_trade_that_is_not_there_is_not_found(paper: Paper):
    for error in (
        paper.ask("trades/77", status=404),
        paper.send("PUT", "trades/77", {"stop_loss": 1}, status=404),
        paper.send("POST", "trades/77/close", status=404),
    ):
        assert error["message"] == "There is no trade 77."
        assert error["what_to_do"] == "GET /api/v1/trades lists them."


def test_what_is_open_is_told_at_the_newest_price(paper: Paper, valkey_url: str):
    trade_id = paper.opened()
    [unknown] = paper.ask("trades/active")["trades"]
    cache = MarketCache(valkey_url)
    cache.put_tickers([CachedTicker(exchange=VENUE, symbol=BTC, timestamp=CLOSE_MS, price=111.055)])
    cache.close()
    [known] = paper.ask("trades/active")["trades"]

    assert (unknown["price"], unknown["floating_pnl"], unknown["leaving"]) == (None, None, None)
    assert (known["trade"]["id"], known["price"], known["price_exchange"]) == (trade_id, 111.055, VENUE)
    assert Decimal(known["floating_pnl"]) == Decimal(known["trade"]["quantity"])  # a gain of 1 for each coin


def test_what_waits_for_the_next_minute_is_told(paper: Paper):
    told = paper.send("POST", "trades", order(), status=202)
    assert paper.ask("trades/active") == {"trades": [], "orders": [told]}
    paper.minutes(PRICE, PRICE)
    paper.trade(2)
    [trade] = paper.ask("trades/active")["trades"]
    paper.send("POST", f"trades/{trade['trade']['id']}/close", status=202)

    assert paper.ask("trades/active")["trades"][0]["leaving"] == "MANUAL"


def test_an_order_is_accepted_and_the_next_minute_fills_it(paper: Paper, deps: Deps):
    told = paper.send("POST", "trades", order(symbol="btc-usdt-swap", max_loss=50), status=202)
    paper.minutes(PRICE, 111.0)
    paper.trade(2)

    assert (told["symbol"], told["strategy"], told["direction"]) == (BTC, "V3", "LONG")
    assert told["not_before_ms"] == CLOSE_MS + MINUTE_MS
    [trade] = paper.ask("trades")["trades"]
    assert Decimal(trade["entry_price"]) == Decimal("111.0555")
    assert Decimal("49.99") < Decimal(trade["risk_amount"]) <= 50
    assert actions(deps) == ["order_trade"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_loss": 0}, "The stop must be above 0, not 0."),
        ({"stop_loss": "NaN"}, "NaN is not a number that can be booked."),
        ({"take_profit": "1e30"}, "The target must have at most 12 digits before the point."),
        (
            {"take_profit": 107},
            "The stop of a LONG (108.00000000) must lie on the other side of its target (107.00000000).",
        ),
        ({"max_loss": 30}, "The greatest loss must be 20, 50, 100 or 200 USDT, not 30."),
        ({"direction": "UP"}, None),
        ({"strategy": "V9"}, None),
        ({"stop_loss": "deep"}, None),
        ({"symbol": "??"}, None),
        ({"quantity": 5}, None),
    ],
)
def test_an_order_that_means_nothing_is_refused(paper: Paper, deps: Deps, changes: dict[str, Any], message: str | None):
    error = paper.send("POST", "trades", order(**changes), status=400)

    assert message is None or error["message"] == message
    assert error["message"]
    assert error["what_to_do"]
    assert actions(deps) == []


def test_an_order_for_a_symbol_that_is_not_there_is_not_found(paper: Paper):
    error = paper.send("POST", "trades", order(symbol="ETHUSDT"), status=404)

    assert error["message"] == f"There is no symbol '{ETH}'."
    assert error["what_to_do"] == "POST /api/v1/symbols adds one."


def test_one_trade_at_a_time_and_a_wait_after_it(paper: Paper):
    where = "trades/check-creation?symbol=BTCUSDT&strategy=V3"
    assert paper.ask(where) == {"symbol": BTC, "strategy": "V3", "allowed": True, "reason": None}
    trade_id = paper.opened()
    busy = f"{BTC} has an open V3 trade already: one at a time."
    assert paper.ask(where)["reason"] == busy
    assert paper.send("POST", "trades", order(), status=409)["message"] == busy

    paper.minutes((PRICE, PRICE, 108.0, PRICE), begin=2)
    paper.trade(3)
    paper.clock(3)
    cools = f"{BTC} cools down after its last V3 trade for 180 s more."
    assert paper.ask(where) == {"symbol": BTC, "strategy": "V3", "allowed": False, "reason": cools}
    assert paper.send("POST", "trades", order(), status=409)["message"] == cools
    until_ms = CLOSE_MS + 6 * MINUTE_MS
    assert paper.ask("trades/cooldown-status")["cooldowns"] == [
        {"symbol": BTC, "strategy": "V3", "until_ms": until_ms, "left_s": 180.0}
    ]

    paper.clock(6)
    assert paper.ask("trades/cooldown-status")["cooldowns"] == []
    assert paper.ask(where)["allowed"]
    assert paper.ask(f"trades/{trade_id}")["trade"]["status"] == "STOPPED"


def test_nothing_may_be_opened_on_a_symbol_that_is_not_there(paper: Paper):
    found = paper.ask("trades/check-creation?symbol=ETHUSDT&strategy=V3")

    assert (found["allowed"], found["reason"]) == (False, f"There is no symbol '{ETH}'.")


def test_a_stop_and_a_target_are_moved(paper: Paper, deps: Deps):
    trade_id = paper.opened()
    moved = paper.send("PUT", f"trades/{trade_id}", {"stop_loss": "109.5", "take_profit": 130}, status=202)

    assert (Decimal(moved["stop_loss"]), Decimal(moved["take_profit"])) == (Decimal("109.5"), 130)
    assert moved["from_ms"] > 0
    assert actions(deps) == ["move_trade"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Nothing is to be moved."),
        (
            {"stop_loss": 108},
            "A stop is only moved in the trade's favour: it is at 108.80000000, and 108 would be worse.",
        ),
        ({"take_profit": 100}, "The target of a LONG must lie beyond its stop, 108.80000000, not at 100.00000000."),
        ({"stop_loss": "low"}, None),
        ({"status": "CLOSED"}, None),
    ],
)
def test_a_move_that_means_nothing_is_refused(paper: Paper, deps: Deps, body: dict[str, Any], message: str | None):
    trade_id = paper.opened()
    error = paper.send("PUT", f"trades/{trade_id}", body, status=400)

    assert message is None or error["message"] == message
    assert error["what_to_do"]
    assert actions(deps) == []


def test_a_trade_is_closed_at_the_next_minute_and_once(paper: Paper, deps: Deps):
    trade_id = paper.opened()
    asked = paper.send("POST", f"trades/{trade_id}/close", status=202)
    again = paper.send("POST", f"trades/{trade_id}/close", status=409)
    paper.minutes(PRICE, begin=2)
    paper.trade(3)
    closed = paper.ask(f"trades/{trade_id}")["trade"]

    assert asked["status"] == "ACTIVE"
    assert again["message"] == f"Trade {trade_id} is being left already: the next minute fills its exit."
    assert (closed["status"], closed["exit_reason"]) == ("CLOSED", "MANUAL")
    over = f"Trade {trade_id} is already CLOSED."
    assert paper.send("POST", f"trades/{trade_id}/close", status=409)["message"] == over
    assert paper.send("PUT", f"trades/{trade_id}", {"stop_loss": 109}, status=409)["message"] == over
    assert actions(deps) == ["close_trade"]


def test_bringing_forward_says_what_opened_closed_and_was_refused(paper: Paper):
    nothing = {"closed": [], "opened": [], "refused": 0}
    assert paper.send("POST", "trades/auto-close") == nothing
    paper.judge(inputs=rising())
    paper.minutes(PRICE, PRICE, (PRICE, PRICE, 108.0, PRICE), *[PRICE] * 12)
    paper.clock(2)
    opened = paper.send("POST", "trades/auto-close")
    paper.clock(3)
    closed = paper.send("POST", "trades/auto-close")
    paper.clock(15.5)
    paper.send("POST", "trades", order(), status=202)
    paper.judge(close=1)
    paper.minutes(PRICE, 107.0, begin=15)
    paper.clock(17)

    [trade] = paper.trades()
    assert (opened, closed) == (nothing | {"opened": [trade.id]}, nothing | {"closed": [trade.id]})
    assert paper.send("POST", "trades/auto-close") == nothing | {"refused": 1}


def test_what_bringing_forward_came_to_is_told_as_if_the_fleet_had_done_it(paper: Paper, deps: Deps, valkey_url: str):
    trade_id = paper.opened()
    assert deps.look_up.statistics(BTC, "V3") is None
    deps.redis.set("statistics:BTC/USDT%3AUSDT:V3", "{}")
    listener = Listener(valkey_url)
    paper.minutes((PRICE, PRICE, 108.0, PRICE), begin=2)
    paper.clock(3)
    paper.send("POST", "trades/auto-close")
    [(channel, payload)] = listener.hear(5)
    listener.close()

    assert channel == "market_data:trade:BTC/USDT%3AUSDT:V3"
    assert (json.loads(payload)["what"], json.loads(payload)["id"]) == ("closed", trade_id)
    figures = deps.look_up.statistics(BTC, "V3")
    assert figures is not None
    assert figures.total_trades == 1


def test_without_the_time_of_the_market_nothing_is_ordered_or_closed(deps: Deps, client: FlaskClient):
    paper = Paper(deps, client)
    paper.judge(inputs=rising())
    paper.minutes(PRICE, PRICE)
    paper.trade(2)
    for error in (
        paper.send("POST", "trades", order(), status=503),
        paper.send("POST", f"trades/{paper.trades()[0].id}/close", status=503),
        paper.ask("trades/check-creation?symbol=BTCUSDT&strategy=V3", status=503),
    ):
        assert error["message"] == "Nobody knows what time it is on the market."
        assert error["what_to_do"] == "Wait until market-feed has begun."
    assert paper.send("POST", "trades/auto-close") == {"closed": [], "opened": [], "refused": 0}
    assert actions(deps) == []


def test_a_pair_with_an_open_trade_is_not_removed(paper: Paper):
    trade_id = paper.opened()
    error = paper.send("DELETE", "symbols/BTCUSDT", status=409)

    assert "has an open trade or an order of V3" in error["message"]
    assert paper.ask(f"trades/{trade_id}")["trade"]["status"] == "ACTIVE"


def test_a_pair_with_an_open_trade_is_not_let_out_of_sight(paper: Paper):
    """Nothing would stop, close or fill it any more: no minute of it would come."""
    paper.opened()
    error = paper.send("PUT", "symbols/BTCUSDT", {"status": "INACTIVE"}, status=409)

    assert "has an open trade or an order of V3" in error["message"]
    assert paper.ask("symbols/BTCUSDT")["status"] == "ACTIVE"


def test_a_trade_may_not_be_opened_on_a_pair_that_is_not_watched(paper: Paper):
    paper.send("PUT", "symbols/BTCUSDT", {"status": "INACTIVE"})
    found = paper.ask("trades/check-creation?symbol=BTCUSDT&strategy=V3")

    assert found["allowed"] is False
    assert "is INACTIVE: its market is not watched" in found["reason"]


def test_a_page_beyond_every_id_is_refused(paper: Paper):
    for path in ("trades", "strategies/v3/judgments", "strategies/ict/judgments"):
        assert "before_id" in paper.ask(f"{path}?before_id={10**20}", status=400)["message"]
