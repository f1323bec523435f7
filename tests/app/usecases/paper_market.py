"""A market in which a test says every judgment and every minute, for paper trades to be made on."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from app.domain.market.market_time import MarketTime
from app.domain.strategies.strategy import Inputs
from app.domain.strategies.table import STRATEGIES
from app.exchanges.exchange import Instrument
from app.storage import accounts, checkpoints, depths, funding, judgments, klines, pairs, symbols, tickers, trades
from app.storage.accounts import Kept
from app.storage.database import reading, transaction
from app.storage.depths import DepthRow
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.tickers import TickerRow
from app.storage.trades import Trade
from app.usecases.judge import Judged, rows_of
from app.usecases.trade import Traded, trade
from tests.app.domain.strategies.v3.readings import resting
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS, VENUE
from tests.builders import NOW

MINUTE_MS = 60_000
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
PRICE = 110.0
"""Where the builders of V3's readings stand."""


class PaperMarket:
    """The perpetuals that are watched, and what is known of them."""

    def __init__(self, engine: Engine, listed: Sequence[str] = (BTC,)) -> None:
        self.engine = engine
        with transaction(engine) as db:
            for symbol in listed:
                symbols.add(db, symbol, now=NOW)
            those = [Instrument(symbol, symbol.partition("/")[0], "USDT", "USDT") for symbol in listed]
            self.ids = pairs.ensure_pairs(db, VENUE, those, NOW)

    def judge(self, *, inputs: Inputs | None = None, close: int = 0, symbol: str = BTC, strategy: str = "V3") -> None:
        """A judgment of the quarter with that number, on what the test says; resting, if it says nothing."""
        inputs, of = inputs or resting(surge_15m=0.5), STRATEGIES[strategy]
        close_ms = CLOSE_MS + close * QUARTER_MS
        with transaction(self.engine) as db:
            judgments.keep(db, rows_of(Judged(symbol, of, inputs, of.judge(inputs)), close_ms, of.timeframes))

    def judged_until(self, close: int) -> None:
        """The judging cycle has done everything up to this quarter."""
        with transaction(self.engine) as db:
            state = {"until_ms": CLOSE_MS + close * QUARTER_MS, "since_ms": 0}
            checkpoints.save(db, "judge", "cycle", state, NOW)

    def minutes(self, *prices: float | tuple[float, float, float, float], begin: int = 0, symbol: str = BTC) -> None:
        """Candles from this minute after the first close on: a price that stands still, or open, high, low and close."""
        rows = []
        for number, price in enumerate(prices, begin):
            four = price if isinstance(price, tuple) else (price,) * 4
            rows.append(Kline(self.ids[symbol], "1m", CLOSE_MS + number * MINUTE_MS, *four, volume=1.0))
        with transaction(self.engine) as db:
            klines.store(db, rows)

    def funding(self, rate: float, *, minute: int, symbol: str = BTC, mark_price: float | None = PRICE) -> None:
        """A rate that was settled at the beginning of this minute."""
        time_ms = CLOSE_MS + minute * MINUTE_MS
        with transaction(self.engine) as db:
            funding.store(db, [FundingRow(self.ids[symbol], time_ms, rate, mark_price)])

    def announced(self, rate: float, *, minute: int, symbol: str = BTC) -> None:
        """What the ticker of the minute before says of the next funding."""
        due_ms = CLOSE_MS + minute * MINUTE_MS
        row = TickerRow(
            self.ids[symbol],
            "1m",
            due_ms - MINUTE_MS,
            price=PRICE,
            funding_rate=rate,
            next_funding_time=due_ms,
            mark_price=PRICE,
        )
        with transaction(self.engine) as db:
            tickers.store(db, [row])

    def depth(self, *, minute: int, worth: float, spread: float = 0.01, symbol: str = BTC) -> None:
        """The book that was recorded in this minute: so much within 1 % on each side."""
        row = DepthRow(
            self.ids[symbol],
            "1m",
            CLOSE_MS + minute * MINUTE_MS,
            "ok",
            bid=PRICE - spread,
            ask=PRICE + spread,
            bid_quote_1pct=worth,
            ask_quote_1pct=worth,
        )
        with transaction(self.engine) as db:
            depths.store(db, [row])

    def trade(self, minute: float, *, speed: float = 1.0) -> Traded:
        """Bring the accounts forward to this minute."""
        now_ms = CLOSE_MS + round(minute * MINUTE_MS)
        return trade(self.engine, exchanges=(VENUE,), time=MarketTime(now_ms, speed), now=NOW)

    def account(self, symbol: str = BTC, strategy: str = "V3") -> Kept:
        """How it stands."""
        with reading(self.engine) as db:
            kept = accounts.get(db, symbol, strategy)
        assert kept is not None
        return kept

    def trades(self, **which: Any) -> list[Trade]:
        """All of them, the oldest first."""
        with reading(self.engine) as db:
            return trades.recent(db, limit=1_000, **which)[::-1]

    def fills(self, trade_id: int) -> list[Any]:
        """What moved money in it."""
        with reading(self.engine) as db:
            return trades.fills(db, trade_id)

    def conserved(self) -> bool:
        """Whether every account's money is what its fills say, to the last digit."""
        with reading(self.engine) as db:
            kept = accounts.listed(db)
            rows = [row for one in trades.recent(db, limit=10_000) for row in trades.fills(db, one.id)]
        paid = sum((row.realised - row.fee - row.funding for row in rows), Decimal(0))
        there = sum((one.desk.account.equity - one.desk.account.starting_equity for one in kept), Decimal(0))
        return paid == there
