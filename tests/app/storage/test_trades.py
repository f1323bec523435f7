"""Simulated trades."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import Conflict, InvalidInput, NotFound
from app.storage import symbols, trades
from app.storage.database import reading, transaction
from app.storage.trades import FillRow, Trade
from tests.builders import NOW, later

TRADE = {
    "symbol": "BTCUSDT",
    "strategy_type": "V3",
    "direction": "LONG",
    "entry_price": Decimal("45000.00000001"),
    "stop_loss": Decimal(44000),
    "take_profit": Decimal(48000),
    "leverage": 10,
    "margin_required": Decimal("450.5"),
    "risk_amount": Decimal(100),
    "position_size": Decimal("0.1"),
}


@pytest.fixture(autouse=True)
def listed(engine: Engine) -> None:
    with transaction(engine) as db:
        for name in ("BTCUSDT", "ETHUSDT"):
            symbols.add(db, name, now=NOW)


def open_trade(engine: Engine, **changes) -> int:
    with transaction(engine) as db:
        return trades.add(db, now=NOW, **(TRADE | changes))


def close(engine: Engine, trade_id: int, pnl: str, **changes) -> None:
    ending = {
        "status": "CLOSED",
        "exit_price": Decimal(46000),
        "exit_reason": "target",
        "pnl_percentage": Decimal("2.2"),
    }
    with transaction(engine) as db:
        trades.close(db, trade_id, pnl=Decimal(pnl), now=later(60), **(ending | changes))


def read(engine: Engine, trade_id: int) -> Trade:
    with reading(engine) as db:
        trade = trades.get(db, trade_id)
    assert trade is not None
    return trade


def test_a_trade_is_opened_to_the_last_digit(engine: Engine):
    trade = read(engine, open_trade(engine))

    assert {name: getattr(trade, name) for name in TRADE} == TRADE
    assert (trade.status, trade.exit_price, trade.closed_at) == ("ACTIVE", None, None)


def test_a_trade_is_closed_once(engine: Engine):
    trade_id = open_trade(engine)
    close(engine, trade_id, "-12.34567891", status="STOPPED", exit_reason="stop")

    with pytest.raises(Conflict, match="already STOPPED"):
        close(engine, trade_id, "99")

    trade = read(engine, trade_id)
    assert (trade.status, trade.pnl, trade.exit_reason) == ("STOPPED", Decimal("-12.34567891"), "stop")
    assert trade.closed_at == later(60)


def test_an_unknown_trade_cannot_be_closed(engine: Engine):
    with pytest.raises(NotFound):
        close(engine, 987_654, "1")


def test_closing_needs_a_status_that_ends_it(engine: Engine):
    with pytest.raises(InvalidInput, match="CLOSED or STOPPED"):
        close(engine, open_trade(engine), "1", status="ACTIVE")


def test_what_is_open_is_found_by_symbol_and_strategy(engine: Engine):
    first = open_trade(engine)
    other_symbol = open_trade(engine, symbol="ETHUSDT")
    other_strategy = open_trade(engine, strategy_type="ICT")
    close(engine, open_trade(engine), "1")
    with reading(engine) as db:
        assert [one.id for one in trades.active(db)] == [first, other_symbol, other_strategy]
        assert [one.id for one in trades.active(db, symbol="ETHUSDT")] == [other_symbol]
        assert [one.id for one in trades.active(db, symbol="BTCUSDT", strategy_type="ICT")] == [other_strategy]


def test_the_newest_are_read_page_by_page(engine: Engine):
    ids = [open_trade(engine) for _ in range(3)]
    with reading(engine) as db:
        page = trades.recent(db, limit=2, symbol="BTCUSDT")
        rest = trades.recent(db, limit=2, before_id=page[-1].id)

    assert [one.id for one in page + rest] == ids[::-1]


def test_profits_and_losses_come_back_to_the_last_digit(engine: Engine):
    booked = ("0.1", "0.2", "-0.3", "0.00000001", "-1000.5")
    for pnl in booked:
        close(engine, open_trade(engine), pnl)
    open_trade(engine)
    with reading(engine) as db:
        assert [one.pnl for one in trades.closings(db, symbol="BTCUSDT", strategy_type="V3")] == [*map(Decimal, booked)]
        assert trades.closings(db, symbol="ETHUSDT") == []


def test_what_the_entries_of_closed_trades_assumed_is_read_the_newest_of_too_many(engine: Engine):
    for place, symbol in enumerate(("BTCUSDT", "ETHUSDT", "BTCUSDT")):
        trade_id = open_trade(engine, symbol=symbol)
        row = FillRow(trade_id, 0, "ENTRY", 0, *(Decimal(place),) * 6, None, {"place": place})
        with transaction(engine) as db:
            trades.add_fills(db, [row, row._replace(number=1, kind="EXIT", assumed={"place": "exit"})])
        if place < 2:
            close(engine, trade_id, str(place))

    with reading(engine) as db:
        whole = trades.entries(db, "V3", NOW, later(61))
        newest = trades.entries(db, "V3", NOW, later(61), limit=1)
        others = trades.entries(db, "ICT", NOW, later(61)) + trades.entries(db, "V3", NOW, later(60))

    assert whole == [("BTCUSDT", Decimal(0), {"place": 0}), ("ETHUSDT", Decimal(1), {"place": 1})]
    assert (newest, others) == (whole[1:], [])


def test_a_symbol_that_is_not_listed_is_named(engine: Engine):
    with pytest.raises(NotFound, match="NOSUCH"):
        open_trade(engine, symbol="NOSUCH")


def test_a_direction_that_is_none_is_refused_with_those_that_are(engine: Engine):
    with pytest.raises(InvalidInput, match="LONG, SHORT"):
        open_trade(engine, direction="UP")
