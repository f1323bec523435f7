"""The present source of market data, by the settings."""

from datetime import datetime

from app.domain.market.market_time import MarketTime, ms_of
from app.settings import Settings
from app.usecases.market_source import Source


def exchanges(settings: Settings) -> tuple[str, ...]:
    """The exchanges, as they are stored; the first one is the default."""
    return _of(settings).exchanges


def exchange(settings: Settings, named: str | None) -> str:
    """The exchange that is meant. Raises InvalidInput for one that the source does not have."""
    return _of(settings).exchange(named)


def market_time(settings: Settings, now: datetime) -> MarketTime:
    """The market's time."""
    return _of(settings).time(ms_of(now))


def _of(settings: Settings) -> Source:
    return Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
