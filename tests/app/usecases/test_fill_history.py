"""History: asked for once, kept whole, and what the exchange does not have is remembered."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from app.domain.market.timeframes import MINUTE_MS, length_ms
from app.domain.market.values import Candle
from app.domain.market.watching import HISTORY
from app.errors import CorruptData, NotFound, Unavailable
from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls
from app.exchanges.demo.addresses import urls_for
from app.exchanges.demo.market import Market
from app.exchanges.exchange import Instrument, RestCall
from app.storage import klines, pairs
from app.storage.database import transaction
from app.usecases.fill_history import GRACE_MS, VOID_MS, History
from app.usecases.harvest import kline
from app.usecases.market_shelf import Shelf
from tests.app.exchanges.demo.served import BEGAN_MS
from tests.builders import count_candles

NAME, BTC, ETH = "demo-binance", "BTC/USDT:USDT", "ETH/USDT:USDT"
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
MARKET = Market(7, 2)  # it remembers what it made


class Asked:
    """A history over a real database, which asks a generated market; what it asked for, and what the market has not."""

    def __init__(self, engine: Engine, *symbols: str) -> None:
        self.engine, self.now_ms = engine, BEGAN_MS + GRACE_MS  # the minute before the beginning is asked for
        self.market = MARKET
        self.calls: list[tuple[str, str, int, int]] = []
        self.lacks: set[tuple[str, int]] = set()
        self.fails: dict[str, Exception] = {}
        with transaction(engine) as db:
            wanted = [Instrument(symbol, symbol[:3], "USDT", "USDT") for symbol in symbols or (BTC,)]
            self.pair_ids = pairs.ensure_pairs(db, NAME, wanted, NOW)
        self.shelf = Shelf(engine, lambda: NOW)
        exchange = Binance(NAME, Urls(**urls_for(1)["binance"]))
        self._candles = exchange.candles
        exchange.candles = self._note  # type: ignore[method-assign]
        self.history = History(exchange, self.shelf, self._answer, lambda: self.now_ms)

    def _note(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        self.calls.append((symbol, timeframe, since_ms, limit))
        return self._candles(symbol, timeframe, since_ms, limit)

    async def _answer(self, _call: RestCall) -> list[Candle]:
        symbol, timeframe, since_ms, limit = self.calls[-1]
        if symbol in self.fails:
            raise self.fails[symbol]
        found = [
            Candle(
                NAME, symbol, one.open_ms, BEGAN_MS, timeframe=timeframe, open=one.open, high=one.high, low=one.low,
                close=one.close, volume=one.volume, closed=one.closed,
            )
            for one in self.market.candles("binance", symbol, timeframe, since_ms, limit, self.now_ms)
            if (timeframe, one.open_ms) not in self.lacks
        ]  # fmt: skip
        with transaction(self.engine) as db:
            klines.store(db, [kline(self.pair_ids[symbol], one, "rest", ()) for one in found if one.closed])
        return found

    def fill(self) -> int:
        """One round; how many candles came."""
        self.calls.clear()
        return asyncio.run(self.history.fill(self.pair_ids))

    def forget(self, timeframe: str, *open_times: int) -> None:
        """Delete from the middle."""
        with transaction(self.engine) as db:
            for open_time in open_times:
                found = {"timeframe": timeframe, "open_time": open_time}
                db.execute(text("DELETE FROM klines WHERE timeframe = :timeframe AND open_time = :open_time"), found)


@pytest.fixture
def asked(engine: Engine) -> Iterator[Asked]:
    asked = Asked(engine)
    yield asked
    asked.shelf.close()


@pytest.fixture
def sqlite_asked(sqlite_engine: Engine) -> Iterator[Asked]:
    asked = Asked(sqlite_engine, BTC, ETH)
    yield asked
    asked.shelf.close()


def minutes_ago(count: int) -> int:
    return BEGAN_MS - count * MINUTE_MS


def test_a_first_start_fills_what_is_kept_and_a_second_one_asks_for_nothing(asked: Asked):
    first = asked.fill()
    calls = len(asked.calls)

    assert (first, asked.fill(), asked.calls) == (sum(HISTORY.values()), 0, [])
    assert calls == len(HISTORY)
    with transaction(asked.engine) as db:
        counts = {timeframe: count_candles(db, asked.pair_ids[BTC], timeframe) for timeframe in HISTORY}
    assert counts == HISTORY


def test_after_a_pause_only_what_passed_meanwhile_is_asked_for(asked: Asked):
    asked.fill()
    asked.now_ms += 7 * MINUTE_MS

    assert asked.fill() == 8
    assert [(timeframe, count) for _, timeframe, _, count in asked.calls] == [("1m", 7), ("5m", 1)]


def test_a_gap_in_the_middle_is_asked_for_and_nothing_else(asked: Asked):
    asked.fill()
    asked.forget("1m", *(minutes_ago(number) for number in (200, 201, 202, 50)))
    asked.forget("4h", BEGAN_MS // length_ms("4h") * length_ms("4h") - 9 * length_ms("4h"))

    assert asked.fill() == 5
    assert [(timeframe, since_ms, count) for _, timeframe, since_ms, count in asked.calls] == [
        ("4h", BEGAN_MS // length_ms("4h") * length_ms("4h") - 9 * length_ms("4h"), 1),
        ("1m", minutes_ago(202), 3),
        ("1m", minutes_ago(50), 1),
    ]
    assert asked.fill() == 0


def test_higher_candles_that_a_killed_process_did_not_make_any_more_are_asked_for(asked: Asked):
    asked.fill()
    asked.forget("5m", minutes_ago(5))
    asked.forget("15m", minutes_ago(15))

    assert asked.fill() == 2
    assert [(timeframe, count) for _, timeframe, _, count in asked.calls] == [("15m", 1), ("5m", 1)]


def test_what_the_exchange_does_not_have_is_asked_for_again_an_hour_later(sqlite_asked: Asked):
    asked = sqlite_asked
    asked.lacks = {("1m", minutes_ago(number)) for number in range(100, 103)}
    asked.fill()
    asked.fill()  # in the first round it was a part of all that was missing
    asked.fill()
    soon = list(asked.calls)
    asked.now_ms += VOID_MS
    asked.lacks.clear()
    asked.fill()

    assert soon == []
    assert (BTC, "1m", minutes_ago(102), 3) in asked.calls


def test_the_beginning_of_a_young_symbol_is_not_asked_for_again_every_minute(sqlite_asked: Asked):
    asked = sqlite_asked
    asked.lacks = {("1m", minutes_ago(number)) for number in range(300, 600)}
    asked.fill()
    asked.fill()
    asked.now_ms += MINUTE_MS
    asked.fill()

    assert {(timeframe, since_ms) for _, timeframe, since_ms, _ in asked.calls} == {("1m", BEGAN_MS)}


def test_candles_that_the_exchange_did_not_have_yet_are_asked_for_until_they_are_there(sqlite_asked: Asked):
    asked = sqlite_asked
    asked.fill()
    asked.now_ms += 3 * MINUTE_MS
    asked.lacks = {("1m", minutes_ago(-number)) for number in range(9)}
    nothing = asked.fill()
    asked.now_ms += MINUTE_MS
    asked.lacks = set()

    assert nothing == 0
    assert asked.fill() == 2 * 4


def test_a_hole_that_is_longer_than_an_answer_does_not_hide_what_follows_it(sqlite_asked: Asked):
    asked = sqlite_asked
    asked.history.exchange.most_candles = 100
    asked.lacks = {("1m", minutes_ago(number)) for number in range(250, HISTORY["1m"] + 1)}

    asked.fill()

    with transaction(asked.engine) as db:
        assert count_candles(db, asked.pair_ids[BTC], "1m") == 249


@pytest.mark.parametrize("error", [NotFound("no such symbol"), CorruptData("half an answer")])
def test_one_symbol_whose_answers_make_no_sense_costs_no_other_its_history(sqlite_asked: Asked, error: Exception):
    asked = sqlite_asked
    asked.fails[BTC] = error

    assert asked.fill() == sum(HISTORY.values())
    assert asked.history.trouble.startswith(BTC)
    asked.fails.clear()
    assert asked.fill() == sum(HISTORY.values())
    assert asked.history.trouble == ""


def test_what_could_not_be_asked_for_is_not_taken_for_missing(sqlite_asked: Asked):
    asked = sqlite_asked
    asked.fails[BTC] = Unavailable("it does not answer")
    with pytest.raises(Unavailable):
        asked.fill()
    asked.fails.clear()

    assert asked.fill() == 2 * sum(HISTORY.values())
