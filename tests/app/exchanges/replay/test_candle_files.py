"""Files of candles and funding rates, in every form in which people have them."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.domain.market.values import Candle, Funding
from app.errors import CorruptData, InvalidInput, NotFound
from app.exchanges.replay import candle_files
from app.exchanges.replay.candle_files import PassedOver, Said
from tests.app.exchanges.replay.candle_builder import (
    HOUR,
    START,
    archive,
    as_json,
    csv_text,
    feather,
    iso,
    parquet,
    rows,
)

NOW_MS = START + 1_000 * HOUR
Values = list[Candle | Funding]


def said(**more: Any) -> Said:
    return Said("binance", **more)


def read(path: Path, **more: Any) -> Values:
    batches = list(candle_files.read(path, said(**more), now_ms=NOW_MS))
    assert [line for batch in batches for line in batch.unreadable] == []
    return [value for batch in batches for value in batch.values]


def plain(values: Values) -> list[tuple[Any, ...]]:
    return [(v.time_ms, v.open, v.high, v.low, v.close, v.volume) for v in values if isinstance(v, Candle)]


def unreadable(path: Path, **more: Any) -> list[str]:
    return [line for batch in candle_files.read(path, said(**more), now_ms=NOW_MS) for line in batch.unreadable]


@pytest.mark.parametrize("name", ["BTC_USDT_USDT-1h-futures.feather", "BTC_USDT-1h.feather"])
@pytest.mark.parametrize("packed", ["uncompressed", "lz4", "zstd"])
def test_freqtrades_feather_says_everything_in_its_name(tmp_path: Path, name: str, packed: str):
    values = read(feather(tmp_path / name, rows(5), compression=packed))
    (first, *_) = values

    assert plain(values) == rows(5)
    assert isinstance(first, Candle)
    assert first.symbol == ("BTC/USDT:USDT" if "futures" in name else "BTC/USDT")
    assert (first.exchange, first.timeframe, first.closed, first.received_ms) == ("binance", "1h", True, NOW_MS)
    assert (first.quote_volume, first.trades, first.taker_buy_volume) == (None, None, None)


def test_a_long_feather_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candle_files, "BATCH", 7)
    path = feather(tmp_path / "BTC_USDT-1h.feather", rows(40), chunksize=16)
    batches = list(candle_files.read(path, said(), now_ms=NOW_MS))

    assert [batch.rows for batch in batches] == [7, 7, 7, 7, 7, 5]
    assert plain([value for batch in batches for value in batch.values]) == rows(40)


@pytest.mark.parametrize("name", ["BTC_USDT-1h.json", "BTC_USDT-1h.json.gz"])
def test_freqtrades_json(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candle_files, "BATCH", 7)

    assert plain(read(as_json(tmp_path / name, rows(3_000)))) == rows(3_000)


def test_freqtrades_funding_rates_stand_where_a_candle_opens(tmp_path: Path):
    kept = [(START + n * 8 * HOUR, 0.0001 * n, 0.0, 0.0, 0.0, 0.0) for n in range(3)]
    values = read(feather(tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather", kept))

    assert [(v.time_ms, v.rate, v.mark_price, v.symbol) for v in values if isinstance(v, Funding)] == [
        (time, rate, None, "BTC/USDT:USDT") for time, rate, *_ in kept
    ]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("per_ms", [1, 1_000])
def test_binances_zips_with_and_without_names_in_ms_and_us(tmp_path: Path, header: bool, per_ms: int):
    values = read(archive(tmp_path / "BTCUSDT-1h-2025-01.zip", rows(5), header=header, per_ms=per_ms))
    (first, *_) = values

    assert plain(values) == rows(5)
    assert isinstance(first, Candle)
    assert first.symbol == "BTC/USDT:USDT"
    assert (first.quote_volume, first.trades, first.taker_buy_volume) == (1050.0, 7, 5.25)
    assert first.taker_buy_quote_volume == 525.0


def test_a_name_that_leaves_it_open_is_the_perpetual_unless_somebody_says_spot(tmp_path: Path):
    (tmp_path / "data" / "spot").mkdir(parents=True)
    here = archive(tmp_path / "BTCUSDT-1h-2025-01-15.zip", rows(1), header=False)
    spot = archive(tmp_path / "data" / "spot" / "BTCUSDT-1h-2025-01.zip", rows(1), header=False)

    assert [read(here)[0].symbol, read(here, spot=True)[0].symbol, read(spot)[0].symbol] == [
        "BTC/USDT:USDT",
        "BTC/USDT",
        "BTC/USDT",
    ]


HEADS = [
    "timestamp,open,high,low,close,volume",
    "Open time,Open,High,Low,Close,Volume",
    "date;o;h;l;c;v",
    "unix\tOpen\tHigh\tLow\tClose\tvol",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("time", [lambda ms: ms, lambda ms: ms // 1000, lambda ms: ms * 1_000_000, iso])
def test_csv_in_any_common_spelling(tmp_path: Path, head: str, time: Any):
    mark = next(each for each in ",;\t" if each in head)
    lines = [mark.join(map(str, (time(row[0]), *row[1:]))) for row in rows(3)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([head, *lines, ""]), encoding="utf-8-sig")

    assert plain(read(path, symbol="ETH/USDT", timeframe="1h")) == rows(3)


def test_a_csv_with_two_times_and_columns_that_say_nothing_to_us(tmp_path: Path):
    head = ["Unix", "Date", "Symbol", "Open", "High", "Low", "Close", "Volume", "Volume USDT", "tradecount"]
    lines = [(time // 1000, "whenever", "ETHUSDT", *rest, 1, 42) for time, *rest in rows(2)]
    path = tmp_path / "Binance_ETHUSDT_1h.csv"
    path.write_text("https://example.org\n" + csv_text([head, *lines]))
    values = read(path, timeframe="1h", spot=True)

    assert plain(values) == rows(2)
    assert [(v.symbol, v.trades) for v in values if isinstance(v, Candle)] == [("ETH/USDT", 42)] * 2


def test_times_without_a_zone_are_utcs_unless_somebody_says_otherwise(tmp_path: Path):
    path = tmp_path / "funding.csv"
    path.write_text(f"Symbol,Date,Funding Rate\nBTC-USDT,{iso(START + 3 * HOUR)},-0.0001\n")

    assert [value.time_ms for value in read(path)] == [START + 3 * HOUR]
    assert [value.time_ms for value in read(path, utc_offset_h=3)] == [START]
    path.write_text(f"Symbol,Date,Funding Rate\nBTC-USDT,{iso(START)}+00:00,-0.0001\n")
    assert [value.time_ms for value in read(path, utc_offset_h=3)] == [START]


def many(count: int = 2) -> dict[str, list[Any]]:
    """Candles of several exchanges and coins in one file, as in a data set for research."""
    found: dict[str, list[Any]] = {name: [] for name in ("timestamp", "venue", "coin", "o", "h", "l", "c", "v")}
    for row in rows(count):
        for venue, coin in (("binance", "BTC"), ("binance", "ETH"), ("okx", "BTC")):
            for name, value in zip(found, (row[0], venue, coin, *row[1:]), strict=True):
                found[name].append(value)
    return found


def test_a_parquet_file_of_many_exchanges_and_coins(tmp_path: Path):
    path = parquet(tmp_path / "candles.parquet", many())
    batches = list(candle_files.read(path, said(timeframe="1h", quote="USDT"), now_ms=NOW_MS))
    symbols = [value.symbol for batch in batches for value in batch.values]

    assert symbols == ["BTC/USDT:USDT", "ETH/USDT:USDT"] * 2
    assert [(batch.rows, batch.elsewhere) for batch in batches] == [(6, 2)]
    assert plain(read(path, timeframe="1h", symbol="ETH/USDC:USDC")) == rows(2)


@pytest.mark.parametrize(
    ("more", "cure"),
    [
        ({"quote": "USDT"}, "--timeframe"),
        ({"timeframe": "1h"}, "--quote"),
        ({}, "--quote USDT --timeframe 1h"),
    ],
)
def test_what_neither_the_file_nor_a_person_says_is_not_guessed(tmp_path: Path, more: dict[str, str], cure: str):
    with pytest.raises(InvalidInput) as caught:
        read(parquet(tmp_path / "candles.parquet", many()), **more)

    assert cure in caught.value.cure


def test_a_csv_without_symbol_or_names_says_what_is_missing(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text(csv_text([("time", "open", "high", "low", "close", "volume"), *rows(1)]))
    with pytest.raises(InvalidInput) as no_symbol:
        read(path, timeframe="1h")
    path.write_text(csv_text(rows(1)))
    with pytest.raises(InvalidInput) as no_names:
        read(path, timeframe="1h", symbol="BTC/USDT")
    path.write_text(csv_text([("time", "open", "high", "low", "close"), (START, 1, 2, 1, 2)]))
    with pytest.raises(InvalidInput, match="volume"):
        read(path, timeframe="1h", symbol="BTC/USDT")

    assert "--symbol" in no_symbol.value.cure
    assert "first line" in no_names.value.cure


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "nothing where the close should be"),
        ("n/a", "'n/a' where the close should be."),
        ("100,5", "'100,5' where the close should be: write numbers with a point"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path, bad: str, why: str):
    lines: list[Any] = [list(row) for row in rows(3)]
    lines[1][4] = bad
    path = tmp_path / "mine.csv"
    path.write_text(csv_text([("time", "open", "high", "low", "close", "volume"), *lines, (START, 1.0)]))
    (first, second) = unreadable(path, symbol="BTC/USDT", timeframe="1h")
    batches = list(candle_files.read(path, said(symbol="BTC/USDT", timeframe="1h"), now_ms=NOW_MS))

    assert why in first
    assert "too short" in second
    assert [(batch.rows, len(batch.values)) for batch in batches] == [(4, 2)]


def test_a_time_that_could_be_read_two_ways_is_not_read_and_says_how_to_write_it(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("time,open,high,low,close,volume\n11/14/2023,1,2,1,2,5\n")

    assert "2023-11-14 22:15:00, or in ms" in unreadable(path, symbol="BTC/USDT", timeframe="1h")[0]


def test_a_number_that_is_not_known_is_none_and_never_nought(tmp_path: Path):
    path = tmp_path / "mine.csv"
    names = ("time", "open", "high", "low", "close", "volume", "quote_volume", "trades")
    path.write_text(csv_text([names, (*rows(1)[0], "", "nan")]))
    (value,) = read(path, symbol="BTC/USDT", timeframe="1h")

    assert isinstance(value, Candle)
    assert (value.quote_volume, value.trades) == (None, None)


@pytest.mark.parametrize(
    "name",
    [
        "BTC_USDT_USDT-8h-mark.feather",
        "BTC_USDT_USDT-1h-index.feather",
        "BTC_USDT-trades.json.gz",
        "BTC_USDT-1w.feather",
        "BTC_USDT-1M.feather",
        "BTCUSDT-aggTrades-2025-01.zip",
        "markPriceKlines/BTCUSDT-1h-2025-01.zip",
    ],
)
def test_what_is_sound_and_not_for_us_is_passed_over(tmp_path: Path, name: str):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()

    with pytest.raises((PassedOver, InvalidInput)) as caught:
        read(path)

    assert isinstance(caught.value, PassedOver) or "trades" in name


def cut(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def damaged(tmp_path: Path, kind: str) -> Path:
    if kind == "feather":
        return cut(feather(tmp_path / "BTC_USDT-1h.feather", rows(5_000)), 0.5)
    if kind == "parquet":
        return cut(parquet(tmp_path / "BTC_USDT-1h.parquet", many(500)), 0.5)
    if kind == "json":
        return cut(as_json(tmp_path / "BTC_USDT-1h.json", rows(5_000)), 0.5)
    if kind == "json.gz":
        return cut(as_json(tmp_path / "BTC_USDT-1h.json.gz", rows(5_000)), 0.5)
    if kind == "zip":
        return cut(archive(tmp_path / "BTCUSDT-1h-2025-01.zip", rows(5_000), header=True), 0.5)
    path = archive(tmp_path / "BTCUSDT-1h-2025-01.zip", rows(5_000), header=True)
    with zipfile.ZipFile(path) as whole:
        place = whole.infolist()[0].header_offset + 2_000
    bytes_ = bytearray(path.read_bytes())
    bytes_[place : place + 40] = bytes(40)
    path.write_bytes(bytes_)
    return path


@pytest.mark.parametrize("kind", ["feather", "parquet", "json", "json.gz", "zip", "zip with a hole"])
def test_a_damaged_file_says_so_and_what_to_do(tmp_path: Path, kind: str):
    with pytest.raises(CorruptData) as caught:
        list(candle_files.read(damaged(tmp_path, kind), said(), now_ms=NOW_MS))

    assert "again" in caught.value.cure


@pytest.mark.parametrize("text", ["{}", "[[1,2", "[1,2,3]", "[[1,2,3]] more", "", "[]]"])
def test_json_that_is_no_list_of_candles_is_corrupt(tmp_path: Path, text: str):
    path = tmp_path / "BTC_USDT-1h.json"
    path.write_text(text)

    with pytest.raises(CorruptData):
        list(candle_files.read(path, said(), now_ms=NOW_MS))


def test_a_folder_stands_for_all_candle_files_in_it(tmp_path: Path):
    (tmp_path / "futures").mkdir()
    for name in ("b.csv", "a.feather", "futures/c.json.gz", "notes.txt", "LICENSE"):
        (tmp_path / name).touch()
    found = candle_files.find([tmp_path / "b.csv", tmp_path])

    assert [path.name for path in found] == ["b.csv", "a.feather", "c.json.gz"]


def test_paths_that_lead_nowhere_are_named(tmp_path: Path):
    with pytest.raises(NotFound, match="nowhere"):
        candle_files.find([tmp_path / "nowhere"])
    with pytest.raises(InvalidInput, match="no candle files"):
        candle_files.find([tmp_path])
    (tmp_path / "a.txt").touch()
    with pytest.raises(InvalidInput, match=r"a\.txt"):
        read(tmp_path / "a.txt")


def test_recorded_files_of_freqtrade_are_read_to_the_last_row(recorded: Path):
    folder = recorded / "klines_binance_usdm"
    values = read(folder / "BTC_USDT_USDT-1h-futures.feather")

    assert len(values) == 719
    assert plain(values)[0] == (1_741_258_800_000, 91250.0, 91563.0, 90953.1, 91319.2, 5659.315)
    assert len(read(folder / "BTC_USDT_USDT-8h-funding_rate.feather")) == 266


def test_a_recorded_file_of_seven_exchanges_equals_the_other_recording(recorded: Path):
    path = recorded / "candles_seven_venues" / "candles.parquet"
    theirs = {row[0]: row for row in plain(read(path, symbol="BTC/USDT:USDT", timeframe="1h"))}
    ours = plain(read(recorded / "klines_binance_usdm" / "BTC_USDT_USDT-1h-futures.feather"))

    assert [theirs[row[0]] for row in ours if row[0] in theirs] == [row for row in ours if row[0] in theirs]
    assert len(theirs) > 5_000
