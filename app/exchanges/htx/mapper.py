"""What HTX's messages and answers mean.

Perpetuals are counted in contracts of ``contract_size`` base coins; what is said in coins beside them is read from that. HTX counts
the buyer and the seller of each trade of perpetuals (its documentation of ``amount`` and ``trade_turnover`` says so, and every
amount that was recorded is even), which is twice what others say: here it is counted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, Literal, TypeVar

import msgspec

from app.domain.market import symbols
from app.domain.market.timeframes import length_ms, open_of
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

PERIODS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "60min", "4h": "4hour"}
"""Our timeframes as HTX names them. Its days begin at 16:00 UTC, so ours are put together from four hours."""
PARTS_OF_A_DAY = 6
T = TypeVar("T")
Answer = TypeVar("Answer")


def code(symbol: str) -> str:
    """``BTC-USDT`` for a perpetual, ``btcusdt`` for spot. Raises InvalidInput for what HTX does not have in our form."""
    pair = symbols.taken_apart(symbol)
    if pair.settle not in (None, pair.quote):
        raise InvalidInput(f"{symbol} is not a linear perpetual: HTX would settle it in {pair.settle}.")
    return f"{pair.base}-{pair.quote}" if pair.is_perpetual else pair.joined.lower()


@dataclass(frozen=True, slots=True)
class Market:
    """One thing that is traded, as the mapper needs it."""

    exchange: str
    symbol: str
    contract: float
    """Base coins in one unit of the quantities of a book; 1 for spot."""
    spot: bool

    def once(self, volume: float) -> float:
        """What was traded, counted once."""
        return volume if self.spot else volume / 2


class LevelRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Price and quantity (contracts, or spot coins)."""

    price: float
    quantity: float


class KlineRow(msgspec.Struct, frozen=True, gc=False):
    """``id`` is the open time in seconds, ``amount`` base coins; ``vol`` is spot's quote coins, but a perpetual's contracts."""

    id: int
    open: float
    high: float
    low: float
    close: float
    amount: float
    vol: float
    count: int | None = None
    trade_turnover: float | None = None


class SpotTradeRow(msgspec.Struct, frozen=True, gc=False):
    """A trade; the direction is the taker's. ``tradeId`` is ``trade-id`` in REST."""

    ts: int
    price: float
    amount: float
    direction: Side
    tradeId: int | None = None  # noqa: N815 - the wire's name
    trade_id: int | None = msgspec.field(default=None, name="trade-id")


class SwapTradeRow(msgspec.Struct, frozen=True, gc=False):
    """A trade; ``amount`` is contracts, ``quantity`` base coins."""

    ts: int
    price: float
    amount: float
    direction: Side
    id: int
    quantity: float | None = None


class DepthRow(msgspec.Struct, frozen=True, gc=False):
    """A book, whole or changed: perpetuals have ``version``, spot's changes ``seqNum``. A side that did not change is missing."""

    bids: list[LevelRow] = []
    asks: list[LevelRow] = []
    ts: int | None = None
    version: int | None = None
    event: Literal["snapshot", "update"] | None = None
    seqNum: int | None = None  # noqa: N815 - the wire's name
    prevSeqNum: int | None = None  # noqa: N815 - the wire's name


class SpotTopRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The best bid and ask."""

    bid: float
    bid_size: float
    ask: float
    ask_size: float
    quote_time: int


class SwapTopRow(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask; a side that is empty is missing."""

    ts: int
    bid: LevelRow | None = None
    ask: LevelRow | None = None


class DetailRow(msgspec.Struct, frozen=True, gc=False):
    """The rolling 24 hours; volumes as in ``KlineRow``. Only REST's ``merged`` has bid and ask for spot."""

    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    amount: float | None = None
    vol: float | None = None
    count: int | None = None
    trade_turnover: float | None = None
    bid: LevelRow | None = None
    ask: LevelRow | None = None


class FundingRow(msgspec.Struct, frozen=True, gc=False):
    """In the stream, the rate that is settled at ``settlement_time``; in the history, what was settled at ``funding_time``."""

    contract_code: str
    funding_rate: float | None = None
    funding_time: int | None = None
    settlement_time: int | None = None


class SpotTrades(msgspec.Struct, frozen=True, gc=False):
    """Trades of one message, the newest first."""

    data: list[SpotTradeRow]


class SwapTrades(msgspec.Struct, frozen=True, gc=False):
    """Trades of one message, the newest first."""

    data: list[SwapTradeRow]


class Push(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A message of a channel."""

    tick: T


class TimedPush(Push[T], Generic[T], frozen=True, gc=False):
    """One whose content has no time of its own."""

    ts: int


class KlineReply(msgspec.Struct, frozen=True, gc=False):
    """Candles that were asked for."""

    data: list[KlineRow]


class DepthReply(msgspec.Struct, frozen=True, gc=False):
    """The whole book that was asked for."""

    data: DepthRow
    ts: int | None = None


class FundingPush(msgspec.Struct, frozen=True, gc=False):
    """A message of the notification socket."""

    ts: int
    data: list[FundingRow]


class OpenInterestRow(msgspec.Struct, frozen=True, gc=False):
    """Open interest: ``amount`` in base coins, ``value`` in quote coins."""

    amount: float
    value: float | None = None


class OpenInterestBar(msgspec.Struct, frozen=True, gc=False):
    """Open interest of the past, in base coins when they were asked for."""

    ts: int
    volume: float
    value: float | None = None


class ContractRow(msgspec.Struct, frozen=True, gc=False):
    """A perpetual. ``contract_status`` 1 is trading."""

    contract_code: str
    contract_size: float
    price_tick: float | None = None
    contract_status: int = 0
    business_type: str = "swap"


class SymbolRow(msgspec.Struct, frozen=True, gc=False, rename=lambda name: name.replace("_", "-")):
    """A spot pair."""

    base_currency: str
    quote_currency: str
    price_precision: int | None = None
    amount_precision: int | None = None
    min_order_amt: float | None = None
    state: str = ""


def candle(row: KlineRow, market: Market, timeframe: str, received_ms: int, *, closed: bool) -> Candle:
    """HTX does not say whether a candle is over."""
    return Candle(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=row.id * 1000,
        received_ms=received_ms,
        timeframe=timeframe,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=market.once(row.amount),
        quote_volume=_quote_volume(row, market),
        trades=row.count,
        closed=closed,
    )


def spot_trades(rows: list[SpotTradeRow], market: Market, received_ms: int) -> list[Event]:
    """Oldest first. Ids had no holes in what was recorded, but HTX promises only that they are unique: not ``counted``."""
    found: list[Event] = []
    for row in reversed(rows):
        number = row.tradeId if row.tradeId is not None else row.trade_id
        if number is None:
            raise CorruptData("HTX sent a trade without an id.")
        found.append(_trade(row, market, received_ms, number, row.amount))
    return found


def swap_trades(rows: list[SwapTradeRow], market: Market, received_ms: int) -> list[Event]:
    """Oldest first."""
    return [
        _trade(row, market, received_ms, row.id, row.amount * market.contract if row.quantity is None else row.quantity)
        for row in reversed(rows)
    ]


def _trade(row: SpotTradeRow | SwapTradeRow, market: Market, received_ms: int, number: int, quantity: float) -> Trade:
    return Trade(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=row.ts,
        received_ms=received_ms,
        price=row.price,
        quantity=market.once(quantity),
        side=row.direction,
        id=number,
    )


def _quote_volume(row: KlineRow | DetailRow, market: Market) -> float | None:
    said = row.vol if market.spot else row.trade_turnover
    return None if said is None else market.once(said)


def swap_depth(row: DepthRow, market: Market, received_ms: int, pushed_ms: int) -> Depth:
    """The version counts up by one for each change of one subscription."""
    if row.version is None or row.event is None:
        raise CorruptData("HTX sent a book of a perpetual without its version.")
    previous_id = None if row.event == "snapshot" else row.version - 1
    return _depth(row, market, received_ms, pushed_ms, row.version, previous_id, snapshot=row.event == "snapshot")


def spot_depth(row: DepthRow, market: Market, received_ms: int, pushed_ms: int, *, snapshot: bool) -> Depth:
    """A change names the one before; what was asked for is whole."""
    if row.seqNum is None or (row.prevSeqNum is None and not snapshot):
        raise CorruptData("HTX sent a book of spot without its sequence.")
    return _depth(row, market, received_ms, pushed_ms, row.seqNum, row.prevSeqNum, snapshot=snapshot)


def whole_depth(row: DepthRow, market: Market, received_ms: int, pushed_ms: int) -> Depth:
    """A book that comes whole. Its version belongs to no stream of changes."""
    return _depth(row, market, received_ms, pushed_ms, row.version or 0, None, snapshot=True)


def _depth(
    row: DepthRow,
    market: Market,
    received_ms: int,
    pushed_ms: int,
    last_id: int,
    previous_id: int | None,
    *,
    snapshot: bool,
) -> Depth:
    return Depth(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=pushed_ms if row.ts is None else row.ts,
        received_ms=received_ms,
        last_id=last_id,
        previous_id=previous_id,
        bids=_levels(row.bids, market.contract),
        asks=_levels(row.asks, market.contract),
        snapshot=snapshot,
    )


def _levels(rows: list[LevelRow], contract: float) -> list[Level]:
    return [(row.price, row.quantity * contract) for row in rows]


def spot_top(row: SpotTopRow, market: Market, received_ms: int) -> list[Event]:
    """The best bid and ask of spot."""
    return [
        BookTop(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=row.quote_time,
            received_ms=received_ms,
            bid=row.bid,
            bid_quantity=row.bid_size,
            ask=row.ask,
            ask_quantity=row.ask_size,
        )
    ]


def top(bid: LevelRow | None, ask: LevelRow | None, market: Market, time_ms: int, received_ms: int) -> list[Event]:
    """Nothing while one side is empty."""
    if bid is None or ask is None:
        return []
    return [
        BookTop(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=time_ms,
            received_ms=received_ms,
            bid=bid.price,
            bid_quantity=bid.quantity * market.contract,
            ask=ask.price,
            ask_quantity=ask.quantity * market.contract,
        )
    ]


def ticker(row: DetailRow, market: Market, time_ms: int, received_ms: int) -> list[Event]:
    """Nothing for what never traded."""
    if row.close is None:
        return []
    change = None if row.open is None else row.close - row.open
    return [
        Ticker(
            exchange=market.exchange,
            symbol=market.symbol,
            time_ms=time_ms,
            received_ms=received_ms,
            last=row.close,
            open=row.open,
            high=row.high,
            low=row.low,
            volume=None if row.amount is None else market.once(row.amount),
            quote_volume=_quote_volume(row, market),
            change=change,
            change_percent=100 * change / row.open if change is not None and row.open else None,
            bid=row.bid.price if row.bid else None,
            bid_quantity=row.bid.quantity * market.contract if row.bid else None,
            ask=row.ask.price if row.ask else None,
            ask_quantity=row.ask.quantity * market.contract if row.ask else None,
            trades=row.count,
        )
    ]


def funding_rate(row: FundingRow, market: Market, time_ms: int, received_ms: int) -> Mark:
    """The present rate, and when it is settled."""
    return Mark(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=time_ms,
        received_ms=received_ms,
        funding_rate=row.funding_rate,
        next_funding_ms=row.settlement_time,
    )


def days(candles: list[Candle], now_ms: int) -> list[Candle]:
    """Days of UTC from candles of four hours, oldest first. A day that lacks a part is left out, but for the one that runs."""
    found = []
    for day_ms, group in groupby(candles, key=lambda one: open_of(one.time_ms, "1d")):
        parts = list(group)
        over = day_ms + length_ms("1d") <= now_ms
        if parts[0].time_ms == day_ms and (len(parts) == PARTS_OF_A_DAY or not over):
            found.append(_day(parts, closed=over))
    return found


def _day(parts: list[Candle], *, closed: bool) -> Candle:
    return msgspec.structs.replace(
        parts[0],
        timeframe="1d",
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=sum(part.volume for part in parts),
        quote_volume=_sum([part.quote_volume for part in parts]),
        trades=_sum([part.trades for part in parts]),
        closed=closed,
    )


def _sum(numbers: list[Any]) -> Any:
    return None if None in numbers else sum(numbers)


def open_interest(row: OpenInterestRow, market: Market, time_ms: int, received_ms: int) -> OpenInterest:
    """In coins."""
    return OpenInterest(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=time_ms,
        received_ms=received_ms,
        quantity=row.amount,
        value=row.value,
    )


def open_interest_bar(row: OpenInterestBar, market: Market, received_ms: int) -> OpenInterest:
    """In coins."""
    return OpenInterest(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=row.ts,
        received_ms=received_ms,
        quantity=row.volume,
        value=row.value,
    )


def settled(row: FundingRow, market: Market, received_ms: int) -> Funding:
    """Funding that was paid."""
    if row.funding_time is None or row.funding_rate is None:
        raise CorruptData("HTX sent funding of the past without its rate or time.")
    return Funding(
        exchange=market.exchange,
        symbol=market.symbol,
        time_ms=row.funding_time,
        received_ms=received_ms,
        rate=row.funding_rate,
    )


def perpetual(row: ContractRow) -> Instrument | None:
    """None for what we do not have a form for: a future with a date, an odd name."""
    base, _, quote = row.contract_code.partition("-")
    if (
        row.business_type != "swap"
        or row.contract_size <= 0
        or not _is_ours(f"{base}/{quote}:{quote}", row.contract_code)
    ):
        return None
    return Instrument(
        symbol=f"{base}/{quote}:{quote}",
        base=base,
        quote=quote,
        settle=quote,
        price_step=row.price_tick,
        quantity_step=row.contract_size,
        contract_size=row.contract_size,
        min_quantity=row.contract_size,
        active=row.contract_status == 1,
    )


def spot_pair(row: SymbolRow) -> Instrument | None:
    """None for what we do not have a form for."""
    base, quote = row.base_currency.upper(), row.quote_currency.upper()
    if not _is_ours(f"{base}/{quote}", row.base_currency + row.quote_currency):
        return None
    return Instrument(
        symbol=f"{base}/{quote}",
        base=base,
        quote=quote,
        price_step=_step(row.price_precision),
        quantity_step=_step(row.amount_precision),
        min_quantity=row.min_order_amt,
        active=row.state == "online",
    )


def _is_ours(symbol: str, wire: str) -> bool:
    try:
        return code(symbol) == wire
    except InvalidInput:
        return False


def _step(digits: int | None) -> float | None:
    return None if digits is None else 10.0**-digits


def of_rest(answer: Any, key: str, kind: type[Answer]) -> Answer:
    """What stands under ``key`` in a REST answer. Raises CorruptData where it is not what it should be."""
    try:
        return msgspec.convert(answer[key], kind, strict=False)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise CorruptData(f"HTX answered something else: {error}") from error


def said_at(answer: Any, received_ms: int) -> int:
    """The exchange's time of a REST answer; ours where it does not say it."""
    return of_rest(answer, "ts", int) if isinstance(answer, Mapping) and "ts" in answer else received_ms
