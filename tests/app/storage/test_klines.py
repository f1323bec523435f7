"""Candles that are over, as they are stored and corrected."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.storage import klines, pairs
from app.storage.database import reading, transaction
from app.storage.klines import Kline
from tests.builders import NOW, count_candles

MINUTE = 60_000
START = 1_763_000_040_000


def candle(minute: int, close: float = 1.5, *, pair_id: int = 1, **more: Any) -> Kline:
    values: dict[str, Any] = {"open": 1.0, "high": 2.0, "low": 0.5, "volume": 10.25, "source": "rest", **more}
    timeframe = values.pop("timeframe", "1m")
    return Kline(pair_id=pair_id, timeframe=timeframe, open_time=START + minute * MINUTE, close=close, **values)


def store(engine: Engine, *rows: Kline) -> int:
    with transaction(engine) as db:
        return len(klines.store(db, rows))


def read(engine: Engine, pair_id: int = 1, **how: Any) -> list[Kline]:
    with reading(engine) as db:
        return klines.read(db, pair_id, "1m", **how)


def missing(engine: Engine, start: int, end: int, **how: Any) -> list[tuple[int, int]]:
    with reading(engine) as db:
        gaps = klines.missing(db, 1, "1m", START + start * MINUTE, START + end * MINUTE, **how)
    return [((a - START) // MINUTE, (b - START) // MINUTE) for a, b in gaps]


def test_candles_are_read_oldest_first(engine: Engine):
    rows = [candle(minute) for minute in range(5)]

    assert store(engine, *reversed(rows)) == 5
    assert read(engine) == rows
    assert read(engine, limit=2) == rows[-2:]
    assert read(engine, until_ms=rows[3].open_time, limit=2) == rows[1:3]
    assert read(engine, since_ms=rows[1].open_time, limit=2) == rows[1:3]


def test_what_is_not_known_stays_unknown(engine: Engine):
    store(engine, candle(0))
    (row,) = read(engine)

    assert (row.quote_volume, row.trades, row.taker_buy_volume, row.marks) == (None, None, None, None)


def test_the_same_candles_again_change_nothing_whatever_their_source(engine: Engine):
    store(engine, candle(0, source="stream"), candle(1, source="rest"), candle(2, source="import"))

    assert store(engine, candle(0, source="rest"), candle(1, source="stream"), candle(2, source="stream")) == 0
    assert [row.source for row in read(engine)] == ["stream", "rest", "import"]


@pytest.mark.parametrize("source", ["stream", "rest", "rollup"])
def test_what_a_person_imports_is_an_import_from_then_on_whoever_said_the_same_or_corrects_it(
    engine: Engine, source: str
):
    full = candle(0, trades=17, source=source)
    store(engine, full)

    assert store(engine, candle(0, source="import")) == 1
    assert store(engine, candle(0, source="import")) == 0
    assert read(engine) == [replace(full, source="import")]
    assert store(engine, candle(0, 1.75, source="rest")) == 1
    assert store(engine, candle(0, 1.25, source="rollup")) == 0
    assert read(engine) == [replace(full, close=1.75, source="import")]


def test_what_was_stored_is_told_as_it_stands_now(engine: Engine):
    full = candle(0, trades=17)
    store(engine, full, candle(1, source="stream"))
    with transaction(engine) as db:
        changed = klines.store(db, [candle(0, 1.75), candle(1, 9.9, source="rollup"), candle(2)])

    assert changed == [replace(full, close=1.75), candle(2)]


@pytest.mark.parametrize("source", ["stream", "rest", "import"])
def test_an_exchange_corrects_a_candle(engine: Engine, source: str):
    store(engine, candle(0, 1.5, source="stream"))

    assert store(engine, candle(0, 1.6, source=source)) == 1
    assert [row.close for row in read(engine)] == [1.6]


def test_a_roll_up_never_takes_an_exchanges_place_but_the_other_way_round(engine: Engine):
    store(engine, candle(0, 1.5, source="rest"), candle(1, 1.5, source="rollup"))

    assert store(engine, candle(0, 1.6, source="rollup"), candle(1, 1.6, source="rollup")) == 1
    assert store(engine, candle(1, 1.6, source="rest")) == 1
    assert [(row.close, row.source) for row in read(engine)] == [(1.5, "rest"), (1.6, "rest")]


def test_a_candle_that_says_less_takes_nothing_away(engine: Engine):
    full = candle(0, trades=17, taker_buy_volume=4.0, quote_volume=15.0, source="stream", marks="odd")
    store(engine, full)

    assert store(engine, candle(0, source="rest")) == 0
    assert store(engine, candle(0, close=1.75, source="import")) == 1
    assert read(engine) == [replace(full, close=1.75, source="import")]


def test_what_belonged_to_another_volume_goes_with_it(engine: Engine):
    store(engine, candle(0, trades=17))
    store(engine, candle(0, volume=11.0))

    assert [(row.volume, row.trades) for row in read(engine)] == [(11.0, None)]


@pytest.mark.parametrize("few", [1, 1_000])
def test_candles_of_many_pairs_and_many_times_are_counted_alike(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, few: int
):
    monkeypatch.setattr(klines, "FEW_PAIRS", few)
    one_minute = [candle(0, pair_id=pair_id) for pair_id in range(1, 9)]
    far_apart = [candle(minute) for minute in (0, 10_000, 500_000)]

    assert store(engine, *one_minute) == 8
    assert store(engine, *one_minute, candle(0, 9.9, pair_id=8)) == 1
    assert store(engine, *far_apart) == 2
    assert store(engine, *far_apart) == 0


def test_gaps_are_found_at_both_ends_and_inside(engine: Engine):
    store(engine, *(candle(minute) for minute in (2, 3, 5, 9)))

    assert missing(engine, 0, 12) == [(0, 2), (4, 5), (6, 9), (10, 12)]
    assert missing(engine, 0, 12, limit=2) == [(0, 2), (4, 5)]
    assert missing(engine, 2, 4) == []


def test_where_there_is_nothing_everything_is_missing(engine: Engine):
    assert missing(engine, 0, 3) == [(0, 3)]
    assert missing(engine, 3, 3) == []


def test_gaps_are_told_in_whole_candles(engine: Engine):
    store(engine, candle(1))
    with reading(engine) as db:
        assert klines.missing(db, 1, "1m", START + 1, START + 3 * MINUTE - 1) == []


def test_the_newest_of_each_pair(engine: Engine):
    def instrument(symbol: str) -> Any:
        nothing = dict.fromkeys(("price_step", "quantity_step", "contract_size", "min_quantity"))
        return SimpleNamespace(symbol=symbol, base=symbol[:3], quote="USDT", settle=None, active=True, **nothing)

    with transaction(engine) as db:
        ids = pairs.ensure_pairs(db, "binance", [instrument(f"{coin}/USDT") for coin in ("BTC", "ETH", "XRP")], NOW)
        btc, eth = ids["BTC/USDT"], ids["ETH/USDT"]
        klines.store(db, [candle(minute, pair_id=btc) for minute in range(3)] + [candle(1, pair_id=eth)])
        assert klines.newest(db, btc, "1m") == candle(2, pair_id=btc)
        assert klines.newest(db, btc, "1h") is None
        assert count_candles(db, btc, "1m") == 3
        assert dict(klines.between(db, "1m", START + MINUTE, START + 2 * MINUTE)) == {
            btc: [candle(1, pair_id=btc)],
            eth: [candle(1, pair_id=eth)],
        }
        assert dict(klines.between(db, "1m", START, START + 2 * MINUTE, [eth])) == {eth: [candle(1, pair_id=eth)]}
