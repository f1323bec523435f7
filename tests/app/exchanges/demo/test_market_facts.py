"""What is known about real markets holds in the generated one, or nothing that is tried on it means anything."""

from functools import cache

import numpy as np
import pytest

from app.exchanges.demo.market import COLUMNS, Market

NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC
MINUTE = 60_000
DAYS = 40
MARKET = Market(seed=1)
SYMBOLS = ["BTC/USDT:USDT", "ETH/USDT:USDT", "DOGE/USDT:USDT"]


@cache
def column(symbol: str, name: str, timeframe: str = "1m") -> np.ndarray:
    count = DAYS * {"1m": 1440, "1h": 24, "4h": 6}[timeframe]
    start = NOON - DAYS * 1440 * MINUTE
    return MARKET.candle_table("binance", symbol, timeframe, start, count)[:, COLUMNS.index(name)]


def returns(symbol: str, timeframe: str = "1m") -> np.ndarray:
    return np.diff(np.log(column(symbol, "close", timeframe)))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_returns_have_fat_tails(symbol):
    scores = returns(symbol) / returns(symbol).std()

    assert 4 < (scores**4).mean() < 40


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_volatility_comes_in_clusters_but_returns_do_not_tell_the_next(symbol):
    move, size = returns(symbol), np.abs(returns(symbol))

    assert likeness(size[:-1], size[1:]) > 0.15
    assert likeness(size[:-60], size[60:]) > 0.08
    assert abs(likeness(move[:-1], move[1:])) < 0.1


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_there_are_trends_and_ranges(symbol):
    """How much of the way in four hours led somewhere: Kaufman's efficiency of 5-minute closes."""
    walked = column(symbol, "close").reshape(-1, 240)[:, ::5]
    there = np.abs(walked[:, -1] - walked[:, 0]) / np.abs(np.diff(walked, axis=1)).sum(axis=1)

    assert np.mean(there > 0.3) > 0.1
    assert np.mean(there < 0.1) > 0.15


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_trends_last_longer_than_chance_would_let_them(symbol):
    day = np.add.reduceat(returns(symbol, "4h"), np.arange(0, DAYS * 6 - 1, 6))

    spread = day[:-1].std() / returns(symbol, "4h").std()
    assert spread > 6**0.5  # a random walk has exactly that


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_takers_buy_when_it_rises(symbol):
    share = column(symbol, "taker_buy_volume") / column(symbol, "volume")
    move = np.log(column(symbol, "close") / column(symbol, "open"))

    assert likeness(share, move) > 0.25


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_much_is_traded_when_it_moves(symbol):
    assert likeness(np.log(column(symbol, "volume")[1:]), np.abs(returns(symbol))) > 0.15


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_prices_stay_sensible(symbol):
    usual = {"BTC": 98_000, "ETH": 3_400, "DOGE": 0.21}[symbol.split("/")[0]]
    days = MARKET.candle_table("binance", symbol, "1d", NOON - 500 * 1440 * MINUTE, 500)

    assert usual / 4 < days[:, COLUMNS.index("low")].min()
    assert days[:, COLUMNS.index("high")].max() < usual * 4


def test_coins_move_together():
    assert likeness(returns("BTC/USDT:USDT", "1h"), returns("ETH/USDT:USDT", "1h")) > 0.6


def test_open_interest_grows_in_trends_and_changes_by_what_strategies_look_for():
    start = NOON - DAYS * 1440 * MINUTE
    history = MARKET.open_interest_history("binance", "BTC/USDT:USDT", "1h", start, DAYS * 24)
    change = np.diff(np.log([one.quantity for one in history]))
    close = np.log(column("BTC/USDT:USDT", "open", "1h"))
    run = np.abs(close[16:] - close[:-16])  # how far the price ran in 16 hours
    six_hours = np.convolve(change, np.ones(6), "valid")

    assert likeness(np.diff(run), change[15 : 15 + len(run)][1:]) > 0.4
    assert (six_hours > 0.02).mean() > 0.03
    assert (six_hours < -0.03).mean() > 0.01
    assert (np.abs(six_hours) < 0.02).mean() > 0.3


def test_funding_takes_the_side_of_the_trend():
    start = NOON - 200 * 1440 * MINUTE
    funding = MARKET.funding("binance", "BTC/USDT:USDT", start, NOON)
    rates = np.array([one.rate for one in funding])
    marks = np.log([one.mark for one in funding])

    assert likeness(rates[3:], marks[3:] - marks[:-3]) > 0.5
    assert (rates > 0.0005).any()
    assert (rates < 0).any()
    assert np.abs(rates).max() < 0.003


def test_a_cross_is_the_ratio_of_its_coins():
    """Except for the seconds in which one of the three is planted off: those are in the high and the low, not at the close."""
    close = {
        symbol: MARKET.candle_table("okx", symbol, "1m", NOON, 1440)[:, COLUMNS.index("close")]
        for symbol in ("BTC/USDT", "ETH/USDT", "ETH/BTC")
    }
    off = np.abs(close["ETH/USDT"] / close["BTC/USDT"] / close["ETH/BTC"] - 1)

    assert np.median(off) < 0.0005
    assert np.mean(off > 0.002) < 0.02
