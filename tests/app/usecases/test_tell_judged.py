"""News of the strategies on a real Valkey: what was written is told, and whoever looks up finds the newest."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from app.cache.layered import LayeredCache
from app.cache.market import MarketCache
from app.cache.memory import MemoryCache
from app.cache.pubsub import Listener
from app.cache.redis import RedisCache
from app.domain.market.market_time import MarketTime
from app.domain.strategies.strategy import Inputs
from app.storage import judgments
from app.storage.database import reading, transaction
from app.storage.judgments import Judgment, NewJudgment
from app.usecases.asking import Asking
from app.usecases.look_up import LookUp
from app.usecases.steer_trades import move
from app.usecases.tell_judged import Teller, judgment_news, trade_news
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS
from tests.app.usecases.paper_market import BTC, MINUTE_MS, PRICE, PaperMarket
from tests.builders import NOW

QUOTED = "BTC/USDT%3AUSDT"


class Told:
    """A market whose news are told, and somebody who listens."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.market = PaperMarket(engine)
        self.teller = Teller(RedisCache(url), MarketCache(url))
        self.look_up = LookUp(engine, LayeredCache(MemoryCache(longest_s=0), RedisCache(url)))
        self.redis = Redis.from_url(url)
        self.listener = Listener(url)

    def close(self) -> None:
        """Let go of everything."""
        for one in (self.teller, self.redis, self.listener):
            one.close()

    def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """What was published since the last time, each with its channel."""
        found = self.listener.hear(2)
        while more := self.listener.hear(0.1):
            found += more
        return [(channel, json.loads(payload)) for channel, payload in found]

    def judge(self, inputs: Inputs | None = None, close: int = 0) -> list[Judgment]:
        """A judgment, and its rows, which are told."""
        self.market.judge(inputs=inputs, close=close)
        with reading(self.market.engine) as db:
            rows = judgments.recent(db, limit=3)[::-1]
        self.teller.judged(rows)
        return rows

    def trade(self, minute: float) -> list[str]:
        """Bring the accounts forward and tell of it; what happened."""
        done = self.market.trade(minute)
        self.teller.traded(done.events)
        return [event.what for event in done.events]


@pytest.fixture
def told(engine: Engine, valkey_url: str) -> Iterator[Told]:
    """One coin."""
    told = Told(engine, valkey_url)
    yield told
    told.close()


def test_judgments_are_held_for_five_minutes_under_their_symbol_strategy_and_timeframe(told: Told):
    rows = told.judge(rising())
    names = [f"strategy:judgment:{QUOTED}:V3:{timeframe}" for timeframe in ("4H", "1H", "15M")]

    assert sorted(name.decode() for name in told.redis.scan_iter("strategy:judgment:*")) == sorted(names)
    assert all(290 < told.redis.ttl(name) <= 300 for name in names)
    found = json.loads(told.redis.get(names[2]) or "")
    assert (found["id"], found["trend_direction"], found["symbol"]) == (rows[2].id, "UP", BTC)


def test_who_looks_a_judgment_up_gets_what_was_told_without_the_database(told: Told):
    old = told.judge(rising())
    assert [told.look_up.judgment(BTC, "V3", one.timeframe) for one in old] == old

    new = told.judge(rising(), close=16)  # the next close of four hours
    assert [told.look_up.judgment(BTC, "V3", one.timeframe) for one in new] == new
    assert {one.id for one in new}.isdisjoint(one.id for one in old)


def test_judgments_are_told_on_the_channel_of_their_symbol_and_strategy(told: Told):
    rows = told.judge(rising())
    heard = told.heard()

    assert [channel for channel, _ in heard] == [f"market_data:judgment:{QUOTED}:V3"] * 3
    assert [news["timeframe"] for _, news in heard] == ["4H", "1H", "15M"]
    last = heard[2][1]
    assert last == {
        "symbol": BTC,
        "strategy": "V3",
        "timeframe": "15M",
        "timestamp": CLOSE_MS,
        "id": rows[2].id,
        "trend": "UP",
        "score": str(rows[2].score),
        "confidence": rows[2].confidence_level,
        "total": last["total"],
        "signal": "BUY",
        "strength": "STRONG",
    }
    assert 0 < last["total"] <= 100


def test_a_row_of_another_hand_is_told_as_far_as_it_can_be_read(told: Told):
    with transaction(told.market.engine) as db:
        judgments.add(db, NewJudgment(BTC, "ICT", "1D", "UP", None, "LOW", None, NOW))
        [row] = judgments.recent(db, limit=1)
    news = judgment_news(row)

    assert (news.trend, news.score, news.total, news.signal, news.strength) == ("UP", None, None, None, None)


def test_what_is_no_judgment_is_not_told(told: Told):
    told.teller.judged(["something else", None])

    assert told.heard() == []
    assert told.redis.dbsize() == 0


def test_a_trade_is_told_from_its_opening_to_its_end(told: Told):
    market = told.market
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    assert told.trade(2) == ["opened"]
    market.funding(0.001, minute=3)
    market.minutes(PRICE, PRICE, begin=2)
    assert told.trade(4) == ["changed"]
    market.minutes((PRICE, PRICE, 100.0, PRICE), begin=4)
    assert told.trade(5) == ["closed"]
    heard = told.heard()

    assert [channel for channel, _ in heard] == [f"market_data:trade:{QUOTED}:V3"] * 3
    opened, changed, closed = (news for _, news in heard)
    [trade] = market.trades()
    assert opened == {
        "what": "opened",
        "symbol": BTC,
        "strategy": "V3",
        "timestamp": CLOSE_MS + MINUTE_MS,
        "id": trade.id,
        "direction": "LONG",
        "entry_price": "110.055",
        "stop_loss": "108.8",
        "take_profit": opened["take_profit"],
        "quantity": opened["quantity"],
        "exit_price": None,
        "exit_reason": None,
        "pnl": None,
        "note": None,
    }
    assert Decimal(opened["take_profit"]) == trade.take_profit
    assert Decimal(opened["quantity"]) == trade.position_size
    assert changed == opened | {"what": "changed", "timestamp": CLOSE_MS + 3 * MINUTE_MS}
    assert (closed["what"], closed["id"], closed["exit_reason"]) == ("closed", trade.id, "STOP_LOSS")
    assert closed["timestamp"] == CLOSE_MS + 5 * MINUTE_MS - 1
    assert (Decimal(closed["pnl"]), Decimal(closed["exit_price"])) == (trade.pnl, trade.exit_price)


def test_an_order_that_was_refused_is_told_with_the_reason(told: Told):
    told.market.judge(inputs=rising())
    told.market.minutes(PRICE, 105.0)
    assert told.trade(2) == ["refused"]
    [(channel, news)] = told.heard()

    assert channel == f"market_data:trade:{QUOTED}:V3"
    assert (news["what"], news["timestamp"], news["id"]) == ("refused", CLOSE_MS + MINUTE_MS, None)
    assert news["note"] == "The price, 105.00000000, has passed the stop, 108.80000000."


def test_a_stop_that_was_moved_is_in_the_next_news(told: Told):
    market = told.market
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    told.trade(2)
    time = MarketTime(CLOSE_MS + 2 * MINUTE_MS)
    move(market.engine, market.trades()[0].id, Decimal(109), None, Asking("alice", None, NOW), time=time)
    market.minutes((PRICE, PRICE, 108.9, PRICE), begin=2)
    told.trade(3)

    assert [news["stop_loss"] for _, news in told.heard()] == ["108.8", "109"]


def test_figures_that_are_held_are_dropped_when_a_trade_closes_and_not_before(told: Told):
    market = told.market
    market.judge(inputs=rising())
    market.minutes(PRICE, PRICE)
    for strategy in ("V3", "ICT"):
        told.redis.set(f"statistics:{QUOTED}:{strategy}", '{"old": true}')
    told.trade(2)
    during = told.redis.get(f"statistics:{QUOTED}:V3")
    market.minutes((PRICE, PRICE, 100.0, PRICE), begin=2)
    told.trade(3)
    after = told.look_up.statistics(BTC, "V3")

    assert json.loads(during or "") == {"old": True}
    assert after is not None
    assert (after.total_trades, after.losing_trades) == (1, 1)
    assert json.loads(told.redis.get(f"statistics:{QUOTED}:ICT") or "") == {"old": True}


def test_while_redis_is_away_only_the_news_are_lost(engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    url = f"unix://{tmp_path}/nobody.sock"
    teller, market = Teller(RedisCache(url), MarketCache(url)), PaperMarket(engine)
    market.judge(inputs=rising())
    with reading(engine) as db:
        teller.judged(judgments.recent(db, limit=3))
    market.minutes(PRICE, PRICE, (PRICE, PRICE, 100.0, PRICE))
    for minute in (2, 3):
        teller.traded(market.trade(minute).events)
    teller.close()

    [trade] = market.trades()
    assert trade.status == "STOPPED"
    assert market.conserved()
    said = [record.getMessage() for record in caplog.records if record.name == "app.usecases.tell_judged"]
    assert said == [
        f"trade {trade.id} of V3 on {BTC} was opened: LONG {trade.position_size.normalize():f} at 110.055",
        f"trade {trade.id} of V3 on {BTC} was closed by STOP_LOSS: {(trade.pnl or Decimal(0)).normalize():f}",
    ]
    look_up = LookUp(engine, RedisCache(url))
    assert look_up.judgment(BTC, "V3", "15M") is not None
    figures = look_up.statistics(BTC, "V3")
    assert figures is not None
    assert figures.total_trades == 1


def test_news_say_when_the_candle_closed_and_not_when_they_were_told():
    moment = datetime(2026, 11, 21, 4, 45, tzinfo=UTC)
    row = Judgment(7, BTC, "V3", "15M", "UP", Decimal("7.25"), "HIGH", {"total": 71, "signal": "BUY"}, moment)

    assert (judgment_news(row).timestamp, judgment_news(row).score) == (1_795_236_300_000, "7.25")
    assert judgment_news(row).strength is None


def test_a_refusal_says_at_which_minute_it_came(engine: Engine):
    market = PaperMarket(engine)
    market.judge(inputs=rising())
    market.minutes(PRICE, 105.0)
    [event] = market.trade(2).events

    assert trade_news(event).timestamp == CLOSE_MS + MINUTE_MS
    assert trade_news(replace(event, refusal=None)).note is None
