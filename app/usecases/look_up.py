"""Look things up the short way: in this process, else in Redis, else in the database.

Whoever writes one of these things says so here, after the transaction, and it is dropped from both caches.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine

from app.cache import keys
from app.cache.cache import Cache
from app.cache.keys import Key
from app.cache.market import LiveVerdict
from app.storage import config, judgments, statistics, symbols
from app.storage.config import ConfigEntry
from app.storage.database import reading
from app.storage.judgments import Judgment
from app.storage.statistics import Statistics
from app.storage.symbols import Symbol
from app.storage.tables import STRATEGIES, TIMEFRAMES

MOST_SYMBOLS = 200  # warmed up at the start; the others are read when they are asked for
MOST_JUDGMENTS = 2_000
_T = TypeVar("_T")


class LookUp:
    """Reads through the caches. However many ask for one missing thing at once, this process reads it once."""

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self._engine, self._cache = engine, cache
        self._reads: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def symbol(self, symbol: str) -> Symbol | None:
        """One trading pair."""
        return self._find(Symbol, lambda db: symbols.get(db, symbol), keys.SYMBOL, symbol=symbol)

    def judgment(self, symbol: str, strategy_type: str, timeframe: str) -> Judgment | None:
        """What a strategy judged last."""
        return self._find(
            Judgment,
            lambda db: judgments.latest(db, symbol, strategy_type, timeframe),
            keys.JUDGMENT,
            symbol=symbol,
            strategy_type=strategy_type,
            timeframe=timeframe,
        )

    def live_verdict(self, symbol: str, strategy_type: str) -> LiveVerdict | None:
        """What a strategy would say now; None where nobody has looked for ten minutes. It is nowhere but in the caches."""
        return self._find(LiveVerdict, lambda _: None, keys.LIVE_VERDICT, symbol=symbol, strategy_type=strategy_type)

    def statistics(self, symbol: str, strategy_type: str) -> Statistics | None:
        """How well a strategy has done on a symbol."""
        return self._find(
            Statistics,
            lambda db: statistics.get(db, symbol, strategy_type),
            keys.STATISTICS,
            symbol=symbol,
            strategy_type=strategy_type,
        )

    def config(self, key: str) -> ConfigEntry | None:
        """One live setting."""
        return self._find(ConfigEntry, lambda db: config.get(db, key), keys.CONFIG, config_key=key)

    def symbol_changed(self, symbol: str) -> None:
        """A pair was added or changed."""
        self._forget(keys.SYMBOL, symbol=symbol)

    def symbol_removed(self, symbol: str) -> None:
        """A pair was removed, and with it all that was known of it."""
        self.symbol_changed(symbol)
        for strategy_type in STRATEGIES:
            self.statistics_changed(symbol, strategy_type)
            for timeframe in TIMEFRAMES:
                self.judged(symbol, strategy_type, timeframe)

    def judged(self, symbol: str, strategy_type: str, timeframe: str) -> None:
        """There is a new judgment."""
        self._forget(keys.JUDGMENT, symbol=symbol, strategy_type=strategy_type, timeframe=timeframe)

    def statistics_changed(self, symbol: str, strategy_type: str) -> None:
        """Figures were computed anew."""
        self._forget(keys.STATISTICS, symbol=symbol, strategy_type=strategy_type)

    def config_changed(self, key: str) -> None:
        """A setting was written or removed."""
        self._forget(keys.CONFIG, config_key=key)

    def warm_up(self) -> int:
        """Fill the caches with what will be asked for first; how many entries. Raises Unavailable without a database."""
        with reading(self._engine) as db:
            active = symbols.listed(db, status="ACTIVE")[:MOST_SYMBOLS]
            newest = judgments.recent(db, limit=MOST_JUDGMENTS)
            figures = statistics.listed(db)
            settings = config.listed(db)
        watched = {pair.symbol for pair in active}
        filled: set[str] = set()

        def fill(value: Any, key: Key, **parts: str) -> None:
            if (name := key.name(**parts)) not in filled:
                self._cache.fill(key, value, **parts)
                filled.add(name)

        for pair in active:
            fill(pair, keys.SYMBOL, symbol=pair.symbol)
        for one in newest:  # the newest first, so the first of its kind is the latest
            if one.symbol in watched:
                fill(one, keys.JUDGMENT, symbol=one.symbol, strategy_type=one.strategy_type, timeframe=one.timeframe)
        for figure in figures:
            if figure.symbol in watched:
                fill(figure, keys.STATISTICS, symbol=figure.symbol, strategy_type=figure.strategy_type)
        for entry in settings:
            fill(entry, keys.CONFIG, config_key=entry.config_key)
        return len(filled)

    def _find(self, kind: type[_T], read: Callable[[Connection], _T | None], key: Key, **parts: str) -> _T | None:
        held = self._cache.get(key, **parts)
        if held is not None:
            try:
                return msgspec.convert(held, kind)
            except msgspec.ValidationError:  # another version of Flotilla wrote it in another shape
                self._cache.forget(key, **parts)
        return self._read_once(read, key, parts)

    def _read_once(self, read: Callable[[Connection], _T | None], key: Key, parts: dict[str, str]) -> _T | None:
        name = key.name(**parts)
        with self._lock:
            running: Future[_T | None] | None = self._reads.get(name)
            if running is None:
                mine: Future[_T | None] = Future()
                self._reads[name] = mine
        if running is not None:
            return running.result()
        try:
            with reading(self._engine) as db:
                value = read(db)
            if value is not None:  # what is not there may come any moment, so its absence is not remembered
                self._cache.fill(key, value, **parts)
            mine.set_result(value)
        except BaseException as error:
            mine.set_exception(error)  # those who wait must not wait for ever
            raise
        finally:
            with self._lock:
                if self._reads.get(name) is mine:
                    del self._reads[name]
        return value

    def _forget(self, key: Key, **parts: str) -> None:
        self._cache.forget(key, **parts)
        with self._lock:
            self._reads.pop(key.name(**parts), None)  # a read that began before the change answers nobody who asks now
