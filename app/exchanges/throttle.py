"""One rate budget for all REST calls of an exchange, and the memory of its bans.

``Budget`` decides and knows no clock; ``Bans`` is what the exchange forbade, on disk; ``Throttle`` lets callers wait their turn.
Exactly one process may use an exchange's folder of bans: market-feed.
"""

import asyncio
import contextlib
import email.utils
import heapq
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec

from app.errors import InvalidInput, RateLimited, Unavailable
from app.exchanges.exchange import Limit

LONGEST_BAN_S = 7 * 86_400.0  # what claims to last longer is a mistake, and a person would never find out
FIRST_BAN_S = 120.0  # Binance's shortest, where a 418 does not say how long
LONGEST_GUESS_S = 3_600.0
FORGIVEN_S = 600.0  # so long after a refusal, the next one is the first again
MARGIN_S = 0.5  # an exchange may round its Retry-After down
FORBIDDEN = frozenset(
    {403, 418}
)  # a firewall's word is one against us too: who goes on asking stays outside for longer
REFUSALS = FORBIDDEN | {429}


@dataclass(slots=True, eq=False)
class Spent:
    """The weight of one call. Until it ended, nobody knows when the exchange counted it."""

    weight: float
    ended_s: float | None = None


class _Window:
    """A limit and what was spent of it. Any stretch of ``per_s`` seconds counts, however the exchange lays its windows."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.spent: deque[Spent] = deque()
        self.used = 0.0

    def forget(self, now_s: float) -> None:
        spent, per_s = self.spent, self.limit.per_s
        while spent and (ended_s := spent[0].ended_s) is not None and ended_s + per_s <= now_s:
            self.used -= spent.popleft().weight
        if not spent:
            self.used = 0.0

    def wait_s(self, weight: float, now_s: float) -> float | None:
        self.forget(now_s)
        too_much = self.used + weight - self.limit.weight
        free_s = now_s
        for one in self.spent:
            if too_much <= 0:
                break
            if one.ended_s is None:
                return None
            too_much -= one.weight
            free_s = max(free_s, one.ended_s + self.limit.per_s)
        return free_s - now_s

    def add(self, one: Spent) -> None:
        self.spent.append(one)
        self.used += one.weight


class Budget:
    """What may be spent, when. Time is passed in, in seconds of any clock that never goes back.

    A call counts from its start until ``per_s`` after its end: the exchange counted it at some moment in between. So no
    window of the exchange can hold more than its limit, wherever it begins.
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._windows: dict[str, list[_Window]] = {}
        for limit in limits:
            self._windows.setdefault(limit.bucket, []).append(_Window(limit))

    @property
    def buckets(self) -> Sequence[str]:
        """Their names."""
        return tuple(self._windows)

    def check(self, bucket: str, weight: float) -> None:
        """Raise InvalidInput for what could never have its turn."""
        if bucket not in self._windows:
            raise InvalidInput(f"There is no rate limit {bucket!r}.", cure=f"There are {', '.join(self._windows)}.")
        least = min(window.limit.weight for window in self._windows[bucket])
        if weight > least:
            raise InvalidInput(f"A call of weight {weight:g} can never pass the limit {bucket!r} of {least}.")

    def wait_s(self, bucket: str, weight: float, now_s: float) -> float | None:
        """How long until so much may be spent; 0: now. None: not before a call that is on its way has ended."""
        longest = 0.0
        for window in self._windows[bucket]:
            wait_s = window.wait_s(weight, now_s)
            if wait_s is None:
                return None
            longest = max(longest, wait_s)
        return longest

    def start(self, bucket: str, weight: float) -> Spent:
        """Spend it: the call goes out now."""
        one = Spent(weight)
        for window in self._windows[bucket]:
            window.add(one)
        return one

    def end(self, one: Spent, now_s: float) -> None:
        """The answer is here, or will never come."""
        if one.ended_s is None:
            one.ended_s = now_s

    def correct(self, bucket: str, used_header: str, used: float, now_s: float) -> None:
        """Believe the exchange where it counts more than we do: others may share our address, and a restart forgets.

        Where it counts less, its window began after ours.
        """
        for window in self._windows[bucket]:
            if window.limit.used_header == used_header:
                window.forget(now_s)
                if used > window.used:
                    window.add(Spent(used - window.used, now_s))

    def used(self, bucket: str, now_s: float) -> list[tuple[Limit, float]]:
        """The limits of a bucket, and how much of each is spent."""
        for window in self._windows[bucket]:
            window.forget(now_s)
        return [(window.limit, window.used) for window in self._windows[bucket]]


class Ban(msgspec.Struct, frozen=True):
    """When the exchange said that it wants to hear nothing from us, until when, and the how manieth time in a row."""

    at_ms: int
    until_ms: int
    refusals: int
    why: str


class Bans:
    """The ban of one exchange, as a file that is on disk before anything else can be sent.

    A running process measures it by a clock that cannot be set; only a new process takes the file's word for it.
    """

    def __init__(
        self, path: Path, now_ms: Callable[[], int], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._now_ms, self._monotonic = path, now_ms, monotonic
        self._lock = threading.Lock()
        self._ban = self._read()
        left_s = (self._ban.until_ms - now_ms()) / 1_000 if self._ban else 0.0
        if self._ban:  # a clock that was set back must not make it longer than it ever was
            left_s = min(left_s, (self._ban.until_ms - self._ban.at_ms) / 1_000)
        self._ends_s = monotonic() + left_s

    def left_s(self) -> float:
        """How long it still lasts; 0: there is none."""
        return max(0.0, self._ends_s - self._monotonic())

    def until_ms(self) -> int | None:
        """The moment it ends, or None."""
        left_s = self.left_s()
        return self._now_ms() + round(left_s * 1_000) if left_s else None

    def why(self) -> str:
        """What the exchange said; empty when there is no ban."""
        return self._ban.why if self._ban and self.left_s() else ""

    def check(self) -> None:
        """Raise RateLimited inside a ban."""
        if left_s := self.left_s():
            raise RateLimited(f"The exchange asked us to wait: {self.why()}", retry_after_s=left_s)

    def refused(self, why: str, for_s: float | None, *, guess_s: float) -> None:
        """Remember a refusal. Where it does not say for how long, the guess doubles from one to the next."""
        with self._lock:
            since_s = self._monotonic() - self._ends_s
            refusals = self._ban.refusals + 1 if self._ban and since_s < FORGIVEN_S else 1
            if for_s is None:
                for_s = min(LONGEST_GUESS_S, guess_s * 2 ** min(refusals - 1, 30))
            for_s = min(max(for_s, 1.0), LONGEST_BAN_S) + MARGIN_S
            if for_s <= self.left_s():
                return
            at_ms = self._now_ms()
            self._ends_s = self._monotonic() + for_s  # first in memory: a full disk loses the memory, not the obedience
            self._ban = Ban(at_ms, at_ms + round(for_s * 1_000), refusals, why[:200])
            with contextlib.suppress(OSError):
                self._write(self._ban)

    def _write(self, ban: Ban) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f".{self._path.name}.new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(ban))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> Ban | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Ban)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError):  # there was one, and nobody knows for how long
            at_ms = self._now_ms()
            return Ban(at_ms, at_ms + round(FIRST_BAN_S * 1_000), 1, "its file cannot be read")


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One rate limit as it stands."""

    exchange: str
    bucket: str
    used: float
    limit: float
    per_s: float
    banned_until_ms: int | None
    waiting: int


@dataclass(order=True, slots=True)
class _Waiting:
    rank: tuple[int, int]
    weight: float = field(compare=False)
    turn: "asyncio.Future[Turn]" = field(compare=False)


class Turn:
    """The right to send one call. ``end`` it when the answer is here."""

    def __init__(self, throttle: "Throttle", spent: Spent) -> None:
        self._throttle: Throttle | None = throttle
        self._spent = spent

    def end(self) -> None:
        """The call is over, however it went. In the thread of the event loop; a second time does nothing."""
        throttle, self._throttle = self._throttle, None
        if throttle:
            throttle._end(self._spent)  # noqa: SLF001 - the two are one thing


class Throttle:
    """Lets the calls of one exchange out, in the order of asking, urgent ones first, as its limits and bans allow.

    One call is on its way at a time. ``turn`` and ``states`` belong to the event loop; ``check`` and ``heard`` may be called
    from the thread that sends.
    """

    def __init__(
        self,
        exchange: str,
        limits: Sequence[Limit],
        folder: Path,
        now_ms: Callable[[], int],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.exchange = exchange
        self.bans = Bans(folder / f"{exchange}.json", now_ms, monotonic=monotonic)
        self._now_ms, self._monotonic = now_ms, monotonic
        self._budget = Budget(limits)
        self._longest_s = max((limit.per_s for limit in limits), default=FIRST_BAN_S)
        self._lock = threading.Lock()  # the budget is corrected by the thread that sends
        self._waiting: dict[str, list[_Waiting]] = {bucket: [] for bucket in self._budget.buckets}
        self._asked = count()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, bucket: str, weight: float, *, urgent: bool = False) -> Turn:
        """Wait until a call of so much weight may be sent. Raises RateLimited inside a ban, also one that comes while waiting."""
        self._budget.check(bucket, weight)
        self.bans.check()
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting[bucket], _Waiting((0 if urgent else 1, next(self._asked)), weight, turn))
        self._let_out()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                turn.result().end()
            raise

    def check(self) -> None:
        """Raise RateLimited inside a ban: to be called right before every request."""
        self.bans.check()

    def heard(self, bucket: str, status: int, headers: Mapping[str, str], body: str = "") -> None:
        """Learn from an answer, whatever it says. When this returns, a ban is on disk."""
        said = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            for limit, _ in self._budget.used(bucket, now_s := self._monotonic()):
                if limit.used_header and (used := said.get(limit.used_header, "")).isdecimal():
                    self._budget.correct(bucket, limit.used_header, float(used), now_s)
        for_s = retry_after_s(said, self._now_ms())
        if status in REFUSALS or (status >= 400 and for_s is not None):
            if for_s is None:
                for_s = _banned_for_s(body, self._now_ms())
            self.refused(f"status {status}: {body[:120]}".strip(": "), for_s, banned=status in FORBIDDEN)

    def refused(self, why: str, for_s: float | None = None, *, banned: bool = False) -> None:
        """The exchange said, in whatever way, that it was too much."""
        self.bans.refused(why, for_s, guess_s=max(FIRST_BAN_S, self._longest_s) if banned else self._longest_s)

    def states(self) -> list[BudgetState]:
        """Every limit as it stands."""
        until_ms = self.bans.until_ms()
        states = []
        for bucket, waiting in self._waiting.items():
            number = sum(not one.turn.done() for one in waiting)
            with self._lock:
                spent = self._budget.used(bucket, self._monotonic())
            for limit, used in spent:
                states.append(BudgetState(self.exchange, bucket, used, limit.weight, limit.per_s, until_ms, number))
        return states

    def close(self) -> None:
        """Nobody gets a turn any more."""
        if self._timer:
            self._timer.cancel()
        for waiting in self._waiting.values():
            for one in waiting:
                if not one.turn.done():
                    one.turn.set_exception(Unavailable("The calls of this exchange are closed."))
            waiting.clear()

    def _end(self, spent: Spent) -> None:
        with self._lock:
            self._budget.end(spent, self._monotonic())
        self._busy = False
        self._let_out()

    def _let_out(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if left_s := self.bans.left_s():
            self._turn_away(left_s)
        if self._busy:
            return
        ready, soonest_s = self._next()
        if ready:
            waiting = heapq.heappop(self._waiting[ready])
            self._busy = True
            with self._lock:
                spent = self._budget.start(ready, waiting.weight)
            waiting.turn.set_result(Turn(self, spent))
        elif soonest_s is not None:
            self._timer = asyncio.get_running_loop().call_later(soonest_s, self._let_out)

    def _next(self) -> tuple[str | None, float | None]:
        """The bucket whose first in line goes next; if there is none, how long until there may be one."""
        ready, soonest_s = None, None
        for bucket, waiting in self._waiting.items():
            while waiting and waiting[0].turn.done():  # whoever asked has gone
                heapq.heappop(waiting)
            if not waiting:
                continue
            with self._lock:
                wait_s = self._budget.wait_s(bucket, waiting[0].weight, self._monotonic())
            if wait_s == 0:
                if ready is None or waiting[0] < self._waiting[ready][0]:
                    ready = bucket
            elif wait_s is not None:
                soonest_s = wait_s if soonest_s is None else min(soonest_s, wait_s)
        return ready, soonest_s

    def _turn_away(self, left_s: float) -> None:
        for waiting in self._waiting.values():
            for one in waiting:
                if not one.turn.done():
                    one.turn.set_exception(
                        RateLimited(f"The exchange asked us to wait: {self.bans.why()}", retry_after_s=left_s)
                    )
            waiting.clear()


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """What ``Retry-After`` says: seconds, or a date that is compared with the server's own clock where it says one."""
    said = headers.get("retry-after") or headers.get("Retry-After")
    if not said:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", said):
        return float(said)
    until_s = _seconds(said)
    if until_s is None:
        return None
    now_s = _seconds(headers.get("date") or headers.get("Date") or "")
    return max(0.0, until_s - (now_ms / 1_000 if now_s is None else now_s))


def _seconds(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None


def _banned_for_s(body: str, now_ms: int) -> float | None:
    """Binance: ``Way too many requests; IP banned until 1659146400000.``"""
    found = re.search(r"banned until (\d{13})", body)
    return (int(found[1]) - now_ms) / 1_000 if found else None
