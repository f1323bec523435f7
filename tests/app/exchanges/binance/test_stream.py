"""Binance's streams, without a socket."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market.values import BookTop, Candle, Depth, Event, Mark, Ticker, Trade
from app.errors import CorruptData, InvalidInput, Unavailable
from app.exchanges.exchange import CHANNELS, Channel, Session, Wanted
from tests.app.exchanges.binance import wire
from tests.app.exchanges.binance.wire import PERPETUAL, SPOT, binance

NOW = 1700000000123


def wants(symbol: str, *channels: Channel) -> list[Wanted]:
    return [Wanted(channel, symbol, "1m" if channel == "candles" else None) for channel in channels]


def session(symbol: str, *channels: Channel) -> Session:
    (only,) = binance().sessions(wants(symbol, *channels))
    return only


def hear(symbol: str, channel: Channel, message: str | bytes) -> Event:
    (event,) = session(symbol, channel).receive(message, NOW)
    return event


def test_a_trade_whose_buyer_was_the_maker_was_sold_by_the_taker():
    expected = Trade(
        "binance", PERPETUAL, 1700000000000, NOW, price=100.5, quantity=0.25, side="sell", id=7, counted=True
    )
    assert hear(PERPETUAL, "trades", wire.agg_trade()) == expected
    bought = hear(PERPETUAL, "trades", wire.agg_trade(m=False))
    assert isinstance(bought, Trade)
    assert bought.side == "buy"


def test_a_candle_is_closed_when_binance_says_so():
    running = hear(PERPETUAL, "candles", wire.kline())
    assert running == Candle(
        "binance",
        PERPETUAL,
        1699999980000,
        NOW,
        timeframe="1m",
        open=1,
        high=3,
        low=0.5,
        close=2,
        volume=10,
        quote_volume=15,
        trades=9,
        taker_buy_volume=4,
        taker_buy_quote_volume=6,
        closed=False,
    )
    closed = hear(SPOT, "candles", wire.kline(x=True))
    assert isinstance(closed, Candle)
    assert (closed.symbol, closed.closed) == (SPOT, True)


def test_a_change_of_a_futures_book_says_which_change_it_follows():
    assert hear(PERPETUAL, "depth", wire.futures_depth()) == Depth(
        "binance",
        PERPETUAL,
        1700000000000,
        NOW,
        first_id=11,
        last_id=15,
        previous_id=9,
        bids=[(99.5, 1.0), (99.0, 0.0)],
        asks=[(100.0, 2.0)],
    )


def test_a_change_of_a_spot_book_follows_by_its_first_id():
    assert hear(SPOT, "depth", wire.spot_depth()) == Depth(
        "binance", SPOT, 1700000000005, NOW, first_id=11, last_id=15, bids=[(99.5, 1.0)], asks=[]
    )


def test_the_top_of_a_futures_book_has_its_own_time_and_spots_has_ours():
    futures = hear(PERPETUAL, "top", wire.futures_top())
    best = {"bid": 99.5, "bid_quantity": 1.0, "ask": 100.0, "ask_quantity": 2.0}
    assert futures == BookTop("binance", PERPETUAL, 1700000000000, NOW, **best)
    assert hear(SPOT, "top", wire.spot_top()) == BookTop("binance", SPOT, NOW, NOW, **best)


def test_an_index_that_is_not_known_costs_no_mark_price():
    mark = hear(PERPETUAL, "mark", wire.mark_price(i="0.00000000"))

    assert isinstance(mark, Mark)
    assert (mark.mark_price, mark.index_price) == (100.1, None)


def test_the_mark_brings_the_funding_of_the_interval():
    assert hear(PERPETUAL, "mark", wire.mark_price()) == Mark(
        "binance",
        PERPETUAL,
        1700000000000,
        NOW,
        mark_price=100.1,
        index_price=100.2,
        funding_rate=-0.0001,
        next_funding_ms=1700006400000,
    )


def test_a_futures_ticker_knows_no_best_prices_and_spots_does():
    futures = hear(PERPETUAL, "ticker", wire.ticker())
    assert isinstance(futures, Ticker)
    assert (futures.last, futures.change, futures.change_percent, futures.trades) == (100.0, -5.0, -4.762, 9)
    assert (futures.bid, futures.ask) == (None, None)
    spot = hear(SPOT, "ticker", wire.ticker(b="99", B="1", a="101", A="2"))
    assert isinstance(spot, Ticker)
    assert (spot.bid, spot.bid_quantity, spot.ask, spot.ask_quantity) == (99.0, 1.0, 101.0, 2.0)


def test_what_is_heard_of_a_demo_is_stored_as_the_demos():
    (demo,) = binance("demo-binance").sessions(wants(PERPETUAL, "trades"))
    assert demo.receive(wire.agg_trade(), NOW)[0].exchange == "demo-binance"


def test_bytes_are_as_good_as_text():
    assert hear(PERPETUAL, "trades", wire.agg_trade().encode()) == hear(PERPETUAL, "trades", wire.agg_trade())


def test_a_message_in_another_order_or_with_spaces_is_still_understood():
    whole = json.loads(wire.agg_trade())
    turned = json.dumps({"data": whole["data"], "stream": whole["stream"]}, indent=1)
    assert hear(PERPETUAL, "trades", turned) == hear(PERPETUAL, "trades", wire.agg_trade())


BROKEN = {
    "no JSON": "}{",
    "nothing": "",
    "no UTF-8": b'{"stream":"btcusdt@kline_1m","data":{"k":{"i":"\xff"}}}',
    "no UTF-8 in the name": b'{"stream":"btc\xff","data":{}}',
    "cut off": wire.agg_trade()[:-9],
    "something behind it": wire.agg_trade() + "x",
    "a field is missing": wire.agg_trade().replace('"p":', '"z":'),
    "the text NaN": wire.agg_trade(p="NaN"),
    "the text inf": wire.agg_trade(q="-Infinity"),
    "a number too large": wire.agg_trade(p="1e999"),
    "no number": wire.agg_trade(p="cheap"),
    "an empty text": wire.agg_trade(p=""),
    "null": wire.agg_trade(p=None),
    "an id that is no number": wire.agg_trade(a="x"),
    "a stream that nobody asked for": wire.agg_trade().replace("btcusdt@", "ethusdt@"),
    "a list": "[]",
    "a number": "1",
    "an object without a meaning": "{}",
    "an event outside of a stream": '{"e":"aggTrade","p":"1"}',
    "NaN in a level": wire.futures_depth(b=[["nan", "1"]]),
    "a level of one": wire.futures_depth(b=[["1"]]),
    "a book without what it follows": wire.futures_depth().replace('"pu"', '"px"'),
    "NaN in a candle": wire.kline(v="nan"),
    "a pit": "[" * 100_000,
    "a pit in a stream": wire.agg_trade()[:-2] + ',"z":' + "[" * 100_000,
    "half of a character": '{"stream":"\ud800","data":{}}',
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_understood_is_corrupt(message: str | bytes):
    (market,) = binance().sessions(wants(PERPETUAL, "trades", "candles"))
    (public,) = binance().sessions(wants(PERPETUAL, "depth"))
    for one in (market, public):
        with pytest.raises(CorruptData):
            one.receive(message, NOW)


@given(st.sampled_from((wire.agg_trade(), wire.kline(), wire.futures_depth())), st.data())
def test_whatever_happens_to_a_message_it_is_an_event_or_corrupt_or_a_refusal(whole: str, data: st.DataObject):
    heard = binance().sessions(wants(PERPETUAL, "trades", "candles", "depth"))
    raw = whole.encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    damaged = (
        raw[:start]
        + data.draw(st.binary(max_size=8) | st.sampled_from((b'"', b"}", b"1e400", b"-", b"null")))
        + raw[end:]
    )
    for one in heard:
        with suppress(CorruptData, Unavailable):
            assert len(one.receive(damaged, NOW)) <= 1


def test_an_acknowledgement_says_nothing():
    assert session(PERPETUAL, "trades").receive('{"result":null,"id":1}', NOW) == []


@pytest.mark.parametrize(
    "answer",
    [
        '{"code":2,"msg":"Invalid request: too many parameters","id":1}',
        '{"error":{"code":-1121,"msg":"Invalid symbol."},"id":1}',
        '{"e":"serverShutdown","E":1770123456789}',
        '{"stream":"","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_a_refusal_or_a_server_that_leaves_asks_for_a_new_connection(answer: str):
    with pytest.raises(Unavailable):
        session(PERPETUAL, "trades").receive(answer, NOW)


def test_books_come_from_one_door_of_the_futures_all_else_from_the_other_and_spot_has_one_door():
    channels = tuple(channel for channel in CHANNELS if channel != "open_interest")
    sessions = binance().sessions([*wants(PERPETUAL, *channels), *wants(SPOT, *channels)])
    assert [tuple(one.url.split("/stream?streams=")) for one in sessions] == [
        ("wss://futures.test/market", "btcusdt@kline_1m/btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@ticker"),
        ("wss://futures.test/public", "btcusdt@depth@100ms/btcusdt@bookTicker"),
        (
            "wss://spot.test",
            "btcusdt@kline_1m/btcusdt@aggTrade/btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@ticker",
        ),
    ]


def test_what_has_no_stream_is_in_no_session():
    assert binance().sessions([*wants(PERPETUAL, "open_interest"), *wants(SPOT, "mark", "open_interest")]) == []


def test_a_connection_has_no_more_streams_than_it_may_and_none_is_asked_for_twice():
    wanted = [wish for number in range(450) for wish in wants(f"C{number}/USDT:USDT", "trades")]
    sessions = binance().sessions([*wanted, *wanted])
    assert [len(one.wanted) for one in sessions] == [200, 200, 50]
    assert [wish for one in sessions for wish in one.wanted] == wanted


def test_a_list_that_is_too_long_for_an_address_is_subscribed_to():
    wanted = [wish for number in range(150) for wish in wants(f"LONGERNAME{number}/USDT", "depth")]
    (one,) = binance().sessions(wanted)
    assert one.url == "wss://spot.test/stream"
    asked = [json.loads(text) for text in one.opening()]
    assert [(request["method"], request["id"], len(request["params"])) for request in asked] == [
        ("SUBSCRIBE", 1, 100),
        ("SUBSCRIBE", 2, 50),
    ]
    assert asked[0]["params"][0] == "longername0usdt@depth@100ms"
    assert one.opening() == one.opening(), "a new connection asks for the same"


def test_a_session_says_nothing_by_itself():
    one = session(PERPETUAL, "depth")
    assert (one.opening(), one.to_send(), one.keep_alive) == ([], [], None)
    assert not one.ask_snapshot(PERPETUAL)
    assert one.lasts_s is not None
    assert one.lasts_s < 24 * 3600


@pytest.mark.parametrize("symbol", ["BTC/USD:BTC", "nonsense", "BTC/USDT:"])
def test_a_symbol_that_binance_cannot_have_is_refused(symbol: str):
    with pytest.raises(InvalidInput):
        binance().sessions(wants(symbol, "trades"))
