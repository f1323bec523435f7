"""What ICT reads: structures are found where they were put, nothing later counts, and what is not known is None."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.domain.market.candles import Candles
from app.domain.strategies.ict.inputs import NEEDS, OLDEST_BLOCK, IctInputs, read
from app.domain.strategies.ict.strategy import judge
from app.domain.strategies.market import Frame, Market
from tests.app.domain.strategies.ict.candles import (
    AS_OF_MS,
    QUARTER_MS,
    all_of,
    drawn,
    ending,
    market,
    path,
    recorded_15m,
    series,
    still,
    until,
    volumes,
    wandering,
)

RISING_DAYS = path(100.0, 112.0, bars=24)
FALLING_DAYS = path(100.0, 88.0, bars=24)
LENGTH = 2 * NEEDS["4h"] // 5  # bars of 4h that are drawn: enough for everything, and not all that could be there


def hours(*, block: int | None = None, sweep: int | None = None, gap: bool = False) -> list[list[float]]:
    """100 candles of 4h that climb by a tenth each and end at 110.

    ``block``: from there on price stays in 105..106 for five bars, of much volume. ``sweep``: that bar goes down to 104.
    ``gap``: the last bar but one is a fast one.
    """
    rows = path(100.1, 110.0, bars=LENGTH - 1, wick=0.3)
    if block is not None:
        for place in range(block, block + 5):
            rows[place] = [105.4, 106.0, 105.0, 105.6, 100.0]
        for place in range(block + 5, LENGTH):
            rows[place][1] = max(rows[place][1], 106.2)  # so that the block is no swing
    if sweep is not None:
        rows[sweep][2] = 104.0
    if gap:
        top = rows[-3][1]
        rows[-2][:4] = [rows[-3][3], top + 3.0, rows[-3][2], top + 2.9]
        rows[-1][:4] = [top + 2.9, top + 3.0, top + 2.0, top + 2.5]
    return rows


def upside_down(rows: list[list[float]]) -> list[list[float]]:
    return [[200 - opened, 200 - low, 200 - high, 200 - close, volume] for opened, high, low, close, volume in rows]


def test_a_block_is_found_where_price_dwelt():
    found = drawn(d1=RISING_DAYS, h4=hours(block=50), m15=path(110.0, 110.0, bars=119))

    assert (found.block, found.block_bottom, found.block_top) == ("dwelling", 105.0, 106.0)
    assert found.block_age_4h == LENGTH - 1 - 54
    assert (found.sweep_level_4h, found.gap_top, found.break_4h) == (None, None, None)


@pytest.mark.parametrize(
    ("days", "price"),
    [
        (FALLING_DAYS, 110.0),  # below the price it supports, so it is no block of a fall
        (RISING_DAYS, 104.9),  # price is below its middle
    ],
)
def test_a_block_on_the_wrong_side_of_the_price_is_none(days: list[list[float]], price: float):
    assert drawn(d1=days, h4=hours(block=50), m15=path(price, price, bars=119)).block is None


def test_a_block_that_was_closed_through_is_used_up():
    rows = hours(block=50)
    rows[80][:4] = [105.9, 106.0, 103.9, 104.0]

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(110.0, 110.0, bars=119)).block is None


@pytest.mark.parametrize(("later", "block"), [(OLDEST_BLOCK, "dwelling"), (OLDEST_BLOCK + 1, None)])
def test_a_block_is_thirty_days_old_at_most(later: int, block: str | None):
    """It ends with bar 54; the oldest of the last 180 bars may still be its last."""
    rows = hours(block=50)[:55]
    rows += [[110.0, 110.0, 110.0, 110.0, volume] for volume in volumes(later - 1)]

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(110.0, 110.0, bars=119)).block == block


def test_a_block_is_found_whence_a_swing_was_broken():
    found = drawn(d1=RISING_DAYS, h4=turning(), m15=path(112.0, 112.0, bars=119))

    assert (found.block, found.block_bottom, found.block_top) == ("broken", 94.9, pytest.approx(95 + 20 / 7 + 0.1))


def test_a_block_whose_far_edge_was_pierced_is_not_there():
    rows = turning()
    rows[-3][2] = 94.8

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(112.0, 112.0, bars=119)).block is None


def turning() -> list[list[float]]:
    """4h: a low at 100, a high at 110, a lower low at 95, a higher high at 115; then a pullback, and a close above 110."""
    return path(106.0, 100.0, 110.0, 95.0, 115.0, 105.0, 112.0, bars=7, wick=0.1)


def test_a_change_of_character_is_found_once_its_level_is_broken():
    found = drawn(d1=RISING_DAYS, h4=turning(), m15=path(112.0, 112.0, bars=119))
    before = drawn(d1=RISING_DAYS, h4=turning()[:-3], m15=path(109.0, 109.0, bars=119))

    assert (found.break_4h, found.break_side_4h, found.break_level_4h) == ("choch", 1, 110.1)
    assert before.break_4h is None


def test_a_change_of_character_against_the_days_is_read_as_one():
    found = drawn(d1=RISING_DAYS, h4=upside_down(turning()), m15=path(88.0, 88.0, bars=119))

    assert (found.break_4h, found.break_side_4h, found.break_level_4h) == ("choch", -1, 89.9)


def test_a_break_of_structure_continues_the_trend():
    rows = path(106.0, 95.0, 110.0, 100.0, 115.0, 105.0, 112.0, bars=7, wick=0.1)
    found = drawn(d1=RISING_DAYS, h4=rows, m15=path(112.0, 112.0, bars=119))

    assert (found.break_4h, found.break_side_4h, found.break_level_4h) == ("bos", 1, 110.1)


def test_the_last_break_is_the_one_that_was_broken_last_not_the_one_that_was_known_last():
    """110 waits to be broken from early on; meanwhile the character turns down, at 100."""
    rows = path(106.0, 95.0, 110.0, 100.0, 115.0, 90.0, 106.0, 99.0, 112.0, bars=7, wick=0.1)
    turned_down = drawn(d1=RISING_DAYS, h4=rows[:-7], m15=path(99.0, 99.0, bars=119))
    found = drawn(d1=RISING_DAYS, h4=rows, m15=path(112.0, 112.0, bars=119))

    assert (turned_down.break_4h, turned_down.break_side_4h, turned_down.break_level_4h) == ("choch", -1, 99.9)
    assert (found.break_4h, found.break_side_4h, found.break_level_4h) == ("bos", 1, 110.1)


@pytest.mark.parametrize("bars_ago", [1, 3, 5])
def test_a_sweep_below_the_block_is_found(bars_ago: int):
    found = drawn(d1=RISING_DAYS, h4=hours(block=50, sweep=LENGTH - bars_ago), m15=path(110.0, 110.0, bars=119))

    assert (found.sweep_level_4h, found.sweep_extreme_4h) == (105.0, 104.0)
    assert found.sweep_speed_4h is not None
    assert found.sweep_speed_4h >= 0.2
    assert found.far6_4h == 104.0


def test_a_sweep_of_yesterday_is_over():
    found = drawn(d1=RISING_DAYS, h4=hours(block=50, sweep=LENGTH - 6), m15=path(110.0, 110.0, bars=119))

    assert (found.block, found.sweep_level_4h) == ("dwelling", None)


def test_a_candle_that_stays_below_is_no_sweep():
    rows = hours(block=50, sweep=LENGTH - 2)
    rows[-2][2:4], rows[-1][:4] = [103.0, 103.5], [103.5, 103.6, 103.4, 103.5]

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(110.0, 110.0, bars=119)).sweep_level_4h is None


def test_without_a_block_the_extreme_of_ten_bars_is_what_is_swept():
    found = drawn(d1=RISING_DAYS, h4=hours(sweep=LENGTH - 2), m15=path(110.0, 110.0, bars=119))
    lowest = min(row[2] for row in hours()[-16:-6])

    assert (found.block, found.sweep_level_4h, found.sweep_extreme_4h) == (None, pytest.approx(lowest), 104.0)


def test_a_sweep_above_is_not_one_for_a_rise():
    rows = hours(block=50)
    rows[-2][1] = 120.0

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(110.0, 110.0, bars=119)).sweep_level_4h is None


def test_a_gap_is_found_around_the_price():
    rows = hours(gap=True)
    bottom, top = rows[-3][1], rows[-1][2]
    around = drawn(d1=RISING_DAYS, h4=rows, m15=path(bottom + 1, bottom + 1, bars=119))
    above = drawn(d1=RISING_DAYS, h4=rows, m15=path(top + 1, top + 1, bars=119))

    assert (around.gap_bottom, around.gap_top) == (pytest.approx(bottom), pytest.approx(top))
    assert (above.gap_bottom, above.gap_top) == (None, None)


def test_a_gap_that_fell_is_none_for_a_rise():
    rows = upside_down(hours(gap=True))
    price = (rows[-3][2] + rows[-1][1]) / 2

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(price, price, bars=119)).gap_top is None
    assert drawn(d1=FALLING_DAYS, h4=rows, m15=path(price, price, bars=119)).gap_top is not None


def test_a_gap_on_the_block_is_found_wherever_the_price_is():
    rows = hours(block=50)
    for row in rows[55:]:
        row[:4] = [109.0 + price / 100 for price in row[:4]]  # one fast candle leaves the block, and nobody came back
    rows[55][:4] = [105.6, 109.4, 105.4, 109.3]
    found = drawn(d1=RISING_DAYS, h4=rows, m15=path(120.0, 120.0, bars=119))

    assert (found.gap_bottom, found.gap_top) == (106.0, pytest.approx(rows[56][2]))


def test_a_gap_that_price_came_back_to_is_none():
    rows = hours(gap=True)
    bottom, top = rows[-3][1], rows[-1][2]
    rows += [[top, top + 0.1, top - 0.1, top, 1.0]]

    assert drawn(d1=RISING_DAYS, h4=rows, m15=path(bottom + 1, bottom + 1, bars=119)).gap_top is None


def quarters() -> list[list[float]]:
    """120 candles of 15m at 100, of which each trades 10."""
    return [[100.0, 100.2, 99.8, 100.0, 10.0] for _ in range(120)]


def test_an_engulfing_candle_is_found_when_it_is_the_last_one():
    rows = quarters()
    rows[-2:] = [[100.1, 100.2, 99.8, 100.0, 10.0], [99.95, 100.3, 99.9, 100.12, 30.0]]
    found, fell = drawn(d1=RISING_DAYS, m15=rows), drawn(d1=RISING_DAYS, m15=upside_down(rows))

    assert (found.engulfs_15m, found.engulfing_15m, found.surge_15m) == (1, pytest.approx(1.7), 3.0)
    assert (fell.engulfs_15m, fell.engulfing_15m) == (-1, pytest.approx(1.7))
    assert drawn(d1=RISING_DAYS, m15=[*rows, rows[0]]).engulfs_15m == 0


@pytest.mark.parametrize(("days", "turn"), [(RISING_DAYS, list), (FALLING_DAYS, upside_down)])
def test_a_sweep_of_15m_is_found_on_the_trades_side_only(days: list[list[float]], turn):
    rows = quarters()
    rows[-3][2] = 99.0
    found = drawn(d1=days, m15=turn(rows))
    other = drawn(d1=RISING_DAYS if days is FALLING_DAYS else FALLING_DAYS, m15=turn(rows))

    assert found.sweep_level_15m == pytest.approx(99.8 if days is RISING_DAYS else 100.2)
    assert found.sweep_speed_15m is not None
    assert other.sweep_level_15m is None


def bat(end: int) -> list[list[float]]:
    """X 100, A 120, B 108.82, C 114.41, D 112.77: B2.3's ideal bat, whose last point is ``end`` bars old."""
    rows = path(110.0, 100.0, 120.0, 108.82, 114.41188, 112.7689, bars=4)
    rows += path(112.7689, 113.4, bars=end)[1:]
    return [[rows[0][0]] * 4 + [1.0]] * (120 - len(rows)) + rows


@pytest.mark.parametrize(("age", "name"), [(1, "BAT"), (9, "BAT"), (11, None)])
def test_a_harmonic_is_found_while_its_last_point_is_young(age: int, name: str | None):
    found = drawn(d1=RISING_DAYS, m15=bat(age))

    assert found.pattern_15m == name
    assert found.pattern_side_15m == (1 if name else 0)
    assert found.pattern_score_15m == (pytest.approx(0.64, abs=0.01) if name else None)


def test_the_days_are_compared_over_twenty():
    rows = still(25)
    rows[-21][:4], rows[-1][:4] = [50.0] * 4, [60.0] * 4

    assert drawn(d1=rows).change_1d == 20.0


# -- What is not known

UNKNOWN = [
    {"d1": []},
    {"h4": []},
    {"m15": []},
    {"d1": [], "h4": [], "m15": []},
    *({"d1": still(count)} for count in (1, 20)),
    *({"h4": path(100.0, 120.0, bars=count, wick=0.1)} for count in (1, 3, 5, 11, 14, 17, 29)),
    *({"m15": path(100.0, 90.0, bars=count, wick=0.1)} for count in (1, 2, 4, 7, 14, 19, 20)),
]


@pytest.mark.parametrize("bars", UNKNOWN, ids=lambda bars: ",".join(f"{name}={len(bars[name])}" for name in bars))
def test_too_few_candles_are_read_as_far_as_they_go_and_never_traded(bars: dict):
    found = drawn(**({"d1": RISING_DAYS} | bars))

    assert found.status == "warming"
    assert judge(found).signal == "HOLD"


def test_of_no_candle_at_all_nothing_is_known():
    found = msgspec.structs.asdict(drawn(d1=[], h4=[], m15=[]))
    counts = {
        name: found.pop(name) for name in ("bars_1d", "bars_4h", "break_side_4h", "engulfs_15m", "pattern_side_15m")
    }

    assert found.pop("status") == "warming"
    assert set(counts.values()) == {0}
    assert set(found.values()) == {None}


def test_every_count_of_candles_can_be_read():
    quarters_then, hours_then = path(100.0, 95.0, 105.0, 90.0, bars=10, wick=0.1), hours(block=50, sweep=LENGTH - 2)
    for count in range(31):
        read(
            market(series(d1=RISING_DAYS[:count], h4=hours_then[LENGTH - count :], m15=quarters_then[31 - count : 31]))
        )


def test_a_market_of_nothing_but_holes_is_read_as_unknown():
    empty = {}
    for timeframe, bars in NEEDS.items():
        nothing = np.full((2, bars), np.nan)
        empty[timeframe] = Frame(*([nothing] * 6), known=(0, 0), statuses=("gap", "stale"))
    one, other = read(Market(("A", "B"), AS_OF_MS, empty, (), ()))

    assert (one.status, other.status) == ("gap", "stale")
    assert (one.change_1d, one.close_15m, one.atr_4h, one.block, one.engulfing_15m) == (None,) * 5


def test_the_worst_timeframe_says_what_the_reading_is_worth():
    one = series(d1=RISING_DAYS, h4=path(100.0, 110.0, bars=249), m15=path(110.0, 110.0, bars=119))
    assert read(market(one))[0].status == "ok"

    late = one | {"15m": ending("15m", path(110.0, 110.0, bars=119), AS_OF_MS - QUARTER_MS)}
    assert read(market(late))[0].status == "stale"
    assert read(market(late))[0].close_15m is None


def test_symbols_side_by_side_are_read_as_each_alone():
    alone = [market(all_of(wandering(seed))) for seed in range(3)]
    frames = {
        timeframe: Frame(
            *(
                np.concatenate([getattr(one.frames[timeframe], name) for one in alone])
                for name in ("open", "high", "low", "close", "volume", "delta")
            ),
            known=tuple(one.frames[timeframe].known[0] for one in alone),
            statuses=tuple(one.frames[timeframe].statuses[0] for one in alone),
        )
        for timeframe in NEEDS
    }

    assert read(Market(("A", "B", "C"), AS_OF_MS, frames, (), ())) == [read(one)[0] for one in alone]


# -- What comes later


def rewritten(whole: Candles, first: int) -> list[int]:
    """Bars of 15m at whose close something else is read than when nothing had come since."""
    everything = all_of(whole)
    closes = (whole.open_time_ms + QUARTER_MS).tolist()
    return [
        bar
        for bar in range(first, len(whole))
        if read(market(everything, closes[bar])) != read(market(all_of(until(whole, bar + 1)), closes[bar]))
    ]


@pytest.mark.parametrize("seed", range(2))
def test_later_candles_change_no_reading(seed: int):
    assert rewritten(wandering(seed), first=27 * 96) == []


@pytest.mark.parametrize("symbol", ["BTC", "ETH"])
def test_later_candles_change_no_reading_of_a_recorded_market(recorded: Path, symbol: str):
    """Candle by candle, over the last days of the recording, where there are enough of them to trade."""
    whole = recorded_15m(recorded, symbol)

    assert rewritten(whole, first=len(whole) - 500) == []


def test_a_recorded_market_is_read_alike_one_and_many_bars_later(recorded: Path):
    """Only what ends at the moment counts: the same moment with prices after it that never were."""
    whole = recorded_15m(recorded, "LINK")
    for bar in range(len(whole) - 300, len(whole) - 1, 7):
        columns = whole.columns()
        columns[:4, bar + 1 :] *= 3
        strange = Candles.from_arrays(whole.open_time_ms, columns)
        close_ms = int(whole.open_time_ms[bar]) + QUARTER_MS

        assert read(market(all_of(strange), close_ms)) == read(market(all_of(whole), close_ms))


# -- Upside down

_SIGNED = ("break_side_4h", "engulfs_15m", "pattern_side_15m")
_PRICED = ("close_15m", "far6_4h", "break_level_4h", "sweep_level_4h", "sweep_extreme_4h", "sweep_level_15m")
_EDGES = {"block_bottom": "block_top", "gap_bottom": "gap_top", "block_top": "block_bottom", "gap_top": "gap_bottom"}


def mirrored(of: Candles) -> Candles:
    """Around 1000."""
    columns = of.columns()
    columns[:4] = 2_000 - columns[[0, 2, 1, 3]]
    return Candles.from_arrays(of.open_time_ms, columns)


def turned(of: IctInputs) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in msgspec.structs.asdict(of).items():
        if value is None or name == "change_1d":
            found[_EDGES.get(name, name)] = value
        elif name in _EDGES or name in _PRICED:
            found[_EDGES.get(name, name)] = 2_000 - value
        else:
            found[name] = -value if name in _SIGNED else value
    return found


def test_a_market_upside_down_is_read_upside_down():
    """All but the change of the days, which is a share of another price: there only the sign turns."""
    seen = set()
    for seed in range(4):
        whole = wandering(seed, days=44)
        upright, upset = all_of(whole), all_of(mirrored(whole))
        for close_ms in (whole.open_time_ms[42 * 96 :: 3] + QUARTER_MS).tolist():
            wanted, found = turned(read(market(upright, close_ms))[0]), read(market(upset, close_ms))[0]
            again = msgspec.structs.asdict(found)
            change, changed = wanted.pop("change_1d"), again.pop("change_1d")
            words = {name for name, value in wanted.items() if value is None or isinstance(value, str)}

            assert np.sign(change) == -np.sign(changed)
            assert {name: again.pop(name) for name in words} == {name: wanted.pop(name) for name in words}
            assert again == pytest.approx(wanted, rel=1e-6)
            seen |= {name for name, value in wanted.items() if value}
    assert {"block_top", "gap_top", "sweep_level_4h", "sweep_level_15m", "break_side_4h", "engulfs_15m"} <= seen
