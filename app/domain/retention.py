"""How long rows are kept. To keep another table for a limited time, add a line to POLICY."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from app.domain.market.timeframes import DAY_MS


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
    archive: bool = False
    """It may go only once it stands in an archive that was read back."""
    judged: bool = False
    """Its moments are closes of the market, so its age is counted from the newest close that was judged."""
    found_by: str = ""
    """A column with an index that is never after ``since``, where that one has none."""

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

# What is archived goes by app/usecases/archive.py, all else by app/usecases/purge.py.
# Kept for ever: candles of 4h and 1d, days of flow, funding rates.
POLICY = (
    Keep("tasks", days=7, since="finished_at"),  # what waits or runs has no such moment, so it stays
    Keep("strategy_judgments", days=60, archive=True, judged=True),
    # With their fills. What is open has no such moment, so it stays.
    Keep("simulation_trades", days=90, since="closed_at", archive=True, judged=True, found_by="created_at"),
    Keep("system_monitoring", days=30, archive=True),
    Keep("audit_log", days=365, since="at"),
    Keep("recoveries", days=365, since="at"),
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

LOG_DAYS = {"DEBUG": 1, "INFO": 7, "WARNING": 30, "ERROR": 90, "CRITICAL": 365}
"""Log entries, by level."""

FIRST_BATCH, MOST_IN_A_BATCH = 100, 500
LONGEST_LOCK_MS = 100.0
GIVE_WAY_S = 0.015
"""Between two batches: who waits for SQLite looks again every 10 ms, and would else find it taken each time."""


def next_batch(batch: int, took_ms: float) -> int:
    """How many rows to delete next, after so many took so long: a quarter of what another writer may be kept waiting, for a
    slice writes its checkpoint too, and the next rows may be slower ones.
    """
    aim_ms = LONGEST_LOCK_MS / 4
    fits = int(batch * aim_ms / max(took_ms, 1.0))
    return max(1, min(fits, batch * 2, MOST_IN_A_BATCH))


def backups_kept(made: Iterable[datetime], *, daily: int, weekly: int) -> set[datetime]:
    """Which copies stay: of the newest days that have one, and of the newest weeks, the newest copy each. Nights that made none
    (a machine that was off) count for nothing, so there are always as many as that.
    """
    newest_first = sorted(made, reverse=True)
    of_days: dict[date, datetime] = {}
    of_weeks: dict[tuple[int, int], datetime] = {}
    for moment in newest_first:
        year, week, _ = moment.isocalendar()
        of_days.setdefault(moment.date(), moment)
        of_weeks.setdefault((year, week), moment)
    return {*list(of_days.values())[:daily], *list(of_weeks.values())[:weekly]}
