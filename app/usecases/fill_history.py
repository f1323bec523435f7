"""Keep the stored candles complete: the first start's history, what passed while nobody listened, and every gap since."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.domain.market.timeframes import length_ms, open_of
from app.domain.market.values import Candle
from app.domain.market.watching import HISTORY
from app.errors import InvalidInput, NotFound
from app.exchanges.exchange import Exchange, RestCall
from app.usecases.market_shelf import Shelf

GRACE_MS = 10_000  # a candle that closed just now may still come by the stream
VOID_MS = 3_600_000  # what the exchange did not have is asked for again an hour later
_log = logging.getLogger(__name__)

Ask = Callable[[RestCall], Awaitable[list[Candle]]]


@dataclass(slots=True)
class History:
    """One exchange's candles. ``ask`` calls it and hands on what came; it returns what came, too."""

    exchange: Exchange
    shelf: Shelf
    ask: Ask
    now_ms: Callable[[], int]
    filled: int = 0
    gaps: int = 0
    trouble: str = ""
    """What was wrong with an answer, of the last round."""
    _void: dict[tuple[int, str, int], int] = field(default_factory=dict)
    """What the exchange did not have, by where it ends: the beginning of what is kept moves on with the time."""

    async def fill(self, pair_ids: dict[str, int], well: Callable[[], object] = lambda: None) -> int:
        """Look at every symbol and timeframe once, and ask for what is missing; how many candles came. A whole round may take
        minutes: each time something worked, ``well`` is told.

        Raises Unavailable: then nothing can be had of this exchange, or of the database, for now. An answer that makes no sense
        costs its symbol this round, and no other.
        """
        self.trouble = ""
        before = self.filled
        for timeframe, count in HISTORY.items():
            for symbol, pair_id in list(pair_ids.items()):
                await self._fill_one(symbol, pair_id, timeframe, count)
                well()
        return self.filled - before

    async def _fill_one(self, symbol: str, pair_id: int, timeframe: str, count: int) -> None:
        now_ms = self.now_ms()
        end_ms = open_of(now_ms - GRACE_MS, timeframe)
        start_ms = end_ms - count * length_ms(timeframe)
        for first_ms, last_ms in await self.shelf.missing(pair_id, timeframe, start_ms, end_ms):
            place = (pair_id, timeframe, last_ms)
            if now_ms - self._void.get(place, -VOID_MS) < VOID_MS:
                continue
            self.gaps += 1
            try:
                came = await self._fetch(symbol, timeframe, first_ms, last_ms)
            except (InvalidInput, NotFound) as error:
                self.trouble = f"{symbol} {timeframe}: {error}"
                continue
            if came < (last_ms - first_ms) // length_ms(timeframe):
                self._void[place] = now_ms
        for place, at_ms in list(self._void.items()):
            if now_ms - at_ms >= VOID_MS:
                del self._void[place]

    async def _fetch(self, symbol: str, timeframe: str, first_ms: int, end_ms: int) -> int:
        """All candles from one time to before another, in as many calls as it takes; how many came."""
        came, length = 0, length_ms(timeframe)
        while first_ms < end_ms:
            most = min(self.exchange.most_candles, (end_ms - first_ms) // length)
            candles = await self.ask(self.exchange.candles(symbol, timeframe, first_ms, most))
            inside = [candle for candle in candles if first_ms <= candle.time_ms < end_ms and candle.closed]
            came += len(inside)
            self.filled += len(inside)
            # Some answer with what follows a hole, some with nothing as long as the hole lasts.
            first_ms = max((candle.time_ms for candle in inside), default=first_ms + (most - 1) * length) + length
        return came
