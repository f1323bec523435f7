import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import NotFound
from app.exchanges.demo.market import COLUMNS, Market
from app.exchanges.demo.values import VENUES, DemoCandle, DemoTrade, Venue
from app.settings import ROOT

NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC
MINUTE = 60_000
HOUR = 60 * MINUTE
MARKET = Market(seed=1)
PLACES: list[tuple[Venue, str]] = [
    ("binance", "BTC/USDT:USDT"),
    ("binance", "ONDO/USDT:USDT"),
    ("binance", "1000PEPE/USDT:USDT"),
    ("binance", "BNB/BTC"),
    ("okx", "DOGE/USDT:USDT"),
    ("okx", "ETH/USDT"),
    ("htx", "BTC/USDT:USDT"),
]
places = st.sampled_from(PLACES)
moments = st.integers(NOON - 400 * 24 * HOUR, NOON)
few = settings(max_examples=40, deadline=None)

FINGERPRINT = """
import hashlib
from app.exchanges.demo.market import Market
market = Market(seed=7)
at = 1_795_262_423_456
said = [
    market.candles("binance", "ETH/USDT:USDT", "1h", at, 5),
    market.trades("okx", "BTC/USDT", at, at + 5_000),
    market.book("htx", "BTC/USDT:USDT", at),
    market.mark("binance", "SOL/USDT:USDT", at),
    market.open_interest("binance", "SOL/USDT:USDT", at),
    market.labels(at - 3_600_000, at),
]
print(hashlib.sha256(repr(said).encode()).hexdigest())
"""


def minute_of(moment: int) -> int:
    return moment - moment % MINUTE


def summed(trades: list[DemoTrade]) -> dict[str, float]:
    prices = [trade.price for trade in trades]
    bought = [trade for trade in trades if trade.side == "buy"]
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": sum(trade.quantity for trade in trades),
        "quote_volume": sum(trade.quantity * trade.price for trade in trades),
        "trades": len(trades),
        "taker_buy_volume": sum(trade.quantity for trade in bought),
        "taker_buy_quote_volume": sum(trade.quantity * trade.price for trade in bought),
        "first_id": trades[0].id,
        "last_id": trades[-1].id,
    }


def numbers(candle: DemoCandle) -> dict[str, float]:
    return {name: getattr(candle, name) for name in summed([DemoTrade(0, 0, 1.0, 1.0, "buy")])}


def test_another_process_generates_the_same_market():
    def fingerprint() -> str:
        command = [sys.executable, "-c", FINGERPRINT]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert fingerprint() == fingerprint()


def test_another_seed_is_another_market():
    def closes(seed: int) -> list[float]:
        candles = Market(seed).candles("binance", "BTC/USDT:USDT", "1h", NOON, 20)
        return [candle.close for candle in candles]

    assert closes(1) != closes(2)


@few
@given(places, moments)
def test_a_candle_is_exactly_its_trades(place, moment):
    minute = minute_of(moment)

    (candle,) = MARKET.candles(*place, "1m", minute, 1)

    assert numbers(candle) == pytest.approx(summed(MARKET.trades(*place, minute, minute + MINUTE)), rel=1e-9)


@few
@given(places, moments)
def test_a_candle_opens_where_the_one_before_closed(place, moment):
    candles = MARKET.candles(*place, "1m", moment, 30)

    assert [candle.open for candle in candles[1:]] == [candle.close for candle in candles[:-1]]
    assert all(candle.low <= min(candle.open, candle.close) <= candle.high for candle in candles)


@few
@given(places, moments, st.sampled_from(["5m", "15m", "1h", "4h", "1d"]))
def test_higher_timeframes_are_sums_of_minutes(place, moment, timeframe):
    (bar,) = MARKET.candles(*place, timeframe, moment, 1)
    minutes = MARKET.candles(*place, "1m", bar.open_ms, (bar.close_ms + 1 - bar.open_ms) // MINUTE)

    assert minutes[-1].close_ms == bar.close_ms
    assert (bar.open, bar.close) == (minutes[0].open, minutes[-1].close)
    assert bar.high == max(minute.high for minute in minutes)
    assert bar.low == min(minute.low for minute in minutes)
    assert (bar.first_id, bar.last_id) == (minutes[0].first_id, minutes[-1].last_id)
    for column in ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"):
        assert getattr(bar, column) == pytest.approx(sum(getattr(minute, column) for minute in minutes), rel=1e-9)


@few
@given(places, moments, st.integers(1, 7000))
def test_a_moment_is_the_same_whatever_span_it_was_asked_in(place, moment, count):
    long = MARKET.candle_table(*place, "1m", moment - (count - 1) * MINUTE, count)
    alone = Market(seed=1).candle_table(*place, "1m", moment, 1)

    assert long[-1].tolist() == alone[0].tolist()


def test_the_table_says_what_the_candles_say():
    candles = MARKET.candles("okx", "BTC/USDT:USDT", "15m", NOON, 700)
    table = MARKET.candle_table("okx", "BTC/USDT:USDT", "15m", NOON, 700)

    assert [[getattr(candle, name) for name in COLUMNS] for candle in candles] == table.tolist()


@few
@given(places, moments, st.sampled_from(["1m", "5m", "4h"]))
def test_the_running_candle_holds_the_trades_so_far_and_no_more(place, moment, timeframe):
    running = MARKET.running_candle(*place, timeframe, moment)
    so_far = MARKET.trades(*place, running.open_ms, moment)

    assert not running.closed
    assert running.trades == len(so_far)
    if so_far:
        assert numbers(running) == pytest.approx(summed(so_far), rel=1e-9)
    else:
        assert running.open == running.high == running.low == running.close
        assert running.volume == 0


def test_whoever_says_when_now_is_sees_nothing_of_the_future():
    now = NOON + 90_500

    candles = MARKET.candles("binance", "BTC/USDT:USDT", "1m", NOON, 10, now)

    assert [candle.closed for candle in candles] == [True, False]
    assert candles[-1] == MARKET.running_candle("binance", "BTC/USDT:USDT", "1m", now)
    assert MARKET.candles("binance", "BTC/USDT:USDT", "1m", now + MINUTE, 10, now) == []


def test_nothing_is_there_before_the_listing():
    listed = MARKET.instrument("binance", "BTC/USDT:USDT").listed_ms

    assert MARKET.candles("binance", "BTC/USDT:USDT", "1h", listed - 3 * HOUR, 3) == []
    assert MARKET.trades("binance", "BTC/USDT:USDT", listed - HOUR, listed) == []
    assert MARKET.candles("binance", "BTC/USDT:USDT", "1h", listed - HOUR, 3)[0].open_ms == listed


@few
@given(places, moments)
def test_ids_count_up_by_one_and_time_never_goes_back(place, moment):
    trades = MARKET.trades(*place, moment, moment + 3 * MINUTE)

    assert [trade.id for trade in trades] == list(range(trades[0].id, trades[0].id + len(trades)))
    assert [trade.time_ms for trade in trades] == sorted(trade.time_ms for trade in trades)
    assert all(moment <= trade.time_ms < moment + 3 * MINUTE for trade in trades)


@few
@given(places, moments, st.integers(1, 700))
def test_trades_can_be_read_on_by_their_ids(place, moment, limit):
    every = MARKET.trades(*place, moment, moment + 4 * MINUTE)

    page = MARKET.trades_from(*place, every[0].id, limit, moment + 4 * MINUTE)

    assert page == every[:limit]
    assert MARKET.recent_trades(*place, limit, moment + 4 * MINUTE)[-limit:][-len(every) :] == every[-limit:]


@few
@given(places, moments)
def test_prices_and_quantities_stand_on_the_grid(place, moment):
    instrument = MARKET.instrument(*place)
    for trade in MARKET.trades(*place, moment, moment + MINUTE):
        assert round(trade.price, instrument.price_digits) == trade.price
        assert round(trade.quantity, instrument.quantity_digits) == trade.quantity
        assert trade.quantity >= instrument.quantity_step
        assert trade.quantity / instrument.quantity_step == pytest.approx(
            round(trade.quantity / instrument.quantity_step)
        )


@few
@given(places, moments)
def test_the_ticker_is_its_last_1440_minutes(place, moment):
    ticker = MARKET.ticker(*place, moment)
    day = MARKET.candles(*place, "1m", ticker.open_ms, 1440, moment)

    assert len(day) == 1440
    assert ticker.volume == pytest.approx(sum(candle.volume for candle in day), rel=1e-9)
    assert ticker.quote_volume == pytest.approx(sum(candle.quote_volume for candle in day), rel=1e-9)
    assert ticker.high == max(candle.high for candle in day)
    assert ticker.low == min(candle.low for candle in day)
    assert (ticker.open, ticker.last) == (day[0].open, day[-1].close)
    assert ticker.trades == sum(candle.trades for candle in day)
    assert (ticker.first_id, ticker.last_id) == (day[0].first_id, day[-1].last_id)


def test_thirteen_perpetuals_are_traded_unless_more_are_asked_for():
    perpetuals = [one for one in MARKET.instruments("binance") if one.is_perpetual]

    assert len(perpetuals) == 13
    assert len({one.symbol for one in Market(1, 1000).instruments("binance") if one.is_perpetual}) == 1000
    assert all(one.symbol in {two.symbol for two in MARKET.instruments("binance")} for one in MARKET.instruments("okx"))


@pytest.mark.parametrize("symbol", ["D014/USDT:USDT", "D500/USDT:USDT", "D1000/USDT:USDT"])
def test_a_made_up_coin_trades_like_any_other(symbol):
    market = Market(1, 1000)

    (candle,) = market.candles("binance", symbol, "1m", NOON, 1)
    book = market.book("binance", symbol, NOON)

    assert numbers(candle) == pytest.approx(summed(market.trades("binance", symbol, NOON, NOON + MINUTE)), rel=1e-9)
    assert 0 < book.bids[-1][0] < book.bids[0][0] < book.asks[0][0]
    assert market.open_interest("binance", symbol, NOON).quantity > 0


def test_what_is_not_traded_is_not_found():
    with pytest.raises(NotFound):
        MARKET.candles("htx", "ONDO/USDT:USDT", "1m", NOON, 1)
    with pytest.raises(NotFound):
        MARKET.mark("binance", "BTC/USDT", NOON)


def test_venues_agree_on_the_price_but_not_to_the_tick():
    closes = [MARKET.candles(venue, "BTC/USDT:USDT", "1m", NOON, 1)[0].close for venue in VENUES]

    assert len(set(closes)) == 3
    assert max(closes) / min(closes) < 1.001


def test_funding_is_settled_every_eight_hours_with_the_rate_said_last():
    settled = MARKET.funding("binance", "BTC/USDT:USDT", NOON - 3 * 24 * HOUR, NOON)

    assert [one.time_ms % (8 * HOUR) for one in settled] == [0] * 9
    for one in settled:
        before = MARKET.mark("binance", "BTC/USDT:USDT", one.time_ms - 1)
        assert before.next_funding_ms == one.time_ms
        assert before.funding_rate == one.rate


def test_open_interest_history_is_what_was_said_at_the_time():
    history = MARKET.open_interest_history("okx", "ETH/USDT:USDT", "5m", NOON - HOUR, 100, NOON)

    assert len(history) == 13
    assert history == [MARKET.open_interest("okx", "ETH/USDT:USDT", one.time_ms) for one in history]


def test_the_mark_stays_near_the_last_trade():
    for step in range(50):
        at = NOON + step * 7919
        last = MARKET.recent_trades("binance", "SOL/USDT:USDT", 1, at)[0].price
        assert MARKET.mark("binance", "SOL/USDT:USDT", at).mark == pytest.approx(last, rel=0.015)
