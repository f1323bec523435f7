"""Names of cache entries: as the documents have them, with a lifetime, and never shared by two things."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache import keys
from app.cache.keys import KEYS, Channel, Key, parts_of
from app.errors import InvalidInput

PARTS = {
    keys.JUDGMENT: ("symbol", "strategy_type", "timeframe"),
    keys.SYMBOL: ("symbol",),
    keys.STATISTICS: ("symbol", "strategy_type"),
    keys.MONITORING: ("metric_type", "component"),
    keys.CONFIG: ("config_key",),
    keys.TICKER: ("exchange", "symbol"),
    keys.LIVE_VERDICT: ("symbol", "strategy_type"),
    keys.CANDLES: ("exchange", "symbol", "timeframe"),
    keys.BOOK: ("exchange", "symbol"),
}
TEXT = st.text(min_size=1, max_size=12) | st.text(alphabet=":%{}/A3", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("key", "parts", "name", "ttl_s"),
    [
        (
            keys.JUDGMENT,
            {"symbol": "BTCUSDT", "strategy_type": "V3", "timeframe": "1H"},
            "strategy:judgment:BTCUSDT:V3:1H",
            300,
        ),
        (keys.SYMBOL, {"symbol": "BTCUSDT"}, "symbol:info:BTCUSDT", 300),
        (keys.STATISTICS, {"symbol": "BTCUSDT", "strategy_type": "ICT"}, "statistics:BTCUSDT:ICT", 3600),
        (
            keys.MONITORING,
            {"metric_type": "SYSTEM_HEALTH", "component": "monitor"},
            "monitoring:SYSTEM_HEALTH:monitor",
            3600,
        ),
        (keys.CONFIG, {"config_key": "risk.max_loss"}, "config:risk.max_loss", 86400),
        (keys.TICKER, {"exchange": "binance", "symbol": "BTC/USDT"}, "ticker:binance:BTC/USDT", 60),
        (
            keys.CANDLES,
            {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h"},
            "klines:binance:BTC/USDT:1h",
            300,
        ),
        (keys.BOOK, {"exchange": "okx", "symbol": "BTC/USDT:USDT"}, "orderbook:okx:BTC/USDT%3AUSDT", 10),
    ],
)
def test_entries_are_named_as_the_documents_name_them(key: Key, parts: dict[str, str], name: str, ttl_s: int):
    assert key.name(**parts) == name
    assert key.ttl_s == ttl_s


def test_every_key_is_in_the_list():
    declared = {value for value in vars(keys).values() if isinstance(value, Key)}

    assert declared == set(KEYS) == set(PARTS)


@pytest.mark.parametrize(
    ("channel", "parts", "name"),
    [
        (keys.TICKER_NEWS, {"symbol": "BTC/USDT"}, "market_data:ticker:BTC/USDT"),
        (keys.CANDLE_NEWS, {"symbol": "BTC/USDT", "timeframe": "1h"}, "market_data:kline:BTC/USDT:1h"),
        (keys.DEPTH_NEWS, {"symbol": "BTC/USDT:USDT"}, "market_data:depth:BTC/USDT%3AUSDT"),
        (keys.COLLECTOR_NEWS, {"exchange": "demo-okx"}, "market_data:collector:demo-okx"),
        (keys.JUDGMENT_NEWS, {"symbol": "BTC/USDT", "strategy_type": "V3"}, "market_data:judgment:BTC/USDT:V3"),
        (keys.TRADE_NEWS, {"symbol": "BTC/USDT", "strategy_type": "ICT"}, "market_data:trade:BTC/USDT:ICT"),
    ],
)
def test_channels_are_named_as_the_documents_name_them_and_can_be_taken_apart(
    channel: Channel, parts: dict[str, str], name: str
):
    assert channel.name(**parts) == name
    assert parts_of(name)[2:] == list(parts.values())
    assert channel in keys.CHANNELS


def test_a_key_without_a_lifetime_cannot_be_made():
    with pytest.raises(TypeError):
        Key("symbol:info:{symbol}")  # type: ignore[call-arg]


@pytest.mark.parametrize("ttl_s", [0, -1])
def test_a_key_that_lives_no_time_cannot_be_made(ttl_s: int):
    with pytest.raises(InvalidInput):
        Key("symbol:info:{symbol}", ttl_s)


def test_a_colon_inside_a_part_does_not_end_it():
    assert keys.SYMBOL.name(symbol="BTC/USDT:USDT") == "symbol:info:BTC/USDT%3AUSDT"


@given(st.data())
def test_two_different_things_never_share_an_entry(data: st.DataObject):
    def entry() -> tuple[Key, tuple[str, ...]]:
        key = data.draw(st.sampled_from(KEYS))
        return key, tuple(data.draw(TEXT) for _ in PARTS[key])

    one, other = entry(), entry()
    names = [key.name(**dict(zip(PARTS[key], texts, strict=True))) for key, texts in (one, other)]

    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize(
    "parts", [{}, {"symbol": "BTC", "timeframe": "1H"}, {"Symbol": "BTC"}, {"symbol": ""}, {"symbol": "B" * 201}]
)
def test_a_name_with_parts_missing_foreign_empty_or_endless_is_refused(parts: dict[str, Any]):
    with pytest.raises(InvalidInput):
        keys.SYMBOL.name(**parts)
