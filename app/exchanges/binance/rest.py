"""Binance's REST calls: which method of its ccxt class, with what, at what price, and what the answer means.

Weights are Binance's documented ones. ccxt answers with parsed JSON; Binance writes most numbers as text, and either is read.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import field

from app.domain.market import symbols
from app.domain.market.timeframes import open_of
from app.domain.market.values import BookTop, Candle, Depth, Funding, Mark, OpenInterest, Ticker
from app.errors import CorruptData, InvalidInput
from app.exchanges.binance.mapper import AggTrade, Levels, Number, Wire, trade_of
from app.exchanges.binance.places import Market, Urls, place
from app.exchanges.exchange import Channel, Instrument, Limit, RestCall

MOST_CANDLES = 1_000
"""Futures would give 1,500 for twice the weight."""
BOOK_LEVELS = 1_000
MOST_TRADES = 1_000
MOST_FUNDING = 1_000
MOST_HISTORY = 500
HISTORY_STEP_MS = 300_000
SETTLED_MS = 2_000
"""Our clock may be a little ahead: a candle that ended just now may still change."""
USED = "x-mbx-used-weight-1m"
LIMITS = (
    Limit("futures", 2_400, 60, USED),
    Limit("spot", 6_000, 60, USED),
    Limit("futures-data", 1_000, 300),
    Limit("futures-funding", 500, 300),
)
"""The statistics of ``/futures/data`` and the history of funding are counted apart, in calls."""
_PERPETUAL = ("PERPETUAL", "TRADIFI_PERPETUAL")
T = TypeVar("T")


class Time(Wire, frozen=True, gc=False):
    """The exchange's clock."""

    time_ms: int = field(name="serverTime")


class Row(Wire, frozen=True, gc=False, array_like=True):
    """A candle, without names."""

    open_ms: int
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    close_ms: int
    quote_volume: Number
    trades: int
    taker_buy_volume: Number
    taker_buy_quote_volume: Number


class Book(Wire, frozen=True, gc=False):
    """A whole book. Spot's has no time."""

    last_id: int = field(name="lastUpdateId")
    bids: Levels
    asks: Levels
    time_ms: int | None = field(name="T", default=None)


class Top(Wire, frozen=True, gc=False):
    """The best prices. Spot's have no time."""

    bid: Number = field(name="bidPrice")
    bid_quantity: Number = field(name="bidQty")
    ask: Number = field(name="askPrice")
    ask_quantity: Number = field(name="askQty")
    time_ms: int | None = field(name="time", default=None)


class Premium(Wire, frozen=True, gc=False):
    """Mark price and funding."""

    time_ms: int = field(name="time")
    mark_price: Number = field(name="markPrice")
    index_price: Number = field(name="indexPrice")
    funding_rate: Number = field(name="lastFundingRate")
    next_funding_ms: int = field(name="nextFundingTime")


class Day(Wire, frozen=True, gc=False):
    """The rolling 24 hours; futures leave the best prices out."""

    time_ms: int = field(name="closeTime")
    last: Number = field(name="lastPrice")
    open: Number = field(name="openPrice")
    high: Number = field(name="highPrice")
    low: Number = field(name="lowPrice")
    volume: Number
    quote_volume: Number = field(name="quoteVolume")
    change: Number = field(name="priceChange")
    change_percent: Number = field(name="priceChangePercent")
    trades: int = field(name="count")
    bid: Number | None = field(name="bidPrice", default=None)
    bid_quantity: Number | None = field(name="bidQty", default=None)
    ask: Number | None = field(name="askPrice", default=None)
    ask_quantity: Number | None = field(name="askQty", default=None)


class Interest(Wire, frozen=True, gc=False):
    """Open interest now."""

    time_ms: int = field(name="time")
    quantity: Number = field(name="openInterest")


class PastInterest(Wire, frozen=True, gc=False):
    """Open interest at the end of five minutes."""

    time_ms: int = field(name="timestamp")
    quantity: Number = field(name="sumOpenInterest")
    value: Number = field(name="sumOpenInterestValue")


class Settled(Wire, frozen=True, gc=False):
    """A funding that was paid. The mark price of old ones is an empty text."""

    time_ms: int = field(name="fundingTime")
    rate: Number = field(name="fundingRate")
    mark_price: str = field(name="markPrice", default="")


class Filter(Wire, frozen=True, gc=False):
    """One rule of a symbol; each kind has fields of its own."""

    kind: str = field(name="filterType")
    price_step: Number | None = field(name="tickSize", default=None)
    quantity_step: Number | None = field(name="stepSize", default=None)
    min_quantity: Number | None = field(name="minQty", default=None)


class Listed(Wire, frozen=True, gc=False):
    """One symbol of the list."""

    symbol: str
    status: str
    base: str = field(name="baseAsset")
    quote: str = field(name="quoteAsset")
    filters: list[Filter]
    contract: str | None = field(name="contractType", default=None)
    margin: str | None = field(name="marginAsset", default=None)


class List(Wire, frozen=True, gc=False):
    """What a house trades."""

    symbols: list[Listed]


def ccxt_urls(urls: Urls) -> dict[str, str]:
    """The addresses as ccxt names them."""
    futures, spot = urls.futures_rest.rstrip("/"), urls.spot_rest.rstrip("/")
    return {"fapiPublic": f"{futures}/fapi/v1", "fapiData": f"{futures}/futures/data", "public": f"{spot}/api/v3"}


def server_time() -> RestCall:
    """Of the futures; both houses have one clock."""
    return _call("fapiPublicGetTime", {}, "futures", 1, Time, lambda said, _: [said.time_ms])


def instruments() -> list[RestCall]:
    """Of both houses. Spot's list is asked for without what is halted and without permissions, which are most of it.

    Naming the few pairs that are watched would make it smaller still, but then one that was delisted fails the whole call.
    """
    few = {"symbolStatus": "TRADING", "showPermissionSets": "false"}
    return [
        _call("fapiPublicGetExchangeInfo", {}, "futures", 1, List, lambda said, _: _instruments(said, "futures")),
        _call("publicGetExchangeInfo", few, "spot", 20, List, lambda said, _: _instruments(said, "spot")),
    ]


def _instruments(said: List, market: Market) -> list[Instrument]:
    found = (_instrument(listed, market) for listed in said.symbols)
    return [instrument for instrument in found if instrument is not None]


def _instrument(listed: Listed, market: Market) -> Instrument | None:
    """None for what we have no name for: dated futures, and coins whose names are not in Latin letters."""
    if market == "futures" and listed.contract not in _PERPETUAL:
        return None
    settle = listed.margin if market == "futures" else None
    name = symbols.Symbol(listed.base, listed.quote, settle).name
    try:
        if place(name) != (market, listed.symbol):
            return None
    except InvalidInput:
        return None
    rules = {rule.kind: rule for rule in listed.filters}
    price, lot = rules.get("PRICE_FILTER"), rules.get("LOT_SIZE")
    return Instrument(
        name,
        listed.base,
        listed.quote,
        settle,
        price_step=price.price_step if price else None,
        quantity_step=lot.quantity_step if lot else None,
        min_quantity=lot.min_quantity if lot else None,
        active=listed.status == "TRADING",
    )


def candles(exchange: str, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
    """Closed is what ended a moment before the answer came."""
    market, native = place(symbol)
    limit = min(limit, MOST_CANDLES)
    parameters = {"symbol": native, "interval": timeframe, "startTime": since_ms, "limit": limit}

    def read(rows: list[Row], received_ms: int) -> list[Candle]:
        return [
            Candle(
                exchange,
                symbol,
                row.open_ms,
                received_ms,
                timeframe=timeframe,
                open=row.open,
                high=row.high,
                low=row.low,
                close=row.close,
                volume=row.volume,
                quote_volume=row.quote_volume,
                trades=row.trades,
                taker_buy_volume=row.taker_buy_volume,
                taker_buy_quote_volume=row.taker_buy_quote_volume,
                closed=row.close_ms + SETTLED_MS < received_ms,
            )
            for row in rows
        ]

    weight = 2 if market == "spot" else _stepped(limit, ((99, 1), (499, 2), (1_000, 5)))
    return _call(_method(market, "Klines"), parameters, market, weight, list[Row], read)


def book(exchange: str, symbol: str) -> RestCall:
    """The best 1,000 levels of each side."""
    market, native = place(symbol)

    def read(said: Book, received_ms: int) -> list[Depth]:
        time_ms = received_ms if said.time_ms is None else said.time_ms
        return [
            Depth(
                exchange,
                symbol,
                time_ms,
                received_ms,
                last_id=said.last_id,
                bids=said.bids,
                asks=said.asks,
                snapshot=True,
            )
        ]

    weight = 50 if market == "spot" else 20
    return _call(_method(market, "Depth"), {"symbol": native, "limit": BOOK_LEVELS}, market, weight, Book, read)


def trades(exchange: str, symbol: str) -> RestCall:
    """Up to 1,000 aggregate trades, the same as the stream's."""
    market, native = place(symbol)
    parameters: dict[str, Any] = {"symbol": native, "limit": MOST_TRADES}
    return _call(
        _method(market, "AggTrades"),
        parameters,
        market,
        4 if market == "spot" else 20,
        list[AggTrade],
        lambda said, received_ms: [trade_of(one, exchange, symbol, received_ms) for one in said],
    )


def poll(exchange: str, channel: Channel, symbol: str) -> RestCall:
    """What a stream would say, asked for. Raises InvalidInput for what the house does not have."""
    market, native = place(symbol)
    if channel == "ticker":
        return _ticker(exchange, symbol, market, native)
    if channel == "top":
        return _top(exchange, symbol, market, native)
    if market == "futures" and channel == "mark":
        return _mark(exchange, symbol, native)
    if market == "futures" and channel == "open_interest":
        return _open_interest(exchange, symbol, native)
    raise InvalidInput(f"Binance has no present value of {channel} for {symbol}.", cure="Ask for another channel.")


def _ticker(exchange: str, symbol: str, market: Market, native: str) -> RestCall:
    def read(said: Day, received_ms: int) -> list[Ticker]:
        return [
            Ticker(
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
        ]

    weight = 2 if market == "spot" else 1
    return _call(_method(market, "Ticker24hr"), {"symbol": native}, market, weight, Day, read)


def _top(exchange: str, symbol: str, market: Market, native: str) -> RestCall:
    def read(said: Top, received_ms: int) -> list[BookTop]:
        return [
            BookTop(
                exchange,
                symbol,
                received_ms if said.time_ms is None else said.time_ms,
                received_ms,
                bid=said.bid,
                bid_quantity=said.bid_quantity,
                ask=said.ask,
                ask_quantity=said.ask_quantity,
            )
        ]

    return _call(_method(market, "TickerBookTicker"), {"symbol": native}, market, 2, Top, read)


def _mark(exchange: str, symbol: str, native: str) -> RestCall:
    def read(said: Premium, received_ms: int) -> list[Mark]:
        return [
            Mark(
                exchange,
                symbol,
                said.time_ms,
                received_ms,
                mark_price=said.mark_price,
                index_price=said.index_price or None,
                funding_rate=said.funding_rate,
                next_funding_ms=said.next_funding_ms,
            )
        ]

    return _call("fapiPublicGetPremiumIndex", {"symbol": native}, "futures", 1, Premium, read)


def _open_interest(exchange: str, symbol: str, native: str) -> RestCall:
    def read(said: Interest, received_ms: int) -> list[OpenInterest]:
        return [OpenInterest(exchange, symbol, said.time_ms, received_ms, quantity=said.quantity)]

    return _call("fapiPublicGetOpenInterest", {"symbol": native}, "futures", 1, Interest, read)


def funding(exchange: str, symbol: str, since_ms: int, limit: int) -> RestCall | None:
    """What was paid; None for spot. Binance writes it down some ms after its minute, which files do not say."""
    market, native = place(symbol)
    if market == "spot":
        return None
    parameters = {"symbol": native, "startTime": since_ms, "limit": min(limit, MOST_FUNDING)}

    def read(said: list[Settled], received_ms: int) -> list[Funding]:
        return [
            Funding(
                exchange,
                symbol,
                open_of(one.time_ms, "1m"),
                received_ms,
                rate=one.rate,
                mark_price=_number(one.mark_price),
            )
            for one in said
        ]

    return _call("fapiPublicGetFundingRate", parameters, "futures-funding", 1, list[Settled], read)


def open_interest_history(exchange: str, symbol: str, since_ms: int, limit: int) -> RestCall | None:
    """Every five minutes, of the last month alone; None for spot. Without an end it would be the newest, whatever the start."""
    market, native = place(symbol)
    if market == "spot":
        return None
    limit = min(limit, MOST_HISTORY)
    parameters = {
        "symbol": native,
        "period": "5m",
        "startTime": since_ms,
        "endTime": since_ms + limit * HISTORY_STEP_MS - 1,
        "limit": limit,
    }

    def read(said: list[PastInterest], received_ms: int) -> list[OpenInterest]:
        return [
            OpenInterest(exchange, symbol, one.time_ms, received_ms, quantity=one.quantity, value=one.value)
            for one in said
        ]

    return _call("fapiDataGetOpenInterestHist", parameters, "futures-data", 1, list[PastInterest], read)


def _method(market: Market, name: str) -> str:
    return f"{'fapiPublic' if market == 'futures' else 'public'}Get{name}"


def _stepped(count: int, steps: tuple[tuple[int, int], ...]) -> int:
    """The weight of the first step that holds the count."""
    return next(weight for most, weight in steps if count <= most)


def _number(text: str) -> float | None:
    return msgspec.convert(text, Number, strict=False) if text else None


def _call(
    method: str,
    parameters: dict[str, Any],
    bucket: str,
    weight: int,
    shape: type[T],
    values: Callable[[T, int], list[Any]],
) -> RestCall:
    """A call whose answer has this shape."""

    def read(answer: Any, received_ms: int) -> list[Any]:
        try:
            return values(msgspec.convert(answer, shape, strict=False), received_ms)
        except msgspec.MsgspecError as error:
            raise CorruptData(f"Binance's answer to {method} cannot be understood: {error}") from error

    return RestCall(method, (parameters,), bucket, weight, read)
