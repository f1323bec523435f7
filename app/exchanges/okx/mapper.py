"""What OKX's messages and answers mean. A number that is an empty string there is not known.

Perpetuals are counted in contracts of ``ctVal`` x ``ctMult`` base coins; what is said in coins beside them is read from that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Generic, Literal, TypeVar

import msgspec

from app.domain.market import symbols
from app.domain.market.values import (
    BookTop,
    Candle,
    Depth,
    Event,
    Funding,
    Level,
    Mark,
    OpenInterest,
    Side,
    Ticker,
    Trade,
)
from app.errors import CorruptData, InvalidInput
from app.exchanges.exchange import Instrument

T = TypeVar("T")
BARS = {"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "2h": "2H", "4h": "4H",
        "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc"}  # fmt: skip
"""Our timeframes as OKX names them. Without ``utc`` its days begin at 16:00 UTC."""
TIMEFRAMES = {f"candle{bar}": timeframe for timeframe, bar in BARS.items()}


def inst_id(symbol: str) -> str:
    """``BTC-USDT-SWAP`` or ``BTC-USDT``. Raises InvalidInput for what OKX does not have in our form."""
    pair = symbols.taken_apart(symbol)
    if pair.settle not in (None, pair.quote):
        raise InvalidInput(f"{symbol} is not a linear perpetual: OKX would settle it in {pair.settle}.")
    return f"{pair.base}-{pair.quote}" + ("-SWAP" if pair.is_perpetual else "")


@dataclass(frozen=True, slots=True)
class Market:
    """One thing that is traded, as the mapper needs it."""

    exchange: str
    symbol: str
    contract: float
    """Base coins in one unit of OKX's quantities; 1 for spot."""
    spot: bool


class Arg(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Which channel a message belongs to."""

    channel: str = ""
    inst_id: str = ""


class _Row(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    pass


class TradeRow(_Row, frozen=True, gc=False):
    """A trade; in the stream all of one taker at one price. ``trade_id`` is then the last of ``count``."""

    trade_id: int
    px: float
    sz: float
    side: Side
    ts: int
    count: int = 1


class LevelRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One level; behind it stand a field without meaning and how many orders."""

    px: float
    sz: float


class TextLevelRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One level as it was written."""

    px: str
    sz: str


class BookRow(_Row, frozen=True, gc=False):
    """A book, whole or changed."""

    asks: list[LevelRow]
    bids: list[LevelRow]
    ts: int
    checksum: int = 0
    """0: not said. So it is in all live messages since May 2026; before, and in recordings, a CRC32."""
    seq_id: int | None = None
    prev_seq_id: int | None = None


class TextRow(_Row, frozen=True, gc=False):
    """A book with its numbers as they were written: checksums are over those."""

    asks: list[TextLevelRow]
    bids: list[TextLevelRow]


class TickerRow(_Row, frozen=True, gc=False):
    """The rolling 24 hours."""

    ts: int
    last: str = ""
    open24h: str = ""
    high24h: str = ""
    low24h: str = ""
    vol24h: str = ""
    vol_ccy24h: str = msgspec.field(default="", name="volCcy24h")
    bid_px: str = ""
    bid_sz: str = ""
    ask_px: str = ""
    ask_sz: str = ""


class MarkRow(_Row, frozen=True, gc=False):
    """The mark price."""

    mark_px: float
    ts: int


class FundingRow(_Row, frozen=True, gc=False):
    """The rate that is settled at ``funding_time``; in the history, what was settled is ``realized_rate``."""

    funding_time: int
    funding_rate: str = ""
    realized_rate: str = ""
    ts: int | None = None


class IndexRow(_Row, frozen=True, gc=False):
    """The index price."""

    idx_px: float
    ts: int


class OpenInterestRow(_Row, frozen=True, gc=False):
    """Open interest, in coins and USD."""

    oi_ccy: float
    ts: int
    oi_usd: str = ""


class CandleRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """``vol`` is contracts or spot coins, ``vol_ccy`` a contract's coins or spot's quote coins, ``confirm`` whether it is over."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    vol: str
    vol_ccy: str
    vol_ccy_quote: str
    confirm: Literal["0", "1"]


class OpenInterestBar(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Open interest at one moment of the past."""

    ts: int
    oi: float
    oi_ccy: float
    oi_usd: str = ""


class InstrumentRow(_Row, frozen=True, gc=False):
    """What is traded, as far as we use it."""

    inst_id: str
    inst_type: str
    state: str = ""
    base_ccy: str = ""
    quote_ccy: str = ""
    settle_ccy: str = ""
    uly: str = ""
    ct_type: str = ""
    ct_val: str = ""
    ct_mult: str = ""
    ct_val_ccy: str = ""
    tick_sz: str = ""
    lot_sz: str = ""
    min_sz: str = ""


class Push(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A message of a channel."""

    arg: Arg
    data: list[T]


class BookPush(msgspec.Struct, frozen=True, gc=False):
    """``action`` is missing for the channel of the best bid and ask."""

    arg: Arg
    data: list[BookRow]
    action: Literal["snapshot", "update"] = "update"


class TextPush(msgspec.Struct, frozen=True, gc=False):
    """The same message once more, for its checksum."""

    data: list[TextRow]


def trades(rows: list[TradeRow], market: Market, received_ms: int) -> list[Event]:
    """OKX does not promise ids without holes, and in the stream one message stands for ``count`` of them: not ``counted``."""
    return [
        Trade(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            price=row.px,
            quantity=row.sz * market.contract,
            side=row.side,
            id=row.trade_id,
        )
        for row in rows
    ]


def depth(row: BookRow, market: Market, received_ms: int, *, snapshot: bool, number: int = 0) -> Depth:
    """A message from before there were sequence ids gets ``number`` for one: then its checksum alone tells a gap. The checksum is
    the session's to verify, which has the numbers as they were written.
    """
    last_id = number if row.seq_id is None else row.seq_id
    previous_id = number - 1 if row.seq_id is None else row.prev_seq_id
    return Depth(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=row.ts,
        received_ms=received_ms,
        last_id=last_id,
        previous_id=None if snapshot else previous_id,
        bids=_levels(row.bids, market.contract),
        asks=_levels(row.asks, market.contract),
        snapshot=snapshot,
    )


def damage(market: Market, last_id: int, time_ms: int, received_ms: int) -> Depth:
    """What tells the book's keeper at once that the book is not OKX's any more: it ends before it begins and changes nothing."""
    return Depth(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=time_ms,
        received_ms=received_ms,
        first_id=last_id + 1,
        last_id=last_id,
        bids=[],
        asks=[],
    )


def _levels(rows: list[LevelRow], contract: float) -> list[Level]:
    return [(row.px, row.sz * contract) for row in rows]


def tops(rows: list[BookRow], market: Market, received_ms: int) -> list[Event]:
    """Nothing while one side is empty."""
    return [
        BookTop(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            bid=row.bids[0].px,
            bid_quantity=row.bids[0].sz * market.contract,
            ask=row.asks[0].px,
            ask_quantity=row.asks[0].sz * market.contract,
        )
        for row in rows
        if row.bids and row.asks
    ]


def tickers(rows: list[TickerRow], market: Market, received_ms: int) -> list[Event]:
    """Nothing for what never traded. Of a perpetual OKX does not say the turnover in the quote coin."""
    found: list[Event] = []
    for row in rows:
        last, opened = number_or_none(row.last), number_or_none(row.open24h)
        if last is None:
            continue
        change = None if opened is None else last - opened
        found.append(
            Ticker(
                exchange=market.exchange,
                symbol=market.symbol,
                time_ms=row.ts,
                received_ms=received_ms,
                last=last,
                open=opened,
                high=number_or_none(row.high24h),
                low=number_or_none(row.low24h),
                volume=number_or_none(row.vol24h if market.spot else row.vol_ccy24h),
                quote_volume=number_or_none(row.vol_ccy24h) if market.spot else None,
                change=change,
                change_percent=100 * change / opened if change is not None and opened else None,
                bid=number_or_none(row.bid_px),
                bid_quantity=_coins(row.bid_sz, market),
                ask=number_or_none(row.ask_px),
                ask_quantity=_coins(row.ask_sz, market),
            )
        )
    return found


def marks(rows: list[MarkRow], market: Market, received_ms: int) -> list[Event]:
    """The mark price alone: funding comes by a channel of its own."""
    return [
        Mark(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            mark_price=row.mark_px,
        )
        for row in rows
    ]


def funding_rates(rows: list[FundingRow], market: Market, received_ms: int) -> list[Event]:
    """The present rate, and when it is settled."""
    return [
        Mark(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=received_ms if row.ts is None else row.ts,
            received_ms=received_ms,
            funding_rate=number_or_none(row.funding_rate),
            next_funding_ms=row.funding_time,
        )
        for row in rows
    ]


def indexes(rows: list[IndexRow], market: Market, received_ms: int) -> list[Event]:
    """The index price alone."""
    return [
        Mark(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            index_price=row.idx_px,
        )
        for row in rows
    ]


def open_interests(rows: Sequence[OpenInterestRow | OpenInterestBar], market: Market, received_ms: int) -> list[Event]:
    """In the order of the rows, what is open now or was then. ``value`` is in USD, as OKX says it; the quote coin of a linear
    contract differs from that by a fraction of a percent.
    """
    return [
        OpenInterest(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            quantity=row.oi_ccy,
            value=number_or_none(row.oi_usd),
        )
        for row in rows
    ]


def candles(rows: list[CandleRow], market: Market, timeframe: str, received_ms: int) -> list[Event]:
    """In the order of the rows."""
    return [
        Candle(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.ts,
            received_ms=received_ms,
            timeframe=timeframe,
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            volume=_required(row.vol if market.spot else row.vol_ccy),
            quote_volume=number_or_none(row.vol_ccy_quote),
            closed=row.confirm == "1",
        )
        for row in rows
    ]


def settled(rows: list[FundingRow], market: Market, received_ms: int) -> list[Event]:
    """Funding that was paid, in the order of the rows."""
    return [
        Funding(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.funding_time,
            received_ms=received_ms,
            rate=_required(row.realized_rate or row.funding_rate),
        )
        for row in rows
    ]


def instruments(rows: list[InstrumentRow]) -> list[Instrument]:
    """Spot and linear perpetuals. What has no form inside (an inverse contract, an odd name) is left out."""
    return [found for row in rows if (found := instrument(row)) is not None]


def instrument(row: InstrumentRow) -> Instrument | None:
    """None for what we do not have a form for."""
    base, quote = (row.base_ccy, row.quote_ccy) if row.inst_type == "SPOT" else _underlying(row)
    settle = None if row.inst_type == "SPOT" else row.settle_ccy
    symbol = f"{base}/{quote}" + (f":{settle}" if settle else "")
    try:
        if inst_id(symbol) != row.inst_id:
            return None
    except InvalidInput:
        return None
    contract = _contract(row, base) if settle else None
    if settle and contract is None:
        return None  # its quantities could not be read
    size = 1.0 if contract is None else contract
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        settle=settle,
        price_step=number_or_none(row.tick_sz),
        quantity_step=_times(row.lot_sz, size),
        contract_size=contract,
        min_quantity=_times(row.min_sz, size),
        active=row.state == "live",
    )


def _underlying(row: InstrumentRow) -> tuple[str, str]:
    base, _, quote = row.uly.partition("-")
    return base, quote


def _contract(row: InstrumentRow, base: str) -> float | None:
    value, multiplier = number_or_none(row.ct_val), number_or_none(row.ct_mult or "1")
    if row.ct_type != "linear" or row.ct_val_ccy != base or not value or not multiplier:
        return None
    return value * multiplier


def number_or_none(text: str) -> float | None:
    """An empty string is an unknown number."""
    return _required(text) if text else None


def _required(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):  # "NaN" and "inf" read as floats too
        raise CorruptData(f"OKX wrote {text[:40]!r} for a number.")
    return number


def _times(text: str, factor: float) -> float | None:
    value = number_or_none(text)
    return None if value is None else value * factor


def _coins(text: str, market: Market) -> float | None:
    return _times(text, market.contract)


def of_rest(answer: Any, row_type: Any) -> Any:
    """The rows of a REST answer. Raises CorruptData where they are not what they should be."""
    try:
        return msgspec.convert(answer["data"], list[row_type], strict=False)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise CorruptData(f"OKX answered something else: {error}") from error


Reader = Callable[[Any, Market, int], list[Event]]
CHANNELS: dict[str, tuple[msgspec.json.Decoder[Any], Reader]] = {
    "trades": (msgspec.json.Decoder(Push[TradeRow], strict=False), trades),
    "bbo-tbt": (msgspec.json.Decoder(BookPush, strict=False), tops),
    "tickers": (msgspec.json.Decoder(Push[TickerRow], strict=False), tickers),
    "mark-price": (msgspec.json.Decoder(Push[MarkRow], strict=False), marks),
    "funding-rate": (msgspec.json.Decoder(Push[FundingRow], strict=False), funding_rates),
    "index-tickers": (msgspec.json.Decoder(Push[IndexRow], strict=False), indexes),
    "open-interest": (msgspec.json.Decoder(Push[OpenInterestRow], strict=False), open_interests),
}
"""How each channel is read, but for books and candles, which need more than their rows."""
BOOK = msgspec.json.Decoder(BookPush, strict=False)
TEXTS = msgspec.json.Decoder(TextPush)
CANDLE = msgspec.json.Decoder(Push[CandleRow], strict=False)
