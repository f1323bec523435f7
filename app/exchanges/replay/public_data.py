"""Readers of Binance's public archive (data.binance.vision): zips with one table each. Candles are in ``candle_files``.

Each is a generator of values, oldest first, as the archive has them.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from app.domain.market import symbols
from app.domain.market.timeframes import open_of
from app.domain.market.values import BookTop, Funding, OpenInterest, Side, Trade
from app.errors import CorruptData

T = TypeVar("T")
Refuse = Callable[[int, str], None]
"""Told the number of a row that cannot be read, and why."""


def _stop(number: int, why: str) -> None:
    raise CorruptData(f"Row {number} cannot be read: {why}")


def agg_trades(path: Path, *, exchange: str = "binance", spot: bool = False, refuse: Refuse = _stop) -> Iterator[Trade]:
    """``aggTrades``: their ids are counted."""
    symbol = symbol_of(path, spot=spot)

    def read(row: list[str]) -> Trade:
        at_ms = _ms(row[5])
        return Trade(
            exchange, symbol, at_ms, at_ms,
            price=float(row[1]), quantity=float(row[2]), side=_side(row[6]), id=int(row[0]), counted=True,
        )  # fmt: skip

    return _rows(path, read, refuse)


def trades(path: Path, *, exchange: str = "binance", spot: bool = False, refuse: Refuse = _stop) -> Iterator[Trade]:
    """``trades``: one by one; their ids are counted too."""
    symbol = symbol_of(path, spot=spot)

    def read(row: list[str]) -> Trade:
        at_ms = _ms(row[4])
        return Trade(
            exchange, symbol, at_ms, at_ms,
            price=float(row[1]), quantity=float(row[2]), side=_side(row[5]), id=int(row[0]), counted=True,
        )  # fmt: skip

    return _rows(path, read, refuse)


def book_tops(
    path: Path, *, exchange: str = "binance", spot: bool = False, refuse: Refuse = _stop
) -> Iterator[BookTop]:
    """``bookTicker``: every change of the best prices."""
    symbol = symbol_of(path, spot=spot)

    def read(row: list[str]) -> BookTop:
        at_ms = _ms(row[5])
        return BookTop(
            exchange, symbol, at_ms, _ms(row[6]),
            bid=float(row[1]), bid_quantity=float(row[2]), ask=float(row[3]), ask_quantity=float(row[4]),
        )  # fmt: skip

    return _rows(path, read, refuse)


def open_interests(path: Path, *, exchange: str = "binance", refuse: Refuse = _stop) -> Iterator[OpenInterest]:
    """``metrics``: open interest every 5 minutes."""
    symbol = symbol_of(path)

    def read(row: list[str]) -> OpenInterest:
        at_ms = _moment(row[0])
        return OpenInterest(
            exchange, symbol, at_ms, at_ms, quantity=float(row[2]), value=float(row[3]) if row[3] else None
        )

    return _rows(path, read, refuse)


def fundings(path: Path, *, exchange: str = "binance", refuse: Refuse = _stop) -> Iterator[Funding]:
    """``fundingRate``: what was settled. Binance writes it down some ms after its minute."""
    symbol = symbol_of(path)

    def read(row: list[str]) -> Funding:
        at_ms = open_of(_ms(row[0]), "1m")
        return Funding(exchange, symbol, at_ms, at_ms, rate=float(row[2]))

    return _rows(path, read, refuse)


def symbol_of(path: Path, *, spot: bool = False) -> str:
    """By the file's name: ``BTCUSDT-aggTrades-2024-08-08.zip``."""
    return symbols.parse(path.name.partition("-")[0], spot=spot)


def _rows(path: Path, read: Callable[[list[str]], T], refuse: Refuse) -> Iterator[T]:
    """Row by row, without unpacking the file first. Older files have no line with names."""
    try:
        with zipfile.ZipFile(path) as whole:
            names = [name for name in whole.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise CorruptData(f"{path.name} holds {len(names)} tables, not one.")
            with whole.open(names[0]) as packed:
                lines = csv.reader(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
                for number, row in enumerate(lines, 1):
                    if number == 1 and row and row[0][:1].isalpha():
                        continue
                    try:
                        value = read(row)
                    except (ValueError, IndexError) as error:
                        refuse(number, f"{','.join(row)[:120]!r} ({error})")
                        continue
                    yield value
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, OSError, csv.Error) as error:
        raise CorruptData(f"{path.name} cannot be read: {error}") from error


def _side(buyer_is_maker: str) -> Side:
    word = buyer_is_maker.lower()
    if word not in ("true", "false"):
        raise ValueError(f"{buyer_is_maker!r} is neither true nor false")
    return "sell" if word == "true" else "buy"


def _ms(stamp: str) -> int:
    """Spot counts in µs since 2025."""
    number = int(stamp)
    return number // 1_000 if number >= 10**15 else number


def _moment(text: str) -> int:
    """A time of day as the archive writes it, or ms."""
    if text.isdecimal():
        return _ms(text)
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)
