"""How the venues count requests and refuse too many: weights and bans, by our clock, because clients wait by theirs."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

MINUTE_MS = 60_000
_REFUSALS_BEFORE_BAN = 5
_FIRST_BAN_S = 120
_LONGEST_BAN_S = 3 * 86_400


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not answered."""

    status: int
    retry_after_s: int


class LimitReport(msgspec.Struct, frozen=True):
    """How much of a limit is used, and what was refused."""

    used: int
    allowed: int
    refused: int
    requests_inside_ban: int
    banned_until_ms: int | None


class Budget:
    """One limit of one venue. Going on after refusals is answered by a ban that grows, as Binance does."""

    def __init__(
        self, allowed: int, real_ms: Callable[[], int], window_ms: int = MINUTE_MS, *, bans: bool = True
    ) -> None:
        self.allowed = allowed
        self._real_ms, self._window_ms, self._bans = real_ms, window_ms, bans
        self._window = -1
        self.used = 0
        self._refusals = self._bans_given = 0
        self._until_ms = 0
        self._status = 429
        self.refused = self.inside_ban = 0

    def spend(self, weight: int) -> Refusal | None:
        """Count a request; what to answer when it is too many."""
        now = self._real_ms()
        if now < self._until_ms:
            self.inside_ban += 1
            self.refused += 1
            self._refusals += 1
            if self._bans and self._status == 429 and self._refusals > _REFUSALS_BEFORE_BAN:
                self._ban(418, min(_LONGEST_BAN_S, _FIRST_BAN_S * 2**self._bans_given), now)
                self._bans_given += 1
            return self._refusal(now)
        window = now // self._window_ms
        if window != self._window:
            self._window, self.used, self._refusals = window, 0, 0
        self.used += weight
        if self.used <= self.allowed:
            return None
        self.refused += 1
        self._ban(429, ((window + 1) * self._window_ms - now + 999) // 1000, now)
        return self._refusal(now)

    def refuse(self, status: int, for_s: float) -> Refusal:
        """Refuse by order, as if too much had been asked."""
        now = self._real_ms()
        if now < self._until_ms:
            self.inside_ban += 1
        else:
            self._ban(status, for_s, now)
        self.refused += 1
        return self._refusal(now)

    def pardon(self) -> None:
        """Forget a ban."""
        self._until_ms = self._refusals = self.used = 0

    def report(self) -> LimitReport:
        """For those who look."""
        banned = self._until_ms if self._until_ms > self._real_ms() else None
        return LimitReport(self.used, self.allowed, self.refused, self.inside_ban, banned)

    def _ban(self, status: int, for_s: float, now_ms: int) -> None:
        self._status, self._until_ms = status, now_ms + round(for_s * 1000)

    def _refusal(self, now_ms: int) -> Refusal:
        return Refusal(self._status, max(1, (self._until_ms - now_ms + 999) // 1000))
