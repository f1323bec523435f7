"""What market-feed says of itself: a file that it writes every second and the API reads, so that both SQL and Redis may be away.

Its times in ms are the market's, which a sped-up demo makes run faster than ours; only ``at_ms`` and ``banned_until_ms`` are ours.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from app.domain.market.quality import Quality
from app.errors import Unavailable
from app.host import whole_file

NAME = "feed.json"
CURRENT_S = 10.0  # an older report says how it was, not how it is
FeedState = Literal["ok", "stale", "unknown"]
"""``stale``: it no longer reports. ``unknown``: it has not reported yet."""


WENT_WELL = ("checksums", "repaired")
"""Counters of what is no fault."""


class ConnectionReport(msgspec.Struct, frozen=True):
    """One stream connection."""

    host: str
    state: str
    """connecting, open, waiting (to connect again)"""
    opened_ms: int | None
    last_message_ms: int | None
    messages: int
    reconnects: int
    note: str = ""


class CollectorReport(msgspec.Struct, frozen=True):
    """One collector: what it is doing and what it has seen."""

    name: str
    exchange: str
    state: str
    """stopped, starting, running, degraded, failing"""
    note: str
    since_ms: int
    symbols: tuple[str, ...]
    connections: tuple[ConnectionReport, ...]
    messages: dict[str, int]
    """By channel, since the process started."""
    counters: dict[str, int]
    """gaps, late, duplicate, out_of_order, dropped, resyncs, refused, odd, unreadable, stumbled, repaired, lost,
    checksums"""
    quality: Quality


class BudgetReport(msgspec.Struct, frozen=True):
    """One rate limit."""

    exchange: str
    bucket: str
    used: float
    limit: float
    per_s: float
    banned_until_ms: int | None = None
    """By our clock."""
    waiting: int = 0


class CheckReport(msgspec.Struct, frozen=True):
    """One cleaning check."""

    check: str
    verdict: str
    """refuse or mark"""
    count: int
    last_ms: int | None
    last: str
    """The newest example, in words."""


class BookReport(msgspec.Struct, frozen=True):
    """One order book. ``status`` is ok, warming, stale or gap: only an ok one feeds anything."""

    exchange: str
    symbol: str
    status: str
    bids: int
    asks: int
    updated_ms: int | None
    resyncs: int


class StoreReport(msgspec.Struct, frozen=True):
    """How writing goes."""

    waiting: int
    written: dict[str, int]
    """Rows by table, since the process started."""
    lost: int
    away_since_ms: int | None
    error: str = ""
    told: dict[str, int] = msgspec.field(default_factory=dict)
    """Values told to Redis, by how it went (ok, trouble), since the process started."""
    held_back: int = 0
    """Rows that were not stored because the disk is scarce, since the process started."""
    why_held_back: str = ""
    """Empty while everything is stored."""


class FeedReport(msgspec.Struct, frozen=True):
    """All of it. ``at_ms`` is our time when it was written, ``market_ms`` the market's."""

    at_ms: int
    market_ms: int
    simulated: bool
    collectors: tuple[CollectorReport, ...]
    budgets: tuple[BudgetReport, ...]
    checks: tuple[CheckReport, ...]
    books: tuple[BookReport, ...]
    store: StoreReport


class Seen(NamedTuple):
    """What market-feed last said of itself, whether that is so now, and how old it is by our clock."""

    report: FeedReport | None
    state: FeedState
    age_ms: int | None


def write(run_dir: Path, report: FeedReport) -> None:
    """Replace the report. A full disk loses it, never the process."""
    try:
        whole_file.replace(run_dir / NAME, msgspec.json.encode(report))
    except OSError:
        return


def read(run_dir: Path) -> FeedReport:
    """The newest report, however old. Raises Unavailable where there is none yet."""
    try:
        return msgspec.json.decode((run_dir / NAME).read_bytes(), type=FeedReport)
    except (OSError, msgspec.MsgspecError) as error:
        raise Unavailable(
            "market-feed has not reported yet.",
            cure="Wait a few seconds; `flotilla logs market-feed` says what it does.",
        ) from error


def look(run_dir: Path, now_ms: int) -> Seen:
    """The newest report, and whether it says how things are: none at all is an answer too."""
    try:
        report = read(run_dir)
    except Unavailable:
        return Seen(None, "unknown", None)
    age_ms = abs(now_ms - report.at_ms)  # one from the future is from before a clock was set back
    return Seen(report, "ok" if age_ms <= CURRENT_S * 1000 else "stale", age_ms)
