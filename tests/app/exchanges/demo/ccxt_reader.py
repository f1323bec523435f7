"""Runs in a process of its own: an unmodified ccxt class, pointed at a demo exchange, makes every call that we care for."""

import importlib
import json
import sys
from typing import Any


def main(name: str, port: int) -> None:
    urls = importlib.import_module("app.exchanges.demo.addresses").urls_for(port)[name]
    exchange = getattr(importlib.import_module("ccxt"), name)({"enableRateLimit": False})
    if name == "binance":
        futures, spot = urls["futures_rest"], urls["spot_rest"]
        exchange.options["fetchMarkets"] = {"types": ["spot", "linear"]}
        exchange.urls["api"] |= {
            "fapiPublic": f"{futures}/fapi/v1",
            "fapiData": f"{futures}/futures/data",
            "public": f"{spot}/api/v3",
        }
    elif name == "okx":
        exchange.urls["api"]["rest"] = urls["rest"]
    else:
        exchange.urls["api"] = {
            **dict.fromkeys(exchange.urls["api"], urls["spot_rest"]),
            "contract": urls["futures_rest"],
        }
    found: dict[str, Any] = {"markets": sorted(exchange.load_markets()), "time": exchange.fetch_time()}
    for symbol in ("BTC/USDT:USDT", "BTC/USDT"):
        found[symbol] = {
            "ohlcv": exchange.fetch_ohlcv(symbol, "1m", limit=10),
            "hours": exchange.fetch_ohlcv(symbol, "1h", limit=30),
            "trades": exchange.fetch_trades(symbol, limit=20),
            "book": exchange.fetch_order_book(symbol, limit=20),
            "ticker": exchange.fetch_ticker(symbol),
            "tickers": exchange.fetch_tickers([symbol]),
        }
    perpetual = "BTC/USDT:USDT"
    found["funding"] = exchange.fetch_funding_rate(perpetual)
    found["fundings"] = exchange.fetch_funding_rate_history(perpetual, limit=5)
    found["interest"] = exchange.fetch_open_interest(perpetual)
    found["interests"] = exchange.fetch_open_interest_history(perpetual, "1h", limit=5)
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
