"""What closed trades amount to. What nothing can be said of is None: no trades have no win rate, no losses no profit factor.

Results are net: fees and funding are in every pnl. Each number fits the column of ``symbol_statistics`` that bears its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from app.domain.market.market_time import ms_of
from app.domain.market.timeframes import MINUTE_MS
from app.domain.trading.money import ZERO, Number, in_full, positive, quotient, rounded, total
from app.errors import InvalidInput

Period: TypeAlias = Literal["day", "week"]

_DAYS: Final = {"day": 1, "week": 7}
_USUAL_COUNT: Final = {"day": 30, "week": 4}
_MOST_ROWS: Final = 1_000
_PERCENT: Final = Decimal("0.01")
_RATIO: Final = Decimal("0.0001")
MOST_RATIO: Final = Decimal("999999.9999")
"""What DECIMAL(10,4) holds: a greater ratio is told as this."""


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """What a closed trade is to statistics. ``pnl`` is net, in the quote coin."""

    opened_ms: int
    closed_ms: int
    pnl: Decimal


@dataclass(frozen=True, slots=True)
class Statistics:
    """The columns of ``symbol_statistics``. Rates and drawdown are in percent; a trade that brought exactly 0 is neither."""

    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    total_pnl: Decimal
    avg_pnl_per_trade: Decimal | None
    best_trade: Decimal | None
    worst_trade: Decimal | None
    profit_factor: Decimal | None
    max_drawdown: Decimal | None
    """The greatest fall of equity, in percent of the highest equity before it."""
    avg_holding_time: int | None
    """Minutes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One day or week, by its first day, and everything up to its end."""

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


def statistics(closed: Sequence[ClosedTrade], starting_equity: Number) -> Statistics:
    """Sum up closed trades, in whatever order they are given: they count in the order of their closing."""
    pnls = [trade.pnl for trade in closed]
    wins, losses = _wins(closed), _losses(closed)
    profit, loss = total(pnl for pnl in pnls if pnl > 0), total(pnl for pnl in pnls if pnl < 0).copy_abs()
    whole = total(pnls)
    held_ms = sum(trade.closed_ms - trade.opened_ms for trade in closed)
    return Statistics(
        total_trades=len(closed),
        winning_trades=wins,
        losing_trades=losses,
        win_rate=_rate(wins, len(closed)),
        total_pnl=whole,
        avg_pnl_per_trade=quotient(whole, Decimal(len(closed))) if closed else None,
        best_trade=max(pnls, default=None),
        worst_trade=min(pnls, default=None),
        profit_factor=min(quotient(profit, loss, _RATIO), MOST_RATIO) if loss else None,
        max_drawdown=max_drawdown([equity for _, equity in equity_curve(closed, starting_equity)]) if closed else None,
        avg_holding_time=round(held_ms / len(closed) / MINUTE_MS) if closed else None,
    )


def equity_curve(closed: Sequence[ClosedTrade], starting_equity: Number) -> list[tuple[int | None, Decimal]]:
    """Equity after each closing, oldest first, with its moment; the first point is the starting equity, which has none."""
    equity = positive(starting_equity, "starting equity")
    points: list[tuple[int | None, Decimal]] = [(None, equity)]
    with in_full():
        for trade in sorted(closed, key=lambda trade: (trade.closed_ms, trade.opened_ms)):
            equity += trade.pnl
            points.append((trade.closed_ms, equity))
    return points


def max_drawdown(equities: Sequence[Decimal]) -> Decimal:
    """The greatest fall from a running peak, in percent of that peak, with four decimals. The first equity is above 0."""
    peak, worst = equities[0], ZERO
    with in_full():
        for equity in equities:
            peak = max(peak, equity)
            worst = max(worst, quotient(100 * (peak - equity), peak))
    return min(rounded(worst, _RATIO), MOST_RATIO)


def cumulative(
    closed: Sequence[ClosedTrade], period: Period, until: datetime, *, count: int | None = None, zone: tzinfo = UTC
) -> list[Row]:
    """One row for each of the last ``count`` days (30) or weeks (4, from Monday on), oldest first; the last one holds ``until``.

    A trade counts in the period of its closing. The origin grouped by the day of entry, and so rewrote days that were over.
    What was closed before the first row is in the cumulative numbers; what was closed after ``until`` is in none.
    """
    if period not in _DAYS:
        raise InvalidInput(f"{period!r} is not a period: use day or week.")
    if until.utcoffset() is None:
        raise InvalidInput(f"{until!r} is not a moment: a datetime with a time zone is needed.")
    rows = _USUAL_COUNT[period] if count is None else count
    if not 1 <= rows <= _MOST_ROWS:
        raise InvalidInput(f"From 1 to {_MOST_ROWS} rows can be asked for, not {rows}.")
    until_ms = ms_of(until)
    last = _first_day(until.astimezone(zone).date(), period)
    days = [last - timedelta(days=_DAYS[period] * back) for back in reversed(range(rows))]
    by_day: dict[date, list[ClosedTrade]] = {day: [] for day in days}
    before: list[ClosedTrade] = []
    for trade in closed:
        if trade.closed_ms <= until_ms:
            by_day.get(_first_day(_day(trade.closed_ms, zone), period), before).append(trade)
    row, found = _row(last, before, None), []
    for day in days:
        row = _row(day, by_day[day], row)
        found.append(row)
    return found


def _row(day: date, of_it: Sequence[ClosedTrade], before: Row | None) -> Row:
    """One row after another; ``before`` is the one before it."""
    wins, losses, pnl = _wins(of_it), _losses(of_it), total(trade.pnl for trade in of_it)
    all_trades, all_wins, all_losses, whole = len(of_it), wins, losses, pnl
    if before is not None:
        all_trades += before.cumulative_trades
        all_wins += before.cumulative_wins
        all_losses += before.cumulative_losses
        whole = total((before.cumulative_pnl, pnl))
    return Row(
        day,
        len(of_it),
        wins,
        losses,
        _rate(wins, len(of_it)),
        pnl,
        all_trades,
        all_wins,
        all_losses,
        _rate(all_wins, all_trades),
        whole,
    )


def _wins(closed: Sequence[ClosedTrade]) -> int:
    return sum(trade.pnl > 0 for trade in closed)


def _losses(closed: Sequence[ClosedTrade]) -> int:
    return sum(trade.pnl < 0 for trade in closed)


def _rate(wins: int, trades: int) -> Decimal | None:
    return quotient(Decimal(100 * wins), Decimal(trades), _PERCENT) if trades else None


def _day(at_ms: int, zone: tzinfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone).date()


def _first_day(day: date, period: Period) -> date:
    return day if period == "day" else day - timedelta(days=day.weekday())
