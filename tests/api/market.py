"""A demo market for the tests of the API: rows, entries in Redis, the market's clock and market-feed's report."""

from typing import Any

from api.deps import Deps
from app.cache.market import CachedBook, CachedTicker
from app.domain.market.market_clock import MarketClock
from app.domain.market.timeframes import MINUTE_MS, last_closed
from app.exchanges.exchange import Instrument
from app.host import feed_report, market_clock_file
from app.host.feed_report import (
    BookReport,
    BudgetReport,
    CheckReport,
    CollectorReport,
    ConnectionReport,
    FeedReport,
    Quality,
    StoreReport,
)
from app.storage import collectors, depths, funding, klines, open_interest, pairs, refused, symbols, tickers
from app.storage.collectors import NewCollector
from app.storage.database import transaction
from app.storage.depths import DepthRow
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.refused import RefusedMessage
from app.storage.tickers import TickerRow
from tests.builders import NOW

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
EXCHANGES = ("demo-binance", "demo-okx", "demo-htx")
NOW_MS = int(NOW.timestamp() * 1000)
MARKET_MS = (
    NOW_MS + 3_600_000
)  # the demo's clock is an hour ahead of ours, so that nobody can mistake one for the other
NEWEST_MS = last_closed(MARKET_MS, "1m")


def market_lived_in(deps: Deps) -> dict[str, int]:
    """Everything at once; the ids of the first exchange's pairs."""
    set_clock(deps)
    feed_report.write(deps.run_dir, report())
    with transaction(deps.engine) as db:
        symbols.add(db, BTC, now=NOW)
        ids: dict[str, int] = {}
        for exchange in EXCHANGES:
            found = pairs.ensure_pairs(db, exchange, [instrument(BTC), instrument(ETH)], NOW)
            ids = ids or found
        klines.store(db, [kline(ids[BTC], NEWEST_MS - back * MINUTE_MS) for back in range(150)])
        tickers.store(db, [TickerRow(ids[BTC], "1m", NEWEST_MS + MINUTE_MS, price=100.0, funding_rate=0.0001)])
        depths.store(db, [DepthRow(ids[BTC], "1m", NEWEST_MS, "ok", bid=99.0, ask=101.0)])
        interest = [OpenInterestRow(ids[BTC], "1m", NEWEST_MS - MINUTE_MS, 50.0)]
        interest.append(OpenInterestRow(ids[BTC], "1m", NEWEST_MS, 55.0, 5_500.0, 10.0))
        open_interest.store(db, interest)
        funding.store(db, [FundingRow(ids[BTC], NEWEST_MS - 8 * 3_600_000, 0.0002)])
        refused.store(db, [RefusedMessage(NOW, EXCHANGES[0], "trades", "price-jump", BTC, "9 times the last price")])
        collectors.ensure(db, [NewCollector(name, name, name.title(), ("candles",)) for name in EXCHANGES], NOW)
    return ids


def set_clock(deps: Deps, *, speed: float = 1.0) -> None:
    """Let the demo say what its time is."""
    clock = MarketClock(NOW_MS, MARKET_MS, speed)
    market_clock_file.write(market_clock_file.path_in(deps.settings.state_dir), clock)


def instrument(symbol: str) -> Instrument:
    """A pair as an exchange lists it."""
    base, _, rest = symbol.partition("/")
    return Instrument(symbol, base, rest.partition(":")[0], rest.partition(":")[2] or None)


def kline(pair_id: int, open_time: int, *, close: float = 100.0) -> Kline:
    """A minute."""
    return Kline(pair_id, "1m", open_time, 100.0, 102.0, 98.0, close, 7.0, trades=3)


def ticker(exchange: str = EXCHANGES[0], symbol: str = BTC, *, age_ms: int = 200, **values: Any) -> CachedTicker:
    """A ticker as the feed keeps it in Redis."""
    return CachedTicker(exchange=exchange, symbol=symbol, timestamp=MARKET_MS - age_ms, **values)


def cached_book(exchange: str = EXCHANGES[0], *, status: str = "ok", levels: int = 30, age_ms: int = 90) -> CachedBook:
    """A book as the feed keeps it in Redis."""
    bids = [(100.0 - level, 1.0) for level in range(levels)]
    asks = [(101.0 + level, 2.0) for level in range(levels)]
    return CachedBook(exchange=exchange, symbol=BTC, timestamp=MARKET_MS - age_ms, status=status, bids=bids, asks=asks)


def report(*, at_ms: int = NOW_MS - 400, messages: int = 1_000) -> FeedReport:
    """What market-feed says of itself."""
    link = ConnectionReport("127.0.0.1", "open", at_ms - 9_000, at_ms, messages, 1)
    quality = Quality(0.99, 12.0, 45.0, 0.001, 210, 96.5)
    collector = CollectorReport(
        EXCHANGES[0], EXCHANGES[0], "running", "", at_ms - 9_000, (BTC, ETH), (link,), {"trades": messages, "depth": 40},
        {"gaps": 1, "refused": 2}, quality,
    )  # fmt: skip
    budget = BudgetReport(EXCHANGES[0], "futures", 120, 2_400, 60, at_ms + 60_000, 2)
    return FeedReport(
        at_ms=at_ms,
        market_ms=at_ms + 3_600_000,
        simulated=True,
        collectors=(collector,),
        budgets=(budget,),
        checks=(
            CheckReport("crossed", "refuse", 2, at_ms, "bid 101 over ask 100"),
            CheckReport("wide", "mark", 5, at_ms, "x"),
        ),
        books=(BookReport(EXCHANGES[0], BTC, "ok", 1_000, 990, at_ms, 1),),
        store=StoreReport(3, {"klines": 150, "trade_flow": 900}, 0, None, told={"ok": 30, "trouble": 4}),
    )
