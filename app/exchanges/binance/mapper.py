"""What Binance's streams say, as our values. Pure: one typed decoder for each kind of stream, nothing decoded twice.

Every reader takes the whole message of a combined stream, ``{"stream":...,"data":...}``, and raises ``msgspec.MsgspecError``
for what does not fit. Prices come as text; ``strict=False`` reads them as floats without Python seeing the text. The bounds of
``Number`` are there for the text "NaN" and "inf", which would read as floats too.
"""

from collections.abc import Callable
from typing import Annotated, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, field

from app.domain.market.values import BookTop, Candle, Depth, Event, Mark, Ticker, Trade

Number: TypeAlias = Annotated[float, Meta(ge=-1e300, le=1e300)]
Levels: TypeAlias = list[tuple[Number, Number]]
Reader: TypeAlias = Callable[[bytes, str, str, int], Event]
"""From a message, the exchange's stored name, the symbol and when it was received."""
T = TypeVar("T")


class Wire(msgspec.Struct, frozen=True, gc=False):
    """Something that Binance says; fields that nobody needs are not decoded."""


class Said(Wire, Generic[T], frozen=True, gc=False):
    """What stands around every message of a combined stream."""

    data: T


class AggTrade(Wire, frozen=True, gc=False):
    """Trades of one taker order at one price; REST says it in the same words."""

    id: int = field(name="a")
    price: Number = field(name="p")
    quantity: Number = field(name="q")
    time_ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")


class Bar(Wire, frozen=True, gc=False):
    """A candle."""

    open_ms: int = field(name="t")
    timeframe: str = field(name="i")
    open: Number = field(name="o")
    high: Number = field(name="h")
    low: Number = field(name="l")
    close: Number = field(name="c")
    volume: Number = field(name="v")
    trades: int = field(name="n")
    closed: bool = field(name="x")
    quote_volume: Number = field(name="q")
    taker_buy_volume: Number = field(name="V")
    taker_buy_quote_volume: Number = field(name="Q")


class Kline(Wire, frozen=True, gc=False):
    """The stream's hull of a candle."""

    bar: Bar = field(name="k")


class SpotDepth(Wire, frozen=True, gc=False):
    """A change of a spot book: it follows the one whose last id is just before its first."""

    time_ms: int = field(name="E")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")


class FuturesDepth(Wire, frozen=True, gc=False):
    """A change of a futures book: ids have holes, so it says which one it follows."""

    time_ms: int = field(name="T")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    previous_id: int = field(name="pu")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")


class SpotTop(Wire, frozen=True, gc=False):
    """The best prices of a spot book. They have no time."""

    bid: Number = field(name="b")
    bid_quantity: Number = field(name="B")
    ask: Number = field(name="a")
    ask_quantity: Number = field(name="A")


class FuturesTop(SpotTop, frozen=True, gc=False):
    """The best prices of a futures book."""

    time_ms: int = field(name="T")


class MarkUpdate(Wire, frozen=True, gc=False):
    """Mark price and funding."""

    time_ms: int = field(name="E")
    mark_price: Number = field(name="p")
    index_price: Number = field(name="i")
    funding_rate: Number = field(name="r")
    next_funding_ms: int = field(name="T")


class DayTicker(Wire, frozen=True, gc=False):
    """The rolling 24 hours; futures leave the best prices out."""

    time_ms: int = field(name="E")
    last: Number = field(name="c")
    open: Number = field(name="o")
    high: Number = field(name="h")
    low: Number = field(name="l")
    volume: Number = field(name="v")
    quote_volume: Number = field(name="q")
    change: Number = field(name="p")
    change_percent: Number = field(name="P")
    trades: int = field(name="n")
    bid: Number | None = field(name="b", default=None)
    bid_quantity: Number | None = field(name="B", default=None)
    ask: Number | None = field(name="a", default=None)
    ask_quantity: Number | None = field(name="A", default=None)


_TRADE = msgspec.json.Decoder(Said[AggTrade], strict=False)
_KLINE = msgspec.json.Decoder(Said[Kline], strict=False)
_SPOT_DEPTH = msgspec.json.Decoder(Said[SpotDepth], strict=False)
_FUTURES_DEPTH = msgspec.json.Decoder(Said[FuturesDepth], strict=False)
_SPOT_TOP = msgspec.json.Decoder(Said[SpotTop], strict=False)
_FUTURES_TOP = msgspec.json.Decoder(Said[FuturesTop], strict=False)
_MARK = msgspec.json.Decoder(Said[MarkUpdate], strict=False)
_TICKER = msgspec.json.Decoder(Said[DayTicker], strict=False)


def trade(message: bytes, exchange: str, symbol: str, received_ms: int) -> Trade:
    """From ``@aggTrade``."""
    return trade_of(_TRADE.decode(message).data, exchange, symbol, received_ms)


def trade_of(said: AggTrade, exchange: str, symbol: str, received_ms: int) -> Trade:
    """The taker sold when the buyer was the maker. Ids of aggregate trades count up by one."""
    return Trade(
        exchange,
        symbol,
        said.time_ms,
        received_ms,
        price=said.price,
        quantity=said.quantity,
        side="sell" if said.buyer_is_maker else "buy",
        id=said.id,
        counted=True,
    )


def candle(message: bytes, exchange: str, symbol: str, received_ms: int) -> Candle:
    """From ``@kline_``."""
    bar = _KLINE.decode(message).data.bar
    return Candle(
        exchange,
        symbol,
        bar.open_ms,
        received_ms,
        timeframe=bar.timeframe,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
        quote_volume=bar.quote_volume,
        trades=bar.trades,
        taker_buy_volume=bar.taker_buy_volume,
        taker_buy_quote_volume=bar.taker_buy_quote_volume,
        closed=bar.closed,
    )


def spot_depth(message: bytes, exchange: str, symbol: str, received_ms: int) -> Depth:
    """From spot's ``@depth@100ms``."""
    said = _SPOT_DEPTH.decode(message).data
    return Depth(
        exchange,
        symbol,
        said.time_ms,
        received_ms,
        last_id=said.last_id,
        bids=said.bids,
        asks=said.asks,
        first_id=said.first_id,
    )


def futures_depth(message: bytes, exchange: str, symbol: str, received_ms: int) -> Depth:
    """From futures' ``@depth@100ms``."""
    said = _FUTURES_DEPTH.decode(message).data
    return Depth(
        exchange,
        symbol,
        said.time_ms,
        received_ms,
        last_id=said.last_id,
        bids=said.bids,
        asks=said.asks,
        first_id=said.first_id,
        previous_id=said.previous_id,
    )


def spot_top(message: bytes, exchange: str, symbol: str, received_ms: int) -> BookTop:
    """From spot's ``@bookTicker``: its time is when we received it."""
    said = _SPOT_TOP.decode(message).data
    return _top(said, said_ms=received_ms, exchange=exchange, symbol=symbol, received_ms=received_ms)


def futures_top(message: bytes, exchange: str, symbol: str, received_ms: int) -> BookTop:
    """From futures' ``@bookTicker``."""
    said = _FUTURES_TOP.decode(message).data
    return _top(said, said_ms=said.time_ms, exchange=exchange, symbol=symbol, received_ms=received_ms)


def _top(said: SpotTop, *, said_ms: int, exchange: str, symbol: str, received_ms: int) -> BookTop:
    return BookTop(
        exchange,
        symbol,
        said_ms,
        received_ms,
        bid=said.bid,
        bid_quantity=said.bid_quantity,
        ask=said.ask,
        ask_quantity=said.ask_quantity,
    )


def mark(message: bytes, exchange: str, symbol: str, received_ms: int) -> Mark:
    """From ``@markPrice@1s``."""
    said = _MARK.decode(message).data
    return Mark(
        exchange,
        symbol,
        said.time_ms,
        received_ms,
        mark_price=said.mark_price,
        index_price=said.index_price or None,  # 0 where the index is not known
        funding_rate=said.funding_rate,
        next_funding_ms=said.next_funding_ms,
    )


def ticker(message: bytes, exchange: str, symbol: str, received_ms: int) -> Ticker:
    """From ``@ticker``."""
    said = _TICKER.decode(message).data
    return Ticker(
        exchange,
        symbol,
        said.time_ms,
        received_ms,
        last=said.last,
        open=said.open,
        high=said.high,
        low=said.low,
        volume=said.volume,
        quote_volume=said.quote_volume,
        change=said.change,
        change_percent=said.change_percent,
        bid=said.bid,
        bid_quantity=said.bid_quantity,
        ask=said.ask,
        ask_quantity=said.ask_quantity,
        trades=said.trades,
    )
