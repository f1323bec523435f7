"""Files of candles as freqtrade, Binance and others write them, of our own making."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

HOUR = 3_600_000
START = 1_735_689_600_000  # 2025-01-01
Row = tuple[int, float, float, float, float, float]


def rows(count: int, *, start: int = START, step: int = HOUR) -> list[Row]:
    """Candles that make sense."""
    return [(start + n * step, 100.0 + n, 102.0 + n, 99.5 + n, 101.0 + n, 10.5 + n) for n in range(count)]


def table(candles: Sequence[Sequence[Any]], zone: str | None = "UTC") -> pa.Table:
    """As freqtrade has them in Arrow."""
    times, *numbers = zip(*candles, strict=True)
    date = pa.array(times, pa.timestamp("ms")).cast(pa.timestamp("ns", tz=zone))
    return pa.table([date, *map(pa.array, numbers)], names=["date", "open", "high", "low", "close", "volume"])


def feather(path: Path, candles: Sequence[Sequence[Any]], **how: Any) -> Path:
    """A feather file."""
    pyarrow.feather.write_feather(table(candles), path, **how)
    return path


def parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    """A Parquet file with any columns."""
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def as_json(path: Path, candles: Sequence[Sequence[Any]]) -> Path:
    """freqtrade's JSON, packed where the name says so."""
    text = json.dumps(candles).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def csv_text(lines: Sequence[Sequence[Any]]) -> str:
    """Lines with commas."""
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def archive(path: Path, candles: Sequence[Row], *, header: bool, per_ms: int = 1) -> Path:
    """One of Binance's public zips: futures have names in the first line, spot has not, and since 2025 its times are in µs."""
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
    lines: list[Sequence[Any]] = [
        (time * per_ms, *prices, volume, (time + HOUR) * per_ms - 1, volume * 100, 7, volume / 2, volume * 50, 0)
        for time, *prices, volume in candles
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{path.stem}.csv", csv_text([*([names.split(",")] if header else []), *lines]))
    return path


def iso(time_ms: int) -> str:
    """A time without a zone."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
