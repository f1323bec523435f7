"""What the paper trades amount to: by symbol and strategy, by day, and as a curve. By the market's time, after all costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta
from sqlalchemy import Engine

from api import source
from api.routes.route import Answer, AnyRoute, Asks, Call, Reply, Route, Spelled, StrategyName
from app.domain.market import symbols as spelling
from app.domain.market.market_time import moment_of
from app.domain.paper.desk import Desk
from app.domain.trading import statistics as summing
from app.domain.trading.money import total
from app.errors import InvalidInput, Unavailable
from app.storage import accounts
from app.storage import statistics as stored
from app.storage.database import reading
from app.usecases.sum_up_trades import closed_trades, equity_before

Amount = Annotated[Decimal | None, Meta(description="In the quote coin, after all costs.")]


class Figures(Answer, frozen=True):
    """What the closed trades of the last ninety days amount to: older ones are in the archive. What no trades can say is null."""

    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Annotated[Decimal | None, Meta(description="In percent.")]
    total_pnl: Amount
    avg_pnl_per_trade: Amount
    best_trade: Amount
    worst_trade: Amount
    profit_factor: Annotated[Decimal | None, Meta(description="Profit by loss; null without a loss.")]
    max_drawdown: Annotated[Decimal | None, Meta(description="In percent of the highest equity before it.")]
    avg_holding_time: Annotated[int | None, Meta(description="Minutes.")]


class OfSymbol(Answer, frozen=True):
    """One strategy on one symbol."""

    symbol: str
    strategy: StrategyName
    figures: Figures
    last_updated: datetime


class OfStrategy(Answer, frozen=True):
    """One strategy on all of its accounts, as if they were one."""

    strategy: StrategyName
    accounts: int
    starting_equity: Decimal
    equity: Annotated[Decimal, Meta(description="Without the floating profit of open trades.")]
    fees: Decimal
    funding: Decimal
    figures: Figures


class StatisticsView(Answer, frozen=True):
    """All figures."""

    strategies: list[OfStrategy]
    symbols: list[OfSymbol]


class PeriodRow(Answer, frozen=True):
    """One day or week by its first day, and everything up to its end."""

    date: date
    trades: int
    wins: int
    losses: int
    win_rate: Decimal | None
    pnl: Decimal
    cumulative_trades: int
    cumulative_wins: int
    cumulative_losses: int
    cumulative_win_rate: Decimal | None
    cumulative_pnl: Decimal


class Cumulative(Answer, frozen=True):
    """Row by row, oldest first; a trade counts on the day of its closing."""

    timeframe: Literal["day", "week"]
    rows: list[PeriodRow]


class CurvePoint(Answer, frozen=True):
    """Equity after one closing; the first one is where it began."""

    time_ms: int | None
    equity: Decimal


class Curve(Answer, frozen=True):
    """The equity of the accounts that were asked for, together."""

    points: list[CurvePoint]


class Which(Asks, frozen=True):
    """Of which accounts; without anything, of all."""

    strategy: StrategyName | None = None
    symbol: Spelled | None = None


class CumulativeAsked(Which, frozen=True):
    """Of which accounts, and how far back."""

    timeframe: Literal["day", "week"] = "day"
    period: Annotated[int, Meta(ge=1, le=1000, description="So many rows; else 30 days or 4 weeks.")] | None = None


def read_statistics(call: Call[Which]) -> Reply[StatisticsView]:
    """Read what all trades amount to."""
    asked, symbol = call.asks, _symbol(call.asks)
    names: Sequence[StrategyName] = get_args(StrategyName) if asked.strategy is None else (asked.strategy,)
    with reading(call.deps.engine) as db:
        rows = [row for row in stored.listed(db, strategy_type=asked.strategy) if symbol in (None, row.symbol)]
    books = {name: _book(call.deps.engine, symbol, name) for name in names}
    whole = [call.deps.apart(partial(_of_strategy, name, book)) for name, book in books.items() if book.desks]
    return Reply(StatisticsView(whole, [_of_symbol(row) for row in rows]))


def read_cumulative(call: Call[CumulativeAsked]) -> Reply[Cumulative]:
    """Read trades, wins and profit day by day or week by week."""
    asked = call.asks
    now_ms = source.market_time(call.deps.settings, call.now).now_ms
    until = call.now if now_ms is None else moment_of(now_ms)
    closed = _book(call.deps.engine, _symbol(asked), asked.strategy).closed
    rows = call.deps.apart(partial(summing.cumulative, closed, asked.timeframe, until, count=asked.period))
    return Reply(Cumulative(asked.timeframe, [msgspec.convert(row, PeriodRow, from_attributes=True) for row in rows]))


def read_curve(call: Call[Which]) -> Reply[Curve]:
    """Read the equity after each closing."""
    book = _book(call.deps.engine, _symbol(call.asks), call.asks.strategy)
    if not book.desks:
        return Reply(Curve([]))
    points = call.deps.apart(partial(summing.equity_curve, book.closed, book.begin))
    return Reply(Curve([CurvePoint(time_ms, equity) for time_ms, equity in points]))


@dataclass(frozen=True, slots=True)
class _Book:
    """Some accounts, and their trades that are over and still kept."""

    desks: Sequence[Desk]
    closed: Sequence[summing.ClosedTrade]

    @property
    def begin(self) -> Decimal:
        """The equity before the first of these trades."""
        return equity_before(self.desks, self.closed)


def _book(engine: Engine, symbol: str | None, strategy: str | None) -> _Book:
    with reading(engine) as db:
        kept = accounts.listed(db, None if symbol is None else [symbol])
        closed = closed_trades(db, symbol=symbol, strategy_type=strategy)
    return _Book([one.desk for one in kept if strategy in (None, one.desk.strategy)], closed)


def _of_strategy(name: StrategyName, book: _Book) -> OfStrategy:
    mine = [desk.account for desk in book.desks]
    return OfStrategy(
        name,
        len(mine),
        total(account.starting_equity for account in mine),
        total(account.equity for account in mine),
        total(account.fees for account in mine),
        total(account.funding for account in mine),
        msgspec.convert(summing.statistics(book.closed, book.begin), Figures, from_attributes=True),
    )


def _symbol(asked: Which) -> str | None:
    return None if asked.symbol is None else spelling.parse(asked.symbol)


def _of_symbol(row: stored.Statistics) -> OfSymbol:
    figures = msgspec.convert(row, Figures, from_attributes=True)
    return OfSymbol(row.symbol, row.strategy_type, figures, row.last_updated)  # type: ignore[arg-type]


_FIGURES = Figures(
    total_trades=12,
    winning_trades=7,
    losing_trades=5,
    win_rate=Decimal("58.33"),
    total_pnl=Decimal("412.55"),
    avg_pnl_per_trade=Decimal("34.38"),
    best_trade=Decimal("196.2"),
    worst_trade=Decimal("-104.9"),
    profit_factor=Decimal("1.7861"),
    max_drawdown=Decimal("2.3104"),
    avg_holding_time=96,
)
_AT = datetime.fromisoformat("2026-11-21T12:01:00+00:00")
_ROW = PeriodRow(_AT.date(), 3, 2, 1, Decimal("66.67"), Decimal("91.2"), 12, 7, 5, Decimal("58.33"), Decimal("412.55"))
_VIEW = StatisticsView(
    [OfStrategy("V3", 50, Decimal(500_000), Decimal("500412.55"), Decimal("96.1"), Decimal("3.2"), _FIGURES)],
    [OfSymbol("BTC/USDT:USDT", "V3", _FIGURES, _AT)],
)
_RAISES = (InvalidInput, Unavailable)

ROUTES: tuple[AnyRoute, ...] = (
    *(
        Route(
            "GET",
            path,
            read_statistics,
            tag,
            "What the trades amount to",
            Which,
            StatisticsView,
            raises=_RAISES,
            example=_VIEW,
        )
        for path, tag in (("/api/v1/strategies/statistics", "strategies"), ("/api/v1/trades/statistics", "trades"))
    ),
    Route(
        "GET",
        "/api/v1/strategies/cumulative-statistics",
        read_cumulative,
        "strategies",
        "Trades, wins and profit by day or week",
        CumulativeAsked,
        Cumulative,
        raises=_RAISES,
        example=Cumulative("day", [_ROW]),
    ),
    Route(
        "GET",
        "/api/v1/trades/equity-curve",
        read_curve,
        "trades",
        "The equity after each closing",
        Which,
        Curve,
        raises=_RAISES,
        example=Curve([CurvePoint(None, Decimal(10_000)), CurvePoint(1795262460000, Decimal("10041.2"))]),
    ),
)
