"""Where the market data come from: which exchanges may be named, which one is meant, and what time it is there."""

from dataclasses import dataclass
from pathlib import Path

from app.errors import InvalidInput
from app.host import market_clock_file
from app.usecases.read_market import MarketTime

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
