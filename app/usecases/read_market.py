"""Reading the market the short way: Redis, else the database; each answer says how old it is and whether it can be trusted.

Ages are by the market's time. A demo's may run many times as fast as ours, and then what came a moment ago is minutes old
there; so what counts as fresh grows with its speed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlalchemy import Connection, Engine

from app.cache.market import MOST_CANDLES, CachedBook, CachedCandle, CachedTicker, MarketCache, News
from app.domain.market.market_time import MarketTime
from app.domain.market.readings import STATUSES, WARMING, Reading, Status
from app.domain.market.timeframes import MINUTE_MS, last_closed, length_ms, open_of
from app.domain.market.watching import HISTORY
from app.domain.orderflow.flow import STALE_MS, Flow, cvd
from app.domain.orderflow.open_interest import STALE_MS as INTEREST_STALE_MS
from app.domain.orderflow.open_interest import OpenInterestState, change_percent
from app.errors import InvalidInput
from app.storage import depths, flow, funding, klines, open_interest, pairs, tickers
from app.storage.database import reading
from app.storage.depths import DepthRow
from app.storage.flow import CvdInput
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.pairs import Pair
from app.storage.tickers import TickerRow
from app.usecases.told_ticker import told_ticker

TICKER_FRESH_MS = 90_000  # a row says the minute it belongs to, not the second
REFERENCE_FRESH_MS = 60_000
BOOK_FRESH_MS = 5_000
OPEN_INTEREST_FRESH_MS = 180_000
CLOSE_GRACE_MS = 15_000  # until a candle that is over has come from the exchange and is written
MOST_ROWS = 1_000
INTEREST_WINDOW_MIN = 15  # A5
_FLOW_FRESH_MS = STALE_MS + MINUTE_MS
_INTEREST_ROWS = 60  # an hour: enough to tell a hole at the window's beginning from a series that has just begun


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


@dataclass(frozen=True, slots=True)
class CvdMinute:
    """One minute of takers' trades. What is not known is None; a minute without any trade has noughts."""

    open_time: int
    buy: float | None
    sell: float | None
    cumulative: float
    """Since the window's beginning, of what is known."""
    status: Status


@dataclass(frozen=True, slots=True)
class CvdSeen:
    """The cumulative volume delta of a window in base coins, and its minutes, oldest first."""

    reading: Reading
    age_ms: int | None
    minutes: list[CvdMinute]


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
        return _stored(row, exchange, symbol)

    def tickers(self, exchanges: Sequence[str], symbol: str | None = None) -> list[tuple[Pair, CachedTicker | None]]:
        """The newest tickers of all pairs that these exchanges trade, or of one symbol there.

        What Redis does not hold comes from the rows, of ``MOST_ROWS`` pairs at most; of the others nothing is known just now.
        """
        with reading(self._engine) as db:
            listed = [pair for pair in pairs.listed(db, symbol=symbol, active=True) if pair.exchange in exchanges]
        found = self._cache.tickers([(pair.exchange, pair.symbol) for pair in listed])
        missing = [pair.id for pair, one in zip(listed, found, strict=True) if one is None][:MOST_ROWS]
        if missing:
            with reading(self._engine) as db:
                rows = tickers.latest(db, pair_ids=missing)
            found = [
                one
                or (
                    told_ticker(rows[pair.id], pair.exchange, pair.symbol, rows[pair.id].open_time)
                    if pair.id in rows
                    else None
                )
                for pair, one in zip(listed, found, strict=True)
            ]
        return list(zip(listed, found, strict=True))

    def reference(
        self, exchanges: Sequence[str], time: MarketTime, symbol: str | None = None
    ) -> dict[str, CachedTicker]:
        """What each symbol costs, or one: on the first of these exchanges that has a price of the last minute. Where none has,
        the first that has any price says it, with its age.
        """
        found: dict[str, CachedTicker] = {}
        priced = [one for _, one in self.tickers(exchanges, symbol) if one is not None and one.price is not None]
        for one in sorted(priced, key=lambda one: exchanges.index(one.exchange)):
            before = found.get(one.symbol)
            if before is None or (of_last_minute(one, time) and not of_last_minute(before, time)):
                found[one.symbol] = one
        return found

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
        """Closed candles: the newest ones, or those from ``since_ms`` on and before ``until_ms``. Raises InvalidInput for a
        timeframe that nobody collects and of which nothing was imported.
        """
        if since_ms is not None or until_ms is not None:
            with reading(self._engine) as db:
                pair_id = pairs.pair_id(db, exchange, symbol)
                rows = klines.read(db, pair_id, timeframe, since_ms=since_ms, until_ms=until_ms, limit=limit)
                if not rows:
                    _check_collected(db, pair_id, timeframe)
            found = _judged([_candle(row) for row in rows], timeframe, time, history=True)
            short = found.status == "ok" and _is_short(rows, timeframe, time, since_ms, until_ms, limit)
            return replace(found, status="gap") if short else found
        held = self._cache.candles(exchange, symbol, timeframe) if limit <= MOST_CANDLES else None
        if held and len(held) >= limit:
            found = _judged(held[:limit][::-1], timeframe, time, from_cache=True)
            if found.status == "ok":
                return found
        with reading(self._engine) as db:
            pair_id = pairs.pair_id(db, exchange, symbol)
            rows = klines.read(db, pair_id, timeframe, limit=max(limit, MOST_CANDLES))
            if not rows:
                _check_collected(db, pair_id, timeframe)
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

    def open_interest_change(self, exchange: str, symbol: str, time: MarketTime) -> Reading:
        """The change over a quarter of an hour in percent, from what is stored."""
        with reading(self._engine) as db:
            rows = open_interest.read(db, pairs.pair_id(db, exchange, symbol), "1m", limit=_INTEREST_ROWS)
        state = OpenInterestState(tuple((row.open_time, row.quantity) for row in rows))
        if state.last is None:
            return WARMING
        newest_ms = state.last[0]
        now_ms = _or(time.seen_from(newest_ms, INTEREST_STALE_MS), newest_ms)
        return _timed(change_percent(state, INTEREST_WINDOW_MIN, now_ms), time)

    def cvd(self, exchange: str, symbol: str, window_ms: int, time: MarketTime) -> CvdSeen:
        """What takers bought more than they sold within the window, from the stored minutes."""
        with reading(self._engine) as db:
            pair_id = pairs.pair_id(db, exchange, symbol)
            last = flow.newest(db, pair_id, "1m")
            if last is None:
                return CvdSeen(WARMING, None, [])
            now_ms = _or(time.seen_from(last.open_time, _FLOW_FRESH_MS), last.open_time)
            begin_ms = open_of(now_ms - window_ms, "1m")
            before = flow.read(db, pair_id, "1m", until_ms=begin_ms, limit=1)  # tells a hole from a beginning
            stored = flow.cvd_inputs(db, pair_id, since_ms=begin_ms)
            there = {row.open_time for row in stored}
            candles: list[Kline] = []
            if any(minute not in there for minute in range(begin_ms, now_ms - MINUTE_MS, MINUTE_MS)):
                most = window_ms // MINUTE_MS + 2
                candles = klines.read(db, pair_id, "1m", since_ms=begin_ms, limit=most)
        quiet = [CvdInput(one.open_time, 0.0, 0.0, "ok") for one in candles if not one.volume]
        known = sorted(stored + [row for row in quiet if row.open_time not in there])
        newest_ms = known[-1].open_time if known else last.open_time
        now_ms = _or(time.seen_from(newest_ms, _FLOW_FRESH_MS), newest_ms)
        older = [CvdInput(row.open_time, row.buy_volume, row.sell_volume, row.status) for row in before]
        found = cvd([_flow(row, exchange, symbol) for row in older + known], window_ms, now_ms)
        first_ms = open_of(now_ms - window_ms, "1m") + MINUTE_MS
        inside = [row for row in known if row.open_time >= first_ms]
        return CvdSeen(_timed(found, time), time.age_ms(newest_ms), list(_minutes(inside, first_ms if older else None)))

    def tell(self, news: Iterable[News]) -> None:
        """Publish what a request changed. While Redis is away, nobody hears of it."""
        self._cache.tell(news)

    def close(self) -> None:
        """Let go of Redis."""
        self._cache.close()


def _or(time_ms: int | None, other_ms: int) -> int:
    return other_ms if time_ms is None else time_ms


def of_last_minute(ticker: CachedTicker, time: MarketTime) -> bool:
    """Whether its price counts still."""
    return time.status(ticker.timestamp, REFERENCE_FRESH_MS) == "ok"


def _timed(found: Reading, time: MarketTime) -> Reading:
    """The same, but never well while nobody knows what time it is."""
    return Reading(found.value, "stale") if time.now_ms is None and found.status == "ok" else found


def _flow(row: CvdInput, exchange: str, symbol: str) -> Flow:
    """A minute as CVD wants it, which looks at nothing but its volumes; one whose volumes are not known lost its trades."""
    lost = row.status == "gap" or row.buy_volume is None or row.sell_volume is None
    buy, sell = row.buy_volume or 0.0, row.sell_volume or 0.0
    return Flow(exchange, symbol, row.open_time, 0, 0, 0, 0, buy, sell, 0, 0, 0, 0, None, None, "gap" if lost else "ok")


def _minutes(known: Sequence[CvdInput], first_ms: int | None) -> Iterator[CvdMinute]:
    """Every minute up to the newest, also those that nobody knows, from ``first_ms`` or else from the first known one on."""
    if not known:
        return
    rows = {row.open_time: row for row in known}
    total = 0.0
    for open_time in range(known[0].open_time if first_ms is None else first_ms, known[-1].open_time + 1, MINUTE_MS):
        row = rows.get(open_time)
        if row is None or row.buy_volume is None or row.sell_volume is None:
            yield CvdMinute(open_time, None, None, total, "gap")
        else:
            total += row.buy_volume - row.sell_volume
            yield CvdMinute(open_time, row.buy_volume, row.sell_volume, total, "gap" if row.status == "gap" else "ok")


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


def _check_collected(db: Connection, pair_id: int, timeframe: str) -> None:
    if timeframe not in HISTORY and klines.newest(db, pair_id, timeframe) is None:
        known = ", ".join(sorted(HISTORY, key=length_ms))
        raise InvalidInput(
            f"Candles of {timeframe} are not collected, and none were imported.", cure=f"Use one of {known}."
        )


def _is_short(
    rows: Sequence[Kline], timeframe: str, time: MarketTime, since_ms: int | None, until_ms: int | None, limit: int
) -> bool:
    """Whether a stretch that was asked for lacks its beginning or its end. What is not over yet cannot be missing."""
    length = length_ms(timeframe)
    if since_ms is not None and rows[0].open_time >= since_ms + length:
        return True
    if until_ms is None or time.now_ms is None or (since_ms is not None and len(rows) >= limit):
        return False
    last_ms = open_of(until_ms - 1, timeframe)
    over = time.now_ms - (last_ms + length) > CLOSE_GRACE_MS * max(1.0, time.speed)
    return over and rows[-1].open_time < last_ms


def _newest_there(newest: int, timeframe: str, time: MarketTime) -> bool:
    """Whether this is the candle that closed last; the one before it is, for a moment, while the newer one is on its way."""
    if time.now_ms is None:
        return False
    awaited = last_closed(time.now_ms, timeframe)
    if newest >= awaited:
        return True
    length = length_ms(timeframe)
    return newest == awaited - length and time.now_ms - (awaited + length) <= CLOSE_GRACE_MS * max(1.0, time.speed)


def _stored(row: TickerRow | None, exchange: str, symbol: str) -> CachedTicker | None:
    return None if row is None else told_ticker(row, exchange, symbol, row.open_time)


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
