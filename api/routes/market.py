"""What the market says. Every answer carries its exchange, its age by the market's time, and whether it can be trusted."""

from collections.abc import Iterable
from functools import wraps
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api import source
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route, Spelled
from app.cache.market import CachedCandle, CachedTicker
from app.domain.market import symbols, timeframes
from app.domain.market.market_time import MarketTime, ms_of
from app.domain.market.readings import Status
from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import Level
from app.domain.orderflow.flow import CVD_WINDOW_MS
from app.errors import InvalidInput, NotFound, Unavailable
from app.host import feed_report
from app.host.feed_report import FeedReport, FeedState, Seen
from app.storage import collectors
from app.storage.collectors import Collector
from app.storage.database import reading
from app.usecases.market_source import why_not_there
from app.usecases.read_market import MOST_ROWS, OPEN_INTEREST_FRESH_MS, TICKER_FRESH_MS, known_symbols, of_last_minute

Named = Annotated[str, Meta(max_length=30, description="One of the present source; without it, the first.")] | None
Age = Annotated[int | None, Meta(description="In ms of the market's time; null where it is not known.")]
Moment = Annotated[int, Meta(ge=0, le=2**53)]
Ms = Annotated[int | None, Meta(description="Market time in ms since 1970.")]
At = Annotated[int, Meta(description="Market time in ms since 1970.")]


class PairAsked(Asks, frozen=True):
    """Which pair, where."""

    symbol: Spelled
    exchange: Named = None


class TickersAsked(Asks, frozen=True):
    """Which tickers."""

    symbol: Spelled | None = None
    exchange: Annotated[str, Meta(max_length=30, description="Of this one only; without it, of all.")] | None = None


class CandlesAsked(Asks, frozen=True):
    """Which candles."""

    symbol: Spelled
    timeframe: Annotated[str, Meta(max_length=10, description="Such as 1m, 15m, 1h, 4h, 1d.")] = "1h"
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 100
    since: Annotated[
        Moment | None, Meta(description="From this open time on, in ms of market time; then the oldest come first.")
    ] = None
    until: Annotated[Moment | None, Meta(description="Before this open time, in ms of market time.")] = None
    exchange: Named = None


class BookAsked(Asks, frozen=True):
    """Which book, how deep."""

    symbol: Spelled
    limit: Annotated[int, Meta(ge=1, le=100, description="Levels of each side.")] = 20
    exchange: Named = None


class FundingAsked(Asks, frozen=True):
    """Whose funding, how far back."""

    symbol: Spelled
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS, description="Settled rates, the newest.")] = 100
    exchange: Named = None


class OpenInterestAsked(Asks, frozen=True):
    """Whose open interest, how far back."""

    symbol: Spelled
    timeframe: Annotated[str, Meta(max_length=10, description="1m or 1h.")] = "1m"
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 100
    exchange: Named = None


class CvdAsked(Asks, frozen=True):
    """Whose taker flow, over which window, and how much of its series."""

    symbol: Spelled
    window_minutes: Annotated[int, Meta(ge=1, le=1440)] = CVD_WINDOW_MS // MINUTE_MS
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS, description="Minutes of the series, the newest.")] = 240
    exchange: Named = None


class TickerView(Answer, frozen=True, kw_only=True):
    """What a pair costs, and its last 24 hours. What is not known is null."""

    exchange: str
    symbol: str
    status: Status
    age_ms: Age
    timestamp: Ms = None
    price: float | None = None
    volume: float | None = None
    quote_volume: float | None = None
    change_24h: float | None = None
    change_24h_percent: float | None = None
    high_24h: float | None = None
    low_24h: float | None = None
    bid: float | None = None
    ask: float | None = None
    bid_volume: float | None = None
    ask_volume: float | None = None
    trades: int | None = None
    mark_price: float | None = None
    index_price: float | None = None
    funding_rate: float | None = None
    next_funding_time: Ms = None


class TickerViews(Answer, frozen=True):
    """Tickers, by exchange and symbol."""

    tickers: list[TickerView]


class CandleView(Answer, frozen=True, kw_only=True):
    """One closed candle; ``timestamp`` is when it opened."""

    timestamp: At
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trades: int | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None


class CandleViews(Answer, frozen=True):
    """Closed candles, oldest first. The age is that of the newest one, since it closed."""

    exchange: str
    symbol: str
    timeframe: str
    status: Status
    age_ms: Age
    klines: list[CandleView]


class BookView(Answer, frozen=True):
    """A book: price and quantity, the best first. Only one that is ``ok`` may be relied on; of others it is what was last known."""

    exchange: str
    symbol: str
    status: Status
    age_ms: Age
    timestamp: Ms
    bid: float | None
    ask: float | None
    spread_percent: float | None
    bids: list[Level]
    asks: list[Level]


class SettledFunding(Answer, frozen=True):
    """A rate that was settled."""

    time: At
    rate: float
    mark_price: float | None


class FundingView(Answer, frozen=True):
    """The present rate and those that were settled, newest first."""

    exchange: str
    symbol: str
    status: Status
    age_ms: Age
    rate: Annotated[float | None, Meta(description="For the interval that runs; a share, 0.0001 for 0.01 %.")]
    next_funding_time: Ms
    mark_price: float | None
    history: list[SettledFunding]


class OpenInterestPoint(Answer, frozen=True):
    """Open contracts at one time. A change is null where there was nothing to compare with, never 0."""

    time: At
    quantity: float
    value: float | None
    change_percent: float | None
    status: Status


class OpenInterestView(Answer, frozen=True):
    """The newest open interest with its changes, and what was before, newest first."""

    exchange: str
    symbol: str
    timeframe: str
    status: Status
    age_ms: Age
    quantity: Annotated[float | None, Meta(description="In the base coin.")]
    value: Annotated[float | None, Meta(description="In the quote coin.")]
    change_percent: Annotated[float | None, Meta(description="Since the value before.")]
    change_15m_percent: Annotated[float | None, Meta(description="Over 15 minutes, whatever the timeframe.")]
    change_15m_status: Annotated[Status, Meta(description="Only a change that is ok may be judged by.")]
    history: list[OpenInterestPoint]


class CvdPoint(Answer, frozen=True):
    """What takers did in one minute, in base coins. One that nobody knows is a gap; one without any trade has noughts."""

    open_time: At
    buy: float | None
    sell: float | None
    delta: float | None
    cumulative: Annotated[float, Meta(description="Since the window's beginning, of what is known.")]
    status: Status


class CvdView(Answer, frozen=True):
    """The cumulative volume delta: what takers bought less what they sold within the window, and its minutes, oldest first.

    Only one that is ``ok`` may be judged by: ``warming`` is younger than its window, and in one with a ``gap`` trades were lost.
    """

    exchange: str
    symbol: str
    window_minutes: int
    status: Status
    age_ms: Age
    value: Annotated[float | None, Meta(description="In the base coin.")]
    series: list[CvdPoint]


class BudgetView(Answer, frozen=True):
    """One rate limit: how much of it is used."""

    bucket: str
    used: float
    limit: float
    per_s: float
    banned_until_ms: Annotated[int | None, Meta(description="By our clock; nothing is asked before. null: no ban.")]
    waiting: int


class ExchangeView(Answer, frozen=True):
    """One exchange of the present source. What is not known is null."""

    name: str
    state: Annotated[
        str, Meta(description="Of its worst collector: running, starting, stopped, degraded, failing; else unknown.")
    ]
    note: str
    symbols: list[str]
    connections: Annotated[int | None, Meta(description="Of its stream connections, how many are open.")]
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    budgets: list[BudgetView]


class ExchangeViews(Answer, frozen=True):
    """The exchanges of the present source; the first is the default. ``feed`` says whether market-feed reports."""

    feed: Annotated[FeedState, Meta(description="stale: market-feed no longer reports; unknown: it has not yet.")]
    age_ms: Annotated[int | None, Meta(description="Of market-feed's report, in ms of our time.")]
    exchanges: list[ExchangeView]


INTEREST_TIMEFRAMES = ("1m", "1h")  # the feed writes minutes, the roll-up hours
_BADNESS = ("running", "starting", "stopped", "degraded", "failing")


def ticker(call: Call[PairAsked]) -> Reply[TickerView]:
    """Read the newest ticker of one pair. Where no exchange was named, another stands in for one that has nothing fresh."""
    exchange, symbol = _place(call, call.asks.symbol, call.asks.exchange)
    found, time = call.deps.market.ticker(exchange, symbol), _time(call)
    if call.asks.exchange is None and (found is None or not of_last_minute(found, time)):
        said = call.deps.market.reference(source.exchanges(call.deps.settings), time, symbol).get(symbol)
        exchange, found = (exchange, found) if said is None else (said.exchange, said)
    return Reply(ticker_view(exchange, symbol, found, time))


def tickers(call: Call[TickersAsked]) -> Reply[TickerViews]:
    """Read the newest tickers of all pairs, of one pair on all exchanges, or of one exchange."""
    asked, settings = call.asks, call.deps.settings
    exchanges = source.exchanges(settings) if asked.exchange is None else [source.exchange(settings, asked.exchange)]
    symbol = None if asked.symbol is None else symbols.parse(asked.symbol)
    time = _time(call)
    found = call.deps.market.tickers(exchanges, symbol)
    return Reply(TickerViews([ticker_view(pair.exchange, pair.symbol, one, time) for pair, one in found]))


def candles(call: Call[CandlesAsked]) -> Reply[CandleViews]:
    """Read closed candles."""
    asked = call.asks
    exchange, symbol = _place(call, asked.symbol, asked.exchange)
    timeframe = timeframes.parse(asked.timeframe)
    found = call.deps.market.candles(
        exchange, symbol, timeframe, _time(call), limit=asked.limit, since_ms=asked.since, until_ms=asked.until
    )
    views = [_candle_view(candle) for candle in found.candles]
    return Reply(CandleViews(exchange, symbol, timeframe, found.status, found.age_ms, views))


def book(call: Call[BookAsked]) -> Reply[BookView]:
    """Read the best levels of a book. While Redis has none, the stored best bid and ask of its last minute."""
    asked = call.asks
    exchange, symbol = _place(call, asked.symbol, asked.exchange)
    found = call.deps.market.book(exchange, symbol, _time(call))
    timestamp, bids, asks = None, list[Level](), list[Level]()
    bid = ask = None
    if found.book is not None:
        timestamp = found.book.timestamp
        bids, asks = list(found.book.bids[: asked.limit]), list(found.book.asks[: asked.limit])
        bid, ask = bids[0][0] if bids else None, asks[0][0] if asks else None
    elif found.summary is not None:
        timestamp, bid, ask = found.summary.open_time, found.summary.bid, found.summary.ask
    spread_percent = None if bid is None or ask is None else (ask - bid) / ((ask + bid) / 2) * 100
    return Reply(
        BookView(exchange, symbol, found.status, found.age_ms, timestamp, bid, ask, spread_percent, bids, asks)
    )


def funding(call: Call[FundingAsked]) -> Reply[FundingView]:
    """Read the present funding rate and those that were settled."""
    asked = call.asks
    exchange, symbol = _place(call, asked.symbol, asked.exchange)
    now, settled = call.deps.market.funding(exchange, symbol, asked.limit)
    time, at_ms = _time(call), None if now is None or now.funding_rate is None else now.timestamp
    return Reply(
        FundingView(
            exchange,
            symbol,
            time.status(at_ms, TICKER_FRESH_MS),
            time.age_ms(at_ms),
            None if now is None else now.funding_rate,
            None if now is None else now.next_funding_time,
            None if now is None else now.mark_price,
            [SettledFunding(row.time_ms, row.rate, row.mark_price) for row in settled],
        )
    )


def open_interest(call: Call[OpenInterestAsked]) -> Reply[OpenInterestView]:
    """Read the newest open interest, its changes, and what was before."""
    asked = call.asks
    exchange, symbol = _place(call, asked.symbol, asked.exchange)
    timeframe = timeframes.parse(asked.timeframe)
    if timeframe not in INTEREST_TIMEFRAMES:
        raise InvalidInput(
            f"Open interest is not kept by {timeframe}.", cure=f"Use {' or '.join(INTEREST_TIMEFRAMES)}."
        )
    rows = call.deps.market.open_interest(exchange, symbol, timeframe, asked.limit)
    time, newest = _time(call), rows[0] if rows else None
    change = call.deps.market.open_interest_change(exchange, symbol, time)
    fresh_ms = max(OPEN_INTEREST_FRESH_MS, 2 * timeframes.length_ms(timeframe))
    at_ms = None if newest is None else newest.open_time
    return Reply(
        OpenInterestView(
            exchange,
            symbol,
            timeframe,
            time.status(at_ms, fresh_ms),
            time.age_ms(at_ms),
            None if newest is None else newest.quantity,
            None if newest is None else newest.value,
            None if newest is None else newest.change_percent,
            change.value,
            change.status,
            [
                OpenInterestPoint(
                    row.open_time,
                    row.quantity,
                    row.value,
                    row.change_percent,
                    "warming" if row.change_percent is None else "ok",
                )
                for row in rows
            ],
        )
    )


def cvd(call: Call[CvdAsked]) -> Reply[CvdView]:
    """Read the cumulative volume delta, and its series minute by minute."""
    asked = call.asks
    exchange, symbol = _place(call, asked.symbol, asked.exchange)
    found = call.deps.market.cvd(exchange, symbol, asked.window_minutes * MINUTE_MS, _time(call))
    return Reply(
        CvdView(
            exchange,
            symbol,
            asked.window_minutes,
            found.reading.status,
            found.age_ms,
            found.reading.value,
            [
                CvdPoint(
                    one.open_time,
                    one.buy,
                    one.sell,
                    None if one.buy is None or one.sell is None else one.buy - one.sell,
                    one.cumulative,
                    one.status,
                )
                for one in found.minutes[-asked.limit :]
            ],
        )
    )


def exchanges(call: Call[Nothing]) -> Reply[ExchangeViews]:
    """Say of each exchange how it does, what is watched there, and how much of its rate limits is used."""
    deps = call.deps
    names = source.exchanges(deps.settings)
    with reading(deps.engine) as db:
        watched, rows = known_symbols(db, names), collectors.listed(db)
    report, feed, age_ms = reported(call)
    stopped = {row.exchange for row in unreported(rows, report)}
    views = [_exchange_view(name, watched[name], report, stopped=name in stopped) for name in names]
    return Reply(ExchangeViews(feed, age_ms, views))


def reported(call: Call[Any]) -> Seen:
    """What market-feed last said of itself."""
    return feed_report.look(call.deps.run_dir, ms_of(call.now))


def unreported(rows: Iterable[Collector], report: FeedReport | None) -> list[Collector]:
    """Collectors that were stopped and that the feed says nothing of: their rows say so."""
    named = {one.name for one in report.collectors} if report else set()
    return [row for row in rows if row.desired == "stopped" and row.name not in named]


def ticker_view(exchange: str, symbol: str, found: CachedTicker | None, time: MarketTime) -> TickerView:
    """A ticker with its age; one that never came is warming and has no numbers."""
    at_ms = None if found is None else found.timestamp
    said = {} if found is None else msgspec.structs.asdict(found)
    place = {"exchange": exchange, "symbol": symbol}
    return TickerView(**(said | place), status=time.status(at_ms, TICKER_FRESH_MS), age_ms=time.age_ms(at_ms))


def _exchange_view(name: str, watched: list[str], report: FeedReport | None, *, stopped: bool) -> ExchangeView:
    mine = [one for one in report.collectors if one.exchange == name] if report else []
    worst = max(mine, key=lambda one: _BADNESS.index(one.state) if one.state in _BADNESS else 0, default=None)
    return ExchangeView(
        name,
        worst.state if worst else "stopped" if stopped else "unknown",
        worst.note if worst else "",
        watched,
        sum(link.state == "open" for one in mine for link in one.connections) if mine else None,
        max((q for one in mine if (q := one.quality.latency_ms_p50) is not None), default=None),
        max((q for one in mine if (q := one.quality.latency_ms_p99) is not None), default=None),
        [
            BudgetView(one.bucket, one.used, one.limit, one.per_s, one.banned_until_ms, one.waiting)
            for one in (report.budgets if report else ())
            if one.exchange == name
        ],
    )


def _candle_view(candle: CachedCandle) -> CandleView:
    return CandleView(**msgspec.structs.asdict(candle))


def _place(call: Call[Any], symbol: str, exchange: str | None) -> tuple[str, str]:
    return source.exchange(call.deps.settings, exchange), symbols.parse(symbol)


def _time(call: Call[Any]) -> MarketTime:
    return source.market_time(call.deps.settings, call.now)


_MS = 1_795_262_400_000
_BTC = "BTC/USDT:USDT"
_TICKER = TickerView(exchange="binance", symbol=_BTC, status="ok", age_ms=210, timestamp=_MS, price=43250.5)
_CANDLE = CandleView(timestamp=_MS, open=43000, high=43300, low=42900, close=43250.5, volume=123.45)
_CANDLES = CandleViews("binance", _BTC, "1h", "ok", 60_000, [_CANDLE])
_BOOK = BookView("binance", _BTC, "ok", 120, _MS, 43249.5, 43251.0, 0.0035, [(43249.5, 1.5)], [(43251.0, 0.7)])
_FUNDING = FundingView("binance", _BTC, "ok", 900, 0.0001, _MS, 43250.1, [SettledFunding(_MS, 0.0001, 43200.0)])
_POINT = OpenInterestPoint(_MS, 81_000.5, 3.5e9, 0.12, "ok")
_INTEREST = OpenInterestView("binance", _BTC, "1m", "ok", 12_000, 81_000.5, 3.5e9, 0.12, 1.4, "ok", [_POINT])
_FLOW = CvdPoint(_MS, 41.2, 38.7, 2.5, -310.4, "ok")
_CVD = CvdView("binance", _BTC, 240, "ok", 42_000, -310.4, [_FLOW])
_BUDGET = BudgetView("rest", 120, 2400, 60, None, 0)
_EXCHANGES = ExchangeViews("ok", 400, [ExchangeView("binance", "running", "", [_BTC], 3, 45.0, 120.0, [_BUDGET])])
_RAISES = (InvalidInput, NotFound, Unavailable)


def _reached(handler: Any) -> Any:
    """The same, but a pair that an exchange does not have because it never answered is no wrong name."""

    @wraps(handler)
    def asked(call: Call[Any]) -> Any:
        try:
            return handler(call)
        except NotFound as error:
            name = source.exchange(call.deps.settings, call.asks.exchange)
            why = why_not_there(call.deps.engine, name, reported(call), error)
            if why is error:
                raise
            raise why from error

    return asked


def _both(name: str, handler: Any, summary: str, asks: Any, answer: Any, example: Any) -> tuple[Route[Any, Any], ...]:
    """A question with the symbol in the query, and the same with the symbol in the path, as other documents have it."""
    return tuple(
        Route("GET", path, _reached(handler), "market", text, asks, answer, raises=_RAISES, example=example)
        for path, text in (
            (f"/api/v1/market/{name}", summary),
            (f"/api/v1/{name}/{{symbol}}", f"The same as /api/v1/market/{name}"),
        )
    )


ROUTES = (
    *_both("ticker", ticker, "The newest ticker of one pair", PairAsked, TickerView, _TICKER),
    Route(
        "GET",
        "/api/v1/market/tickers",
        tickers,
        "market",
        "The newest tickers",
        TickersAsked,
        TickerViews,
        raises=(InvalidInput, Unavailable),
        example=TickerViews([_TICKER]),
        quiet=True,  # the page asks it every few seconds
    ),
    *_both("klines", candles, "Closed candles", CandlesAsked, CandleViews, _CANDLES),
    *_both("orderbook", book, "The best levels of a book", BookAsked, BookView, _BOOK),
    Route(
        "GET",
        "/api/v1/market/funding",
        _reached(funding),
        "market",
        "Funding, present and settled",
        FundingAsked,
        FundingView,
        raises=_RAISES,
        example=_FUNDING,
    ),
    Route(
        "GET",
        "/api/v1/market/open-interest",
        _reached(open_interest),
        "market",
        "Open interest, its change and history",
        OpenInterestAsked,
        OpenInterestView,
        raises=_RAISES,
        example=_INTEREST,
    ),
    Route(
        "GET",
        "/api/v1/market/cvd",
        _reached(cvd),
        "market",
        "Cumulative volume delta, and its series",
        CvdAsked,
        CvdView,
        raises=_RAISES,
        example=_CVD,
    ),
    Route(
        "GET",
        "/api/v1/market/exchanges",
        exchanges,
        "market",
        "The exchanges of the present source",
        Nothing,
        ExchangeViews,
        raises=(Unavailable,),
        example=_EXCHANGES,
        quiet=True,
    ),
)
