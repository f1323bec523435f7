"""What the closed trades of one account amount to: computed from their rows, and put in place of what was there.

They are those of the ninety days that trades are kept; what left for the archive counts in an account's equity, and no more here.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from app.domain.market.market_time import ms_of
from app.domain.paper.desk import Desk
from app.domain.trading.money import total
from app.domain.trading.statistics import ClosedTrade
from app.domain.trading.statistics import statistics as summed_up
from app.storage import statistics, trades
from app.storage.statistics import Statistics


def sum_up(db: Connection, desk: Desk, at: datetime) -> Statistics:
    """Write an account's figures; those that were written."""
    closed = closed_trades(db, symbol=desk.symbol, strategy_type=desk.strategy)
    summed = summed_up(closed, equity_before([desk], closed))
    figures = Statistics(symbol=desk.symbol, strategy_type=desk.strategy, **asdict(summed), last_updated=at)
    statistics.put(db, figures)
    return figures


def equity_before(desks: Sequence[Desk], closed: Sequence[ClosedTrade]) -> Decimal:
    """The equity before the first of these trades: what is there now without them, and without what is still open."""
    equity = total(desk.account.equity for desk in desks)
    still_open = total(desk.trade.pnl for desk in desks if desk.trade is not None)
    return equity - still_open - total(trade.pnl for trade in closed)


def closed_trades(db: Connection, *, symbol: str | None, strategy_type: str | None) -> list[ClosedTrade]:
    """The trades that are over and still kept, as statistics take them."""
    return [
        ClosedTrade(ms_of(row.opened_at), ms_of(row.closed_at), row.pnl)
        for row in trades.closings(db, symbol=symbol, strategy_type=strategy_type)
    ]
