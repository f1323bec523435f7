"""The fleet's rules: what a process is promised, when it must be replaced, and when to stop trying.

Verdicts only; ``ops/process_guard.py`` does the deeds. Every time here is a monotonic second: a jump of the wall clock
(or a suspended machine) must not look like a silent fleet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

WhenExhausted = Literal["run", "stop"]
Role = Literal["core", "work"]
Desired = Literal["running", "stopped"]
Fault = Literal["process_ended", "process_silent", "process_fat"]
Kind = Literal["drain", "kill", "stop", "tell"]

SAMPLES_OVER_CEILING = 2  # one sample may be a burst that the next garbage collection returns
RESTARTS_PER_HOUR = 3  # production once counted 3 600 restarts of a process whose limit was set too low
HOUR_S = 3600.0
LOOP_EXITS = 6  # a restart every 20 s is seen after about two minutes
LOOP_WINDOW_S = 180.0
BEATS_MISSED = 2
START_S = 60.0
"""So long may a process take to its first work: on a machine that starts all of them at once, loading alone takes ten seconds."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One block of supervisord.conf, as the guard and the API need it."""

    name: str
    ceiling_mb: int
    heartbeat_s: float
    grace_s: float
    when_exhausted: WhenExhausted
    role: Role


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one process at one moment. ``beat`` changes whenever the process has done work; None before its first."""

    now_s: float
    pid: int | None
    memory_mb: float | None
    beat: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and the sentence that says why."""

    kind: Kind
    why: str
    fault: Fault = "process_ended"


@dataclass(frozen=True, slots=True)
class Watch:
    """What the guard remembers of one process. ``restarts`` and ``exits`` are kept over a restart of the guard."""

    pid: int | None = None
    beat: float | None = None
    beat_seen_s: float = 0.0
    over_ceiling: int = 0
    draining_since_s: float | None = None
    restarts: tuple[float, ...] = ()
    exits: tuple[float, ...] = ()
    exhausted_told_s: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The next memory and what to do now."""

    watch: Watch
    verdicts: Sequence[Verdict] = field(default=())


def observe(spec: ProcessSpec, watch: Watch, seen: Observation) -> Step:
    """Judge one process after one look at it."""
    if seen.pid is None:
        return Step(replace(watch, pid=None, over_ceiling=0, draining_since_s=None))
    if seen.pid != watch.pid:
        watch = replace(
            watch,
            pid=seen.pid,
            beat=seen.beat,
            beat_seen_s=seen.now_s,
            over_ceiling=0,
            draining_since_s=None,
        )
    elif seen.beat != watch.beat:
        watch = replace(watch, beat=seen.beat, beat_seen_s=seen.now_s)
    if seen.memory_mb is not None:
        over = watch.over_ceiling + 1 if seen.memory_mb > spec.ceiling_mb else 0
        watch = replace(watch, over_ceiling=over)

    if watch.draining_since_s is not None:
        waited_s = seen.now_s - watch.draining_since_s
        if waited_s <= spec.grace_s:
            return Step(watch)
        why = f"{spec.name} did not end within {spec.grace_s:g} s of being asked to drain"
        return Step(replace(watch, draining_since_s=seen.now_s), (Verdict("kill", why),))

    fault, why = _fault(spec, watch, seen)
    if fault is None:
        return Step(watch)
    return _restart(spec, watch, seen.now_s, why, fault)


def _fault(spec: ProcessSpec, watch: Watch, seen: Observation) -> tuple[Fault | None, str]:
    silent_s = seen.now_s - watch.beat_seen_s
    if silent_s > (BEATS_MISSED * spec.heartbeat_s if seen.beat is not None else START_S):
        return (
            "process_silent",
            f"{spec.name} has done no work for {silent_s:.0f} s; it promises some every {spec.heartbeat_s:g} s",
        )
    if watch.over_ceiling >= SAMPLES_OVER_CEILING:
        why = f"{spec.name} used {seen.memory_mb:.0f} MB twice in a row; its ceiling is {spec.ceiling_mb} MB"
        return "process_fat", why
    return None, ""


def _restart(spec: ProcessSpec, watch: Watch, now_s: float, why: str, fault: Fault) -> Step:
    recent = _within(watch.restarts, now_s, HOUR_S)
    if len(recent) >= RESTARTS_PER_HOUR:
        return _exhausted(
            spec, replace(watch, restarts=recent), now_s, f"{why}; {len(recent)} restarts in the last hour", fault
        )
    watch = replace(watch, restarts=(*recent, now_s), over_ceiling=0, draining_since_s=now_s, exhausted_told_s=None)
    return Step(watch, (Verdict("drain", why, fault), Verdict("tell", f"{why}. It is being replaced.", fault)))


def unexpected_exit(spec: ProcessSpec, watch: Watch, now_s: float) -> Step:
    """Count an exit that nobody asked for; supervisord has already begun the next start."""
    exits = (*_within(watch.exits, now_s, LOOP_WINDOW_S), now_s)
    watch = replace(watch, exits=exits)
    if len(exits) < LOOP_EXITS:
        return Step(watch)
    why = f"{spec.name} ended by itself {len(exits)} times within {LOOP_WINDOW_S:.0f} s"
    return _exhausted(spec, watch, now_s, why, "process_ended")


def _exhausted(spec: ProcessSpec, watch: Watch, now_s: float, why: str, fault: Fault) -> Step:
    """Stop trying: leave it as its block in supervisord.conf says, and tell a person once an hour."""
    deeds = (Verdict("stop", why, fault),) if spec.when_exhausted == "stop" else ()
    told = watch.exhausted_told_s
    if told is not None and 0 <= now_s - told < HOUR_S:
        return Step(watch, deeds)
    text = f"{why}. It is left running. Find the cause: flotilla logs {spec.name}"
    if deeds:
        text = f"{why}. It has been stopped. Find the cause, then: flotilla ctl start {spec.name}"
    return Step(replace(watch, exhausted_told_s=now_s), (*deeds, Verdict("tell", text, fault)))


def _within(times: Sequence[float], now_s: float, window_s: float) -> tuple[float, ...]:
    """The times of the last ``window_s``; one from the future belongs to an earlier boot and is dropped."""
    return tuple(time_s for time_s in times if 0 <= now_s - time_s < window_s)
