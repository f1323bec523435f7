"""What Binance writes, as its documentation shows it, with today's extra fields."""

import json
from typing import Any

from app.exchanges.binance.exchange import Binance
from app.exchanges.binance.places import Urls
from app.exchanges.exchange import RestCall

PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
URLS = Urls("https://futures.test", "wss://futures.test", "https://spot.test", "wss://spot.test")


def binance(name: str = "binance") -> Binance:
    return Binance(name, URLS)


def every_call(exchange: Binance | None = None, since_ms: int = 1699999980000) -> list[RestCall]:
    """One of each kind."""
    exchange, calls = exchange or binance(), list[RestCall | None]()
    for symbol in (PERPETUAL, SPOT):
        calls += [exchange.candles(symbol, "1m", since_ms, 500), exchange.book(symbol), exchange.trades(symbol)]
        calls += [exchange.poll("ticker", symbol), exchange.poll("top", symbol)]
        calls += [exchange.funding(symbol, since_ms, 100), exchange.open_interest_history(symbol, since_ms, 12)]
    calls += [exchange.poll("mark", PERPETUAL), exchange.poll("open_interest", PERPETUAL)]
    return [call for call in [exchange.server_time(), *exchange.instruments(), *calls] if call is not None]


def said(stream: str, **data: Any) -> str:
    """One message of a combined stream, written without spaces as Binance does."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def agg_trade(**changed: Any) -> str:
    whole = {"e": "aggTrade", "E": 1700000000010, "a": 7, "s": "BTCUSDT", "p": "100.50", "q": "0.250", "nq": "0.250"}
    return said("btcusdt@aggTrade", **(whole | {"f": 1, "l": 2, "T": 1700000000000, "m": True} | changed))


def kline(**changed: Any) -> str:
    bar = {
        "t": 1699999980000,
        "T": 1700000039999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 1,
        "L": 9,
        "o": "1",
        "c": "2",
        "h": "3",
    }
    bar |= {"l": "0.5", "v": "10", "n": 9, "x": False, "q": "15", "V": "4", "Q": "6", "B": "0"}
    return said("btcusdt@kline_1m", e="kline", E=1700000000000, s="BTCUSDT", k=bar | changed)


def futures_depth(**changed: Any) -> str:
    whole = {"e": "depthUpdate", "E": 1700000000005, "T": 1700000000000, "s": "BTCUSDT", "U": 11, "u": 15, "pu": 9}
    return said(
        "btcusdt@depth@100ms", **(whole | {"b": [["99.5", "1"], ["99", "0.000"]], "a": [["100", "2"]]} | changed)
    )


def spot_depth(**changed: Any) -> str:
    whole = {"e": "depthUpdate", "E": 1700000000005, "s": "BTCUSDT", "U": 11, "u": 15, "b": [["99.5", "1"]], "a": []}
    return said("btcusdt@depth@100ms", **(whole | changed))


def futures_top(**changed: Any) -> str:
    whole = {"e": "bookTicker", "u": 5, "s": "BTCUSDT", "b": "99.5", "B": "1", "a": "100", "A": "2"}
    return said("btcusdt@bookTicker", **(whole | {"T": 1700000000000, "E": 1700000000003} | changed))


def spot_top(**changed: Any) -> str:
    return said(
        "btcusdt@bookTicker", **({"u": 5, "s": "BTCUSDT", "b": "99.5", "B": "1", "a": "100", "A": "2"} | changed)
    )


def mark_price(**changed: Any) -> str:
    whole = {"e": "markPriceUpdate", "E": 1700000000000, "s": "BTCUSDT", "p": "100.1", "ap": "100.2", "P": "100.3"}
    return said("btcusdt@markPrice@1s", **(whole | {"i": "100.2", "r": "-0.00010000", "T": 1700006400000} | changed))


def ticker(**changed: Any) -> str:
    whole = {"e": "24hrTicker", "E": 1700000000000, "s": "BTCUSDT", "p": "-5", "P": "-4.762", "w": "101", "c": "100"}
    whole |= {
        "Q": "0.1",
        "o": "105",
        "h": "106",
        "l": "99",
        "v": "1000",
        "q": "101000",
        "O": 1,
        "C": 2,
        "F": 1,
        "L": 9,
        "n": 9,
    }
    return said("btcusdt@ticker", **(whole | changed))
