"""Files of candles and funding rates, read in batches: freqtrade's feather, Parquet and JSON, Binance's public zips, CSV.

A reader only says what stands in a file, as the same values that the streams bring; the cleaning checks judge it. What a file
does not say is unknown: it comes from its name, or from the person who imports it, and is never guessed.
"""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from app.domain.market import symbols, timeframes
from app.domain.market.market_time import ms_of
from app.domain.market.timeframes import MINUTE_MS
from app.domain.market.values import Candle, Funding
from app.domain.market.venue import venue_of
from app.errors import CorruptData, FlotillaError, InvalidInput, NotFound

BATCH = 5_000
MOST_OTHERS = 20
ENDINGS = (".feather", ".parquet", ".json", ".json.gz", ".csv", ".csv.gz", ".zip")
Kind = Literal["candles", "funding"]
Row = dict[str, Any]
"""What one line of a file says, by our names of columns."""

_FREQTRADE = re.compile(r"([A-Z0-9]+_[A-Z0-9]+(?:_[A-Z0-9]+)?)-(\d+[A-Za-z]+)(?:-([A-Za-z_]+))?", re.IGNORECASE)
_BINANCE = re.compile(r"([A-Z0-9]{4,30}(?:_\d{6})?)-(\d+[A-Za-z]+|fundingRate)-\d{4}-\d\d(?:-\d\d)?", re.IGNORECASE)
_BINANCE_OTHERS = re.compile(r"[A-Z0-9]+-(trades|aggTrades|bookDepth|bookTicker|metrics)-.*")
_COMMAS = re.compile(r"[-+]?\d[\d.]*(,\d+)+[\d.]*")
_OTHER_FOLDERS = {
    "markpriceklines": "Mark prices",
    "indexpriceklines": "Index prices",
    "premiumindexklines": "Premium prices",
}
_BINANCE_COLUMNS = (
    "time", "open", "high", "low", "close", "volume", "close_time",
    "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
)  # fmt: skip
_FREQTRADE_COLUMNS = ("time", "open", "high", "low", "close", "volume")
_NAMES = {
    "time": ("open_time", "opentime", "timestamp", "unix", "unix_timestamp", "time", "date", "datetime", "calc_time",
             "funding_time", "fundingtime", "ts", "t"),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "v", "vol", "base_volume", "volume_base"),
    "quote_volume": ("quote_volume", "quote_asset_volume", "quotevolume", "volume_quote", "volccyquote", "turnover"),
    "trades": ("trades", "count", "number_of_trades", "tradecount", "trade_count", "num_trades", "n"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base_volume", "taker_buy_base_asset_volume"),
    "taker_buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
    "rate": ("funding_rate", "fundingrate", "last_funding_rate", "rate"),
    "mark_price": ("mark_price", "markprice"),
    "symbol": ("symbol", "pair", "instrument", "market"),
    "coin": ("coin", "base", "asset"),
    "exchange": ("exchange", "venue"),
    "timeframe": ("timeframe", "interval"),
}  # fmt: skip
_CANDLE = ("time", "open", "high", "low", "close", "volume")
_DAMAGED = "Fetch it again: what stands in the sound part was kept, and is not stored twice."


@dataclass(frozen=True, slots=True)
class Said:
    """What the person who imports says. What they do not say must stand in the file or in its name."""

    exchange: str
    symbol: str | None = None
    timeframe: str | None = None
    spot: bool = False
    """Names that leave it open, such as BTCUSDT, are spot pairs."""
    quote: str | None = None
    """The quote coin, where a file only names coins."""
    utc_offset_h: float = 0.0
    """Times without a zone are so many hours ahead of UTC."""


@dataclass(slots=True)
class Batch:
    """Some rows of a file. ``rows`` were read; those that are neither a value nor another exchange's could not be understood."""

    rows: int
    values: list[Candle | Funding] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """For each such row, why."""
    elsewhere: int = 0
    """Rows of other exchanges or symbols than the one that was asked for."""
    others: frozenset[str] = frozenset()
    """Such exchanges, as far as the file has been read."""


class PassedOver(FlotillaError):
    """The file is sound and holds nothing that is imported."""

    code = 1000
    cure = "Nothing to do: candles and funding rates are imported."


@dataclass(frozen=True, slots=True)
class _Named:
    """What a file's name says."""

    symbol: str | None = None
    timeframe: str | None = None
    kind: Kind = "candles"


def find(paths: Iterable[Path]) -> list[Path]:
    """The files that these stand for: a folder for all in it that look like candles. Raises NotFound for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.name.lower().endswith(ENDINGS) and each.is_file())
            if not inside:
                raise InvalidInput(
                    f"There are no candle files in {path}.", cure=f"Known endings: {', '.join(ENDINGS)}."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise NotFound(f"There is no file or folder {path}.", cure="Check the path.")
    return list(dict.fromkeys(found))


def read(path: Path, said: Said, *, now_ms: int) -> Iterator[Batch]:
    """All of a file, batch by batch.

    Raises PassedOver for what is not imported, InvalidInput for what cannot be known of it, CorruptData where it is damaged.
    """
    name = path.name.lower()
    if not name.endswith(ENDINGS):
        raise InvalidInput(f"{path.name} is of no known kind.", cure=f"Known endings: {', '.join(ENDINGS)}.")
    named = _named(path, said)
    reader = _Reader(path, said, named, now_ms)
    with _damage_in_our_words(path):
        if name.endswith(".feather"):
            yield from _from_feather(path, reader)
        elif name.endswith(".parquet"):
            yield from _from_parquet(path, reader)
        elif name.endswith((".json", ".json.gz")):
            with _text(path) as file:
                yield from reader.batches(_FREQTRADE_COLUMNS, _json_rows(file))
        elif name.endswith(".zip"):
            yield from _from_zip(path, reader)
        else:
            with _text(path) as file:
                yield from _from_csv(file, reader)


# --- what a name says --------------------------------------------------------------------------------------------------------


def _named(path: Path, said: Said) -> _Named:
    stem = path.name
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    if found := _FREQTRADE.fullmatch(stem):
        return _named_by_freqtrade(found[1], found[2], (found[3] or "").lower(), said)
    folders = {part.lower() for part in path.parts[:-1]}
    for folder in folders & _OTHER_FOLDERS.keys():
        raise _passed_over(_OTHER_FOLDERS[folder])
    if found := _BINANCE.fullmatch(stem):
        symbol = said.symbol or symbols.parse(found[1], spot=said.spot or "spot" in folders)
        if found[2].lower() == "fundingrate":
            return _Named(symbol, None, "funding")
        return _Named(symbol, said.timeframe or _timeframe(found[2]))
    if found := _BINANCE_OTHERS.fullmatch(stem):
        raise _passed_over(found[1])
    return _Named(said.symbol, said.timeframe)


def _named_by_freqtrade(pair: str, timeframe: str, kind: str, said: Said) -> _Named:
    """``BTC_USDT-1h`` is spot there, ``BTC_USDT_USDT-1h-futures`` the perpetual."""
    if kind not in {"", "futures", "spot", "funding_rate"}:
        raise _passed_over({"mark": "Mark prices", "index": "Index prices", "trades": "Trades"}.get(kind, kind))
    symbol = said.symbol or symbols.parse(pair, spot=pair.count("_") == 1 and kind != "futures")
    if kind == "funding_rate":
        return _Named(symbol, None, "funding")
    return _Named(symbol, said.timeframe or _timeframe(timeframe))


def _passed_over(what: str) -> PassedOver:
    return PassedOver(f"{what} are not imported.")


def _timeframe(text: str) -> str:
    if text.endswith(("M", "w", "W", "Mo", "mo")):  # 1M would else be taken for a minute
        raise PassedOver(f"Candles of {text} are not kept: {', '.join(timeframes.TIMEFRAMES)} are.")
    try:
        return timeframes.parse(text)
    except InvalidInput as error:
        raise PassedOver(f"Candles of {text} are not kept: {', '.join(timeframes.TIMEFRAMES)} are.") from error


# --- what its rows say -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """Makes values of rows. It keeps what a column of names came to, for there are few."""

    path: Path
    said: Said
    named: _Named
    now_ms: int
    known: dict[str, str | None] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    """Other exchanges than the one that was asked for; the first few."""

    def batches(self, columns: Sequence[str | None], rows: Iterable[Sequence[Any]]) -> Iterator[Batch]:
        """Rows whose values are in the order of ``columns``; None: a column that says nothing to us."""
        places = {name: place for place, name in enumerate(columns) if name is not None}
        kind = self._kind(places)
        make = self._funding if kind == "funding" else self._candle
        left = iter(rows)
        while some := list(islice(left, BATCH)):
            yield self._batch(some, places, make)

    def _kind(self, places: dict[str, int]) -> Kind:
        if self.named.kind == "funding" and "open" in places and "rate" not in places:
            places["rate"] = places["open"]  # freqtrade keeps the rate where a candle's open would be
        if "rate" in places and "time" in places and ("close" not in places or self.named.kind == "funding"):
            kind: Kind = "funding"
        elif missing := [name for name in _CANDLE if name not in places]:
            raise InvalidInput(
                f"{self.path.name} holds neither candles nor funding rates: it has no column for {', '.join(missing)}.",
                cure="Columns are found by their names in the first line, such as: time,open,high,low,close,volume.",
            )
        else:
            kind = "candles"
        unknown: list[tuple[str, str]] = []
        if self.named.symbol is None and not {"symbol", "coin"} & places.keys():
            unknown.append(("does not say of which symbol it is", "--symbol BTC/USDT:USDT"))
        if "coin" in places and "symbol" not in places and not (self.said.symbol or self.said.quote):
            unknown.append(("names coins without what they are counted in", "--quote USDT"))
        if kind == "candles" and self.named.timeframe is None and "timeframe" not in places:
            unknown.append(("does not say how long its candles are", "--timeframe 1h"))
        if unknown:
            raise InvalidInput(
                f"{self.path.name} {', and '.join(what for what, _ in unknown)}.",
                cure=f"Say it: {' '.join(word for _, word in unknown)}",
            )
        return kind

    def _batch(
        self, rows: list[Sequence[Any]], places: dict[str, int], make: Callable[[Row, str], Candle | Funding]
    ) -> Batch:
        batch = Batch(len(rows))
        for values in rows:
            try:
                row = {name: values[place] for name, place in places.items()}
                symbol = self._symbol(row)
                if symbol is None:
                    batch.elsewhere += 1
                else:
                    batch.values.append(make(row, symbol))
            except IndexError:
                batch.unreadable.append("The line is too short.")
            except InvalidInput as error:
                batch.unreadable.append(str(error))
        batch.others = frozenset(self.others)
        return batch

    def _symbol(self, row: Row) -> str | None:
        """Of which symbol a row is; None: not of what was asked for."""
        exchange = row.get("exchange")
        if exchange is not None and str(exchange).lower() != venue_of(self.said.exchange):
            if len(self.others) < MOST_OTHERS:
                self.others.add(str(exchange)[:30])
            return None
        column = "symbol" if "symbol" in row else "coin" if "coin" in row else None
        if column is None:
            return self.named.symbol
        text = str(row[column])
        if text not in self.known:
            self.known[text] = self._named_in_row(column, text)
        return self.known[text]

    def _named_in_row(self, column: str, text: str) -> str | None:
        wanted = self.said.symbol
        if column == "coin":
            if wanted is None:
                return symbols.parse(f"{text}{self.said.quote}", spot=self.said.spot)
            return wanted if symbols.taken_apart(wanted).base == text.upper() else None
        spelled = symbols.taken_apart(text, spot=self.said.spot)
        if wanted is None:
            return spelled.name
        mine = symbols.taken_apart(wanted)
        return wanted if (mine.base, mine.quote) == (spelled.base, spelled.quote) else None

    def _candle(self, row: Row, symbol: str) -> Candle:
        timeframe = self.named.timeframe or timeframes.parse(str(row["timeframe"]))
        trades = _maybe(row.get("trades"), "trades")
        return Candle(
            exchange=self.said.exchange,
            symbol=symbol,
            time_ms=self._time_ms(row["time"]),
            received_ms=self.now_ms,
            timeframe=timeframe,
            open=_number(row["open"], "open"),
            high=_number(row["high"], "high"),
            low=_number(row["low"], "low"),
            close=_number(row["close"], "close"),
            volume=_number(row["volume"], "volume"),
            trades=None if trades is None else int(trades),
            quote_volume=_maybe(row.get("quote_volume"), "quote volume"),
            taker_buy_volume=_maybe(row.get("taker_buy_volume"), "taker buy volume"),
            taker_buy_quote_volume=_maybe(row.get("taker_buy_quote_volume"), "taker buy quote volume"),
        )

    def _funding(self, row: Row, symbol: str) -> Funding:
        time_ms = self._time_ms(row["time"])
        return Funding(
            exchange=self.said.exchange,
            symbol=symbol,
            time_ms=time_ms - time_ms % MINUTE_MS,  # exchanges write it down some ms later
            received_ms=self.now_ms,
            rate=_number(row["rate"], "rate"),
            mark_price=_maybe(row.get("mark_price"), "mark_price"),
        )

    def _time_ms(self, value: Any) -> int:
        if type(value) is not int:
            text = str(value).strip()
            if text.isascii() and text.isdigit():
                value = int(text)
            elif re.fullmatch(r"\d+\.\d*|\d(\.\d+)?e\+?\d\d?", text, re.IGNORECASE):
                value = float(text)
            else:
                return self._moment_ms(text)
        # Seconds, ms, µs or ns since 1970: for any time from 1973 to 5138 their sizes do not overlap.
        if value < 10**11:
            return int(value * 1000)
        for per_ms in (1, 1_000, 1_000_000):
            if value < 10**14 * per_ms:
                return int(value // per_ms)
        raise InvalidInput(f"{value} is no time.")

    def _moment_ms(self, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            raise InvalidInput(
                f"{text[:40]!r} is no time: write it as 2023-11-14 22:15:00, or in ms since 1970."
            ) from None
        if moment.utcoffset() is None:
            return round(moment.replace(tzinfo=UTC).timestamp() * 1000 - self.said.utc_offset_h * 3_600_000)
        return ms_of(moment)


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        shown = "nothing" if value in (None, "") else repr(str(value)[:40])
        cure = (
            ": write numbers with a point and no commas, such as 1234.5"
            if _COMMAS.fullmatch(str(value).strip())
            else ""
        )
        raise InvalidInput(f"There is {shown} where the {name} should be{cure}.") from None


def _maybe(value: Any, name: str) -> float | None:
    """A number that need not be there. Unknown is None, never 0."""
    if value is None or value == "":
        return None
    number = _number(value, name)
    return None if number != number else number


def _column(name: str) -> str | None:
    """Our name for a column."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return next((ours for ours, theirs in _NAMES.items() if plain in theirs), None)


def _columns(names: Sequence[str]) -> list[str | None]:
    """Our names for a file's columns; of two that mean the same, the one that is named first in ``_NAMES`` counts."""
    found: list[str | None] = [_column(name) for name in names]
    for ours in {each for each in found if each}:
        places = [place for place, each in enumerate(found) if each == ours]
        plain = {place: re.sub(r"[^a-z0-9]+", "_", names[place].strip().lower()).strip("_") for place in places}
        best = min(places, key=lambda place: _NAMES[ours].index(plain[place]))
        for place in places:
            if place != best:
                found[place] = None
    return found


# --- the kinds of files ------------------------------------------------------------------------------------------------------


def _from_feather(path: Path, reader: _Reader) -> Iterator[Batch]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        arrow = pa.ipc.open_file(file)
        columns = _columns(arrow.schema.names)
        parts = (arrow.get_batch(place) for place in range(arrow.num_record_batches))
        yield from reader.batches(columns, _arrow_rows(parts, reader))


def _from_parquet(path: Path, reader: _Reader) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = _columns(file.schema_arrow.names)
        yield from reader.batches(columns, _arrow_rows(file.iter_batches(batch_size=BATCH), reader))


def _arrow_rows(parts: Iterable[Any], reader: _Reader) -> Iterator[Sequence[Any]]:
    import pyarrow as pa

    offset_ms = round(reader.said.utc_offset_h * 3_600_000)
    for whole in parts:
        for begin in range(0, whole.num_rows, BATCH):
            part = whole.slice(begin, BATCH)
            columns = []
            for column in part.columns:
                if pa.types.is_timestamp(column.type):
                    shift = 0 if column.type.tz else offset_ms
                    times = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64()).to_pylist()
                    columns.append([None if each is None else each - shift for each in times])
                else:
                    columns.append(column.to_pylist())
            yield from zip(*columns, strict=True)


def _from_zip(path: Path, reader: _Reader) -> Iterator[Batch]:
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if not inside:
            raise InvalidInput(f"{path.name} holds no CSV file.", cure="Binance's public zips hold one each.")
        for name in inside:
            with archive.open(name) as file:
                yield from _from_csv(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), reader)


def _from_csv(file: IO[str], reader: _Reader) -> Iterator[Batch]:
    """With names in the first line; without them it is Binance's, whose columns are known."""
    start = ""
    while not start.strip() or start.lstrip().startswith(("#", "http")):
        start = file.readline()
        if not start:
            raise InvalidInput(f"{reader.path.name} is empty.", cure="Fetch it again.")
    mark = max(",;\t", key=start.count)
    first = next(csv.reader([start], delimiter=mark))
    lines = csv.reader(file, delimiter=mark)
    if re.fullmatch(r"\s*[\d.]+\s*", first[0]):
        if len(first) not in (11, 12):
            raise InvalidInput(
                f"{reader.path.name} does not name its columns.",
                cure="Put a first line: time,open,high,low,close,volume",
            )
        yield from reader.batches(_BINANCE_COLUMNS, _lines([first], lines))
    else:
        yield from reader.batches(_columns(first), _lines([], lines))


def _lines(first: list[list[str]], lines: Iterable[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from (line for line in lines if line)


def _json_rows(file: IO[str]) -> Iterator[Sequence[Any]]:
    """freqtrade's list of lists, read piece by piece. None of its lists holds another one, or text."""
    held, began, ended = "", False, False
    while piece := file.read(1 << 16):
        held += piece
        if not began:
            held = held.lstrip("\ufeff \t\r\n")
            if not held:
                continue
            if held[0] != "[":
                raise CorruptData(
                    "It is no list of candles.", cure="freqtrade writes [[time, open, high, low, close, volume], ...]."
                )
            held, began = held[1:], True
        *whole, held = held.split("]")
        for text in whole:
            inner = text.strip(", \t\r\n")
            if ended:
                raise CorruptData("Something follows the end of the list.", cure=_DAMAGED)
            if not inner:
                ended = True
            elif inner[0] == "[":
                yield [None if each.strip() == "null" else each.strip() for each in inner[1:].split(",")]
            else:
                raise CorruptData(f"{inner[:40]!r} is no candle.", cure=_DAMAGED)
    if not ended or held.strip():
        raise CorruptData("It ends in the middle.", cure=_DAMAGED)


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    with ExitStack() as stack:
        if path.name.lower().endswith(".gz"):
            yield stack.enter_context(gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
        else:
            yield stack.enter_context(path.open(encoding="utf-8-sig", newline=""))


@contextmanager
def _damage_in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except FlotillaError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, UnicodeDecodeError, csv.Error) as error:
        raise CorruptData(f"{path.name} is damaged: {error}.", cure=_DAMAGED) from error
    except OSError as error:
        if error.errno is not None:
            raise InvalidInput(
                f"{path} cannot be read: {error.strerror}.", cure="Check its owner and rights."
            ) from error
        raise CorruptData(f"{path.name} is damaged: {_first_line(error)}.", cure=_DAMAGED) from error
    except Exception as error:
        # pyarrow's errors, which are not imported for the sake of a name.
        if type(error).__module__.partition(".")[0] != "pyarrow":
            raise
        raise CorruptData(f"{path.name} is damaged: {_first_line(error)}.", cure=_DAMAGED) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
