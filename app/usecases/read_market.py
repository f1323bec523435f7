"""Reading the market the short way: Redis, else the database; each answer says how old it is and whether it can be trusted.

Ages are by the market's time. A demo's may run many times as fast as ours, and then what came a moment ago is minutes old
there; so what counts as fresh grows with its speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import Connection, Engine

from app.cache.market import MOST_CANDLES, CachedBook, CachedCandle, CachedTicker, MarketCache
from app.domain.market.readings import STATUSES, Status
from app.domain.market.timeframes import last_closed, length_ms
from app.storage import depths, funding, klines, open_interest, pairs, tickers
from app.storage.database import reading
from app.storage.depths import DepthRow
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.pairs import Pair
from app.storage.tickers import TickerRow

TICKER_FRESH_MS = 90_000  # a row says the minute it belongs to, not the second
BOOK_FRESH_MS = 5_000
OPEN_INTEREST_FRESH_MS = 180_000
CLOSE_GRACE_MS = 15_000  # until a candle that is over has come from the exchange and is written
MOST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class MarketTime:
    """What time it is on the market, None while nobody knows; and how fast it runs."""

    now_ms: int | None
    speed: float = 1.0

    def age_ms(self, time_ms: int | None) -> int | None:
        """How long ago this was; None where that cannot be known."""
        return None if time_ms is None or self.now_ms is None else max(0, self.now_ms - time_ms)

    def status(self, time_ms: int | None, fresh_ms: int) -> Status:
        """Whether something of this time still counts. What never came is still awaited."""
        if time_ms is None:
            return "warming"
        age_ms = self.age_ms(time_ms)
        return "ok" if age_ms is not None and age_ms <= fresh_ms * max(1.0, self.speed) else "stale"


@dataclass(frozen=True, slots=True)
class CandleList:
    """Candles, oldest first, and what they are worth together."""

    status: Status
    age_ms: int | None
    candles: list[CachedCandle]
    from_cache: bool


@dataclass(frozen=True, slots=True)
class BookSeen:
    """A book; of one that Redis does not hold, only the stored summary of its last minute is known."""

    status: Status
    age_ms: int | None
    book: CachedBook | None
    summary: DepthRow | None


class MarketReader:
    """Reads for the API. Raises NotFound for a pair that the exchange does not have, Unavailable without a database."""

    def __init__(self, engine: Engine, cache: MarketCache) -> None:
        self._engine, self._cache = engine, cache

    def ticker(self, exchange: str, symbol: str) -> CachedTicker | None:
        """The newest ticker; None when there was none yet."""
        if found := self._cache.ticker(exchange, symbol):
            return found
        with reading(self._engine) as db:
            row = tickers.newest(db, pairs.pair_id(db, exchange, symbol))
        return None if row is None else _ticker(row, exchange, symbol)

    def tickers(self, exchanges: Sequence[str], symbol: str | None = None) -> list[tuple[Pair, CachedTicker | None]]:
        """The newest tickers of all pairs that these exchanges trade, or of one symbol there."""
        with reading(self._engine) as db:
            listed = [pair for pair in pairs.listed(db, symbol=symbol, active=True) if pair.exchange in exchanges]
        found = self._cache.tickers([(pair.exchange, pair.symbol) for pair in listed])
        if any(one is None for one in found):
            with reading(self._engine) as db:
                rows = tickers.latest(db)
            found = [
                one or (_ticker(rows[pair.id], pair.exchange, pair.symbol) if pair.id in rows else None)
                for pair, one in zip(listed, found, strict=True)
            ]
        return list(zip(listed, found, strict=True))

    def candles(
        self,
        exchange: str,
        symbol: str,
        timeframe: str,
        time: MarketTime,
        *,
        limit: int = MOST_CANDLES,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> CandleList:
        """Closed candles: the newest ones, or those from ``since_ms`` on and before ``until_ms``."""
        if since_ms is not None or until_ms is not None:
            with reading(self._engine) as db:
                pair_id = pairs.pair_id(db, exchange, symbol)
                rows = klines.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)
            return _judged([_candle(row) for row in rows], timeframe, time, history=True)
        held = self._cache.candles(exchange, symbol, timeframe) if limit <= MOST_CANDLES else None
        if held and len(held) >= limit:
            found = _judged(held[:limit][::-1], timeframe, time, from_cache=True)
            if found.status == "ok":
                return found
        with reading(self._engine) as db:
            pair_id = pairs.pair_id(db, exchange, symbol)
            rows = klines.read(db, pair_id, timeframe, limit=max(limit, MOST_CANDLES))
        candles = [_candle(row) for row in rows]
        if _judged(candles[-MOST_CANDLES:], timeframe, time).status == "ok":
            self._cache.fill_candles(exchange, symbol, timeframe, candles[::-1])
        return _judged(candles[-limit:], timeframe, time)

    def book(self, exchange: str, symbol: str, time: MarketTime) -> BookSeen:
        """The newest book, or what is stored of it."""
        book = self._cache.book(exchange, symbol)
        if book is not None:
            known: Status = book.status if book.status in STATUSES else "stale"
            if known == "ok":  # it was when it was written; Redis keeps it a little longer than that
                known = time.status(book.timestamp, BOOK_FRESH_MS)
            return BookSeen(known, time.age_ms(book.timestamp), book, None)
        with reading(self._engine) as db:
            row = depths.newest(db, pairs.pair_id(db, exchange, symbol))
        if row is None:
            return BookSeen("warming", None, None, None)
        return BookSeen("stale", time.age_ms(row.open_time), None, row)

    def funding(self, exchange: str, symbol: str, limit: int) -> tuple[CachedTicker | None, list[FundingRow]]:
        """The present rate, as the ticker carries it, and the rates that were settled, newest first."""
        with reading(self._engine) as db:
            rows = funding.read(db, pairs.pair_id(db, exchange, symbol), limit=limit)
        return self.ticker(exchange, symbol), rows[::-1]

    def open_interest(self, exchange: str, symbol: str, timeframe: str, limit: int) -> list[OpenInterestRow]:
        """What was stored of it, newest first. A change is null where there was nothing to compare with."""
        with reading(self._engine) as db:
            return open_interest.read(db, pairs.pair_id(db, exchange, symbol), timeframe, limit=limit)[::-1]

    def close(self) -> None:
        """Let go of Redis."""
        self._cache.close()


def known_symbols(db: Connection, exchanges: Sequence[str]) -> dict[str, list[str]]:
    """The active symbols of each of these exchanges."""
    found: dict[str, list[str]] = {name: [] for name in exchanges}
    for pair in pairs.listed(db, active=True):
        if pair.exchange in found:
            found[pair.exchange].append(pair.symbol)
    return found


def _judged(
    candles: list[CachedCandle], timeframe: str, time: MarketTime, *, from_cache: bool = False, history: bool = False
) -> CandleList:
    if not candles:
        return CandleList("warming", None, [], from_cache)
    length = length_ms(timeframe)
    newest = candles[-1].timestamp
    age_ms = time.age_ms(newest + length)
    whole = all(later.timestamp - one.timestamp == length for one, later in pairwise(candles))
    status: Status = "ok"
    if not whole:
        status = "gap"
    elif not history and not _newest_there(newest, timeframe, time):
        status = "stale"
    return CandleList(status, age_ms, candles, from_cache)


def _newest_there(newest: int, timeframe: str, time: MarketTime) -> bool:
    """Whether this is the candle that closed last; the one before it is, for a moment, while the newer one is on its way."""
    if time.now_ms is None:
        return False
    awaited = last_closed(time.now_ms, timeframe)
    if newest >= awaited:
        return True
    length = length_ms(timeframe)
    return newest == awaited - length and time.now_ms - (awaited + length) <= CLOSE_GRACE_MS * max(1.0, time.speed)


def _ticker(row: TickerRow, exchange: str, symbol: str) -> CachedTicker:
    return CachedTicker(
        exchange=exchange,
        symbol=symbol,
        timestamp=row.open_time,
        price=row.price,
        volume=row.volume_24h,
        quote_volume=row.quote_volume_24h,
        change_24h=row.change_24h,
        change_24h_percent=row.change_24h_percent,
        high_24h=row.high_24h,
        low_24h=row.low_24h,
        bid=row.bid,
        ask=row.ask,
        bid_volume=row.bid_volume,
        ask_volume=row.ask_volume,
        trades=row.trades_count,
        mark_price=row.mark_price,
        index_price=row.index_price,
        funding_rate=row.funding_rate,
        next_funding_time=row.next_funding_time,
    )


def _candle(row: Kline) -> CachedCandle:
    return CachedCandle(
        timestamp=row.open_time,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        quote_volume=row.quote_volume,
        trades=row.trades,
        taker_buy_volume=row.taker_buy_volume,
        taker_buy_quote_volume=row.taker_buy_quote_volume,
    )
