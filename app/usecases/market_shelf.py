"""What collectors need to know of what is stored, without the event loop waiting for the database."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Engine

from app.domain.market.symbols import parse
from app.domain.market.timeframes import MINUTE_MS
from app.domain.orderflow.open_interest import KEPT_MS, OpenInterestState
from app.errors import InvalidInput
from app.exchanges.exchange import Instrument
from app.storage import flow, funding, klines, open_interest, pairs, symbols
from app.storage.database import reading, transaction
from app.storage.flow import Flow
from app.storage.klines import Kline

EVER_MS = 2**62
T = TypeVar("T")


def _readable(name: str) -> str | None:
    try:
        return parse(name)
    except InvalidInput:  # it was stored by somebody else
        return None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the process before left of one exchange."""

    pair_ids: dict[str, int]
    flows: dict[str, Flow] = field(default_factory=dict)
    """The newest minute of each symbol that has one: however long ago it was, it may have lost its last trades."""
    interests: dict[str, OpenInterestState] = field(default_factory=dict)
    candles: dict[str, Kline] = field(default_factory=dict)
    """The candles of those minutes, where they are stored: they know what was traded after the process ended."""


class Shelf:
    """Reads, and makes pairs known, in one thread of its own. Raises Unavailable while the database is away."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine, self._now = engine, now
        self._thread = ThreadPoolExecutor(1, "shelf")

    async def active_symbols(self) -> list[str] | None:
        """The symbols that a person wants watched, in the form inside; None where nobody has said anything."""

        def read() -> list[str] | None:
            with reading(self._engine) as db:
                rows = symbols.listed(db)
            names = (_readable(row.symbol) for row in rows if row.status == "ACTIVE")
            return list(dict.fromkeys(filter(None, names))) if rows else None

        return await self._apart(read)

    async def add_symbols(self, names: Sequence[str]) -> None:
        """Watch these from now on: the first start's."""

        def add() -> None:
            with transaction(self._engine) as db:
                known = {row.symbol for row in symbols.listed(db)}
                for name in names:
                    if name not in known:
                        symbols.add(db, name, now=self._now())

        await self._apart(add)

    async def remember(self, exchange: str, instruments: Sequence[Instrument], now_ms: int) -> Remembered:
        """Make pairs known, and find what is stored of them."""

        def find() -> Remembered:
            with transaction(self._engine) as db:
                ids = pairs.ensure_pairs(db, exchange, instruments, self._now())
            wanted = {one.symbol: ids[one.symbol] for one in instruments}
            since_ms = now_ms - KEPT_MS - MINUTE_MS
            with reading(self._engine) as db:
                flows = flow.latest(db, "1m")
                last = open_interest.latest(db)
                rows = dict(open_interest.between(db, "1m", since_ms, EVER_MS, wanted.values()))
                recent = dict(klines.between(db, "1m", since_ms, EVER_MS, wanted.values()))
            interests = {}
            for name, pair_id in wanted.items():
                known = rows.get(pair_id) or ([last[pair_id]] if pair_id in last else [])
                interests[name] = OpenInterestState(tuple((row.open_time, row.quantity) for row in known))
            begun = {name: flows[pair_id] for name, pair_id in wanted.items() if pair_id in flows}
            candles = {
                name: candle
                for name, row in begun.items()
                for candle in recent.get(row.pair_id, ())
                if candle.open_time == row.open_time
            }
            return Remembered(wanted, begun, interests, candles)

        return await self._apart(find)

    async def note_traded(self, exchange: str, symbols: Collection[str]) -> None:
        """These are all that an exchange trades: what is known and not among them is no longer active."""

        def note() -> None:
            with transaction(self._engine) as db:
                pairs.note_traded(db, exchange, symbols, self._now())

        await self._apart(note)

    async def missing(self, pair_id: int, timeframe: str, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """Where candles are missing: each gap's first open time, and where it ends."""

        def find() -> list[tuple[int, int]]:
            with reading(self._engine) as db:
                return klines.missing(db, pair_id, timeframe, start_ms, end_ms)

        return await self._apart(find)

    async def newest_funding(self, pair_id: int) -> int | None:
        """When the newest stored rate was settled."""

        def find() -> int | None:
            with reading(self._engine) as db:
                row = funding.newest(db, pair_id)
                return None if row is None else row.time_ms

        return await self._apart(find)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
