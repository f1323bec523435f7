"""Bringing candles and funding rates in from files: checked like a stream, counted to the last row, and twice is once.

Each batch is a transaction of its own, so that what was stored stays when it is cut off, and the next run goes on from there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise
from math import isclose
from pathlib import Path
from statistics import median_low

from sqlalchemy import Connection, Engine

from app.domain.market import symbols
from app.domain.market.cleaning import Context, clean
from app.domain.market.market_time import moment_of, ms_of
from app.domain.market.timeframes import HOUR_MS, MINUTE_MS, length_ms
from app.domain.market.values import Candle, Funding
from app.domain.market.venue import is_simulated, venue_of
from app.errors import InvalidInput
from app.exchanges.exchange import Instrument
from app.exchanges.generic import check_id
from app.exchanges.replay import candle_files
from app.exchanges.replay.candle_files import Batch, PassedOver, Said
from app.storage import funding, klines, old_rows, pairs
from app.storage.database import reading, transaction
from app.storage.funding import FundingRow
from app.storage.klines import Kline
from app.usecases.harvest import kline
from app.usecases.higher_candles import make_higher

EIGHT_HOURS_MS = 8 * HOUR_MS
_FIRST = 3
_PAGE = 512
ENOUGH = 10
"""Rates that tell how far apart they are settled."""
DIFFERS = "duplicate, differs"
CANDLE_JUMP = 20.0
"""From one candle to the next. A decimal point two places off is a hundred times; what was ever traded moved less in a candle,
but for a collapsing coin or a split, so it is marked and not refused."""
JUMPED = "candle-jump"
SAME = 1e-9  # as exact as a number comes through another program
_NO_PLACE = "candle-gap"  # says something of the file, not of the candle: another file may fill it


@dataclass(slots=True)
class Refusals:
    """How many rows were refused for one reason, and the first of them in words."""

    count: int = 0
    example: str = ""

    def add(self, detail: str) -> None:
        """One more."""
        self.count += 1
        self.example = self.example or detail


@dataclass(slots=True)
class FileReport:
    """What became of a file. ``verdict`` is imported, passed over (sound, but nothing for us), or refused."""

    path: str
    verdict: str = "imported"
    what: list[str] = field(default_factory=list)
    """Such as ``BTC/USDT:USDT 1h``."""
    rows: int = 0
    stored: int = 0
    unchanged: int = 0
    elsewhere: int = 0
    """Rows of other exchanges or symbols than the one that was asked for."""
    refused: dict[str, Refusals] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    what_to_do: str = ""

    def refuse(self, reason: str, detail: str) -> None:
        """Count a row that is not stored."""
        self.refused.setdefault(reason, Refusals()).add(detail)

    @property
    def refusals(self) -> int:
        """Rows that are not stored."""
        return sum(each.count for each in self.refused.values())


@dataclass(slots=True)
class ImportReport:
    """All of it. ``cut_off``: a person ended it; what is counted here is stored."""

    exchange: str
    files: list[FileReport] = field(default_factory=list)
    cut_off: bool = False

    @property
    def well(self) -> bool:
        """Whether everything that was for us was stored."""
        return not self.cut_off and all(file.verdict != "refused" and not file.refused for file in self.files)


_Marked = tuple[Candle, tuple[str, ...]]
Progress = Callable[[FileReport, int, int], None]
"""Told after each batch: the file as it stands, which one it is, and of how many."""


class OtherWorld(InvalidInput):
    """Real candles for the demo's database, or the other way round. ``source`` is what feed.exchanges must be for them."""

    def __init__(self, message: str, source: str) -> None:
        super().__init__(message, cure=f"Set feed.exchanges to {source} for this command.")
        self.source = source


def check_world(exchange: str, *, simulated: bool) -> None:
    """Refuse what would put real candles beside simulated ones, or the other way round, and names that nobody knows."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)?", exchange):
        raise InvalidInput(
            f"{exchange[:50]!r} is no name of an exchange.", cure="Write it like binance, in small letters."
        )
    if simulated and not is_simulated(exchange):
        raise OtherWorld(
            f"The present database is the demo's, and {exchange} is a real exchange: the two never mix.", exchange
        )
    if not simulated and is_simulated(exchange):
        raise OtherWorld(
            f"The present database is of the live market, and {exchange} is simulated: the two never mix.", "demo"
        )
    check_id(venue_of(exchange))


def import_files(
    engine: Engine, paths: Iterable[Path], said: Said, *, simulated: bool, now: datetime, progress: Progress
) -> ImportReport:
    """Read files and folders and store what passes the checks. Raises InvalidInput or NotFound before the first row is read."""
    check_world(said.exchange, simulated=simulated)
    files = candle_files.find(paths)
    now_ms = _present_ms(engine, now)
    report = ImportReport(said.exchange)
    store = _Store(engine, said.exchange, now)
    try:
        for place, path in enumerate(files, 1):
            file = FileReport(str(path))
            report.files.append(file)
            _import_file(store, path, said, now_ms, file, partial(progress, file, place, len(files)))
            progress(file, place, len(files))
    except KeyboardInterrupt:
        report.cut_off = True
    return report


def _present_ms(engine: Engine, now: datetime) -> int:
    """Nothing is known after this moment: ours, or the demo market's where that is ahead."""
    with reading(engine) as db:
        return max(ms_of(now), (old_rows.newest_minute(db) or 0) + MINUTE_MS)


def _import_file(
    store: "_Store", path: Path, said: Said, now_ms: int, file: FileReport, progress: Callable[[], None]
) -> None:
    context, levels = Context(now_ms), _Levels()
    seen: set[str] = set()
    others: frozenset[str] = frozenset()
    try:
        for batch in candle_files.read(path, said, now_ms=now_ms):
            candles, rates = _checked(batch, context, levels, file)
            _refuse_another_zone(rates)
            store.write(candles, rates, file)
            file.elsewhere += batch.elsewhere
            others = batch.others
            seen |= {f"{one.symbol} {one.timeframe}" for one, _ in candles} | {f"{one.symbol} funding" for one in rates}
            file.what = sorted(seen)
            progress()
        if file.rows == 0:
            file.verdict, file.reason, file.what_to_do = "refused", "It holds no rows.", "Fetch it again."
        elif file.elsewhere == file.rows:
            file.verdict, file.reason = "passed over", f"None of its rows is of {said.symbol or said.exchange}."
            if others:
                file.reason += f" It names {', '.join(sorted(others))}."
                file.what_to_do = f"Say which: --exchange {min(others).lower()}"
        elif not file.stored and not file.unchanged:
            file.verdict, file.reason = "refused", "Not one of its rows could be used."
            file.what_to_do = "Correct what is said above, and import it again."
    except PassedOver as error:
        file.verdict, file.reason = "passed over", str(error)
    except InvalidInput as error:
        file.verdict, file.reason, file.what_to_do = "refused", str(error), error.cure


@dataclass(slots=True)
class _Level:
    """Where prices are. What leaves it is doubtful, until the next candle is there too."""

    price: float
    doubtful: float | None = None

    def has(self, candle: Candle) -> bool:
        """Whether this candle is no jump away; the level goes with it."""
        for price in (self.price, self.doubtful):
            if price is not None and candle.high <= price * CANDLE_JUMP and candle.low * CANDLE_JUMP >= price:
                self.price, self.doubtful = candle.close, None
                return True
        self.doubtful = candle.close
        return False


@dataclass(slots=True)
class _Levels:
    """Compares each candle of a file with the one before it. The checks of the stream know trades, and a file has none."""

    known: dict[tuple[str, str], _Level] = field(default_factory=dict)

    def marked(self, candles: list[_Marked], file: FileReport) -> list[_Marked]:
        """The same, with a mark on those that jump. Of a file's first three the middle one says where prices are."""
        first: dict[tuple[str, str], list[float]] = {}
        for candle, _ in candles:
            key = (candle.symbol, candle.timeframe)
            if key not in self.known and len(closes := first.setdefault(key, [])) < _FIRST:
                closes.append(candle.close)
        self.known |= {key: _Level(median_low(closes)) for key, closes in first.items()}
        found = []
        for candle, marks in candles:
            jumps = not self.known[candle.symbol, candle.timeframe].has(candle)
            found.append((candle, (*marks, JUMPED) if jumps else marks))
            if jumps:
                file.marked[JUMPED] = file.marked.get(JUMPED, 0) + 1
        return found


def _checked(batch: Batch, context: Context, levels: _Levels, file: FileReport) -> tuple[list[_Marked], list[Funding]]:
    """What passes the checks, candles with their marks; the rest is counted."""
    candles: list[_Marked] = []
    rates: list[Funding] = []
    file.rows += batch.rows
    for detail in batch.unreadable:
        file.refuse("unreadable", detail)
    for value in batch.values:
        cleaned = clean(value, context)
        for mark in cleaned.marks:
            file.marked[mark.check] = file.marked.get(mark.check, 0) + 1
        if cleaned.refused is not None:
            file.refuse(cleaned.refused.check, cleaned.refused.detail)
        elif isinstance(value, Candle):
            candles.append((value, tuple(mark.check for mark in cleaned.marks if mark.check != _NO_PLACE)))
        elif isinstance(value, Funding):
            rates.append(value)
    return levels.marked(candles, file), rates


def _refuse_another_zone(rates: Sequence[Funding]) -> None:
    """Rates that are settled every eight hours are so at 0, 8 and 16 o'clock UTC, on every exchange."""
    times = sorted({rate.time_ms for rate in rates})
    if len(times) < ENOUGH:
        return
    (step, _), *_ = Counter(after - before for before, after in pairwise(times)).most_common(1)
    (beside, count), *_ = Counter(time_ms % EIGHT_HOURS_MS for time_ms in times).most_common(1)
    if step == EIGHT_HOURS_MS and beside and count > len(times) / 2:
        hours = beside / HOUR_MS
        raise InvalidInput(
            f"The rates are settled {hours:g} hours beside UTC's 0, 8 and 16 o'clock, so these are times of another zone.",
            cure=f"Say which, such as --utc-offset {hours:g}; where a file says its zone itself, it is damaged.",
        )


class _Came:
    """Which candles this run has brought: a bit each, for a year of minutes is half a million."""

    def __init__(self) -> None:
        self._bits: dict[tuple[int, str, int], bytearray] = {}

    def before(self, row: Kline) -> bool:
        """Whether it came already; from now on it has."""
        page, place = divmod(row.open_time // length_ms(row.timeframe), _PAGE * 8)
        bits = self._bits.setdefault((row.pair_id, row.timeframe, page), bytearray(_PAGE))
        byte, bit = place // 8, 1 << place % 8
        known = bool(bits[byte] & bit)
        bits[byte] |= bit
        return known


def _difference(first: Kline, second: Kline) -> str:
    """What a second row says otherwise; empty where they agree."""
    for name in ("open", "high", "low", "close", "volume"):
        one, other = getattr(first, name), getattr(second, name)
        if not isclose(one, other, rel_tol=SAME):
            at = moment_of(second.open_time).strftime("%Y-%m-%d %H:%M UTC")
            return f"{second.timeframe} of {at} has {name} {one:.12g}, then {other:.12g}: the first one is kept."
    return ""


@dataclass(slots=True)
class _Store:
    """Writes batches, and makes pairs known that are not."""

    engine: Engine
    exchange: str
    now: datetime
    pair_ids: dict[str, int] = field(default_factory=dict)
    came: _Came = field(default_factory=_Came)

    def write(self, candles: Sequence[_Marked], rates: Sequence[Funding], file: FileReport) -> None:
        """One transaction."""
        if not candles and not rates:
            return
        with transaction(self.engine) as db:
            ids = self.pair_ids | self._new_pairs(
                db, {one.symbol for one, _ in candles} | {one.symbol for one in rates}
            )
            every = [kline(ids[one.symbol], one, "import", marks) for one, marks in candles]
            rows, refusals = self._first_ones(db, every)
            stored = len(klines.store(db, rows))
            stored += funding.store(
                db, [FundingRow(ids[one.symbol], one.time_ms, one.rate, one.mark_price) for one in rates]
            )
        make_higher(self.engine, rows, only_anew=True)
        self.pair_ids = ids
        file.stored += stored
        file.unchanged += len(candles) + len(rates) - stored - len(refusals)
        names = {pair_id: name for name, pair_id in ids.items()}
        for pair_id, detail in refusals:
            file.refuse(DIFFERS, f"{names[pair_id]} {detail}")

    def _first_ones(self, db: Connection, rows: Sequence[Kline]) -> tuple[list[Kline], list[tuple[int, str]]]:
        """Those that this run has not brought yet, and what to say of those that it has brought otherwise."""
        new: dict[klines.Place, Kline] = {}
        again: list[Kline] = []
        for row in rows:
            if self.came.before(row):
                again.append(row)
            else:
                new[klines.place_of(row)] = row
        stored = klines.at(db, {place for row in again if (place := klines.place_of(row)) not in new})
        said = [(row.pair_id, _difference((stored | new)[klines.place_of(row)], row)) for row in again]
        return list(new.values()), [(pair_id, detail) for pair_id, detail in said if detail]

    def _new_pairs(self, db: Connection, names: set[str]) -> dict[str, int]:
        """A pair that is there already stays as the exchange describes it."""
        unknown = names - self.pair_ids.keys()
        if not unknown:
            return {}
        there = {pair.symbol: pair.id for pair in pairs.listed(db, exchange=self.exchange)}
        parts = {name: symbols.taken_apart(name) for name in unknown - there.keys()}
        new = [Instrument(name, part.base, part.quote, part.settle) for name, part in parts.items()]
        return pairs.ensure_pairs(db, self.exchange, new, self.now) if new else there
