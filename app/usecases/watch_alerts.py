"""Watch: step every alert, store where it stands, and only then put what is to be told into the outbox."""

import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.domain.alerts.rules import RULES, Rule, Severity
from app.domain.alerts.stepping import AlertState, Event, acknowledge, end, severity, step
from app.host import alert_file
from app.host.alert_file import Kept, apart, is_meant, key, shown
from app.notify import outbox
from app.notify.outbox import Level, Notice

Readings = Mapping[tuple[str, str], float | None]
"""By the name of the reading and its subject, such as ("process_down", "broker"). None: not known just now."""
_LONGEST_ID = 120
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires."""

    name: str
    severity: Severity
    since: datetime
    text: str
    acknowledged_by: str | None


class AlertWatch:
    """All alerts of this fleet. Safe from several threads: a person acknowledges while the monitor looks."""

    def __init__(self, state_dir: Path, notices: Path, rules: Sequence[Rule] = RULES) -> None:
        self._state_dir, self._notices = state_dir, notices
        self._rules = {rule.name: rule for rule in rules}
        self._lock = threading.Lock()
        kept = alert_file.read(state_dir)
        states = {name: state for name, state in kept.states.items() if apart(name)[0] in self._rules}
        self._kept = Kept(states, kept.unsent)

    def look(self, readings: Readings, now: datetime) -> None:
        """Take in one look at everything."""
        with self._lock:
            states, events = dict(self._kept.states), list(self._kept.unsent)
            for rule in self._rules.values():
                seen = {subject: value for (reads, subject), value in readings.items() if reads == rule.reads}
                for subject, value in seen.items():
                    name = key(rule.name, subject)
                    states[name], more = step(rule, states.get(name, AlertState()), value, now, subject=subject)
                    events += more
                if any(value is not None for value in seen.values()):
                    events += _forget(states, rule, seen, now)
            states = {name: state for name, state in states.items() if state != AlertState()}
            self._keep(Kept(states, tuple(events)))
            self._send()

    def acknowledge(self, name: str | None, by: str, *, fired_at: datetime | None = None) -> list[str]:
        """Somebody knows of this alert, named in full or by its rule, or of all that fire; which ones those were. With
        ``fired_at``, only of what has fired since then, and not anew.
        """
        with self._lock:
            states, known = dict(self._kept.states), []
            for one, state in states.items():
                meant = is_meant(one, name) and fired_at in (None, state.fired_at)
                if meant and state.status == "firing":
                    states[one] = acknowledge(state, by)
                    known.append(shown(one))
            self._keep(Kept(states, self._kept.unsent))
            return sorted(known)

    def firing(self) -> list[Firing]:
        """What fires, the gravest and oldest first."""
        with self._lock:
            states = dict(self._kept.states)
        found = []
        for name, state in states.items():
            if state.status == "firing" and state.fired_at is not None:
                rule_name, subject = apart(name)
                rule = self._rules[rule_name]
                text = rule.told(subject, state.value if state.value is not None else rule.limit)
                found.append(Firing(shown(name), severity(rule, state), state.fired_at, text, state.acknowledged_by))
        return sorted(found, key=lambda one: (one.severity != "critical", one.since, one.name))

    def _keep(self, kept: Kept) -> None:
        """Store it, unless nothing changed. A full disk must not silence us: then memory has to do."""
        if kept == self._kept:
            return
        self._kept = kept
        try:
            alert_file.write(self._state_dir, kept)
        except OSError as error:
            _log.warning("the alerts cannot be stored: %s", error)

    def _send(self) -> None:
        left = []
        for event in self._kept.unsent:
            try:
                outbox.post(self._notices, notice(event))
            except OSError as error:
                _log.warning("an alert waits for room in the outbox: %s", error)
                left.append(event)
        self._keep(Kept(self._kept.states, tuple(left)))


def notice(event: Event) -> Notice:
    """An event as it lies in the outbox: its id is made of what it is, so that one event is told once."""
    over = event.kind == "resolved"
    level: Level = "info" if over else event.severity
    about = re.sub(r"[^A-Za-z0-9._-]", "-", f"{event.rule}-{event.subject}")
    stamp = f"{event.fired_at:%Y%m%dT%H%M%S%f}"
    notice_id = f"{stamp}-{about[: _LONGEST_ID - len(stamp) - 12]}-{event.number}"
    subject, resolves = event.subject or event.rule, event.severity if over else ""
    return Notice(notice_id, event.at, level, subject, event.text, group=event.rule, resolves=resolves)


def _forget(states: dict[str, AlertState], rule: Rule, seen: Mapping[str, object], now: datetime) -> Iterator[Event]:
    """What is no longer watched, such as an exchange that was taken out of the settings, cannot be wrong any more."""
    for name in list(states):
        of_rule, subject = apart(name)
        if of_rule == rule.name and subject not in seen:
            yield from end(rule, states.pop(name), now, subject=subject)
