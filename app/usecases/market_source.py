"""Where the market data come from: which exchanges may be named, which one is meant, and what time it is there."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from app.domain.market.market_time import MarketTime
from app.errors import FlotillaError, InvalidInput, NotFound, Unavailable
from app.host import market_clock_file
from app.host.feed_report import Seen
from app.storage import pairs
from app.storage.database import reading

DEMO = ("demo-binance", "demo-okx", "demo-htx")


@dataclass(frozen=True, slots=True)
class Source:
    """The present source: the demo exchange or live ones, never both. ``named`` are those of the settings."""

    simulated: bool
    named: tuple[str, ...]
    state_dir: Path

    @property
    def exchanges(self) -> tuple[str, ...]:
        """As they are stored; the first one is the default."""
        return DEMO if self.simulated else self.named

    def exchange(self, named: str | None) -> str:
        """The exchange that is meant. Raises InvalidInput for one that this source does not have."""
        known = self.exchanges
        if not known:
            raise InvalidInput("No exchange is watched.", cure="Name some in feed.exchanges, then restart the fleet.")
        if named is None:
            return known[0]
        word = named.strip().lower()
        if word not in known:
            kind = "simulated" if self.simulated else "live"
            raise InvalidInput(
                f"{named[:40]!r} is not an exchange of the present source, which is {kind}.",
                cure=f"Use one of {', '.join(known)}; feed.exchanges decides which these are.",
            )
        return word

    def time(self, now_ms: int) -> MarketTime:
        """The market's time, which a sped-up demo makes run faster than ours; unknown until the demo has said what it is."""
        if not self.simulated:
            return MarketTime(now_ms)
        clock = market_clock_file.read(market_clock_file.path_in(self.state_dir))
        return MarketTime(None) if clock is None else MarketTime(clock.now_ms(now_ms), clock.speed)


def why_not_there(engine: Engine, exchange: str, seen: Seen, error: NotFound) -> FlotillaError:
    """What to say instead of ``error``: an exchange that never answered has no pair of any name, and no name is to blame."""
    trouble = [
        one
        for one in (seen.report.collectors if seen.report and seen.state == "ok" else ())
        if one.exchange == exchange and one.state in ("starting", "failing")
    ]
    if not trouble:
        return error
    with reading(engine) as db:
        if pairs.listed(db, exchange=exchange):
            return error
    return Unavailable(
        f"{exchange} has not been reached yet: {trouble[0].note or trouble[0].state}.",
        cure="Check the network, a proxy ([feed] proxies), its address in the settings. `flotilla doctor` says more.",
    )
