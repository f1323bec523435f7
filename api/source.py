"""Where the market data come from: what a caller may name, and what is meant when nothing is named."""

from datetime import datetime

from app.errors import InvalidInput
from app.host import market_clock_file
from app.settings import Settings
from app.usecases.read_market import MarketTime

DEMO = ("demo-binance", "demo-okx", "demo-htx")


def exchanges(settings: Settings) -> tuple[str, ...]:
    """The exchanges of the present source, as they are stored; the first one is the default."""
    return DEMO if settings.simulated else tuple(settings.feed.exchanges)


def exchange(settings: Settings, named: str | None) -> str:
    """The exchange that is meant. Raises InvalidInput for one that the present source does not have."""
    known = exchanges(settings)
    if not known:
        raise InvalidInput("No exchange is watched.", cure="Name some in feed.exchanges, then restart the fleet.")
    if named is None:
        return known[0]
    word = named.strip().lower()
    if word not in known:
        kind = "simulated" if settings.simulated else "live"
        raise InvalidInput(
            f"{named[:40]!r} is not an exchange of the present source, which is {kind}.",
            cure=f"Use one of {', '.join(known)}; feed.exchanges decides which these are.",
        )
    return word


def market_time(settings: Settings, now: datetime) -> MarketTime:
    """The market's time, which a sped-up demo makes run faster than ours; unknown while the demo has not said what it is."""
    now_ms = int(now.timestamp() * 1000)
    if not settings.simulated:
        return MarketTime(now_ms)
    clock = market_clock_file.read(market_clock_file.path_in(settings.state_dir))
    return MarketTime(None) if clock is None else MarketTime(clock.now_ms(now_ms), clock.speed)
