"""A collector under every fault that the demo exchange can make: it is noticed, no bad value is stored, and all comes back."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.domain.market.book import BookKeeper
from app.errors import InvalidInput
from app.exchanges.exchange import Exchange, RestCall, Session, Wanted
from app.usecases.collect import FUNDING_ROWS, OPEN_INTEREST_PAGE_MS
from app.usecases.ingest import Pipeline
from tests.app.exchanges.demo.served import Served
from tests.app.usecases.conftest import Start
from tests.app.usecases.fed import BTC, Fed
from tests.builders import wait_for

NAME = "demo-binance"


def whole(fed: Fed) -> bool:
    """Whether every book is right and every collector runs."""
    return fed.books() == {"ok"} and set(fed.states().values()) == {"running"}


def reconnects(fed: Fed) -> int:
    return sum(one.reconnects for each in fed.feed.report().collectors for one in each.connections)


def bad_values(fed: Fed) -> list[Any]:
    """What is stored and cannot be."""
    return [
        *fed.rows("SELECT * FROM klines WHERE low <= 0 OR high < low OR open > high OR open < low OR volume < 0"),
        *fed.rows("SELECT * FROM tickers WHERE bid >= ask OR price <= 0"),
        *fed.rows("SELECT * FROM trade_flow WHERE buy_volume < 0 OR sell_volume < 0 OR low <= 0 OR high < low"),
        *fed.rows("SELECT * FROM depth_summaries WHERE status = 'ok' AND bid >= ask"),
    ]


def hurry(keeper: BookKeeper | None) -> None:
    """Let a book be stale soon."""
    assert keeper
    keeper.rule = replace(keeper.rule, quiet_ms=1_500)


def note(fed: Fed) -> str:
    """What the one collector says of itself."""
    return "".join(one.note for one in fed.feed.report().collectors)


def inside_ban(fed: Fed) -> int:
    found = fed.served.get("/demo/faults")["requests_inside_ban"]
    assert isinstance(found, int)
    return found


NOTICED = {
    "cut": lambda fed: reconnects(fed) > 0,
    "half_open": lambda fed: reconnects(fed) > 0,
    "gap": lambda fed: fed.counter("gaps") > 0,
    "duplicate": lambda fed: fed.counter("duplicate") > 0,
    "reorder": lambda fed: fed.counter("gaps") + fed.counter("out_of_order") + fed.counter("late") > 0,
    "garbage": lambda fed: fed.counter("unreadable") > 0,
    "slow": lambda fed: (
        "its clock" in note(fed) or (fed.feed.report().collectors[0].quality.latency_ms_p99 or 0) > 1_000
    ),
    "clock_skew": lambda fed: "its clock" in note(fed),
    "stale": lambda fed: fed.books() == {"stale"},
    "handshake_503": lambda fed: "503" in note(fed),
}
ORDERS: dict[str, dict[str, Any]] = {
    "gap": {"channel": "depth", "count": 10},
    "duplicate": {"count": 20},
    "reorder": {"channel": "depth", "count": 10},
    "garbage": {"for_s": 1.0},
    "slow": {"for_s": 60.0, "delay_ms": 1_250},  # less than what it takes for silence
    "clock_skew": {"for_s": 30.0},
    "half_open": {"for_s": 0.5},
    "stale": {"for_s": 60.0},
    "handshake_503": {"for_s": 2.0},
}
UNTIL_NOTICED = ("slow", "clock_skew", "stale")
"""A silence of a busy machine may cost the connection, and what was late with it: these go on until they are seen."""


@pytest.mark.parametrize("fault", NOTICED)
def test_a_fault_is_noticed_nothing_bad_is_stored_and_all_comes_back(
    fault: str, served: Served, sqlite_engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.usecases.collect.CLOCK_SOONEST_S", 0.3)
    fed = start(served, sqlite_engine)
    fed.settle()
    fed.look(lambda fed: hurry(fed.feed.pipeline.markets[NAME, BTC].keeper))
    served.fault(fault, venue="binance", **ORDERS.get(fault, {}))
    if fault == "handshake_503":
        served.fault("cut", venue="binance")
    fed.wait(NOTICED[fault])
    if fault in UNTIL_NOTICED:
        served.end_faults()
    fed.wait(whole, within_s=40)

    assert bad_values(fed) == []
    assert inside_ban(fed) == 0
    doubled = fed.rows("SELECT 1 FROM trade_flow GROUP BY pair_id, timeframe, open_time HAVING COUNT(*) > 1")
    assert doubled == []


@pytest.mark.parametrize("venue", ["okx", "htx"])
@pytest.mark.parametrize("fault", ["cut", "gap", "garbage"])
def test_the_other_venues_come_back_too(venue: str, fault: str, served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, venues=(venue,))
    fed.settle()
    served.fault(fault, venue=venue, **ORDERS.get(fault, {}))
    noticed = {
        "cut": lambda fed: reconnects(fed) > 0,
        "gap": lambda fed: fed.counter("gaps", venue) > 0,
        "garbage": lambda fed: fed.counter("unreadable", venue) > 0,
    }
    fed.wait(noticed[fault])
    fed.wait(whole, within_s=40)

    assert bad_values(fed) == []


@pytest.mark.parametrize("fault", ["429", "418"])
def test_a_ban_is_obeyed_also_by_the_next_process_and_streams_go_on(
    fault: str, served: Served, sqlite_engine: Engine, start: Start
):
    fed = start(served, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    served.fault(fault, venue="binance", for_s=60, retry_after_s=2)
    ask_soon(fed)
    fed.wait(lambda fed: any(one.banned_until_ms for one in fed.feed.report().budgets))
    seen = fed.look(lambda fed: fed.feed.pipeline.messages[NAME]["trades"])
    fed.wait(lambda fed: fed.feed.pipeline.messages[NAME]["trades"] > seen)
    fed.stop()
    after = start(served, sqlite_engine, books=0)
    after.wait(lambda fed: "asked us to wait" in note(fed))
    during = inside_ban(fed)
    served.ask("/demo/faults?id=1", method="DELETE")
    after.wait(lambda fed: fed.states().get(NAME) == "running", within_s=40)

    assert (during, inside_ban(fed)) == (0, 0)


def test_after_a_ban_the_collector_runs_again_by_itself(
    served: Served, sqlite_engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.usecases.collect.CLOCK_SOONEST_S", 0.2)
    fed = start(served, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    served.fault("429", venue="binance", for_s=1)
    ask_soon(fed)
    fed.wait(lambda fed: "clock" in note(fed) or "history" in note(fed))

    fed.wait(lambda fed: fed.states() == {NAME: "running"})


def ask_soon(fed: Fed) -> None:
    """Have the running collector ask something."""
    fed.look(lambda fed: fed.collectors[-1]._look_at_clock.set())
    fed.look(lambda fed: fed.collectors[-1]._look_at_history.set())


@pytest.mark.parametrize(("channel", "count"), [("trades", 40), ("candles", 400)])
def test_trades_and_candles_that_were_lost_on_the_way_are_had_in_the_end(
    channel: str, count: int, fast: Served, sqlite_engine: Engine, start: Start
):
    from tests.app.usecases.test_feed import candles_differ_from_the_market, flows_differ_from_the_market

    fed = start(fast, sqlite_engine, books=0)
    fed.wait(lambda fed: fed.states().get(NAME) == "running")
    first = fed.pass_minutes()
    fast.fault("gap", venue="binance", channel=channel, for_s=1.0)
    last = fed.pass_minutes(3)

    wait_for(lambda: not candles_differ_from_the_market(fed, "1m", 300, last), within_s=40)
    wait_for(lambda: not flows_differ_from_the_market(fed, first, last), within_s=40)
    if channel == "trades":
        assert fed.look(lambda fed: fed.counter("lost")) > 0
        assert fed.rows("SELECT 1 FROM trade_flow WHERE status = 'repaired' AND open_time >= :first", first=first)


class _Cannot:
    """An exchange that lists a symbol and cannot have it."""

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        self._exchange, self._symbol = exchange, symbol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def sessions(self, wanted: list[Wanted]) -> list[Session]:
        if any(one.symbol == self._symbol for one in wanted):
            raise InvalidInput("It cannot have that.")
        return self._exchange.sessions(wanted)

    def poll(self, channel: str, symbol: str) -> RestCall:
        raise InvalidInput(f"It cannot be asked for the {channel} of {symbol}.")


def test_what_an_exchange_cannot_have_costs_only_itself(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, spots=("BTC/USDT",), bend=lambda exchange: _Cannot(exchange, "BTC/USDT"))  # type: ignore[arg-type,return-value]
    fed.wait(lambda fed: fed.books() == {"ok"})

    fed.wait(lambda fed: "cannot have BTC/USDT" in note(fed))
    fed.wait(lambda fed: "cannot be asked for" in note(fed))
    assert fed.report().collectors[0].symbols == (BTC,)
    assert len(fed.collectors) == 1


class _Torn:
    """An exchange of which trades are asked for, and whose first answer leaves a hole behind."""

    polled = frozenset({"trades"})

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._torn = exchange, {BTC}

    def take_torn(self, symbol: str) -> bool:
        return bool(self._torn and self._torn.pop() == symbol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)


def test_trades_that_passed_between_two_answers_are_a_cut(
    served: Served, sqlite_engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
):
    cut: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Pipeline, "reconnected", lambda _self, *what: cut.append(what))
    fed = start(served, sqlite_engine, venues=("okx",), books=0, bend=_Torn)

    fed.wait(lambda _fed: ("demo-okx", (), (BTC,)) in cut)


def test_what_a_session_met_by_itself_is_told(served: Served, sqlite_engine: Engine, start: Start):
    fed = start(served, sqlite_engine, venues=("okx",), books=0)
    fed.wait(lambda fed: fed.states().get("demo-okx") == "running")
    for connection, _ in fed.collectors[-1]._connections:
        connection.session.counters["held_back"] += 2

    assert fed.report().collectors[0].counters["held_back"] == 2 * len(fed.collectors[-1]._connections)


class _Asked:
    """An exchange that remembers from when on it was asked for what was before."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.interest: list[int] = []
        self.funding_from: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        self.interest.append(since_ms)
        return self._exchange.open_interest_history(symbol, since_ms, limit)

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        self.funding_from.append(since_ms)
        return self._exchange.funding(symbol, since_ms, limit)


@pytest.mark.parametrize("venue", ["binance", "okx", "htx"])
def test_what_was_before_is_asked_for_page_by_page_until_now(
    venue: str, served: Served, sqlite_engine: Engine, start: Start
):
    asked: list[_Asked] = []

    def bend(exchange: Exchange) -> Exchange:
        asked.append(_Asked(exchange))
        return asked[-1]  # type: ignore[return-value]

    fed = start(served, sqlite_engine, venues=(venue,), books=0, bend=bend)

    def reached(pages: list[int], length_ms: int) -> bool:
        return bool(pages) and served.now_ms() - pages[-1] <= length_ms

    if venue == "okx":
        fed.wait(lambda _fed: asked and reached(asked[-1].interest, OPEN_INTEREST_PAGE_MS))
    fed.wait(lambda _fed: asked and reached(asked[-1].funding_from, FUNDING_ROWS * 3_600_000))
    month = "SELECT COUNT(*) FROM funding_rates"
    fed.wait(lambda fed: fed.rows(month)[0][0] in (89, 90, 91))  # every 8 hours
