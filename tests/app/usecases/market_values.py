"""Builders of what an exchange says: a test names only what it changes."""

from typing import Any

from app.domain.market.values import BookTop, Candle, Depth, Mark, OpenInterest, Ticker, Trade

MINUTE = 60_000
NOON_MS = 1_795_262_400_000  # 2026-11-21 12:00 UTC
EXCHANGE, SYMBOL = "demo-binance", "BTC/USDT:USDT"


def _value(kind: type, at_ms: int, known: dict[str, Any], changes: dict[str, Any]) -> Any:
    place = {"exchange": EXCHANGE, "symbol": SYMBOL, "time_ms": at_ms, "received_ms": at_ms}
    return kind(**(place | known | changes))


def trade(number: int, at_ms: int = NOON_MS, **changes: Any) -> Trade:
    """One counted trade: 2 coins bought at 100."""
    known = {"id": number, "price": 100.0, "quantity": 2.0, "side": "buy", "counted": True}
    return _value(Trade, at_ms, known, changes)


def candle(at_ms: int = NOON_MS, **changes: Any) -> Candle:
    """A closed minute in which takers bought 6 of 10 coins."""
    known = {
        "timeframe": "1m",
        "open": 100.0,
        "high": 101.0,
        "low": 99.0,
        "close": 100.5,
        "volume": 10.0,
        "quote_volume": 1_000.0,
        "trades": 5,
        "taker_buy_volume": 6.0,
        "taker_buy_quote_volume": 600.0,
    }
    return _value(Candle, at_ms, known, changes)


def interest(quantity: float, at_ms: int = NOON_MS, **changes: Any) -> OpenInterest:
    """Open contracts, in coins."""
    return _value(OpenInterest, at_ms, {"quantity": quantity}, changes)


def top(bid: float = 99.9, ask: float = 100.1, at_ms: int = NOON_MS, **changes: Any) -> BookTop:
    """The best prices."""
    known = {"bid": bid, "bid_quantity": 3.0, "ask": ask, "ask_quantity": 4.0}
    return _value(BookTop, at_ms, known, changes)


def ticker(last: float = 100.0, at_ms: int = NOON_MS, **changes: Any) -> Ticker:
    """The last 24 hours."""
    return _value(Ticker, at_ms, {"last": last, "quote_volume": 5e8, "change_percent": 1.5}, changes)


def mark(at_ms: int = NOON_MS, **changes: Any) -> Mark:
    """A mark price."""
    return _value(Mark, at_ms, {"mark_price": 100.2}, changes)


def whole_book(last_id: int, at_ms: int = NOON_MS, **changes: Any) -> Depth:
    """A book of three levels a side."""
    known = {
        "last_id": last_id,
        "snapshot": True,
        "bids": [(99.9, 3.0), (99.8, 2.0), (99.7, 1.0)],
        "asks": [(100.1, 4.0), (100.2, 2.0), (100.3, 1.0)],
    }
    return _value(Depth, at_ms, known, changes)


def change(last_id: int, previous_id: int, at_ms: int = NOON_MS, **changes: Any) -> Depth:
    """A change of a futures book: the best bid has another quantity."""
    known = {
        "last_id": last_id,
        "previous_id": previous_id,
        "first_id": previous_id + 1,
        "bids": [(99.9, 5.0)],
        "asks": [],
    }
    return _value(Depth, at_ms, known, changes)
