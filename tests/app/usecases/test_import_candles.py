"""Bringing candles in from files."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.domain.market.cleaning import CHECKS
from app.errors import InvalidInput, Misconfigured
from app.exchanges.exchange import Instrument
from app.exchanges.replay import candle_files
from app.exchanges.replay.candle_files import Said
from app.storage import funding, klines, pairs
from app.storage.database import open_engine, reading, transaction
from app.storage.klines import Kline
from app.usecases.import_candles import DIFFERS, FileReport, ImportReport, OtherWorld, check_world, import_files
from tests.app.exchanges.replay.candle_builder import HOUR, START, as_json, csv_text, feather, iso, rows
from tests.builders import count_candles

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BTC = "BTC_USDT_USDT-1h-futures.feather"


def nothing(_file: FileReport, _place: int, _files: int) -> None:
    pass


def bring(
    engine: Engine, *paths: Path, exchange: str = "binance", progress: Any = nothing, **said: Any
) -> ImportReport:
    simulated = exchange.startswith("demo-")
    return import_files(engine, paths, Said(exchange, **said), simulated=simulated, now=NOW, progress=progress)


def stored(engine: Engine, symbol: str = "BTC/USDT:USDT", timeframe: str = "1h") -> list[Kline]:
    with reading(engine) as db:
        pair = pairs.pair(db, "binance", symbol)
        return [] if pair is None else klines.read(db, pair.id, timeframe)


def counts(report: ImportReport) -> list[tuple[int, int, int, int]]:
    return [(file.rows, file.stored, file.unchanged, file.refusals) for file in report.files]


def test_candles_are_stored_once_however_often_they_come(engine: Engine, tmp_path: Path):
    path = feather(tmp_path / BTC, rows(30))
    first, second = bring(engine, path), bring(engine, path)
    kept = stored(engine)

    assert (counts(first), counts(second)) == ([(30, 30, 0, 0)], [(30, 0, 30, 0)])
    assert first.well
    assert second.well
    assert first.files[0].what == ["BTC/USDT:USDT 1h"]
    assert [(k.open_time, k.open, k.high, k.low, k.close, k.volume) for k in kept] == rows(30)
    assert {(k.source, k.trades, k.marks) for k in kept} == {("import", None, None)}


def test_several_files_and_folders_are_one_import(engine: Engine, tmp_path: Path):
    (tmp_path / "futures").mkdir()
    feather(tmp_path / "futures" / BTC, rows(5))
    feather(tmp_path / "futures" / "BTC_USDT_USDT-1h-mark.feather", rows(5))
    rates = [(START + n * 8 * HOUR, 0.0001, 0.0, 0.0, 0.0, 0.0) for n in range(20)]
    feather(tmp_path / "futures" / "BTC_USDT_USDT-8h-funding_rate.feather", rates)
    spot = as_json(tmp_path / "ETH_USDT-1h.json.gz", rows(7))
    told: list[tuple[int, int]] = []
    report = bring(engine, tmp_path / "futures", spot, progress=lambda _, place, files: told.append((place, files)))
    with reading(engine) as db:
        pair_id = pairs.pair_id(db, "binance", "BTC/USDT:USDT")
        settled = [(row.time_ms, row.rate) for row in funding.read(db, pair_id)]

    assert [(file.verdict, file.rows) for file in report.files] == [
        ("imported", 5),
        ("passed over", 0),
        ("imported", 20),
        ("imported", 7),
    ]
    assert report.well
    assert settled == [row[:2] for row in rates]
    assert len(stored(engine, "ETH/USDT")) == 7
    assert (told[0], told[-1]) == ((1, 4), (4, 4))


def test_what_the_checks_refuse_is_counted_by_reason_with_an_example(sqlite_engine: Engine, tmp_path: Path):
    later = round(NOW.timestamp() * 1000) // HOUR * HOUR + 5 * HOUR
    bad = [
        (START, 100.0, 99.0, 98.0, 101.0, 1.0),  # opens above its high
        (START + 1, 100.0, 102.0, 99.0, 101.0, 1.0),  # beside the hour
        (START + HOUR, -1.0, 102.0, -2.0, 101.0, 1.0),
        (START + 2 * HOUR, 100.0, 102.0, 99.0, float("nan"), 1.0),
        (START + 3 * HOUR, 100.0, 102.0, 99.0, 101.0, -1.0),
        (later, 100.0, 102.0, 99.0, 101.0, 1.0),
    ]
    report = bring(sqlite_engine, feather(tmp_path / BTC, [*rows(3, start=START + 10 * HOUR), *bad]))
    (file,) = report.files

    assert {reason: each.count for reason, each in file.refused.items()} == {
        "candle-shape": 1,
        "candle-place": 1,
        "price": 2,
        "quantity": 1,
        "future": 1,
    }
    assert all(each.example for each in file.refused.values())
    assert file.refused.keys() <= {check.name for check in CHECKS}
    assert counts(report) == [(9, 3, 0, 6)]
    assert (file.verdict, report.well) == ("imported", False)


def test_a_row_that_cannot_be_read_costs_no_other_one(sqlite_engine: Engine, tmp_path: Path):
    path = tmp_path / "mine.csv"
    lines = [("time", "open", "high", "low", "close", "volume"), *rows(2), (START + 2 * HOUR, "?", 1, 1, 1, 1)]
    path.write_text(csv_text(lines))
    report = bring(sqlite_engine, path, symbol="BTC/USDT:USDT", timeframe="1h")

    assert counts(report) == [(3, 2, 0, 1)]
    assert "'?'" in report.files[0].refused["unreadable"].example


def test_a_damaged_file_loses_nothing_and_holds_up_no_other(sqlite_engine: Engine, tmp_path: Path):
    good = feather(tmp_path / "ETH_USDT_USDT-1h-futures.feather", rows(5))
    whole = as_json(tmp_path / "BTC_USDT_USDT-1h-futures.json", rows(12_000))
    text = whole.read_text()
    whole.write_text(text[: len(text) * 3 // 4])
    first = bring(sqlite_engine, whole, good)
    whole.write_text(text)
    second = bring(sqlite_engine, whole)
    (broken, sound) = first.files

    assert (broken.verdict, sound.verdict, first.well) == ("refused", "imported", False)
    assert "again" in broken.what_to_do
    assert broken.stored == 5_000
    assert (second.files[0].stored, second.files[0].unchanged) == (7_000, 5_000)


def test_an_import_that_was_cut_off_goes_on(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candle_files, "BATCH", 10)
    path = feather(tmp_path / BTC, rows(50))

    def interrupted(file: FileReport, _place: int, _files: int) -> None:
        if file.rows == 20:
            raise KeyboardInterrupt

    first = bring(sqlite_engine, path, progress=interrupted)
    second = bring(sqlite_engine, path)

    assert (first.cut_off, first.well, counts(first)) == (True, False, [(20, 20, 0, 0)])
    assert counts(second) == [(50, 30, 20, 0)]


def test_two_rows_that_disagree_about_one_candle_are_not_both_believed(engine: Engine, tmp_path: Path):
    (time, *prices, volume) = rows(1)[0]
    otherwise = (time, *prices, volume + 1)
    one_file = bring(engine, feather(tmp_path / BTC, [*rows(2), otherwise, *rows(1)]))
    (tmp_path / "more").mkdir()
    two_files = bring(engine, tmp_path / BTC, feather(tmp_path / "more" / BTC, [otherwise, *rows(2)]))

    assert counts(one_file) == [(4, 2, 1, 1)]
    assert counts(two_files) == [(4, 0, 3, 1), (3, 0, 2, 1)]
    assert not one_file.well
    assert one_file.files[0].refused[DIFFERS].example == (
        "BTC/USDT:USDT 1h of 2025-01-01 00:00 UTC has volume 10.5, then 11.5: the first one is kept."
    )
    assert [row.volume for row in stored(engine)] == [row[-1] for row in rows(2)]


def test_another_run_may_say_otherwise(sqlite_engine: Engine, tmp_path: Path):
    path = feather(tmp_path / BTC, rows(1))
    bring(sqlite_engine, path)
    (time, *prices, volume) = rows(1)[0]
    report = bring(sqlite_engine, feather(path, [(time, *prices, volume + 1)]))

    assert counts(report) == [(1, 1, 0, 0)]


@pytest.mark.parametrize("place", [0, 1, 7, 19])
@pytest.mark.parametrize("price", [1e30, 1e-30, 100.0 * 30, 100.0 / 30])
def test_a_candle_far_from_its_neighbours_is_marked_and_they_are_not(
    sqlite_engine: Engine, tmp_path: Path, place: int, price: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(candle_files, "BATCH", 6)
    candles = rows(20)
    candles[place] = (candles[place][0], *[price] * 4, 1.0)
    report = bring(sqlite_engine, feather(tmp_path / BTC, candles))

    assert report.files[0].marked == {"candle-jump": 1}
    assert [row.open_time for row in stored(sqlite_engine) if row.marks == "candle-jump"] == [candles[place][0]]


def test_where_prices_move_to_another_level_only_the_first_there_is_marked(sqlite_engine: Engine, tmp_path: Path):
    split = [(time, *(price / 100 for price in prices), 1.0) for time, *prices, _ in rows(10, start=START + 10 * HOUR)]
    report = bring(sqlite_engine, feather(tmp_path / BTC, [*rows(10), *split]))

    assert report.files[0].marked == {"candle-jump": 1}
    assert [row.marks for row in stored(sqlite_engine)].index("candle-jump") == 10


def test_a_file_of_which_nothing_could_be_used_is_refused(sqlite_engine: Engine, tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text(csv_text([("time", "open", "high", "low", "close", "volume"), (START, 1, 2, 1, "?", 5)]))
    (file,) = bring(sqlite_engine, path, symbol="BTC/USDT:USDT", timeframe="1h").files

    assert (file.verdict, file.rows, file.refusals) == ("refused", 1, 1)
    assert file.what_to_do


def test_a_file_of_other_exchanges_names_them(sqlite_engine: Engine, tmp_path: Path):
    head = ("exchange", "symbol", "timeframe", "time", "open", "high", "low", "close", "volume")
    path = tmp_path / "mine.csv"
    path.write_text(csv_text([head, *[(name, "BTCUSDT", "1h", START, 1, 2, 1, 2, 5) for name in ("bybit", "OKX")]]))
    report = bring(sqlite_engine, path)
    (file,) = report.files

    assert (file.verdict, file.elsewhere, report.well) == ("passed over", 2, True)
    assert "None of its rows is of binance. It names OKX, bybit." in file.reason
    assert "--exchange" in file.what_to_do


def test_what_the_exchange_said_is_corrected_but_loses_nothing(sqlite_engine: Engine, tmp_path: Path):
    path = feather(tmp_path / BTC, rows(2))
    bring(sqlite_engine, path)
    first, second = stored(sqlite_engine)
    with transaction(sqlite_engine) as db:
        klines.store(db, [replace(first, source="rest", trades=17), replace(second, source="rest", close=second.low)])
    report = bring(sqlite_engine, path)

    assert counts(report) == [(2, 1, 1, 0)]
    assert {row.source for row in stored(sqlite_engine)} == {"import"}
    assert [(row.trades, row.close) for row in stored(sqlite_engine)] == [(17, first.close), (None, second.close)]


def test_an_imported_minute_mends_what_was_made_of_another_one_and_makes_nothing_that_was_not_there(
    sqlite_engine: Engine, tmp_path: Path
):
    lines = [("time", "open", "high", "low", "close", "volume")]
    lines += [(START + minute * 60_000, 1.0, 2.0, 0.5, 1.5, 10.0) for minute in range(15)]
    path = tmp_path / "mine.csv"
    path.write_text(csv_text(lines))
    with transaction(sqlite_engine) as db:
        known = [Instrument("BTC/USDT:USDT", "BTC", "USDT", "USDT")]
        [pair_id] = pairs.ensure_pairs(db, "binance", known, NOW).values()
        klines.store(db, [klines.Kline(pair_id, "5m", START, 1.0, 7.0, 0.5, 1.5, 49.0, source="rollup")])
    bring(sqlite_engine, path, symbol="BTC/USDT:USDT", timeframe="1m")
    with reading(sqlite_engine) as db:
        [five] = klines.read(db, pair_id, "5m")
        assert count_candles(db, pair_id, "15m") == 0

    assert (five.high, five.volume, five.source) == (2.0, 50.0, "rollup")


def test_a_pair_that_is_there_stays_as_the_exchange_describes_it(sqlite_engine: Engine, tmp_path: Path):
    path = feather(tmp_path / BTC, rows(1))
    bring(sqlite_engine, path)
    with transaction(sqlite_engine) as db:
        pairs.note_traded(db, "binance", (), NOW)
    bring(sqlite_engine, path)
    with reading(sqlite_engine) as db:
        found = pairs.pair(db, "binance", "BTC/USDT:USDT")

    assert found is not None
    assert not found.is_active


def test_a_hole_between_candles_is_told_and_marks_none(sqlite_engine: Engine, tmp_path: Path):
    """Another file may fill it, and then no mark would tell the truth."""
    report = bring(sqlite_engine, feather(tmp_path / BTC, [row for row in rows(9) if row[0] != START + 4 * HOUR]))

    assert report.files[0].marked == {"candle-gap": 1}
    assert {row.marks for row in stored(sqlite_engine)} == {None}


def test_funding_times_of_another_zone_are_noticed_before_anything_is_stored(sqlite_engine: Engine, tmp_path: Path):
    path = tmp_path / "BTC.csv"
    times = [START + 3 * HOUR + n * 8 * HOUR for n in range(30)]
    path.write_text("Symbol,Date,Funding Rate\n" + "".join(f"BTC-USDT,{iso(time)},0.0001\n" for time in times))
    refused = bring(sqlite_engine, path)
    told = bring(sqlite_engine, path, utc_offset_h=3)

    assert (refused.files[0].verdict, refused.files[0].stored) == ("refused", 0)
    assert "--utc-offset 3" in refused.files[0].what_to_do
    assert (told.files[0].verdict, told.files[0].stored) == ("imported", 30)


@pytest.mark.parametrize(("exchange", "simulated"), [("binance", True), ("demo-binance", False)])
def test_simulated_and_real_candles_never_mix(exchange: str, simulated: bool):
    check_world(exchange, simulated=not simulated)
    with pytest.raises(OtherWorld) as caught:
        check_world(exchange, simulated=simulated)

    assert caught.value.source == exchange.replace("demo-binance", "demo")


@pytest.mark.parametrize("exchange", ["binanec", "Binance!", "", "demo-binanec"])
def test_an_exchange_that_nobody_knows_is_refused(exchange: str):
    with pytest.raises((InvalidInput, Misconfigured)):
        check_world(exchange, simulated=exchange.startswith("demo-"))


def test_a_file_without_rows_is_refused(sqlite_engine: Engine, tmp_path: Path):
    path = as_json(tmp_path / "BTC_USDT-1h.json", [])
    (file,) = bring(sqlite_engine, path).files

    assert (file.verdict, file.reason) == ("refused", "It holds no rows.")


def test_without_tables_the_cure_is_named(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path / 'blank.db'}", create=True)
    with pytest.raises(Misconfigured) as caught:
        bring(engine, feather(tmp_path / BTC, rows(1)))
    engine.dispose()

    assert "migrate" in caught.value.cure


def test_recorded_candles_go_in_whole_and_the_corrupted_zone_is_noticed(sqlite_engine: Engine, recorded: Path):
    names = (
        "BTC_USDT_USDT-1h-futures.feather",
        "BTC_USDT_USDT-8h-funding_rate.feather",
        "BTC_USDT_USDT-8h-mark.feather",
    )
    report = bring(sqlite_engine, *(recorded / "klines_binance_usdm" / name for name in names))
    other_zone = bring(sqlite_engine, recorded / "funding" / "BTC-USDT_htx_2021-01-01_2024-01-01_funding_history.csv")

    assert counts(report) == [(719, 719, 0, 0), (266, 266, 0, 0), (0, 0, 0, 0)]
    assert "--utc-offset 3" in other_zone.files[0].what_to_do
