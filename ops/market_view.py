"""What `flotilla market` shows: straight from Redis, the database and the feed's report, so that main-app may be away."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Engine

from app.cache.market import CachedBook, CachedTicker, MarketCache
from app.domain.market import symbols
from app.domain.market.market_time import MarketTime, moment_of
from app.domain.market.readings import Reading
from app.domain.market.timeframes import MINUTE_MS
from app.domain.orderflow.flow import CVD_WINDOW_MS
from app.errors import InvalidInput, NotFound
from app.host import feed_report, lifecycle
from app.host.feed_report import FeedReport
from app.settings import Settings
from app.storage import pairs
from app.storage.database import open_engine, reading
from app.storage.funding import FundingRow
from app.storage.open_interest import OpenInterestRow
from app.usecases.market_source import Source, why_not_there
from app.usecases.read_market import (
    OPEN_INTEREST_FRESH_MS,
    TICKER_FRESH_MS,
    BookSeen,
    CandleList,
    CvdSeen,
    MarketReader,
)

LEVELS = 5
CANDLES = 5
TIMEFRAMES = ("1m", "1h")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the readers said, before it is put together."""

    ticker: CachedTicker | None
    book: BookSeen
    candles: Mapping[str, CandleList]
    settled: Sequence[FundingRow]
    interest: Sequence[OpenInterestRow]
    change: Reading
    flow: CvdSeen


def look(settings: Settings, spelled: str, exchange: str | None) -> dict[str, Any]:
    """Everything that is known of one symbol. Raises InvalidInput for a symbol or exchange that is not watched."""
    source = Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
    name, symbol = source.exchange(exchange), symbols.parse(spelled)
    now_ms = time.time_ns() // 1_000_000
    market = source.time(now_ms)
    reported = feed_report.look(settings.run_dir, now_ms)
    report, feed, report_age_ms = reported
    if feed == "ok" and lifecycle.holder(settings.run_dir, "market-feed") is None:
        feed = "stale"  # it ended a moment ago
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        seen = _read(settings, engine, name, symbol, market)
    except NotFound as error:
        if (why := why_not_there(engine, name, reported, error)) is not error:
            raise why from error
        raise InvalidInput(
            f"{name} has no {symbol} here.", cure="GET /api/v1/market/exchanges lists what is watched."
        ) from error
    finally:
        engine.dispose()
    shown: dict[str, Any] = {
        "symbol": symbol,
        "exchange": name,
        "simulated": settings.simulated,
        "feed": {"state": feed, "report_age_ms": report_age_ms},
        "ticker": _ticker(seen, market),
        "book": _book(seen.book),
        "candles": {timeframe: _candles(found) for timeframe, found in seen.candles.items()},
        "open_interest": _interest(seen, market),
        "cvd": _cvd(seen.flow),
        "funding": _funding(seen),
        "quality": _quality(report, name),
    }
    return shown if feed == "ok" else _as_was(shown)


def _read(settings: Settings, engine: Engine, name: str, symbol: str, market: MarketTime) -> _Seen:
    """Raises NotFound for a pair that is not there."""
    with closing(MarketReader(engine, MarketCache(settings.redis_url))) as reader:
        with reading(engine) as db:
            pairs.pair_id(db, name, symbol)
        return _Seen(
            ticker=reader.ticker(name, symbol),
            book=reader.book(name, symbol, market),
            candles={
                timeframe: reader.candles(name, symbol, timeframe, market, limit=CANDLES) for timeframe in TIMEFRAMES
            },
            settled=reader.funding(name, symbol, 1)[1],
            interest=reader.open_interest(name, symbol, "1m", 1),
            change=reader.open_interest_change(name, symbol, market),
            flow=reader.cvd(name, symbol, CVD_WINDOW_MS, market),
        )


def is_well(seen: dict[str, Any]) -> bool:
    """Whether the feed reports and the price is of now."""
    return bool(seen["feed"]["state"] == "ok" and seen["ticker"]["status"] == "ok")


def lines(seen: dict[str, Any]) -> list[str]:
    """The same for a person."""
    head = f"{seen['symbol']} on {seen['exchange']}"
    shown = [f"{head}  ** SIMULATED / 模拟 **" if seen["simulated"] else head]
    if seen["feed"]["state"] != "ok":
        age = _age(seen["feed"]["report_age_ms"])
        last = f"its last report is {age} old" if age != "-" else "it has not reported yet"
        shown.append(f"market-feed does not report ({last}): what follows is what was stored")
    ticker = seen["ticker"]
    shown += [
        "",
        _ticker_line(ticker),
        *_book_lines(seen["book"]),
    ]
    for timeframe, found in seen["candles"].items():
        shown.append(f"candles {timeframe}  {_worth(found)}")
        shown += [_candle_line(candle) for candle in reversed(found["candles"])]
    interest, funding = seen["open_interest"], seen["funding"]
    changes = f"change {_percent(interest['change_percent'])}, in 15 min {_percent(interest['change_15m_percent'])}"
    cvd = seen["cvd"]
    shown += [
        f"open interest  {_number(interest['quantity'])}  {changes} [{interest['change_15m_status']}]  {_worth(interest)}",
        f"CVD {cvd['window_minutes'] // 60} h        {_number(cvd['value'])}  {_worth(cvd)}",
        _funding_line(funding),
        *_quality_lines(seen["quality"]),
    ]
    return shown


def _as_was(part: dict[str, Any]) -> dict[str, Any]:
    """The same where nobody collects: what was well says how it was, however young it is."""
    return {
        name: _as_was(value)
        if isinstance(value, dict) and name != "feed"
        else "stale"
        if value == "ok" and name.endswith("status")
        else value
        for name, value in part.items()
    }


def _ticker(seen: _Seen, market: MarketTime) -> dict[str, Any]:
    at_ms = None if seen.ticker is None else seen.ticker.timestamp
    known = _known(seen.ticker) if seen.ticker else {}
    return {"status": market.status(at_ms, TICKER_FRESH_MS), "age_ms": market.age_ms(at_ms), **known}


def _book(book: BookSeen) -> dict[str, Any]:
    return {
        "status": book.status,
        "age_ms": book.age_ms,
        "bids": _levels(book.book, "bids"),
        "asks": _levels(book.book, "asks"),
        "bid": book.summary.bid if book.summary else None,
        "ask": book.summary.ask if book.summary else None,
    }


def _candles(found: CandleList) -> dict[str, Any]:
    candles = [msgspec.to_builtins(candle) for candle in found.candles]
    return {"status": found.status, "age_ms": found.age_ms, "candles": candles}


def _interest(seen: _Seen, market: MarketTime) -> dict[str, Any]:
    newest = seen.interest[0] if seen.interest else None
    opened_ms = newest.open_time if newest else None
    return {
        "status": market.status(opened_ms, OPEN_INTEREST_FRESH_MS),
        "age_ms": market.age_ms(opened_ms),
        "quantity": newest.quantity if newest else None,
        "value": newest.value if newest else None,
        "change_percent": newest.change_percent if newest else None,
        "change_15m_percent": seen.change.value,
        "change_15m_status": seen.change.status,
    }


def _cvd(flow: CvdSeen) -> dict[str, Any]:
    return {
        "status": flow.reading.status,
        "age_ms": flow.age_ms,
        "window_minutes": CVD_WINDOW_MS // MINUTE_MS,
        "value": flow.reading.value,
    }


def _funding(seen: _Seen) -> dict[str, Any]:
    ticker, settled = seen.ticker, seen.settled
    return {
        "rate": ticker.funding_rate if ticker else None,
        "next_ms": ticker.next_funding_time if ticker else None,
        "settled_rate": settled[0].rate if settled else None,
        "settled_ms": settled[0].time_ms if settled else None,
    }


def _known(ticker: CachedTicker) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(ticker).items() if name not in ("exchange", "symbol")}


def _levels(book: CachedBook | None, side: str) -> list[list[float]]:
    return [list(level) for level in getattr(book, side)[:LEVELS]] if book else []


def _quality(report: FeedReport | None, exchange: str) -> list[dict[str, Any]]:
    return [
        {"collector": one.name, "state": one.state, "note": one.note, **msgspec.to_builtins(one.quality)}
        for one in (report.collectors if report else ())
        if one.exchange == exchange
    ]


def _ticker_line(ticker: dict[str, Any]) -> str:
    names = ("high_24h", "low_24h", "volume", "mark_price")
    figures = "  ".join(f"{name.removesuffix('_24h')} {_number(ticker.get(name))}" for name in names)
    change = _percent(ticker.get("change_24h_percent"))
    return f"price   {_number(ticker.get('price'))}  24h {change}  {figures}  {_worth(ticker)}"


def _funding_line(funding: dict[str, Any]) -> str:
    settled = f"settled {_rate(funding['settled_rate'])} at {_moment(funding['settled_ms'])}"
    return f"funding        {_rate(funding['rate'])}, next {_moment(funding['next_ms'])}; {settled}"


def _book_lines(book: dict[str, Any]) -> list[str]:
    shown = [f"book    {_worth(book)}"]
    if not book["bids"] and not book["asks"]:
        return [*shown, f"        bid {_number(book['bid'])}  ask {_number(book['ask'])}"]
    for level in range(max(len(book["bids"]), len(book["asks"]))):
        bid = book["bids"][level] if level < len(book["bids"]) else (None, None)
        ask = book["asks"][level] if level < len(book["asks"]) else (None, None)
        shown.append(
            f"  {_number(bid[1]):>14} {_number(bid[0]):>14} | {_number(ask[0]):<14} {_number(ask[1]):<14}".rstrip()
        )
    return shown


def _candle_line(candle: dict[str, Any]) -> str:
    figures = "  ".join(f"{_number(candle[name]):>12}" for name in ("open", "high", "low", "close", "volume"))
    return f"  {_moment(candle['timestamp'])}  {figures}"


def _quality_lines(quality: Sequence[dict[str, Any]]) -> list[str]:
    if not quality:
        return ["quality        -"]
    return [
        f"quality        {one['collector']}: {one['state']}, score {_number(one['score'])}, complete "
        f"{_number(one['completeness'])}, latency p50 {_number(one['latency_ms_p50'])} ms,"
        f" p99 {_number(one['latency_ms_p99'])} ms{', ' if one['note'] else ''}{one['note']}"
        for one in quality
    ]


def _worth(part: dict[str, Any]) -> str:
    return f"[{part['status']}, {_age(part['age_ms'])} old]" if part["age_ms"] is not None else f"[{part['status']}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.10g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} %"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.4f} %"


def _age(ms: int | None) -> str:
    if ms is None:
        return "-"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:.1f} s"


def _moment(ms: int | None) -> str:
    if ms is None:
        return "-"
    moment = moment_of(ms)
    this_year = moment.year == datetime.now(UTC).year
    return moment.strftime("%m-%d %H:%M UTC" if this_year else "%Y-%m-%d %H:%M UTC")
