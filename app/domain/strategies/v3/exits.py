"""When V3 gives up an open trade before its stop or target (B1.6, A6)."""

from app.domain.market.timeframes import length_ms
from app.domain.strategies.strategy import Held
from app.domain.strategies.v3 import entry, factors, trend
from app.domain.strategies.v3.inputs import V3Inputs
from app.domain.trading.simulation import FACTOR_STOP, TREND_FLIP

LONGEST_MS = 12 * length_ms("15m")
_LEAST_FACTORS = 3
_MOST_AGAINST = -2


def leave(of: V3Inputs, held: Held) -> str | None:
    """The trend has turned, or what carried the trade is gone.

    The hour's factors count when an hour has closed: a surge of one quarter is over in the next, and no trade would last.
    """
    way, _ = trend.direction(of)
    if way == ("DOWN" if held.sign > 0 else "UP") or (_is_hour(held.as_of_ms) and _most(of, held) < _LEAST_FACTORS):
        return TREND_FLIP
    signs = entry.signs(of, held.sign)
    against = signs["vwap"] + signs["oi"] + signs["delta"] + _volume(of, held.sign)
    return FACTOR_STOP if against <= _MOST_AGAINST else None


def _most(of: V3Inputs, held: Held) -> int:
    """How many factors hold, or might: an input that is lost is no reason to give up a trade."""
    if held.trend == "RANGE":
        found = factors.of_range(of, "lower" if held.sign > 0 else "upper")
    else:
        found = factors.of_trend(of, held.trend)
    return 0 if found["vwap"] is False else sum(one is not False for one in found.values())


def _volume(of: V3Inputs, sign: int) -> int:
    """A surge speaks for the side to which the candle closed."""
    if of.surge_15m is None or of.surge_15m < entry.SURGE or of.close_15m is None or of.setup_close is None:
        return 0
    return (sign * (of.close_15m - of.setup_close) > 0) - (sign * (of.close_15m - of.setup_close) < 0)


def _is_hour(close_ms: int) -> bool:
    return close_ms % length_ms("1h") == 0
