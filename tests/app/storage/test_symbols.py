"""Trading pairs."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import Conflict, InvalidInput, NotFound
from app.storage import symbols
from app.storage.database import reading, transaction
from tests.builders import NOW, later


def add(engine: Engine, *names: str) -> None:
    with transaction(engine) as db:
        for name in names:
            symbols.add(db, name, now=NOW)


def test_the_numbers_of_a_new_symbol_are_unknown_not_nought(engine: Engine):
    add(engine, "BTCUSDT")
    with reading(engine) as db:
        symbol = symbols.get(db, "BTCUSDT")

    assert symbol is not None
    assert (symbol.status, symbol.last_price, symbol.funding_rate, symbol.created_at) == ("ACTIVE", None, None, NOW)


def test_numbers_are_changed_to_the_last_digit(engine: Engine):
    add(engine, "BTCUSDT")
    values = {"last_price": Decimal("45000.12345678"), "funding_rate": Decimal("-0.00012345"), "status": "SUSPENDED"}
    with transaction(engine) as db:
        symbols.change(db, "BTCUSDT", now=later(1), **values)
        symbol = symbols.get(db, "BTCUSDT")

    assert symbol is not None
    assert {name: getattr(symbol, name) for name in values} == values
    assert (symbol.created_at, symbol.updated_at) == (NOW, later(1))


def test_symbols_are_listed_by_name_and_status(engine: Engine):
    add(engine, "ETHUSDT", "BTCUSDT", "XRPUSDT")
    with transaction(engine) as db:
        symbols.change(db, "XRPUSDT", now=NOW, status="INACTIVE")
    with reading(engine) as db:
        assert [one.symbol for one in symbols.listed(db)] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
        assert [one.symbol for one in symbols.listed(db, status="INACTIVE")] == ["XRPUSDT"]


def test_a_symbol_is_added_once(engine: Engine):
    add(engine, "BTCUSDT")

    with pytest.raises(Conflict, match="BTCUSDT"):
        add(engine, "BTCUSDT")


def test_what_is_not_there_cannot_be_changed_or_removed(engine: Engine):
    with pytest.raises(NotFound, match="NOSUCH"), transaction(engine) as db:
        symbols.change(db, "NOSUCH", now=NOW, status="ACTIVE")
    with transaction(engine) as db:
        assert not symbols.remove(db, "NOSUCH")


def test_only_what_changes_can_be_changed(engine: Engine):
    add(engine, "BTCUSDT")

    with pytest.raises(InvalidInput, match="created_at"), transaction(engine) as db:
        symbols.change(db, "BTCUSDT", now=NOW, created_at=later(5))


def test_a_status_that_is_none_is_refused_with_those_that_are(engine: Engine):
    with pytest.raises(InvalidInput, match="ACTIVE, INACTIVE, SUSPENDED"), transaction(engine) as db:
        symbols.listed(db, status="ASLEEP")


def test_a_removed_symbol_is_gone(engine: Engine):
    add(engine, "BTCUSDT")
    with transaction(engine) as db:
        assert symbols.remove(db, "BTCUSDT")
        assert symbols.get(db, "BTCUSDT") is None


def test_the_market_is_noted_for_many_symbols_at_once(engine: Engine):
    add(engine, "BTCUSDT", "ETHUSDT")
    with transaction(engine) as db:
        symbols.change(db, "ETHUSDT", now=NOW, funding_rate=Decimal("0.0001"))
        notes = [
            symbols.MarketNote("BTCUSDT", last_price=45_000.1, volume_24h=1.5, price_change_24h=-2.34567),
            symbols.MarketNote("ETHUSDT", last_price=2_500.123456789),
            symbols.MarketNote("NOSUCH", last_price=1.0),
        ]
        symbols.note_market(db, notes, later(1))
        symbols.note_market(db, [], later(2))
        btc, eth = symbols.listed(db)

    assert (btc.last_price, btc.volume_24h, btc.funding_rate) == (Decimal("45000.10000000"), Decimal("1.5"), None)
    assert (btc.price_change_24h, btc.updated_at) == (Decimal("-2.3457"), later(1))
    assert (eth.last_price, eth.funding_rate) == (Decimal("2500.12345679"), Decimal("0.0001"))


def test_a_number_that_does_not_fit_stays_unknown(engine: Engine):
    add(engine, "SHIBUSDT")
    with transaction(engine) as db:
        note = symbols.MarketNote("SHIBUSDT", last_price=0.00001234, volume_24h=4e13, funding_rate=float("nan"))
        symbols.note_market(db, [note], later(1))
        shib = symbols.get(db, "SHIBUSDT")

    assert shib is not None
    assert (shib.last_price, shib.volume_24h, shib.funding_rate) == (Decimal("0.00001234"), None, None)
