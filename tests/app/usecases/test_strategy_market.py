"""The market as strategies read it: what an exchange's candles do not say, its trades do."""

import numpy as np
import pytest
from sqlalchemy import Engine, update

from app.domain.indicators.average import ema
from app.exchanges.exchange import Instrument
from app.storage import flow, pairs
from app.storage.database import reading, transaction
from app.storage.flow import Flow
from app.storage.tables import klines
from app.usecases.strategy_market import first_pairs, market_of
from tests.app.usecases.judged_market import CLOSE_MS, QUARTER_MS, VENUE, furnish, names
from tests.builders import NOW

MINUTE_MS = 60_000
NEEDS = {"4h": 30, "1h": 30, "15m": 30}


@pytest.fixture
def silent(engine: Engine) -> tuple[Engine, dict[str, int]]:
    """A market whose candles do not say who took."""
    ids = furnish(engine, names(2), days=6)
    with transaction(engine) as db:
        db.execute(update(klines).values(taker_buy_volume=None))
    return engine, ids


def told(engine: Engine, pair_id: int, timeframe: str, begin_ms: int, end_ms: int, bought: float, sold: float) -> None:
    """Trades of one span, spread evenly over its rows."""
    step = MINUTE_MS if timeframe == "1m" else 60 * MINUTE_MS
    times = range(begin_ms, end_ms, step)
    nothing = dict.fromkeys(("open", "high", "low", "close", "buy_quote", "sell_quote", "trades"), None)
    rest = nothing | dict.fromkeys(("largest_quote", "first_id", "last_id"), None)
    with transaction(engine) as db:
        rows = [
            Flow(
                pair_id,
                timeframe,
                time,
                buy_volume=bought / len(times),
                sell_volume=sold / len(times),
                **rest,  # type: ignore[arg-type]
            )
            for time in times
        ]
        flow.store(db, rows)


def deltas(engine: Engine, ids: dict[str, int]) -> dict[str, np.ndarray]:
    with reading(engine) as db:
        found = market_of(db, ids, CLOSE_MS, NEEDS)
    return {timeframe: found.frames[timeframe].delta for timeframe in NEEDS}


def volume(engine: Engine, ids: dict[str, int], timeframe: str) -> float:
    with reading(engine) as db:
        return float(market_of(db, ids, CLOSE_MS, NEEDS).frames[timeframe].volume[0, -1])


def test_a_symbol_is_judged_by_the_first_exchange_that_still_trades_it(sqlite_engine: Engine):
    venues, [symbol] = ("demo-okx", VENUE), names(1)
    furnish(sqlite_engine, [symbol], days=1)
    with transaction(sqlite_engine) as db:
        pairs.ensure_pairs(db, venues[0], [Instrument(symbol, "C000", "USDT", "USDT")], NOW)
        assert first_pairs(db, [symbol], venues)[symbol].exchange == venues[0]
        pairs.note_traded(db, venues[0], [], NOW)
        assert first_pairs(db, [symbol], venues)[symbol].exchange == venues[1]
        pairs.note_traded(db, venues[1], [], NOW)
        assert first_pairs(db, [symbol], venues)[symbol].exchange == venues[0]  # what was known there may still be read


def test_without_trades_nothing_is_known(silent: tuple[Engine, dict[str, int]]):
    engine, ids = silent

    assert all(np.isnan(found).all() for found in deltas(engine, ids).values())


def test_the_trades_of_its_minutes_say_who_took_in_a_quarter(silent: tuple[Engine, dict[str, int]]):
    engine, ids = silent
    first, *_ = ids.values()
    whole = volume(engine, ids, "15m")
    told(engine, first, "1m", CLOSE_MS - QUARTER_MS, CLOSE_MS, 0.75 * whole, 0.25 * whole)

    found = deltas(engine, ids)["15m"]

    assert found[0, -1] == pytest.approx(0.5)
    assert np.isnan(found[0, :-1]).all()
    assert np.isnan(found[1]).all()


def test_trades_that_do_not_come_to_the_candles_volume_say_nothing(silent: tuple[Engine, dict[str, int]]):
    engine, ids = silent
    first, *_ = ids.values()
    whole = volume(engine, ids, "15m")
    told(engine, first, "1m", CLOSE_MS - QUARTER_MS, CLOSE_MS, 0.5 * whole, 0.25 * whole)

    assert np.isnan(deltas(engine, ids)["15m"]).all()


def test_a_bar_whose_trades_were_not_watched_leaves_the_bars_after_it_known(silent: tuple[Engine, dict[str, int]]):
    engine, ids = silent
    first, *_ = ids.values()
    with reading(engine) as db:
        volumes = market_of(db, ids, CLOSE_MS, NEEDS).frames["15m"].volume[0, ::-1]
    for back in (0, 1, 2, 3, 5):  # the one in between was missed
        end_ms = CLOSE_MS - back * QUARTER_MS
        told(engine, first, "1m", end_ms - QUARTER_MS, end_ms, 0.75 * volumes[back], 0.25 * volumes[back])

    with reading(engine) as db:
        delta = market_of(db, ids, CLOSE_MS, NEEDS).frames["15m"].delta

    assert ema(delta, 3)[0, -1] == pytest.approx(0.5)
    assert np.isnan(delta[0, :-4]).all()


def test_hours_that_are_rolled_up_and_the_minutes_of_the_last_one_make_four_hours(
    silent: tuple[Engine, dict[str, int]],
):
    engine, ids = silent
    first, *_ = ids.values()
    whole = volume(engine, ids, "4h")
    hour = 60 * MINUTE_MS
    told(engine, first, "1h", CLOSE_MS - 4 * hour, CLOSE_MS - hour, 0.5 * whole, 0.25 * whole)
    told(engine, first, "1m", CLOSE_MS - hour, CLOSE_MS, 0.2 * whole, 0.05 * whole)

    assert deltas(engine, ids)["4h"][0, -1] == pytest.approx(0.4)


def test_what_the_candles_say_stays(engine: Engine):
    ids = furnish(engine, names(1), days=6)
    first, *_ = ids.values()
    before = deltas(engine, ids)["15m"].copy()
    told(engine, first, "1m", CLOSE_MS - QUARTER_MS, CLOSE_MS, 1e6, 0.0)

    assert np.array_equal(deltas(engine, ids)["15m"], before, equal_nan=True)
