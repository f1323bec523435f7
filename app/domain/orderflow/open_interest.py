"""Open interest and its change, from a state that is stored: unknown is not zero, and a restart is an ordinary event.

A restarted process once reported a change of 0 for every symbol. Here a change is only ever computed against a stored value.
"""

import msgspec

from app.domain.market.readings import WARMING, Reading
from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import OpenInterest

KEPT_MS = 4 * 60 * MINUTE_MS  # the longest window that anything asks for
SLACK_MS = 2 * MINUTE_MS  # polled once a minute: a value so far from where the window begins still says what was there
STALE_MS = 5 * MINUTE_MS  # exchanges tell it at least every five minutes in their history


class OpenInterestState(msgspec.Struct, frozen=True):
    """The values of one symbol, a minute each, oldest first: what a checkpoint holds, and JSON as it stands."""

    minutes: tuple[tuple[int, float], ...] = ()
    """Time in ms and quantity in base coins."""

    @property
    def last(self) -> tuple[int, float] | None:
        """The newest."""
        return self.minutes[-1] if self.minutes else None


def advance(state: OpenInterestState, value: OpenInterest) -> tuple[OpenInterestState, float | None]:
    """The next state, and the change in percent since the value before; None when there is nothing to compare with.

    A value that is not newer than the last one changes nothing: an answer may come twice, and polls overlap with history.
    """
    last = state.last
    if last is not None and value.time_ms <= last[0]:
        return state, None
    before = state.minutes
    if last is not None and value.time_ms // MINUTE_MS == last[0] // MINUTE_MS:
        before = before[:-1]  # the newest of a minute stands for it
    oldest = value.time_ms - KEPT_MS - SLACK_MS
    kept = tuple(minute for minute in before if minute[0] >= oldest)
    change = None if last is None else _percent(last[1], value.quantity)
    return OpenInterestState((*kept, (value.time_ms, value.quantity))), change


def change_percent(state: OpenInterestState, minutes: int, now_ms: int) -> Reading:
    """The change over so many minutes, in percent of what was there at the window's beginning.

    ``warming``: the series is younger than the window. ``stale``: nothing new came for minutes. ``gap``: there are older values,
    but none near the window's beginning.
    """
    last = state.last
    if last is None:
        return WARMING
    begin_ms = last[0] - minutes * MINUTE_MS
    near = [minute for minute in state.minutes if abs(minute[0] - begin_ms) <= SLACK_MS and minute[0] < last[0]]
    if not near:
        older = state.minutes[0][0] < begin_ms
        return Reading(None, "gap" if older else "warming")
    start = min(near, key=lambda minute: abs(minute[0] - begin_ms))
    change = _percent(start[1], last[1])
    if change is None:
        return Reading(None, "gap")
    return Reading(change, "stale" if now_ms - last[0] > STALE_MS else "ok")


def _percent(before: float, now: float) -> float | None:
    return (now - before) / before * 100 if before > 0 else None
