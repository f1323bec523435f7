"""What the fleet does by itself when something fails: which remedy is for which fault, and what became of each that was tried.

A remedy stands where the fault is noticed; this table is what is told of it, and the names that its rows bear.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

Action = Literal["restart", "put_back", "fail_over", "backfill", "degrade", "clean_up"]
Outcome = Literal["pending", "recovered", "given_up", "unknown"]
ACTIONS: tuple[Action, ...] = get_args(Action)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
QUICK: frozenset[Action] = frozenset({"restart", "put_back", "backfill"})
"""These end within minutes; the others last as long as their fault does."""
UNTOLD_AFTER, LONG_UNTOLD_AFTER = timedelta(hours=1), timedelta(days=7)
"""Of what is pending for so long, quick or not, who began it has died over it: nobody will tell how it ended."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What is done about one kind of fault."""

    fault: str
    action: Action
    by: str
    """The process that does it."""
    does: str
    gives_up: str
    """When it stops trying, and what happens then."""


REMEDIES = (
    Remedy(
        "process_ended",
        "restart",
        "process-guard",
        "supervisord starts it again at once, and later and later while its start fails",
        "after 6 ends within 3 minutes it is left as its block in supervisord.conf says, and a person is told",
    ),
    Remedy(
        "process_silent",
        "restart",
        "process-guard",
        "it is asked to drain, is killed when it does not, and supervisord starts it again",
        "after 3 restarts within an hour a person is told instead",
    ),
    Remedy(
        "process_fat",
        "restart",
        "process-guard",
        "the one process above its ceiling drains and is started again; what others share is never flushed",
        "after 3 restarts within an hour a person is told instead",
    ),
    Remedy(
        "guard_down",
        "restart",
        "monitor",
        "a process-guard that is stuck or too large is killed, and supervisord starts it again, as one that ended",
        "after 3 restarts within an hour a person is told instead",
    ),
    Remedy(
        "task_left_behind",
        "put_back",
        "data-cleaner",
        "a task whose worker died waits in its queue again, from its last checkpoint",
        "after 3 workers have ended over it without finishing a slice it is failed, and its row says so",
    ),
    Remedy(
        "stream_down",
        "fail_over",
        "market-feed",
        "while an exchange's stream is away its candles are asked for by REST, within its rate limit",
        "never: the stream is tried again at most a minute apart, and an alert is told after five",
    ),
    Remedy(
        "candles_missing",
        "backfill",
        "market-feed",
        "the minutes that are missing are asked for, and come in like any others",
        "what the exchange itself does not have is noted, and not asked for again",
    ),
    Remedy(
        "machine_strained",
        "degrade",
        "monitor",
        "what waits without harm is paused, and the exchanges are asked half as often, until the machine has room again",
        "when it lasts, the alerts for CPU and memory go on telling",
    ),
    Remedy(
        "disk_filling",
        "clean_up",
        "data-cleaner",
        "at 80 % the nightly clean-up comes early, at most once an hour, and older nights' backups go",
        "at 90 % the disk is scarce, and a person is told",
    ),
    Remedy(
        "disk_scarce",
        "degrade",
        "monitor",
        "at 90 % depths and refused messages are no longer stored, which are worth least; books stay live; backups wait",
        "below 85 % they are stored again, and backups are made; one that has waited for six hours is tried, and says if it fails",
    ),
)
BY_FAULT = {remedy.fault: remedy for remedy in REMEDIES}


@dataclass(frozen=True, slots=True)
class Recovery:
    """One remedy that was tried. Its end is told under the same key as its beginning, by whoever began it."""

    key: str
    at: datetime
    fault: str
    subject: str
    reason: str
    outcome: Outcome = "pending"
    note: str = ""
    ended_at: datetime | None = None

    def ended(self, outcome: Outcome, note: str, now: datetime) -> "Recovery":
        """The same, at its end."""
        return replace(self, outcome=outcome, note=note, ended_at=now)


def begun(fault: str, subject: str, reason: str, now: datetime) -> Recovery:
    """A remedy that is tried from now on. Nobody begins two of one subject at the same moment."""
    return Recovery(f"{now:%Y%m%dT%H%M%S%f} {BY_FAULT[fault].fault} {subject}", now, fault, subject, reason)
