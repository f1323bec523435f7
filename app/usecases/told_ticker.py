"""A stored row of a ticker as it is told: to Redis by the feed, and to readers when Redis has none."""

from app.cache.market import CachedTicker
from app.storage.tickers import TickerRow


def told_ticker(row: TickerRow, exchange: str, symbol: str, timestamp: int) -> CachedTicker:
    """The same numbers under the documents' names for the cache."""
    return CachedTicker(
        exchange=exchange,
        symbol=symbol,
        timestamp=timestamp,
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
