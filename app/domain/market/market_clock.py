"""Market time: how the demo exchange's clock runs beside ours, which never runs backwards; and how far off an exchange's is."""

import msgspec


class MarketClock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At our ``anchor_real_ms`` it is ``anchor_market_ms`` on the market, and from there it runs ``speed`` times as fast."""

    anchor_real_ms: int
    anchor_market_ms: int
    speed: float

    def now_ms(self, real_ms: int) -> int:
        """Market time at a moment of ours. Before the anchor (our clock was set back) it stands still."""
        return self.anchor_market_ms + int(max(0, real_ms - self.anchor_real_ms) * self.speed)

    def at_speed(self, speed: float, real_ms: int) -> "MarketClock":
        """The same market time at this moment, running on at another speed."""
        return self if speed == self.speed else MarketClock(real_ms, self.now_ms(real_ms), speed)


def begun(real_ms: int, speed: float) -> MarketClock:
    """A clock that begins now, with the market's time equal to ours."""
    return MarketClock(real_ms, real_ms, speed)


def resumed(before: MarketClock | None, speed: float, real_ms: int) -> MarketClock:
    """The clock of a start: the one before runs on, with the speed of now; without one it begins."""
    if before is None:
        return begun(real_ms, speed)
    if real_ms < before.anchor_real_ms:  # our clock was set back: from here on its time counts again
        return MarketClock(real_ms, before.anchor_market_ms, speed)
    return before.at_speed(speed, real_ms)


def skew_ms(asked_ms: int, theirs_ms: int, received_ms: int) -> int:
    """How far a clock is off ours at the least, that said this between our question and its answer: a question may have waited
    in a queue before it went, so anything in between is no skew.
    """
    return max(0, theirs_ms - received_ms) + min(0, theirs_ms - asked_ms)
