"""Binance as an exchange."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.exchanges.binance import rest, stream
from app.exchanges.binance.places import Urls
from app.exchanges.exchange import Channel, Limit, RestCall, Session, Wanted


class Binance:
    """USDT-M futures (``BTC/USDT:USDT``) and spot (``BTC/USDT``). ``name`` is how its data are stored."""

    ccxt_id = "binance"
    limits: Sequence[Limit] = rest.LIMITS
    polled: frozenset[Channel] = frozenset({"open_interest"})
    most_candles = rest.MOST_CANDLES

    def __init__(self, name: str, urls: Urls) -> None:
        self.name = name
        self.ccxt_urls: Mapping[str, Any] = rest.ccxt_urls(urls)
        self._urls = urls

    def sessions(self, wanted: Sequence[Wanted]) -> list[Session]:
        """One for each door and 200 streams; what has no stream is in none of them."""
        return list(stream.sessions(self.name, self._urls, wanted))

    def instruments(self) -> list[RestCall]:
        """Perpetuals, then spot."""
        return rest.instruments()

    def server_time(self) -> RestCall:
        """Of the futures."""
        return rest.server_time()

    def candles(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        """Up to 1,000."""
        return rest.candles(self.name, symbol, timeframe, since_ms, limit)

    def book(self, symbol: str) -> RestCall:
        """The best 1,000 levels of each side."""
        return rest.book(self.name, symbol)

    def trades(self, symbol: str) -> RestCall:
        """Up to 1,000 aggregate trades."""
        return rest.trades(self.name, symbol)

    def poll(self, channel: Channel, symbol: str) -> RestCall:
        """What a stream would say, asked for."""
        return rest.poll(self.name, channel, symbol)

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """None for spot."""
        return rest.funding(self.name, symbol, since_ms, limit)

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """Of the last month; None for spot."""
        return rest.open_interest_history(self.name, symbol, since_ms, limit)
