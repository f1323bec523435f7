"""What V3 reads: every number as its formula says, from candles that had closed, and nothing of what came later."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest

from app.domain.indicators.average import ema
from app.domain.indicators.momentum import adx, macd
from app.domain.indicators.volatility import atr
from app.domain.market.candles import Candles, roll_up
from app.domain.market.readings import Reading
from app.domain.market.timeframes import length_ms, open_of
from app.domain.market.watching import HISTORY
from app.domain.strategies.market import Frame, Market, frame
from app.domain.strategies.v3.inputs import NEEDS, V3Inputs, read
from app.domain.strategies.v3.strategy import judge
from tests.app.domain.strategies.ict.candles import AS_OF_MS, QUARTER_MS, of_columns, recorded_15m, until

HOUR_MS = length_ms("1h")
PRICES = (
    *("close_4h", "ma20_4h", "ma50_4h", "ma200_4h", "high20_4h", "low20_4h", "high10_4h", "low10_4h"),
    *("close_1h", "vwap_1h", "upper_1h", "lower_1h", "close_15m", "high_15m", "low_15m", "setup_close", "setup_high"),
    *("setup_low", "vwap_15m", "ema20_15m", "ema50_15m", "high20_15m", "low20_15m"),
)
DAYS = 45  # 250 candles of 4h are 42 days
MOMENTS = pytest.mark.parametrize("as_of_ms", [AS_OF_MS - HOUR_MS, AS_OF_MS], ids=["within 4h", "at the close of 4h"])


def traded(seed: int) -> Candles:
    """A market of 15m that goes somewhere, with volume that surges and takers on both sides."""
    random = np.random.default_rng(seed)
    count = DAYS * 96
    close = 1_000 * np.exp(np.cumsum(random.normal(0.00002, 0.003, count)))
    opened = np.append(1_000.0, close[:-1])
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.001, count)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.001, count)))
    volume = random.exponential(10, count)
    nothing = np.full(count, np.nan)
    times = AS_OF_MS - QUARTER_MS * np.arange(count, 0, -1)
    return of_columns(
        times, opened, high, low, close, volume, nothing, nothing, volume * random.uniform(0.2, 0.8, count)
    )


def rolled_up(quarters: Candles) -> dict[str, Candles]:
    return {name: quarters if name == "15m" else roll_up(quarters, name, made_of="15m") for name in NEEDS}


def market(one: Mapping[str, Candles], as_of_ms: int = AS_OF_MS) -> Market:
    """One coin of the table's first class; funding and open interest are known."""
    frames = {timeframe: frame([one[timeframe]], timeframe, bars, as_of_ms) for timeframe, bars in NEEDS.items()}
    return Market(("BTC/USDT:USDT",), as_of_ms, frames, (Reading(0.0001, "ok"),), (Reading(2.5, "ok"),))


def numbers(inputs: V3Inputs) -> dict[str, float]:
    return {name: getattr(inputs, name) for name in inputs.__struct_fields__ if name not in ("kind", "status", "tilts")}


# -- Every number by its formula, computed the slow way


def last(of: Frame, name: str) -> list[float]:
    values: list[float] = getattr(of, name)[0].tolist()
    return values


def width(closes: list[float]) -> float:
    """Bollinger's bands of 20 bars, two deviations to either side, as a share of their middle."""
    return 4 * pstdev(closes[-20:]) / fmean(closes[-20:])


def vwap_of_50(of: Frame) -> float:
    rows = list(zip(*(last(of, name)[-50:] for name in ("high", "low", "close", "volume")), strict=True))
    return sum((h + low + c) / 3 * v for h, low, c, v in rows) / sum(v for *_, v in rows)


def surge(of: Frame) -> float:
    """Against the twenty bars before."""
    volumes = last(of, "volume")
    return volumes[-1] / fmean(volumes[-21:-1])


def growth(of: Frame) -> float:
    values = atr(of.high, of.low, of.close, 14)[0].tolist()
    return float(values[-1] / fmean(values[-60:]))


def by_formula_of_4h(of: Frame, *, closes_now: bool) -> dict[str, float]:
    closes = last(of, "close")
    averages = [fmean(closes[place - 20 : place]) for place in range(20, len(closes) + 1)]
    beyond = [close > average for close, average in zip(closes[19:], averages, strict=True)][::-1]
    run = next((place for place, side in enumerate(beyond) if side != beyond[0]), len(beyond))
    widths = [width(closes[: len(closes) - back]) for back in range(10)]
    strength = adx(of.high, of.low, of.close, 14)
    before = slice(None, -1) if closes_now else slice(None)
    highs, lows = last(of, "high")[before], last(of, "low")[before]
    return {
        "bars_4h": len(closes),
        "close_4h": closes[-1],
        "ma20_4h": averages[-1],
        "ma50_4h": fmean(closes[-50:]),
        "ma200_4h": fmean(closes[-200:]),
        "run_4h": run if beyond[0] else -run,
        "adx_4h": strength.adx[0, -1],
        "plus_di_4h": strength.plus_di[0, -1],
        "minus_di_4h": strength.minus_di[0, -1],
        "bandwidth_4h": widths[0],
        "expansion_4h": fmean(widths[:5]) / fmean(widths[5:]),
        "macd_4h": macd(of.close, 12, 26, 9).histogram[0, -1],
        "delta_4h": last(of, "delta")[-1],
        "atr_4h": atr(of.high, of.low, of.close, 14)[0, -1],
        "high20_4h": max(highs[-20:]),
        "low20_4h": min(lows[-20:]),
        "high10_4h": max(highs[-10:]),
        "low10_4h": min(lows[-10:]),
    }


def by_formula_of_1h(of: Frame) -> dict[str, float]:
    closes, deltas = last(of, "close"), last(of, "delta")
    middle, reach = fmean(closes[-20:]), 2 * pstdev(closes[-20:])
    pull = macd(of.close, 12, 26, 9).histogram[0] / atr(of.high, of.low, of.close, 14)[0]
    above = closes[-1] > max(last(of, "high")[-21:-1])
    below = closes[-1] < min(last(of, "low")[-21:-1])
    return {
        "close_1h": closes[-1],
        "vwap_1h": vwap_of_50(of),
        "surge_1h": surge(of),
        "delta_1h": ema(of.delta, 6)[0, -1],
        "delta10_1h": fmean(deltas[-10:]),
        "delta20_1h": fmean(deltas[-20:]),
        "macd_1h": pull[-1],
        "macd_before_1h": pull[-2],
        "adx_1h": adx(of.high, of.low, of.close, 14).adx[0, -1],
        "upper_1h": middle + reach,
        "lower_1h": middle - reach,
        "touches_upper": sum(close >= 0.985 * (middle + reach) for close in closes[-6:]),
        "touches_lower": sum(close <= 1.015 * (middle - reach) for close in closes[-6:]),
        "new_extreme_1h": above - below,
    }


def by_formula_of_15m(of: Frame) -> dict[str, float]:
    closes, highs, lows = (last(of, name) for name in ("close", "high", "low"))
    tops = max(highs[-12:]) / max(highs[-24:-12]) - 1
    bottoms = min(lows[-12:]) / min(lows[-24:-12]) - 1
    rises, falls = min(tops, bottoms) >= 0.001, max(tops, bottoms) <= -0.001
    return {
        "close_15m": closes[-1],
        "high_15m": highs[-1],
        "low_15m": lows[-1],
        "setup_close": closes[-2],
        "setup_high": highs[-2],
        "setup_low": lows[-2],
        "vwap_15m": vwap_of_50(of),
        "ema20_15m": ema(of.close, 20)[0, -1],
        "ema50_15m": ema(of.close, 50)[0, -1],
        "high20_15m": max(highs[-21:-1]),
        "low20_15m": min(lows[-21:-1]),
        "surge_15m": surge(of),
        "delta_15m": ema(of.delta, 3)[0, -1],
        "delta10_15m": fmean(last(of, "delta")[-10:]),
        "bandwidth_15m": width(closes),
        "atr_15m": atr(of.high, of.low, of.close, 14)[0, -1],
        "atr_growth_15m": growth(of),
        "structure_15m": 2.0 if rises else -2.0 if falls else 0.0,
    }


@MOMENTS
@pytest.mark.parametrize("seed", range(6))
def test_every_number_is_what_its_formula_says(seed: int, as_of_ms: int):
    seen = market(rolled_up(traded(seed)), as_of_ms)
    expected = {
        "funding": 0.0001,
        "oi_6h": 2.5,
        **by_formula_of_4h(seen.frames["4h"], closes_now=as_of_ms == open_of(as_of_ms, "4h")),
        **by_formula_of_1h(seen.frames["1h"]),
        **by_formula_of_15m(seen.frames["15m"]),
    }

    found = numbers(read(seen)[0])
    assert found.keys() == expected.keys()
    assert {name: found[name] for name in PRICES} == pytest.approx({name: expected[name] for name in PRICES}, rel=1e-6)
    assert found == pytest.approx(expected, rel=6e-4, abs=1e-7)  # what is no price has four digits


def test_an_hour_that_closes_with_four_hours_may_be_beyond_those_before():
    """With the candle that closes at the same moment among them, no price could be, and every fourth hour was blind."""
    quarters = traded(1)
    columns = quarters.columns()
    columns[:4, -16:] = np.array([[1.00], [1.06], [1.00], [1.05]]) * columns[1].max()  # the last four hours broke out
    found = read(market(rolled_up(Candles.from_arrays(quarters.open_time_ms, columns))))[0]

    assert found.close_1h is not None
    assert found.high20_4h is not None
    assert found.close_1h > found.high20_4h


# -- What it is worth


def test_a_new_fleet_can_judge_the_last_close_of_4h_on_what_it_fetched():
    quarters_of_4h, hours_of_4h = 16, 4

    assert NEEDS["15m"] + quarters_of_4h <= HISTORY["15m"]
    assert NEEDS["1h"] + hours_of_4h <= HISTORY["1h"]
    assert NEEDS["4h"] <= HISTORY["4h"]


def test_all_that_is_needed_is_ok():
    assert read(market(rolled_up(traded(0))))[0].status == "ok"


@pytest.mark.parametrize(("timeframe", "bars"), [("4h", 1), ("1h", 6), ("1h", 20), ("15m", 3), ("15m", 10)])
def test_a_delta_that_is_not_known_is_never_judged_with_high_confidence(timeframe: str, bars: int):
    """OKX and HTX do not say who took; what was not watched is not known for hours."""
    seen = market(rolled_up(traded(0)))
    seen.frames[timeframe].delta[0, :-bars] = np.nan
    if bars == 1:
        seen.frames[timeframe].delta[:] = np.nan
    seen.frames[timeframe].delta[0, : -bars + 1 or None] = np.nan
    found = read(seen)[0]

    assert found.status == "warming"
    assert judge(found).confidence != "HIGH"


@pytest.mark.parametrize("status", ["warming", "stale", "gap"])
def test_what_is_measured_live_and_is_not_ok_is_not_read_and_said(status):
    seen = market(rolled_up(traded(0)))
    poor = Market(seen.symbols, seen.as_of_ms, seen.frames, (Reading(0.1, status),), (Reading(9.0, status),))
    found = read(poor)[0]

    assert (found.funding, found.oi_6h, found.status) == (None, None, status)


# -- What comes later


def rewritten(whole: Candles, first: int, step: int = 1) -> list[int]:
    """Bars of 15m at whose close something else is read than when nothing had come since."""
    everything = rolled_up(whole)
    closes = (whole.open_time_ms + QUARTER_MS).tolist()
    return [
        bar
        for bar in range(first, len(whole), step)
        if read(market(everything, closes[bar])) != read(market(rolled_up(until(whole, bar + 1)), closes[bar]))
    ]


def test_later_candles_change_no_reading():
    whole = traded(3)

    assert rewritten(whole, first=len(whole) - 200) == []


@pytest.mark.parametrize("symbol", ["BTC", "ETH"])
def test_later_candles_change_no_reading_of_a_recorded_market(recorded: Path, symbol: str):
    """Candle by candle, over the last days of the recording, where there are enough of them to trade."""
    whole = recorded_15m(recorded, symbol)

    assert rewritten(whole, first=len(whole) - 400) == []
