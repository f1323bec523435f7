"""Everything that an exchange says passes here once: checked, counted, put into books and buckets, and handed on.

It holds no handle and waits for nothing: streams, history and replay call ``take``; the writer calls ``harvest``, the publisher
``news``. So what comes in never waits for a database, and a database that is away costs memory up to a bound, then rows that are
counted as lost. It belongs to one thread.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from app.cache.market import CachedBook, CachedTicker, CandleNews, DepthNews
from app.domain.market import symbols
from app.domain.market.book import BookKeeper, BookSummary
from app.domain.market.cleaning import Context, Finding, clean
from app.domain.market.consistency import disagreements
from app.domain.market.depth_sync import rule_of
from app.domain.market.market_time import moment_of
from app.domain.market.timeframes import open_of
from app.domain.market.values import BookTop, Candle, Depth, Event, Funding, Mark, OpenInterest, Ticker, Trade
from app.domain.orderflow.flow import Flow as FlowValue
from app.domain.orderflow.flow import FlowKeeper
from app.domain.orderflow.open_interest import OpenInterestState, advance
from app.domain.posture import Posture
from app.storage.depths import DepthRow
from app.storage.flow import Flow
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.refused import DETAIL_LENGTH, RefusedMessage
from app.storage.symbols import MarketNote
from app.storage.tickers import TickerRow
from app.usecases.harvest import Harvest, Inspected, kline
from app.usecases.told_ticker import told_ticker

SUMMARY_EVERY_MS = 1_000  # walking a thousand levels for the sums; the best prices are written every time
COMPARED_MS = 30_000  # an exchange that is silent for longer says nothing that could be compared
BOOK_LEVELS = 100  # in Redis
BOOK_EVERY_MS = 1_000
CANDLE_EVERY_MS = 1_000  # of one that still runs
_log = logging.getLogger(__name__)
NEWS_EVERY_MS = 250  # of one kind and symbol; neither a person's eye nor a strategy needs more


@dataclass(slots=True, eq=False)
class Market:
    """One symbol of one exchange: what is known of it just now."""

    exchange: str
    symbol: str
    pair_id: int | None = None
    keeper: BookKeeper | None = None
    ticker: Ticker | None = None
    top: BookTop | None = None
    mark: Mark | None = None
    price: float | None = None
    price_ms: int = 0
    """Of when the price is, by the exchange's word: one that repeats an old price has an old one."""
    top_ms: int = 0
    flow: FlowKeeper = field(init=False)
    interest: OpenInterestState = field(default_factory=OpenInterestState)
    summary: BookSummary | None = None
    summed_ms: int = 0
    candle_ms: int = 0
    """The newest candle of the stream, open or closed."""
    closed_told_ms: int = -1
    closed_ms: int = -1
    """The newest closed minute, by whichever way."""
    told_ms: int = 0
    candle_told_ms: int = 0
    book_told_ms: int = 0

    def __post_init__(self) -> None:
        self.flow = FlowKeeper(self.exchange, self.symbol)

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands."""
        return self.exchange, self.symbol


@dataclass(slots=True)
class Fresh:
    """What is to be told: to Redis and to those who listen."""

    tickers: list[CachedTicker] = field(default_factory=list)
    candles: list[CandleNews] = field(default_factory=list)
    depths: list[DepthNews] = field(default_factory=list)
    books: list[CachedBook] = field(default_factory=list)


class Pipeline:
    """All markets of all collectors."""

    def __init__(self, *, most_waiting: int, noted: str | None = None, speed: float = 1.0) -> None:
        """``speed``: how fast market time runs."""
        self._speed = speed
        self._most_waiting = most_waiting
        self._noted = noted  # the exchange whose numbers stand in the table of symbols
        self.markets: dict[tuple[str, str], Market] = {}
        self.messages: dict[str, Counter[str]] = {}
        self.counters: dict[str, Counter[str]] = {}
        self.checks: Counter[tuple[str, str]] = Counter()
        """By check and verdict."""
        self.examples: dict[tuple[str, str], tuple[int, str]] = {}
        self.lost = 0
        self.posture = Posture()
        self.held_back = 0
        self.now_ms = 0
        self._asked = False
        self._marks: tuple[str, ...] = ()
        self._inspected = Inspected()
        self._disagreeing: set[tuple[object, ...]] = set()
        self._by_pair: dict[int, Market] = {}
        self._contexts: dict[str, Context] = {}
        self._waiting = Harvest()
        self._begun: dict[int, int] = {}
        """Of each pair, the newest minute whose flow was written."""
        self._flows: set[Market] = set()
        self._tickers: set[Market] = set()
        self._books: set[Market] = set()
        self._news: set[Market] = set()
        self._candles: list[CandleNews] = []
        self._handlers: dict[type, tuple[str, Callable[[Market, Any], None]]] = {
            Trade: ("trades", self._trade),
            Depth: ("depth", self._depth),
            BookTop: ("top", self._top),
            Ticker: ("ticker", self._ticker),
            Mark: ("mark", self._mark),
            Candle: ("candles", self._candle),
            OpenInterest: ("open_interest", self._open_interest),
            Funding: ("funding", self._funding),
        }

    def watch(self, exchange: str, symbol: str, *, pair_id: int | None, deep: bool) -> Market:
        """Make room for a symbol, or renew what is known of it."""
        market = self.markets.get((exchange, symbol))
        if market is None:
            market = self.markets[exchange, symbol] = Market(exchange, symbol)
        if pair_id is not None:
            market.pair_id = pair_id
            self._by_pair[pair_id] = market
        if deep and market.keeper is None:
            rule = rule_of(exchange, perpetual=symbols.taken_apart(symbol).is_perpetual)
            market.keeper = BookKeeper(exchange, symbol, rule, speed=self._speed)
        elif not deep:
            market.keeper = None
        return market

    def forget(self, exchange: str, symbol: str) -> None:
        """Nobody watches it any more."""
        market = self.markets.pop((exchange, symbol), None)
        if market is not None:
            self._gather_flows(market)
            for some in (self._flows, self._tickers, self._books, self._news):
                some.discard(market)

    def take(self, events: Iterable[Event], now_ms: int, *, asked: bool = False) -> None:
        """Take what an exchange said. ``asked``: it was asked for by REST, so its age says nothing about the stream."""
        self.now_ms, self._asked = now_ms, asked
        markets, handlers, received = self.markets, self._handlers, self._waiting.received_ms
        context, counts, exchange = Context(), Counter[str](), ""
        for event in events:
            market = markets.get((event.exchange, event.symbol))
            if market is None:
                continue  # it was watched a moment ago
            if event.exchange != exchange:
                exchange = event.exchange
                context = self._context(exchange, asked=asked)
                counts = self.messages.setdefault(exchange, Counter())
            channel, handle = handlers[type(event)]
            counts[channel] += 1
            try:
                cleaned = clean(event, context)
                if cleaned.refused is not None:
                    self._refuse(event, channel, cleaned.refused)
                    continue
                self._marks = ()
                if cleaned.marks:
                    self._note_marks(event, cleaned.marks)
                handle(market, event)
            except Exception as error:  # noqa: BLE001 - a mistake of ours costs the value that it stumbled over, never the stream
                self._stumble(event, channel, error)
            else:
                if not asked:
                    received.append(event.received_ms)

    def _context(self, exchange: str, *, asked: bool) -> Context:
        """What the checks compare with. What was asked for may be history, and is compared with nothing else."""
        if asked:
            return Context(self.now_ms, speed=self._speed)
        context = self._contexts.get(exchange)
        if context is None:
            context = self._contexts[exchange] = Context(speed=self._speed)
        context.now_ms = self.now_ms
        return context

    def _note_marks(self, event: Event | BookSummary, marks: tuple[Finding, ...]) -> None:
        if marks:
            self.counters_of(event.exchange)["odd"] += 1
        self._marks = tuple(mark.check for mark in marks)
        for mark in marks:
            self._note_check(mark, "mark", event)

    def unreadable(self, exchange: str, why: str, now_ms: int) -> None:
        """A message that could not be understood: it is counted, and one of them kept for inspection."""
        self.counters_of(exchange)["unreadable"] += 1
        self.now_ms = now_ms
        self._inspect(exchange, None, "stream", "unreadable", lambda: why)

    def counters_of(self, exchange: str) -> Counter[str]:
        """What was wrong with an exchange's messages."""
        return self.counters.setdefault(exchange, Counter())

    def _stumble(self, event: Event, channel: str, error: Exception) -> None:
        counters = self.counters_of(event.exchange)
        counters["stumbled"] += 1
        if counters["stumbled"] == 1:
            _log.error("the %s of %s %s: %r", channel, event.exchange, event.symbol, error, exc_info=error)
        self._inspect(event.exchange, event.symbol, channel, "stumbled", lambda: repr(error))

    def _refuse(self, event: Event, channel: str, finding: Finding) -> None:
        self.counters_of(event.exchange)["refused"] += 1
        self._note_check(finding, "refuse", event)
        self._inspect(
            event.exchange,
            event.symbol,
            channel,
            finding.check,
            lambda: f"{finding.detail} {msgspec.json.encode(event).decode()}",
        )

    def _inspect(self, exchange: str, symbol: str | None, channel: str, reason: str, detail: Callable[[], str]) -> None:
        """Keep a refused message for a person to look at; of many of a kind only some, for all are counted anyway."""
        if self._inspected.allows(exchange, reason, round(self.now_ms / self._speed)):
            at, said = moment_of(self.now_ms), detail()[:DETAIL_LENGTH]
            self._waiting.refuse(RefusedMessage(at, exchange, channel, reason, symbol, said))

    def _note_check(self, finding: Finding, verdict: str, event: Event | BookSummary) -> None:
        self.checks[finding.check, verdict] += 1
        self.examples[finding.check, verdict] = (
            self.now_ms,
            f"{event.exchange} {event.symbol}: {finding.detail}",
        )

    def _trade(self, market: Market, trade: Trade) -> None:
        market.price, market.price_ms = trade.price, min(trade.time_ms, self.now_ms)
        market.flow.add(trade)
        self._flows.add(market)
        self._tickers.add(market)

    def _depth(self, market: Market, depth: Depth) -> None:
        if market.keeper is not None and market.keeper.receive(depth, self.now_ms):
            self._books.add(market)

    def _top(self, market: Market, top: BookTop) -> None:
        market.top, market.top_ms = top, min(top.time_ms, self.now_ms)
        self._tickers.add(market)

    def _ticker(self, market: Market, ticker: Ticker) -> None:
        market.ticker = ticker
        market.price, market.price_ms = ticker.last, min(ticker.time_ms, self.now_ms)
        self._tickers.add(market)

    def _mark(self, market: Market, mark: Mark) -> None:
        before = market.mark
        if before is not None:  # an exchange may say the price on one channel and the funding on another
            known = {name: value for name, value in msgspec.structs.asdict(mark).items() if value is not None}
            mark = msgspec.structs.replace(before, **known)
        market.mark = mark
        self._tickers.add(market)

    def _candle(self, market: Market, candle: Candle) -> None:
        if not self._asked and candle.time_ms >= market.candle_ms and candle.time_ms > market.closed_told_ms:
            if candle.closed:
                market.closed_told_ms = candle.time_ms  # two connections that overlap both say so
            began = candle.time_ms > market.candle_ms
            if candle.closed or began or self.now_ms - market.candle_told_ms >= CANDLE_EVERY_MS * self._speed:
                self._candles.append(_candle_news(candle))
                market.candle_told_ms = self.now_ms
            market.candle_ms = candle.time_ms
        if not candle.closed or market.pair_id is None:
            return
        row = kline(market.pair_id, candle, "rest" if self._asked else "stream", self._marks)
        self._waiting.klines[market.pair_id, candle.timeframe, candle.time_ms] = row
        if candle.timeframe == "1m":
            market.closed_ms = max(market.closed_ms, candle.time_ms)
            self._repair_flow(market, market.pair_id, candle)

    def _repair_flow(self, market: Market, pair_id: int, candle: Candle) -> None:
        """A minute whose trades were lost, or that passed while nobody listened, from what takers bought in its candle."""
        flow = market.flow.settle(candle)
        self._flows.add(market)  # it may have marked minutes that the candle contradicts
        if flow is not None:
            self.counters_of(market.exchange)["repaired"] += 1
            self._waiting.flows[pair_id, "1m", flow.open_time] = _flow_row(pair_id, flow)

    def _open_interest(self, market: Market, value: OpenInterest) -> None:
        market.interest, _ = advance(market.interest, value)
        minutes = market.interest.minutes
        if market.pair_id is None or not minutes or minutes[-1][0] != value.time_ms:
            return  # it came before, or is older than what is known
        before = minutes[-2][1] if len(minutes) > 1 else None
        change = (value.quantity - before) / before * 100 if before else None
        minute = open_of(value.time_ms, "1m")
        worth = value.value
        if worth is None and (price := market.mark.mark_price if market.mark else market.price):
            worth = value.quantity * price
        row = OpenInterestRow(market.pair_id, "1m", minute, value.quantity, worth, change)
        self._waiting.open_interest[market.pair_id, "1m", minute] = row

    def _funding(self, market: Market, funding: Funding) -> None:
        if market.pair_id is not None:
            row = FundingRow(market.pair_id, funding.time_ms, funding.rate, funding.mark_price)
            self._waiting.funding[market.pair_id, "funding", funding.time_ms] = row

    def resume(self, market: Market, flow: Flow | None, interest: OpenInterestState, now_ms: int) -> None:
        """Go on where the process before ended: the minute that it had begun, and the open interest that it had stored.

        The database may have been away at the start: then what came since is newer.
        """
        began = market.interest.minutes
        older = tuple(one for one in interest.minutes if not began or one[0] < began[0][0])
        market.interest = OpenInterestState((*older, *began))
        if flow is not None:
            market.flow.resume(_flow_value(market, flow), now_ms)
            self._flows.add(market)

    def compare(self, now_ms: int) -> None:
        """Whether the exchanges agree on what they both trade. A disagreement is counted when it begins."""
        tops: dict[str, list[BookTop]] = {}
        for market in self.markets.values():
            if market.top is not None and now_ms - market.top_ms <= COMPARED_MS * self._speed:
                tops.setdefault(market.symbol, []).append(market.top)
        found = {
            (each.symbol, each.kind, each.severity, each.exchanges): each
            for compared in tops.values()
            for each in disagreements(compared, speed=self._speed)
        }
        for key in found.keys() - self._disagreeing:
            each = found[key]
            check = (f"exchanges-disagree-{each.kind}-{each.severity.lower()}", "mark")
            self.checks[check] += 1
            self.examples[check] = (now_ms, each.sentence)
        self._disagreeing = set(found)

    @property
    def waiting(self) -> int:
        """Rows that wait to be written."""
        return len(self._waiting)

    def harvest(self, now_ms: int, *, notes: bool = True) -> Harvest:
        """All that changed since the last call, to be written; the table of symbols only when ``notes`` are due."""
        waiting = self._waiting
        for market in self._flows:
            self._gather_flows(market)
        self._flows.clear()
        for market in self._tickers:
            if market.pair_id is not None:
                ticker = _ticker_row(market, market.pair_id, open_of(now_ms, "1m"))
                waiting.tickers[ticker.pair_id, ticker.timeframe, ticker.open_time] = ticker
        for market in self._books:
            if market.keeper is not None and market.pair_id is not None:
                depth = self._depth_row(market, market.keeper, market.pair_id, now_ms)
                waiting.depths[depth.pair_id, depth.timeframe, depth.open_time] = depth
        if notes:
            noted = (market for market in self.markets.values() if market.exchange == self._noted)
            waiting.notes = {market.symbol: _note(market) for market in noted if market.price is not None}
        self._news |= self._tickers | self._books
        self._tickers.clear()
        self._books.clear()
        self._waiting = Harvest()
        if self.posture.scarce:
            self.held_back += waiting.leave_least()
        return waiting

    def _gather_flows(self, market: Market) -> None:
        if market.pair_id is not None:
            for flow in market.flow.changed():
                if flow.status == "repaired":
                    self.counters_of(market.exchange)["repaired"] += 1
                self._waiting.flows[market.pair_id, "1m", flow.open_time] = _flow_row(market.pair_id, flow)

    def _depth_row(self, market: Market, keeper: BookKeeper, pair_id: int, now_ms: int) -> DepthRow:
        """The book in a few numbers; the sums over many levels are walked once a second, the best prices are always of now."""
        minute = open_of(now_ms, "1m")
        summary, status = market.summary, keeper.status(now_ms)
        due = now_ms - market.summed_ms >= SUMMARY_EVERY_MS * self._speed
        if summary is None or due or summary.time_ms != minute or summary.status != status:
            summary = keeper.summary(minute, now_ms)
            market.summed_ms = now_ms
            self._note_marks(summary, clean(summary, self._context(market.exchange, asked=False)).marks)
        elif status == "ok":
            book = keeper.book
            summary = msgspec.structs.replace(
                summary, bid=book.best_bid, ask=book.best_ask, mid=book.mid, spread_percent=book.spread_percent
            )
        market.summary = summary
        return DepthRow(pair_id, "1m", minute, *(getattr(summary, name) for name in _SUMMARY_FIELDS))

    def put_back(self, harvest: Harvest) -> None:
        """What could not be written waits on, under what came since; what there is no room for is lost, and counted."""
        self.lost += self._waiting.put_under(harvest, self._most_waiting, self._begun)

    def written(self, harvest: Harvest) -> None:
        """What is stored now, and may be stored in part."""
        for pair_id, _, open_time in harvest.flows:
            self._begun[pair_id] = max(open_time, self._begun.get(pair_id, 0))

    def fresh(self, now_ms: int) -> Fresh:
        """What is to be told now; of each symbol and kind a few times a second."""
        fresh = Fresh(candles=self._candles)
        self._candles = []
        self._news |= self._tickers | self._books  # also while nothing can be written
        for market in [market for market in self._news if now_ms - market.told_ms >= NEWS_EVERY_MS * self._speed]:
            self._news.discard(market)
            market.told_ms = now_ms
            fresh.tickers.append(_cached_ticker(market))
            if market.keeper is not None:
                fresh.depths.append(_depth_news(market, market.keeper, now_ms))
                if now_ms - market.book_told_ms >= BOOK_EVERY_MS * self._speed:
                    market.book_told_ms = now_ms
                    fresh.books.append(_cached_book(market, market.keeper, now_ms))
        return fresh

    def rolled(self, rows: Iterable[Kline]) -> None:
        """Candles that came into being by rolling up are told like those that came by the stream."""
        for row in rows:
            market = self._by_pair.get(row.pair_id)
            if market is not None:
                values: dict[str, Any] = {name: getattr(row, name) for name in _CANDLE_FIELDS}
                place: dict[str, Any] = {
                    "exchange": market.exchange,
                    "symbol": market.symbol,
                    "timestamp": row.open_time,
                }
                self._candles.append(CandleNews(closed=True, **place, **values))

    def books_wanted(self, exchange: str, now_ms: int) -> list[str]:
        """Symbols of which a whole book must be asked for; each is named once, and again when no answer came. Of our own time."""
        return [
            market.symbol
            for market in self.markets.values()
            if market.exchange == exchange and market.keeper is not None and market.keeper.ask(now_ms)
        ]

    def reconnected(self, exchange: str, books: Iterable[str], trades: Iterable[str]) -> None:
        """A stream began anew: the books that it carries do too, and some of its trades may be missing."""
        for name in books:
            market = self.markets.get((exchange, name))
            if market is not None and market.keeper is not None:
                market.keeper.restart()
        for name in trades:
            market = self.markets.get((exchange, name))
            if market is not None:
                market.flow.reconnected()


def _flow_row(pair_id: int, flow: FlowValue) -> Flow:
    return Flow(pair_id, "1m", *(getattr(flow, name) for name in _FLOW_FIELDS))


def _flow_value(market: Market, row: Flow) -> FlowValue:
    known = {name: getattr(row, name) or 0.0 for name in _FLOW_FIELDS}
    exact = {name: getattr(row, name) for name in ("first_id", "last_id", "status")}
    return FlowValue(market.exchange, market.symbol, **{**known, **exact})


def _ticker_row(market: Market, pair_id: int, minute: int) -> TickerRow:
    ticker, top, mark = market.ticker, market.top, market.mark
    return TickerRow(
        pair_id,
        "1m",
        minute,
        price=market.price,
        volume_24h=ticker.volume if ticker else None,
        quote_volume_24h=ticker.quote_volume if ticker else None,
        bid=top.bid if top else None,
        ask=top.ask if top else None,
        bid_volume=top.bid_quantity if top else None,
        ask_volume=top.ask_quantity if top else None,
        high_24h=ticker.high if ticker else None,
        low_24h=ticker.low if ticker else None,
        change_24h=ticker.change if ticker else None,
        change_24h_percent=ticker.change_percent if ticker else None,
        trades_count=ticker.trades if ticker else None,
        mark_price=mark.mark_price if mark else None,
        index_price=mark.index_price if mark else None,
        funding_rate=mark.funding_rate if mark else None,
        next_funding_time=mark.next_funding_ms if mark else None,
    )


def _cached_ticker(market: Market) -> CachedTicker:
    told_ms = max(market.price_ms, market.top_ms) or (market.mark.time_ms if market.mark else 0)
    return told_ticker(_ticker_row(market, 0, 0), market.exchange, market.symbol, told_ms)


def _note(market: Market) -> MarketNote:
    ticker, mark = market.ticker, market.mark
    return MarketNote(
        market.symbol,
        last_price=market.price,
        volume_24h=ticker.quote_volume if ticker else None,
        price_change_24h=ticker.change_percent if ticker else None,
        funding_rate=mark.funding_rate if mark else None,
    )


def _depth_news(market: Market, keeper: BookKeeper, now_ms: int) -> DepthNews:
    top = keeper.top(now_ms)
    summary = market.summary
    return DepthNews(
        exchange=market.exchange,
        symbol=market.symbol,
        timestamp=keeper.updated_ms or now_ms,
        status=keeper.status(now_ms),
        bid=top.bid if top else None,
        bid_volume=top.bid_quantity if top else None,
        ask=top.ask if top else None,
        ask_volume=top.ask_quantity if top else None,
        spread_percent=keeper.book.spread_percent if top else None,
        imbalance=summary.imbalance if top and summary else None,
    )


def _cached_book(market: Market, keeper: BookKeeper, now_ms: int) -> CachedBook:
    status = keeper.status(now_ms)
    known = status == "ok"
    return CachedBook(
        exchange=market.exchange,
        symbol=market.symbol,
        timestamp=keeper.updated_ms or now_ms,
        status=status,
        bids=keeper.book.bids.levels(BOOK_LEVELS) if known else [],
        asks=keeper.book.asks.levels(BOOK_LEVELS) if known else [],
    )


def _candle_news(candle: Candle) -> CandleNews:
    return CandleNews(
        exchange=candle.exchange,
        symbol=candle.symbol,
        timeframe=candle.timeframe,
        closed=candle.closed,
        timestamp=candle.time_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        trades=candle.trades,
        taker_buy_volume=candle.taker_buy_volume,
        taker_buy_quote_volume=candle.taker_buy_quote_volume,
    )


_CANDLE_FIELDS = tuple(
    name for name in Candle.__struct_fields__ if name not in {"exchange", "symbol", "time_ms", "received_ms", "closed"}
)
_FLOW_FIELDS = tuple(each.name for each in fields(Flow))[2:]
_SUMMARY_FIELDS = tuple(each.name for each in fields(DepthRow))[3:]
