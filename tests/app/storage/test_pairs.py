"""Exchanges and what they trade."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.errors import NotFound
from app.storage import pairs
from app.storage.database import reading, transaction
from tests.builders import NOW, later


@dataclass(frozen=True)
class Traded:
    symbol: str = "BTC/USDT:USDT"
    base: str = "BTC"
    quote: str = "USDT"
    settle: str | None = "USDT"
    price_step: float | None = 0.1
    quantity_step: float | None = 0.001
    contract_size: float | None = None
    min_quantity: float | None = None
    active: bool = True


BTC = Traded()
ETH = Traded(symbol="ETH/USDT:USDT", base="ETH")


def ensure(engine: Engine, *traded: Traded, exchange: str = "binance") -> dict[str, int]:
    with transaction(engine) as db:
        return pairs.ensure_pairs(db, exchange, traded, NOW)


def test_pairs_get_ids_that_never_change(engine: Engine):
    first = ensure(engine, BTC, ETH)

    assert ensure(engine, ETH, BTC) == first
    assert set(first) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert ensure(engine, BTC, exchange="okx")["BTC/USDT:USDT"] not in first.values()


def test_a_pair_is_read_with_the_name_of_its_exchange(engine: Engine):
    ids = ensure(engine, BTC)
    with reading(engine) as db:
        found = pairs.pair(db, "binance", "BTC/USDT:USDT")

        assert found is not None
        assert pairs.pair_id(db, "binance", "BTC/USDT:USDT") == found.id == ids["BTC/USDT:USDT"]
        assert (found.exchange, found.settle_currency, found.price_step) == ("binance", "USDT", 0.1)
        assert (found.contract_size, found.taker_fee, found.is_active) == (None, None, True)
        assert pairs.pair(db, "okx", "BTC/USDT:USDT") is None
        with pytest.raises(NotFound, match="okx"):
            pairs.pair_id(db, "okx", "BTC/USDT:USDT")


def test_what_the_exchange_says_anew_is_renewed_and_what_it_leaves_out_stays(engine: Engine):
    ensure(engine, BTC)
    ensure(engine, Traded(price_step=0.5, quantity_step=None, contract_size=0.01))
    with reading(engine) as db:
        found = pairs.pair(db, "binance", "BTC/USDT:USDT")

    assert found is not None
    assert (found.price_step, found.quantity_step, found.contract_size) == (0.5, 0.001, 0.01)


def test_what_an_exchange_no_longer_trades_is_inactive_and_comes_back(engine: Engine):
    ensure(engine, BTC, ETH)
    ensure(engine, ETH, exchange="okx")
    with transaction(engine) as db:
        gone = pairs.note_traded(db, "binance", {"BTC/USDT:USDT", "XRP/USDT:USDT"}, later(9))
        again = pairs.note_traded(db, "binance", {"BTC/USDT:USDT"}, later(10))
    with reading(engine) as db:
        active = [(pair.exchange, pair.symbol[:3]) for pair in pairs.listed(db, active=True)]
        inactive = [pair.symbol for pair in pairs.listed(db, active=False)]
    with transaction(engine) as db:
        back = pairs.note_traded(db, "binance", {"BTC/USDT:USDT", "ETH/USDT:USDT"}, later(11))
        assert pairs.listed(db, active=False) == []

    assert (active, inactive) == ([("binance", "BTC"), ("okx", "ETH")], ["ETH/USDT:USDT"])
    assert (gone, again, back) == (["ETH/USDT:USDT"], [], ["ETH/USDT:USDT"])


def test_pairs_are_listed_by_exchange_and_symbol(engine: Engine):
    ensure(engine, ETH, BTC, exchange="okx")
    ensure(engine, BTC)
    with reading(engine) as db:
        assert [(pair.exchange, pair.symbol[:3]) for pair in pairs.listed(db)] == [
            ("binance", "BTC"),
            ("okx", "BTC"),
            ("okx", "ETH"),
        ]
        assert [pair.exchange for pair in pairs.listed(db, symbol="BTC/USDT:USDT")] == ["binance", "okx"]


def test_an_exchange_is_made_once(engine: Engine):
    with transaction(engine) as db:
        first = pairs.ensure_exchange(db, "okx", now=NOW)
        again = pairs.ensure_exchange(db, "okx", now=later(9))
        found = pairs.exchange(db, "okx")

    assert found is not None
    assert again == first == found.id
    assert (found.display_name, found.supported_timeframes, found.rate_limit_per_minute) == ("okx", None, None)
    assert (found.simulated, found.status, found.created_at, found.updated_at) == (False, "active", NOW, NOW)


def test_the_demo_is_simulated_by_its_name(engine: Engine):
    ensure(engine, BTC, exchange="demo-okx")
    ensure(engine, BTC, exchange="okx")
    with reading(engine) as db:
        assert {one.name: one.simulated for one in pairs.exchanges(db)} == {"demo-okx": True, "okx": False}
