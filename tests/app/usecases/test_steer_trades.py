"""A person's own hand in paper trading: what is asked for is filled by the next minute, traced, and booked to the last digit."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from app.cache.memory import MemoryCache
from app.domain.market.market_time import MarketTime
from app.domain.paper.desk import Desk, Move
from app.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.storage import accounts, audit, symbols
from app.storage.accounts import Kept
from app.storage.audit import AuditRow
from app.storage.database import reading, transaction
from app.storage.trades import Trade
from app.usecases import steer_trades
from app.usecases.asking import Asking
from app.usecases.live_settings import change_setting
from app.usecases.look_up import LookUp
from app.usecases.steer_trades import Wish
from tests.app.domain.strategies.v3.readings import falling, rising
from tests.app.usecases.judged_market import CLOSE_MS, VENUE
from tests.app.usecases.paper_market import BTC, ETH, MINUTE_MS, PRICE, PaperMarket
from tests.builders import NOW

ALICE = Asking("alice", "trace-1", NOW)
LONG = Wish(BTC, "V3", "LONG", Decimal(108), Decimal(120))


class Person:
    """Somebody in front of a market, who says when and what."""

    def __init__(self, market: PaperMarket) -> None:
        self.market = market
        self.engine = market.engine

    def order(self, minute: float, wish: Wish = LONG, **changes: Any) -> Desk:
        """Wish for a trade, that many minutes after the first close."""
        return steer_trades.order(self.engine, replace(wish, **changes), ALICE, exchanges=(VENUE,), time=moment(minute))

    def close(self, trade_id: int, minute: float) -> Trade:
        """Ask for its exit."""
        return steer_trades.close(self.engine, trade_id, ALICE, time=moment(minute))

    def move(
        self, trade_id: int, *, stop: Any = None, target: Any = None, minute: float = 3, price: float | None = None
    ) -> Move:
        """Move its stop or target."""
        levels = (None if level is None else Decimal(str(level)) for level in (stop, target))
        return steer_trades.move(self.engine, trade_id, *levels, ALICE, time=moment(minute), price=price)

    def why_not(self, minute: float, symbol: str = BTC) -> str | None:
        """Why nothing may be opened."""
        with reading(self.engine) as db:
            return steer_trades.why_not(db, symbol, "V3", exchanges=(VENUE,), time=moment(minute))

    @property
    def traces(self) -> list[AuditRow]:
        """What all of that left, the oldest first."""
        with reading(self.engine) as db:
            return audit.recent(db, 100)[::-1]


def moment(minute: float) -> MarketTime:
    return MarketTime(CLOSE_MS + round(minute * MINUTE_MS), 1.0)


@pytest.fixture
def market(engine: Engine) -> PaperMarket:
    """One coin."""
    return PaperMarket(engine)


@pytest.fixture
def person(market: PaperMarket) -> Person:
    """Nobody has traded yet."""
    return Person(market)


@pytest.fixture
def holding(person: Person) -> Person:
    """A person's trade up that was entered at 110.055 in the third minute: the strategy has said nothing so far."""
    person.market.minutes(PRICE, PRICE, PRICE)
    person.order(1.5)
    person.market.trade(3)
    assert [one.status for one in person.market.trades()] == ["ACTIVE"]
    return person


def test_an_order_is_filled_at_the_open_of_the_next_minute(person: Person):
    person.market.minutes(PRICE, PRICE, 111.0, 112.0)
    desk = person.order(1.5)
    person.market.trade(3)

    assert desk.order is not None
    assert desk.order.not_before_ms == CLOSE_MS + 90_000
    [trade] = person.market.trades()
    assert trade.entry_price == Decimal("111.0555")  # 5 basis points above the open
    assert trade.created_at.timestamp() * 1000 == CLOSE_MS + 2 * MINUTE_MS
    assert (trade.direction, trade.stop_loss, trade.take_profit, trade.status) == ("LONG", 108, 120, "ACTIVE")
    [entry] = person.market.fills(trade.id)
    assert entry.assumed["why"] == {"close_ms": None, "trend": "UP", "scores": {}, "actor": "alice"}
    assert person.market.conserved()


def test_an_order_down_is_filled_as_well(person: Person):
    person.market.minutes(PRICE, PRICE, PRICE)
    person.order(0.5, direction="SHORT", stop_loss=Decimal(112), take_profit=Decimal(100))
    person.market.trade(2)

    [trade] = person.market.trades()
    assert (trade.direction, trade.entry_price) == ("SHORT", Decimal("109.945"))


def test_an_account_that_a_person_opens_follows_the_strategy_afterwards(holding: Person):
    market = holding.market
    holding.close(market.trades()[0].id, 3.5)
    market.minutes(*[PRICE] * 15, begin=3)
    market.trade(5)
    market.judge(inputs=rising(), close=1)
    market.minutes(PRICE, PRICE, begin=15)
    market.trade(17.5)

    assert [one.status for one in market.trades()] == ["CLOSED", "ACTIVE"]
    assert market.account().desk.acted_until_ms == CLOSE_MS + 15 * MINUTE_MS
    assert market.conserved()


def test_a_trade_on_an_account_that_a_person_opened_is_followed_beyond_the_close(holding: Person):
    market = holding.market
    market.judge(close=1)
    market.minutes(*[PRICE] * 13, (PRICE, PRICE, 107.0, 107.0), begin=3)
    market.trade(17.5)

    [trade] = market.trades()
    assert (trade.status, trade.exit_reason) == ("STOPPED", "STOP_LOSS")


def test_an_account_opens_with_what_the_settings_say(person: Person):
    look_up = LookUp(person.engine, MemoryCache(longest_s=1))
    change_setting(person.engine, look_up, "startingEquity", 500, ALICE)
    change_setting(person.engine, look_up, "maxLossAmount", 20, ALICE)

    desk = person.order(1)

    assert desk.account.equity == 500
    assert desk.order is not None
    assert (desk.order.equity, desk.order.max_loss) == (500, 20)


def test_a_person_may_say_what_may_be_lost(person: Person):
    person.market.minutes(PRICE, PRICE, PRICE)
    person.order(0.5, max_loss=Decimal(50))
    person.market.trade(2)

    [trade] = person.market.trades()
    assert Decimal("49.99") < trade.risk_amount <= 50


def test_while_there_is_an_order_or_a_trade_or_a_cooldown_there_is_no_other_order(person: Person):
    market = person.market
    market.minutes(*[PRICE] * 3)
    assert person.why_not(0) is None

    person.order(0.5)
    says = f"{BTC} has an order of V3 already, which the next minute fills."
    assert person.why_not(0.6) == says
    with pytest.raises(Conflict, match="has an order of V3 already"):
        person.order(0.6)

    market.trade(2)
    assert person.why_not(2) == f"{BTC} has an open V3 trade already: one at a time."
    with pytest.raises(Conflict, match="has an open V3 trade already"):
        person.order(2)

    person.close(market.trades()[0].id, 1.5)
    market.trade(3)
    assert person.why_not(5.5) == f"{BTC} cools down after its last V3 trade for 30 s more."
    with pytest.raises(Conflict, match="cools down after its last V3 trade for 30 s more"):
        person.order(5.5)

    assert person.why_not(6) is None
    assert person.order(6).order is not None
    assert [trace.action for trace in person.traces] == ["order_trade", "close_trade", "order_trade"]


def test_a_manual_exit_is_filled_by_the_next_minute(holding: Person):
    market = holding.market
    market.minutes(111.0, 112.0, begin=3)
    [trade] = market.trades()
    asked = holding.close(trade.id, 3.5)
    market.trade(5)

    assert asked.status == "ACTIVE"
    [closed] = market.trades()
    assert (closed.status, closed.exit_reason) == ("CLOSED", "MANUAL")
    assert closed.exit_price == Decimal("111.944")  # 5 basis points below the open of the minute after
    assert closed.closed_at is not None
    assert closed.closed_at.timestamp() * 1000 == CLOSE_MS + 4 * MINUTE_MS
    assert market.account().desk.account.margin == 0
    assert market.conserved()


def test_a_trade_is_closed_once(holding: Person):
    market = holding.market
    [trade] = market.trades()
    holding.close(trade.id, 3.5)
    with pytest.raises(Conflict, match=f"Trade {trade.id} is being left already"):
        holding.close(trade.id, 3.6)
    market.minutes(PRICE, PRICE, begin=3)
    market.trade(5)
    with pytest.raises(Conflict, match=f"Trade {trade.id} is already CLOSED"):
        holding.close(trade.id, 5)
    with pytest.raises(Conflict, match=f"Trade {trade.id} is already CLOSED"):
        holding.move(trade.id, stop=109)

    assert [trace.action for trace in holding.traces] == ["order_trade", "close_trade"]


def test_a_stop_is_moved_in_the_favour_of_the_trade_and_holds(holding: Person):
    market = holding.market
    [trade] = market.trades()
    moved = holding.move(trade.id, stop=109.5)
    market.minutes((PRICE, PRICE, 109.0, 109.0), begin=3)
    market.trade(4)

    assert (moved.stop_loss, moved.take_profit) == (Decimal("109.5"), 120)
    [stopped] = market.trades()
    assert (stopped.status, stopped.exit_reason, stopped.stop_loss) == ("STOPPED", "STOP_LOSS", Decimal("109.5"))
    assert stopped.exit_price == Decimal("109.44525")
    assert market.conserved()


def test_a_move_says_nothing_of_minutes_that_were_over_before_however_late_they_come(holding: Person):
    market = holding.market
    [trade] = market.trades()
    holding.move(trade.id, target=111, minute=5.5)
    market.minutes(PRICE, (PRICE, 115.0, PRICE, PRICE), (PRICE, 115.0, PRICE, PRICE), PRICE, begin=3)
    market.trade(7)

    assert market.trades()[0].status == "ACTIVE"
    assert market.trades()[0].take_profit == 111

    market.minutes((PRICE, 112.0, PRICE, PRICE), begin=7)
    market.trade(8)
    assert market.trades()[0].exit_reason == "TAKE_PROFIT"


def test_a_trade_that_ended_before_a_move_took_effect_keeps_the_levels_that_it_had(holding: Person):
    market = holding.market
    [trade] = market.trades()
    holding.move(trade.id, stop=109.5, minute=5.5)
    market.minutes((PRICE, 121.0, PRICE, PRICE), *[PRICE] * 4, begin=3)
    market.trade(8)

    [closed] = market.trades()
    assert (closed.exit_reason, closed.stop_loss) == ("TAKE_PROFIT", 108)
    assert market.account().desk.move is None


@pytest.mark.parametrize(("levels", "word"), [({"stop": 111}, "stop"), ({"target": 109.5}, "target")])
def test_a_level_that_the_price_has_passed_is_refused(holding: Person, levels: dict[str, Any], word: str):
    [trade] = holding.market.trades()

    with pytest.raises(InvalidInput, match=f"The price, 110, has passed a {word} of"):
        holding.move(trade.id, **levels, price=110.0)


def test_an_order_whose_levels_the_price_has_passed_is_refused_at_once(person: Person):
    with pytest.raises(InvalidInput, match="has passed a stop of 108"):
        steer_trades.order(person.engine, LONG, ALICE, exchanges=(VENUE,), time=moment(1), price=107.0)

    assert person.traces == []


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (replace(LONG, stop_loss=Decimal("109.46")), "nearer than 0.5% to the price"),
        (replace(LONG, direction="SHORT", stop_loss=Decimal(10**11), take_profit=Decimal(1)), "too few to trade"),
    ],
)
def test_a_stop_that_no_sensible_size_goes_with_is_refused_at_once(person: Person, wish: Wish, why: str):
    with pytest.raises(InvalidInput, match=why):
        steer_trades.order(person.engine, wish, ALICE, exchanges=(VENUE,), time=moment(1), price=110.0)

    assert person.traces == []


def test_an_order_on_a_symbol_that_is_not_watched_is_refused(person: Person):
    with transaction(person.market.engine) as db:
        symbols.change(db, BTC, now=NOW, status="INACTIVE")
    with pytest.raises(Conflict, match="is INACTIVE"):
        person.order(1)

    assert person.traces == []


def test_why_an_order_of_a_person_came_to_nothing_stands_in_the_audit_log(person: Person):
    person.order(0.5)
    person.market.minutes(100.0, 100.0)
    person.market.trade(2)

    refused = person.traces[-1]
    assert (refused.action, refused.subject) == ("order_refused", f"V3 {BTC}")
    assert refused.after["reason"] == "PASSED_STOP"


def test_a_target_is_moved_either_way_and_holds(holding: Person):
    market = holding.market
    [trade] = market.trades()
    assert holding.move(trade.id, target=130).take_profit == 130
    assert holding.move(trade.id, target=111).take_profit == 111
    market.minutes((PRICE, 112.0, PRICE, 112.0), begin=3)
    market.trade(4)

    [closed] = market.trades()
    assert (closed.status, closed.exit_reason, closed.exit_price) == ("CLOSED", "TAKE_PROFIT", 111)
    assert market.conserved()


def test_stop_and_target_are_moved_together(holding: Person):
    [trade] = holding.market.trades()
    moved = holding.move(trade.id, stop=121, target=130)

    assert (moved.stop_loss, moved.take_profit) == (121, 130)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"stop": 107}, "A stop is only moved in the trade's favour: it is at 108.00000000, and 107 would be worse."),
        ({"stop": 121}, "The target of a LONG must lie beyond its stop, 121.00000000, not at 120.00000000."),
        ({"target": 108}, "The target of a LONG must lie beyond its stop, 108.00000000, not at 108.00000000."),
        ({"stop": -1}, "The stop must be above 0, not -1."),
        ({"target": 0}, "The target must be above 0, not 0."),
        ({"target": "NaN"}, "NaN is not a number that can be booked."),
        ({}, "Nothing is to be moved."),
    ],
)
def test_a_move_that_means_nothing_is_refused_and_leaves_everything(
    holding: Person, levels: dict[str, Any], message: str
):
    [trade] = holding.market.trades()
    before = holding.market.account()
    with pytest.raises(InvalidInput) as refused:
        holding.move(trade.id, **levels)

    assert str(refused.value) == message
    assert (holding.market.trades(), holding.market.account()) == ([trade], before)
    assert [trace.action for trace in holding.traces] == ["order_trade"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_loss": Decimal(0)}, "The stop must be above 0, not 0."),
        ({"take_profit": Decimal("Infinity")}, "Infinity is not a number that can be booked."),
        ({"stop_loss": Decimal("sNaN")}, "sNaN is not a number that can be booked."),
        ({"take_profit": Decimal(107)}, "The stop of a LONG (108.00000000) must lie on the other side of its target"),
        ({"direction": "SHORT"}, "The stop of a SHORT (108.00000000) must lie on the other side of its target"),
        ({"max_loss": Decimal(30)}, "The greatest loss must be 20, 50, 100 or 200 USDT, not 30."),
        ({"max_loss": Decimal("sNaN")}, "sNaN is not a number that can be booked."),
    ],
)
def test_an_order_that_means_nothing_is_refused_and_opens_no_account(
    person: Person, changes: dict[str, Any], message: str
):
    with pytest.raises(InvalidInput) as refused:
        person.order(1, **changes)

    assert message in str(refused.value)
    with reading(person.engine) as db:
        assert accounts.keys(db) == set()
    assert person.traces == []


def test_what_is_not_there_is_not_found(person: Person):
    with pytest.raises(NotFound, match=f"There is no symbol '{ETH}'"):
        person.order(1, symbol=ETH)
    with pytest.raises(NotFound, match="There is no trade 77"):
        person.close(77, 1)
    with pytest.raises(NotFound, match="There is no trade 77"):
        person.move(77, stop=109)
    assert person.traces == []


def test_a_symbol_that_no_watched_exchange_trades_takes_no_order(person: Person):
    with transaction(person.engine) as db:
        symbols.add(db, ETH, now=NOW)

    with pytest.raises(InvalidInput, match="No exchange that is watched trades ETH/USDT:USDT"):
        person.order(1, symbol=ETH)


def test_nothing_may_be_opened_on_a_symbol_that_is_not_there(person: Person):
    assert person.why_not(1, ETH) == f"There is no symbol '{ETH}'."


def test_without_the_time_of_the_market_nothing_is_ordered_or_closed(holding: Person):
    nobody_knows = MarketTime(None, 1.0)
    [trade] = holding.market.trades()
    with pytest.raises(Unavailable, match="Nobody knows what time it is on the market"):
        steer_trades.order(holding.engine, LONG, ALICE, exchanges=(VENUE,), time=nobody_knows)
    with pytest.raises(Unavailable, match="Nobody knows what time it is on the market"):
        steer_trades.close(holding.engine, trade.id, ALICE, time=nobody_knows)


def test_an_exit_of_the_strategy_does_not_touch_a_trade_of_a_person(holding: Person):
    market = holding.market
    market.judge(inputs=falling(), close=1)
    market.minutes(*[PRICE] * 15, begin=3)
    market.trade(18)

    [trade] = market.trades()
    assert trade.status == "ACTIVE"
    desk = market.account().desk
    assert desk.trade is not None
    assert (desk.trade.asked_reason, desk.trade.time_stop_ms) == (None, None)
    assert desk.acted_until_ms == CLOSE_MS + 15 * MINUTE_MS


def test_a_person_may_leave_a_trade_of_the_strategy(market: PaperMarket):
    person = Person(market)
    market.judge(inputs=rising())
    market.minutes(*[PRICE] * 4)
    market.trade(2)
    person.close(market.trades()[0].id, 2.5)
    market.trade(4)

    assert [(one.status, one.exit_reason) for one in market.trades()] == [("CLOSED", "MANUAL")]
    assert market.conserved()


def test_an_order_whose_stop_the_price_has_passed_is_refused_and_leaves_the_account_idle(person: Person):
    market = person.market
    market.minutes(PRICE, 107.0, PRICE)
    person.order(0.5)
    done = market.trade(2)

    [event] = done.events
    assert (event.what, event.trade, event.trade_id) == ("refused", None, None)
    assert event.refusal is not None
    assert event.refusal.reason == "PASSED_STOP"
    assert event.refusal.message == "The price, 107.00000000, has passed the stop, 108.00000000."
    assert market.trades() == []
    desk = market.account().desk
    assert (desk.busy, desk.basis, desk.account.equity, desk.cooldown_until_ms) == (False, None, 10_000, 0)
    assert person.why_not(2) is None
    assert market.trade(3).events == []


def test_everything_that_a_person_did_is_traced(holding: Person):
    [trade] = holding.market.trades()
    holding.move(trade.id, stop="109.50", target=121)
    holding.close(trade.id, 3.5)
    order, move, close = holding.traces

    assert {(one.actor, one.trace_id, one.at) for one in holding.traces} == {("alice", "trace-1", NOW)}
    assert (order.action, order.subject, order.before) == ("order_trade", f"V3 {BTC}", None)
    assert order.after == {"direction": "LONG", "stop_loss": "108", "take_profit": "120"}
    assert (move.action, move.subject) == ("move_trade", f"trade {trade.id}")
    assert move.before == {"stop_loss": "108", "take_profit": "120"}
    assert move.after == {"stop_loss": "109.5", "take_profit": "121"}
    assert (close.action, close.subject, close.after) == ("close_trade", f"trade {trade.id}", {"reason": "MANUAL"})


def meddle(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Whenever an account is about to be written, somebody else is faster: so many times."""
    write, tried = accounts.change, [0]

    def change(db: Connection, kept: Kept, desk: Desk, trade_id: int | None) -> bool:
        tried[0] += 1
        if tried[0] <= times:
            return write(db, replace(kept, revision=kept.revision + 1), desk, trade_id)
        return write(db, kept, desk, trade_id)

    monkeypatch.setattr(accounts, "change", change)
    return tried


def test_who_finds_the_account_changed_meanwhile_looks_again(holding: Person, monkeypatch: pytest.MonkeyPatch):
    [trade] = holding.market.trades()
    tried = meddle(monkeypatch, 4)

    moved = holding.move(trade.id, stop=109)

    assert (tried, moved.stop_loss) == ([5], 109)
    assert [trace.action for trace in holding.traces] == ["order_trade", "move_trade"]


def test_who_never_gets_a_turn_is_told_and_has_changed_nothing(holding: Person, monkeypatch: pytest.MonkeyPatch):
    before = holding.market.account(), holding.market.trades()
    meddle(monkeypatch, 1_000)
    with pytest.raises(Conflict, match="The account is being changed by somebody else"):
        holding.move(before[1][0].id, stop=109)

    assert (holding.market.account(), holding.market.trades()) == before
    assert [trace.action for trace in holding.traces] == ["order_trade"]


def test_a_worker_that_read_before_a_person_moved_a_stop_does_not_undo_it(
    holding: Person, monkeypatch: pytest.MonkeyPatch
):
    market = holding.market
    market.minutes((PRICE, PRICE, 109.0, PRICE), begin=3)
    [trade] = market.trades()
    listed, moved = accounts.listed, []

    def slow(*args: Any, **which: Any) -> list[Kept]:
        found = listed(*args, **which)
        if not moved:
            moved.append(True)
            holding.move(trade.id, stop=109.5)
        return found

    monkeypatch.setattr(accounts, "listed", slow)
    first = market.trade(4)
    market.trade(4)

    assert first.lost_races == 1
    [stopped] = market.trades()
    assert (stopped.exit_reason, stopped.stop_loss) == ("STOP_LOSS", Decimal("109.5"))
    assert market.conserved()
