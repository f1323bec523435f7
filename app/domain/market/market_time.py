"""What time it is on the market, and moments as its milliseconds since 1970."""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.market.readings import Status


def ms_of(moment: datetime) -> int:
    """The nearest millisecond."""
    return round(moment.timestamp() * 1000)


def moment_of(time_ms: int) -> datetime:
    """The same as a moment of UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


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

    def seen_from(self, time_ms: int, fresh_ms: int) -> int | None:
        """The moment to judge a series from that ends at ``time_ms``: now, or earlier where a fast market has run ahead of what
        is still fresh. None where nobody knows what time it is.
        """
        if self.now_ms is None or self.status(time_ms, fresh_ms) == "stale":
            return self.now_ms
        return min(self.now_ms, time_ms + fresh_ms)
