"""How an alert goes from one look to the next: ok → pending → firing → resolved → ok. Pure; the caller stores and tells.

    ok, resolved ── bad ──> pending ── bad often and long enough, cooldown over ──> firing ── good twice ──> resolved
                               └─────────────────── good twice ───────────────────> ok, or resolved as before

A reading that is not known changes nothing: it neither fires, nor resolves, nor reminds.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isnan
from typing import Literal

from app.domain.alerts.rules import Rule, Severity

Status = Literal["ok", "pending", "firing", "resolved"]
EventKind = Literal["fired", "repeated", "escalated", "resolved"]
LONGEST_PAUSE_S = 3600.0
LONGEST_GAP_S = 120.0  # bad looks that lie further apart do not belong together: what was between them is not known


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is remembered of one alert. Times are None until there is one; ``fired_at`` outlives the resolution."""

    status: Status = "ok"
    since: datetime | None = None
    """Of pending: the first bad look. Of firing and resolved: when it became so."""
    bad: int = 0
    good: int = 0
    fired_at: datetime | None = None
    told_at: datetime | None = None
    told: int = 0
    """Messages of this firing: its first one and its reminders."""
    value: float | None = None
    """The reading that was last told."""
    escalated: bool = False
    acknowledged_by: str | None = None
    looked: datetime | None = None
    """Of pending: the last bad look."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell. ``number`` tells the messages of one firing apart."""

    kind: EventKind
    rule: str
    subject: str
    at: datetime
    fired_at: datetime
    number: int
    severity: Severity
    text: str


def step(
    rule: Rule, state: AlertState, reading: float | None, now: datetime, *, subject: str = ""
) -> tuple[AlertState, tuple[Event, ...]]:
    """Take in one look. The new state must be stored before the events are sent."""
    if reading is None or isnan(reading):  # NaN is what is not known, in metrics
        return state, ()
    state = _not_after(state, now)
    if rule.broken_by(reading):
        return _bad(rule, state, reading, now, subject)
    return _good(rule, state, reading, now, subject)


def end(rule: Rule, state: AlertState, now: datetime, *, subject: str = "") -> tuple[Event, ...]:
    """What is to be told as it is no longer watched, such as an exchange that was taken out of the settings."""
    if state.status != "firing":
        return ()
    state = _not_after(state, now)
    text = f"No longer watched{_for(state, now)}: {_last_told(rule, state, rule.limit, subject)}"
    return (_event("resolved", rule, state, now, subject, text),)


def acknowledge(state: AlertState, by: str) -> AlertState:
    """Somebody knows: no reminder, no escalation, until it fires anew. Only what fires can be acknowledged."""
    return replace(state, acknowledged_by=by) if state.status == "firing" else state


def severity(rule: Rule, state: AlertState) -> Severity:
    """How grave it is by now."""
    return "critical" if state.escalated else rule.severity


def _bad(
    rule: Rule, state: AlertState, reading: float, now: datetime, subject: str
) -> tuple[AlertState, tuple[Event, ...]]:
    if state.status == "firing":
        return _still(rule, replace(state, good=0), reading, now, subject)
    if state.status != "pending" or not _within(state.looked, LONGEST_GAP_S, now):
        state = replace(state, status="pending", since=now, bad=0, good=0)
    state = replace(state, bad=min(state.bad + 1, rule.failures), good=0, looked=now)
    if state.bad < rule.failures or _within(state.since, rule.for_s, now):
        return state, ()
    if _within(state.fired_at, rule.cooldown_s, now):
        return state, ()
    fired = AlertState("firing", since=now, fired_at=now, told_at=now, told=1, value=reading)
    return fired, (_event("fired", rule, fired, now, subject, rule.told(subject, reading)),)


def _still(
    rule: Rule, state: AlertState, reading: float, now: datetime, subject: str
) -> tuple[AlertState, tuple[Event, ...]]:
    if state.acknowledged_by is not None:
        return state, ()
    if rule.escalate_s is not None and not state.escalated and not _within(state.since, rule.escalate_s, now):
        state = replace(state, escalated=True, told_at=now, told=state.told + 1, value=reading)
        text = f"Nobody has acknowledged this{_for(state, now)}: {rule.told(subject, reading)}"
        return state, (_event("escalated", rule, state, now, subject, text),)
    pause_s = min(rule.cooldown_s * 2.0 ** min(state.told - 1, 20), max(LONGEST_PAUSE_S, rule.cooldown_s))
    if _within(state.told_at, pause_s, now):
        return state, ()
    state = replace(state, told_at=now, told=state.told + 1, value=reading)
    text = f"Still{_for(state, now)}: {rule.told(subject, reading)}"
    return state, (_event("repeated", rule, state, now, subject, text),)


def _good(
    rule: Rule, state: AlertState, reading: float, now: datetime, subject: str
) -> tuple[AlertState, tuple[Event, ...]]:
    if state.status in ("pending", "firing"):  # one good look between bad ones is not yet the end of it
        state = replace(state, good=state.good + 1)
        if state.good < rule.recoveries:
            return state, ()
    if state.status == "firing":
        text = f"Over{_for(state, now)} (now {reading:.4g}): {_last_told(rule, state, reading, subject)}"
        event = _event("resolved", rule, state, now, subject, text)
        return AlertState("resolved", since=now, fired_at=state.fired_at, told=state.told), (event,)
    if _within(state.fired_at, rule.cooldown_s, now):  # what it remembers still holds back the next firing
        since = now if state.status == "pending" else state.since
        return AlertState("resolved", since=since, fired_at=state.fired_at, told=state.told), ()
    return AlertState(), ()


def _last_told(rule: Rule, state: AlertState, reading: float, subject: str) -> str:
    """What was wrong, as a person knows it."""
    was = reading if state.value is None else state.value
    return rule.sentence.format(subject=subject, value=f"{was:.4g}", limit=f"{rule.limit:g}")


def _event(kind: EventKind, rule: Rule, state: AlertState, now: datetime, subject: str, text: str) -> Event:
    number = state.told + 1 if kind == "resolved" else state.told
    return Event(kind, rule.name, subject, now, state.fired_at or now, number, severity(rule, state), text)


def _within(since: datetime | None, seconds: float, now: datetime) -> bool:
    return since is not None and now - since < timedelta(seconds=seconds)


def _for(state: AlertState, now: datetime) -> str:
    if state.fired_at is None:
        return ""
    minutes = int((now - state.fired_at).total_seconds() // 60)
    return f" after {minutes} min" if minutes else ""


def _not_after(state: AlertState, now: datetime) -> AlertState:
    """A clock that was set back must not hold an alert up for longer than one that was not."""

    def limited(at: datetime | None) -> datetime | None:
        return None if at is None else min(at, now)

    return replace(
        state,
        since=limited(state.since),
        fired_at=limited(state.fired_at),
        told_at=limited(state.told_at),
        looked=limited(state.looked),
    )
