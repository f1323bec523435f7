"""Recordings, through the same pipeline as what is live."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from app.errors import InvalidInput
from app.exchanges.demo.addresses import urls_for
from app.exchanges.table import make
from app.storage import flow, pairs
from app.storage.database import reading
from app.storage.tables import refused_messages
from app.usecases.replay_market import ReplayReport, kind_of, replay_files
from tests.app.usecases.market_values import NOON_MS

SYMBOL = "BTC/USDT:USDT"
Play = Callable[..., ReplayReport]


@pytest.fixture
def play(sqlite_engine: Engine) -> Play:
    """Replay files of Binance's futures."""

    def played(*paths: Path, **settings: Any) -> ReplayReport:
        exchange = make("replay-binance", urls_for(1)["binance"])
        known = {"kind": None, "speed": None, "now": lambda: datetime.now(UTC)}
        watched = settings.pop("watched", [SYMBOL])
        return asyncio.run(replay_files(sqlite_engine, exchange, paths, watched, **(known | settings)))

    return played


def trade_line(number: int, at_ms: int, price: str = "100.0") -> str:
    data = {
        "e": "aggTrade",
        "E": at_ms,
        "T": at_ms,
        "s": "BTCUSDT",
        "a": number,
        "p": price,
        "q": "2",
        "f": number,
        "l": number,
        "m": False,
    }
    return f"{at_ms}000000 {json.dumps({'stream': 'btcusdt@aggTrade', 'data': data}, separators=(',', ':'))}"


def recording(folder: Path, *lines: str) -> Path:
    path = folder / "btcusdt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def stored(engine: Engine) -> list[tuple[int, float | None]]:
    with reading(engine) as db:
        rows = flow.read(db, pairs.pair_id(db, "replay-binance", SYMBOL), "1m")
    return [(row.open_time, row.buy_volume) for row in rows]


def test_a_recording_becomes_rows_under_a_name_of_its_own(play: Play, sqlite_engine: Engine, tmp_path: Path):
    report = play(
        recording(tmp_path, trade_line(1, NOON_MS), trade_line(2, NOON_MS + 1), trade_line(3, NOON_MS + 60_000))
    )

    assert (report.exchange, report.messages, report.played.unreadable) == ("replay-binance", {"trades": 3}, 0)
    assert stored(sqlite_engine) == [(NOON_MS, 4.0), (NOON_MS + 60_000, 2.0)]


def test_the_same_recording_again_changes_nothing(play: Play, sqlite_engine: Engine, tmp_path: Path):
    path = recording(tmp_path, trade_line(1, NOON_MS), trade_line(2, NOON_MS + 1))
    play(path)
    once = stored(sqlite_engine)
    play(path)

    assert stored(sqlite_engine) == once == [(NOON_MS, 4.0)]


def test_what_is_refused_is_counted_and_kept(play: Play, sqlite_engine: Engine, tmp_path: Path):
    report = play(recording(tmp_path, trade_line(1, NOON_MS), trade_line(2, NOON_MS, price="-1")))

    assert (report.counters["refused"], report.checks) == (1, {"price": 1})
    with reading(sqlite_engine) as db:
        assert db.execute(select(func.count()).select_from(refused_messages)).scalar() == 1


def test_who_does_not_say_what_was_recorded_is_asked(play: Play, tmp_path: Path):
    with pytest.raises(InvalidInput, match="what was recorded") as refusal:
        play(recording(tmp_path, trade_line(1, NOON_MS)), watched=[])

    assert "--symbol" in refusal.value.cure


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BTCUSDT-aggTrades-2024-08-08.zip", "agg-trades"),
        ("BTCUSDT-bookTicker-2024-08-08.zip", "book-tops"),
        ("BTCUSDT-metrics-2024-08-08.zip", "metrics"),
        ("btcusdt_20240808.gz", "stamped"),
        ("test_depth_snapshot_spot.csv", "books"),
        ("trades.csv", "table"),
        ("BINANCE.ws.1.0", "wire"),
    ],
)
def test_the_name_says_what_kind_of_recording_it_is(name: str, kind: str):
    assert kind_of(Path(name)) == kind


def test_candles_are_not_replayed_but_imported():
    with pytest.raises(InvalidInput) as refusal:
        kind_of(Path("BTCUSDT-1m-2024-08.zip"))

    assert "flotilla import" in refusal.value.cure


def test_five_recorded_minutes_of_binance_pass_whole(play: Play, recorded: Path):
    report = play(recorded / "raw_binance_usdm_20240808" / "btcusdt_20240808.gz")

    assert report.played.unreadable == 0
    assert report.messages == {"depth": 6552, "top": 66089, "trades": 21313}
    assert report.counters.get("refused", 0) == 0


def test_a_damaged_recording_is_refused_where_it_is_damaged_and_its_sound_sister_is_not(play: Play, recorded: Path):
    folder = recorded / "depth_good_and_corrupted"
    name = "test_{}_binance_difference_depth_stream_spot_trxusdt_04-03-2025.csv"
    sound, damaged = (play(folder / name.format(how), watched=["TRX/USDT"]) for how in ("positive", "negative"))

    assert sound.counters.get("refused", 0) == 0
    assert damaged.counters["refused"] == 1
