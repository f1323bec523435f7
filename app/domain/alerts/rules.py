"""The one table of alert rules: what is read, where it becomes wrong, how long it must last, and what a person should do.

The limits and cooldowns are the documents' (B5.8 and the KPIs of seeds/001). To add a rule: a line in ``RULES``, and a
reading of that name in ``app/usecases/read_fleet.py``.
"""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["warning", "critical"]
Direction = Literal["above", "below"]
MINUTE_S = 60.0
_COUNTED_S = 5 * MINUTE_S  # what is counted is counted over so long
_TWO_MEASUREMENTS_S = 90.0  # of what is measured once a minute, one alone is no ground to wake anybody


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that may be wrong. Of a reading with many subjects, such as processes, each one is an alert of its own.

    ``sentence`` may name ``{subject}``, ``{value}`` and ``{limit}``, ``what_to_do`` the subject. It fires after
    ``failures`` bad looks that last ``for_s`` together, without ``recoveries`` good ones in a row among them, and is over after
    so many good ones. What nobody acknowledged within ``escalate_s`` becomes critical.
    """

    name: str
    reads: str
    limit: float
    severity: Severity
    cooldown_s: float
    sentence: str
    what_to_do: str
    direction: Direction = "above"
    for_s: float = 0.0
    failures: int = 3
    recoveries: int = 2
    escalate_s: float | None = None

    def broken_by(self, value: float) -> bool:
        """Whether this reading is beyond the limit."""
        return value > self.limit if self.direction == "above" else value < self.limit

    def told(self, subject: str, value: float) -> str:
        """The alert in one or two sentences: what is wrong and what to do."""
        said = self.sentence.format(subject=subject, value=f"{value:.4g}", limit=f"{self.limit:g}")
        return f"{said} {self.what_to_do.format(subject=subject)}"


RULES: Final = (
    Rule(
        "cpu",
        "host_cpu_percent",
        60,
        "warning",
        5 * MINUTE_S,
        "The processors are {value} % busy (limit {limit} %).",
        "See what is hungry: flotilla ps.",
        for_s=60,
    ),
    Rule(
        "memory",
        "host_memory_percent",
        60,
        "warning",
        5 * MINUTE_S,
        "{value} % of the memory is in use (limit {limit} %).",
        "See who holds it: flotilla ps; the guard replaces whoever passes its ceiling.",
        for_s=60,
    ),
    Rule(
        "disk",
        "host_disk_percent",
        80,
        "warning",
        10 * MINUTE_S,
        "The disk is {value} % full (limit {limit} %).",
        "The clean-up of the night came early. If that is too little: move backups away (docs/runbook.md, 4).",
        escalate_s=6 * 60 * MINUTE_S,
        for_s=60,
    ),
    Rule(
        "disk-critical",
        "host_disk_percent",
        90,
        "critical",
        10 * MINUTE_S,
        "The disk is {value} % full (limit {limit} %): depths are not stored, backups wait, and soon nothing can be kept.",
        "Make room now.",
        for_s=30,
    ),
    Rule(
        "process-down",
        "process_down",
        0,
        "critical",
        5 * MINUTE_S,
        "{subject} does not run.",
        "See why: flotilla logs {subject}.",
        escalate_s=15 * MINUTE_S,
        for_s=15,  # a crash that a restart mends is supervisord's
    ),
    Rule(
        "process-frozen",
        "process_frozen",
        0,
        "critical",
        5 * MINUTE_S,
        "{subject} runs and does no work.",
        "If the guard does not replace it: flotilla ctl restart {subject}.",
        escalate_s=15 * MINUTE_S,
        for_s=30,  # the guard replaces it after two heartbeats
    ),
    Rule(
        "supervisord-away",
        "supervisord_away",
        0,
        "critical",
        5 * MINUTE_S,
        "supervisord does not answer, so nobody restarts what ends.",
        "On the server: make start.",
        for_s=30,
    ),
    Rule(
        "redis-away",
        "redis_away",
        0,
        "warning",
        5 * MINUTE_S,
        "Redis does not answer: jobs wait, and the market is read from the database.",
        "See: flotilla doctor.",
        for_s=30,
        escalate_s=15 * MINUTE_S,
    ),
    Rule(
        "way-silent",
        "notice_failures",
        9,  # with the pauses between them, half an hour
        "warning",
        60 * MINUTE_S,
        "Nothing could be told by {subject} for {value} attempts in a row.",
        "See why: flotilla logs monitor --level WARNING.",
        failures=1,
    ),
    Rule(
        "api-success",
        "api_success_percent",
        95,
        "warning",
        5 * MINUTE_S,
        "Only {value} % of the API's answers of the last five minutes are good (limit {limit} %).",
        "See: flotilla logs main-app --level ERROR.",
        direction="below",
        escalate_s=30 * MINUTE_S,
    ),
    Rule(
        "api-slow",
        "api_p95_seconds",
        2,
        "warning",
        5 * MINUTE_S,
        "One of twenty requests to the API takes longer than {value} s (limit {limit} s).",
        "See whether the machine or the database is busy: flotilla doctor.",
        for_s=60,
    ),
    Rule(
        "api-errors",
        "api_errors",
        4,  # the documents alert at 5
        "warning",
        3 * MINUTE_S,
        "The API failed {value} times within five minutes.",
        "See: flotilla logs main-app --level ERROR.",
        failures=1,
    ),
    Rule(
        "strategy-errors",
        "strategy_errors",
        2,  # at 3
        "warning",
        5 * MINUTE_S,
        "Judging or trading on paper failed {value} times within five minutes.",
        "See: flotilla logs strategy-worker --level WARNING.",
        failures=1,
        escalate_s=30 * MINUTE_S,
    ),
    Rule(
        "database-errors",
        "database_errors",
        2,  # at 3
        "critical",
        5 * MINUTE_S,
        "The database was away {value} times within five minutes.",
        "See: flotilla doctor.",
        failures=1,
    ),
    Rule(
        "feed-stale",
        "feed_age_seconds",
        60,
        "critical",
        5 * MINUTE_S,
        "The newest data of {subject} are {value} s old (limit {limit} s).",
        "See: flotilla logs market-feed, and the page /.",
        for_s=30,  # at a start, the report is the last one's
        escalate_s=15 * MINUTE_S,
    ),
    Rule(
        "exchange-rest",
        "exchange_rest_percent",
        80,
        "warning",
        5 * MINUTE_S,
        "Only {value} % of the requests to {subject} of the last five minutes were answered (limit {limit} %).",
        "A ban, an outage or a network: /api/v1/market/exchanges says which.",
        direction="below",
    ),
    Rule(
        "exchange-stream",
        "exchange_stream_percent",
        80,
        "warning",
        5 * MINUTE_S,
        "Only {value} % of the attempts to connect to the streams of {subject} succeeded within five minutes (limit {limit} %).",
        "A ban, an outage or a network: /api/v1/market/exchanges says which.",
        direction="below",
        for_s=_COUNTED_S,  # of an outage that is over, what failed is counted for so long
    ),
    Rule(
        "rows-lost",
        "feed_rows_lost",
        0,
        "critical",
        5 * MINUTE_S,
        "{value} rows of market data were given up within five minutes, because the database was away.",
        "See: flotilla doctor.",
        failures=1,
    ),
    Rule(
        "no-judgments",
        "judging_cycles_behind",
        1,  # two cycles went by
        "critical",
        15 * MINUTE_S,
        "Nothing was judged for {value} closes of 15 minutes.",
        "See: flotilla logs strategy-worker.",
        for_s=300,  # after a downtime, what was missed is caught up first
        escalate_s=30 * MINUTE_S,
    ),
    Rule(
        "open-interest-still",
        "open_interest_still",
        0,
        "warning",
        60 * MINUTE_S,
        "The open interest of {value} symbols has been the same for an hour.",
        "See what the exchange says: flotilla logs market-feed.",
        for_s=_TWO_MEASUREMENTS_S,
    ),
    Rule(
        "ledger-off",
        "ledger_broken",
        0,
        "critical",
        60 * MINUTE_S,
        "{value} paper accounts do not add up.",
        "Trust none of their figures; which ones: flotilla logs data-cleaner --level ERROR.",
        for_s=_TWO_MEASUREMENTS_S,
    ),
    Rule(
        "chore-failed",
        "chore_failed",
        0,
        "warning",
        24 * 60 * MINUTE_S,
        "The newest {subject} of the data has failed.",
        "See why: flotilla logs data-cleaner --level ERROR, or /api/system/tasks?status=failed.",
        for_s=_TWO_MEASUREMENTS_S,
        escalate_s=48 * 60 * MINUTE_S,
    ),
    Rule(
        "database-gone",
        "database_gone",
        0,
        "critical",
        10 * MINUTE_S,
        "The database's file was moved, deleted or replaced: what is written now is lost.",
        "Put it back as it was, or: flotilla stop, flotilla backup restore NAME, flotilla start.",
    ),
    Rule(
        "database-damaged",
        "database_damaged",
        0,
        "critical",
        24 * 60 * MINUTE_S,
        "{value} tables of the database are damaged.",
        "See which: flotilla logs data-cleaner --level ERROR; a copy from before: flotilla backup list.",
        for_s=_TWO_MEASUREMENTS_S,
    ),
)
"""Every rule, in the order in which a person should look."""
