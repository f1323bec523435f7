"""The pairs that are watched: any common spelling in, one form out, every change traced and seen at once."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.cache.market import MarketCache
from app.storage import symbols
from app.storage.database import transaction
from tests.api.market import BTC, ETH, market_lived_in, set_clock, ticker
from tests.builders import NOW

SPELLINGS = ["BTCUSDT", "btc-usdt-swap", "BTC%2FUSDT%3AUSDT", "BTC/USDT:USDT", "BTC_USDT"]


@pytest.fixture
def listed(deps: Deps) -> None:
    with transaction(deps.engine) as db:
        for name, status in ((BTC, "ACTIVE"), (ETH, "INACTIVE"), ("SOL/USDT:USDT", "ACTIVE")):
            symbols.add(db, name, now=NOW, status=status)


@pytest.fixture
def cache(valkey_url: str) -> Iterator[MarketCache]:
    cache = MarketCache(valkey_url)
    yield cache
    cache.close()


def names(client: FlaskClient, query: str = "") -> list[str]:
    return [pair["symbol"] for pair in client.get(f"/api/v1/symbols{query}").get_json()["data"]["symbols"]]


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_pair_is_found_under_every_common_spelling(client: FlaskClient, spelling: str):
    answer = client.get(f"/api/v1/symbols/{spelling}")

    assert answer.status_code == 200
    assert answer.get_json()["data"]["symbol"] == BTC
    assert answer.get_json()["data"]["last_price"] is None  # unknown is not zero


def test_spot_is_another_pair_than_the_perpetual(client: FlaskClient):
    assert client.post("/api/v1/symbols", json={"symbol": "BTC/USDT"}).status_code == 201
    assert client.post("/api/v1/symbols", json={"symbol": "BTCUSDT"}).status_code == 201

    assert names(client) == ["BTC/USDT", BTC]


@pytest.mark.usefixtures("listed")
def test_a_pair_is_read_once_and_then_held_in_redis_and_here(client: FlaskClient, deps: Deps):
    client.get("/api/v1/symbols/BTCUSDT")
    with transaction(deps.engine) as db:
        symbols.change(db, BTC, now=NOW, status="SUSPENDED")  # by somebody who tells nobody

    assert client.get("/api/v1/symbols/BTCUSDT").get_json()["data"]["status"] == "ACTIVE"
    assert deps.redis.ttl("symbol:info:BTC/USDT%3AUSDT") > 290


@pytest.mark.usefixtures("listed")
def test_pairs_come_page_by_page_and_by_status(client: FlaskClient):
    first = client.get("/api/v1/symbols?limit=2").get_json()["data"]

    assert (first["total"], first["next_offset"]) == (3, 2)
    assert names(client, "?limit=2&offset=2") == ["SOL/USDT:USDT"]
    assert names(client, "?status=INACTIVE") == [ETH]
    assert [pair["symbol"] for pair in client.get("/api/v1/symbols/active").get_json()["data"]["symbols"]] == [
        BTC,
        "SOL/USDT:USDT",
    ]


def test_adding_changing_and_removing_a_pair_leaves_traces_and_is_seen_at_once(client: FlaskClient):
    added = client.post("/api/v1/symbols", json={"symbol": "eth-usdt"}, headers={"X-Trace-Id": "t-1"})
    again = client.post("/api/v1/symbols", json={"symbol": "ETHUSDT"})
    assert client.get("/api/v1/symbols/ETHUSDT").get_json()["data"]["status"] == "ACTIVE"
    changed = client.put("/api/v1/symbols/ETHUSDT", json={"status": "SUSPENDED"})
    same = client.put("/api/v1/symbols/ETHUSDT", json={"status": "SUSPENDED"})
    assert client.get("/api/v1/symbols/ETHUSDT").get_json()["data"]["status"] == "SUSPENDED"
    removed = client.delete("/api/v1/symbols/ETHUSDT")
    gone = client.delete("/api/v1/symbols/ETHUSDT")

    codes = [answer.status_code for answer in (added, again, changed, same, removed, gone)]
    assert codes == [201, 409, 200, 200, 200, 404]
    assert client.get("/api/v1/symbols/ETHUSDT").status_code == 404
    audit = client.get("/api/system/audit").get_json()["data"]["entries"][::-1]
    assert [(entry["action"], entry["subject"]) for entry in audit] == [
        ("add_symbol", ETH),
        ("change_symbol", ETH),
        ("remove_symbol", ETH),
    ]
    assert audit[0]["trace_id"] == "t-1"
    assert (audit[1]["before"], audit[1]["after"]) == ({"status": "ACTIVE"}, {"status": "SUSPENDED"})


@pytest.mark.parametrize("symbol", ["B", "BTC", "USDT", "BTC/BTC", "x" * 41, "BTC USDT", "A/B/C"])
def test_what_is_no_symbol_is_refused(client: FlaskClient, symbol: str):
    assert client.post("/api/v1/symbols", json={"symbol": symbol}).status_code == 400
    assert client.get(f"/api/v1/symbols/{symbol}").status_code == 400


@pytest.mark.parametrize("body", [{}, {"status": "GONE"}, {"status": "ACTIVE", "symbol": "X"}, {"status": None}])
def test_a_change_that_says_something_else_is_refused(client: FlaskClient, body: object):
    assert client.put("/api/v1/symbols/BTCUSDT", json=body).status_code == 400


def test_numbers_are_taken_over_from_the_newest_tickers(client: FlaskClient, deps: Deps, cache: MarketCache):
    market_lived_in(deps)
    set_clock(deps)
    cache.put_tickers(
        [ticker(price=43250.123456789, volume=0.001, quote_volume=12.5, change_24h_percent=5.76, funding_rate=0.0001)]
    )

    first = client.post("/api/v1/symbols/update").get_json()["data"]
    pair = client.get("/api/v1/symbols/BTCUSDT").get_json()["data"]
    second = client.post("/api/v1/symbols/update").get_json()["data"]

    assert first == {"updated": [BTC]}
    assert (pair["last_price"], pair["volume_24h"]) == ("43250.12345679", "12.50000000")
    assert (pair["price_change_24h"], pair["funding_rate"]) == ("5.7600", "0.00010000")
    assert second == {"updated": []}
