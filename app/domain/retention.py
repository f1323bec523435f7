"""How long rows are kept. To keep another table for a limited time, add a line to POLICY."""

from dataclasses import dataclass
from datetime import datetime, timedelta

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep a row of ``table`` for so many days after the moment in its column ``since``; one without it stays.

    Rows of the market have a ``timeframe``, and their moment is in ms of the market's time, which a sped-up demo makes run
    faster than ours.
    """

    table: str
    days: int
    since: str = "created_at"
    timeframe: str | None = None
    sources: tuple[str, ...] = ()
    """Where rows have a source: these alone may go."""
    rolled_up: bool = False
    """It may go only once it stands in the sums of its hour."""

    @property
    def name(self) -> str:
        """What a task and its report call it."""
        return self.table if self.timeframe is None else f"{self.table} {self.timeframe}"

    def before(self, now: datetime) -> datetime:
        """What is older than this may go."""
        return now - timedelta(days=self.days)

    def before_ms(self, market_ms: int, rolled_up_ms: int) -> int:
        """What opened before this may go, when so much has been rolled up."""
        oldest = market_ms - self.days * DAY_MS
        return min(oldest, rolled_up_ms) if self.rolled_up else oldest


def _market(table: str, days: int, timeframe: str, *sources: str) -> Keep:
    return Keep(table, days, "open_time", timeframe, sources, rolled_up=timeframe == "1m")


_COLLECTED = ("stream", "rest", "rollup")  # candles that a person imported stay until a person removes them

# strategy_judgments and simulation_trades have rules of 60 and 90 days, which are not here yet: their rows must be archived
# before they go, and nothing archives them. Until then they stay, for a row deleted without its archive is lost.
# Kept for ever: candles of 4h and 1d, days of flow, funding rates.
POLICY = (
    Keep("tasks", days=7, since="finished_at"),  # what waits or runs has no such moment, so it stays
    Keep("system_monitoring", days=30),
    Keep("audit_log", days=365, since="at"),
    Keep("refused_messages", days=7, since="at"),
    _market("klines", 14, "1m", *_COLLECTED),
    _market("klines", 90, "5m", *_COLLECTED),
    _market("klines", 90, "15m", *_COLLECTED),
    _market("klines", 730, "1h", *_COLLECTED),
    _market("trade_flow", 7, "1m"),
    _market("trade_flow", 365, "1h"),
    _market("tickers", 7, "1m"),
    _market("tickers", 365, "1h"),
    _market("depth_summaries", 7, "1m"),
    _market("depth_summaries", 365, "1h"),
    _market("open_interest", 7, "1m"),
    _market("open_interest", 365, "1h"),
)
