"""What the feed has to write: rows that replace each other while they wait, so that late is as good as often."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import Candle
from app.storage.depths import DepthRow
from app.storage.flow import Flow
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.refused import RefusedMessage
from app.storage.symbols import MarketNote
from app.storage.tickers import TickerRow

Key = tuple[int, str, int]
"""Of a row: pair, timeframe, open time."""
BEGUN_MS = 3 * MINUTE_MS  # trades may come so late
MOST_REFUSED = 200  # kept for inspection between two writes; the counters have them all
MOST_INSPECTED = 10  # of one exchange, for one reason, in one minute


@dataclass(slots=True)
class Inspected:
    """Which refused messages are kept for inspection: some of each kind a minute, so that no fault fills the disk.

    It outlives the harvests, of which there are many in a minute. Whoever has it counts them all.
    """

    _minute: int = -1
    _kept: Counter[tuple[str, str]] = field(default_factory=Counter)

    def allows(self, exchange: str, reason: str, now_ms: int) -> bool:
        """Whether one more is kept; if so, it is counted."""
        if now_ms // MINUTE_MS != self._minute:
            self._minute = now_ms // MINUTE_MS
            self._kept.clear()
        self._kept[exchange, reason] += 1
        return self._kept[exchange, reason] <= MOST_INSPECTED


@dataclass(slots=True)
class Harvest:
    """What changed since the last one."""

    klines: dict[Key, Kline] = field(default_factory=dict)
    funding: dict[Key, FundingRow] = field(default_factory=dict)
    open_interest: dict[Key, OpenInterestRow] = field(default_factory=dict)
    flows: dict[Key, Flow] = field(default_factory=dict)
    tickers: dict[Key, TickerRow] = field(default_factory=dict)
    depths: dict[Key, DepthRow] = field(default_factory=dict)
    notes: dict[str, MarketNote] = field(default_factory=dict)
    refused: list[RefusedMessage] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    """When each message that it stands for came."""

    def __len__(self) -> int:
        """Rows that wait. Notes are a view of the tickers, and are not counted."""
        return sum(len(rows) for rows in self.tables()) + len(self.refused)

    def refuse(self, message: RefusedMessage) -> None:
        """Keep one for inspection, while there is room."""
        if len(self.refused) < MOST_REFUSED:
            self.refused.append(message)

    def put_under(self, older: "Harvest", most: int, begun: Mapping[int, int]) -> int:
        """Take back what could not be written, where nothing newer stands; how many rows had to go for want of room.

        ``begun``: of each pair the newest minute whose flow was ever written. The last ones up to there are never let go: a part of
        them is stored, and would pass for the whole.
        """
        for mine, theirs in zip(self.tables(), older.tables(), strict=True):
            newer = dict(mine)
            mine.clear()
            mine.update(theirs)
            mine.update(newer)
        self.notes = older.notes | self.notes
        self.refused = [*older.refused, *self.refused][-MOST_REFUSED:]
        self.received_ms.clear()  # their age would tell how long the database was away, not how fast we write
        kept = {key for key in self.flows if 0 <= begun.get(key[0], -1) - key[2] < BEGUN_MS}
        return self._shed(most, kept)

    def _shed(self, most: int, kept: set[Key]) -> int:
        """Let the oldest rows go, first of what cannot be had again and is worth least; candles last."""
        lost = 0
        for rows in reversed(self.tables()):
            if (too_many := len(self) - len(kept) - most) <= 0:
                break
            for key in list(islice((key for key in rows if rows is not self.flows or key not in kept), too_many)):
                del rows[key]
                lost += 1
        return lost

    def leave_least(self) -> int:
        """Let go of what nothing waits for, for the disk is scarce; how many rows. Tickers stay: they say when funding is due."""
        before = len(self)
        self.depths.clear()
        self.refused.clear()
        return before - len(self)

    def halves(self) -> "tuple[Harvest, Harvest] | None":
        """In two parts, oldest first; None for a single row, which has no halves."""
        size = len(self) + len(self.notes)
        if size < 2:
            return None
        first, second = Harvest(), Harvest()
        left = size // 2
        for mine, one, other in zip(self._all(), first._all(), second._all(), strict=True):
            for key, row in mine.items():
                (one if left > 0 else other)[key] = row
                left -= 1
        first.refused, second.refused = self.refused[: max(0, left)], self.refused[max(0, left) :]
        return first, second

    def sample(self) -> str:
        """One of its rows, in words."""
        rows = (row for some in self._all() for row in some.values())
        return str(next(rows, self.refused[:1] or ""))[:300]

    def _all(self) -> tuple[dict[Any, Any], ...]:
        return (*self.tables(), self.notes)

    def tables(self) -> tuple[dict[Key, Any], ...]:
        """All that has a key, what is worth most first."""
        return (self.klines, self.funding, self.open_interest, self.flows, self.tickers, self.depths)


def kline(pair_id: int, candle: Candle, source: str, marks: tuple[str, ...]) -> Kline:
    """A closed candle as its row."""
    return Kline(
        pair_id,
        candle.timeframe,
        candle.time_ms,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trades,
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
        source,  # type: ignore[arg-type]  # every caller names one of them
        ",".join(marks) or None,
    )
