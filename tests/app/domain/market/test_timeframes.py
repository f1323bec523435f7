"""Every common spelling of a timeframe, one form inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market.timeframes import MINUTE_MS, TIMEFRAMES, last_closed, length_ms, open_of, parse
from app.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "timeframe"),
    [
        ("15m", "15m"), ("15M", "15m"), ("15min", "15m"), ("Min15", "15m"), ("15 minutes", "15m"), ("15T", "15m"),
        ("1H", "1h"), ("60m", "1h"), ("60min", "1h"), ("1hour", "1h"), ("Hour4", "4h"), ("240m", "4h"), ("4hr", "4h"),
        ("1D", "1d"), ("1day", "1d"), ("24h", "1d"), ("1440m", "1d"), ("1m", "1m"), ("1M", "1m"), (" 5m ", "5m"),
    ],
)  # fmt: skip
def test_common_spellings(text: str, timeframe: str):
    assert parse(text) == timeframe


@pytest.mark.parametrize(
    "text", ["", "m", "15", "7m", "0m", "1w", "1y", "-1m", "1.5h", "m15m", "1mon", "15m5", "999999m", "\u0661m"]
)
def test_what_is_no_timeframe_is_refused_with_those_that_are(text: str):
    with pytest.raises(InvalidInput) as refusal:
        parse(text)

    assert "15m" in refusal.value.cure


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_our_form_is_read_as_itself(timeframe: str):
    assert parse(timeframe) == parse(timeframe.upper()) == timeframe
    assert length_ms(timeframe) % MINUTE_MS == 0


def test_days_begin_at_midnight_of_utc():
    assert open_of(1_700_000_000_000, "1d") == 1_699_920_000_000
    assert open_of(1_699_920_000_000, "1d") == 1_699_920_000_000


@given(time_ms=st.integers(0, 4_000_000_000_000), timeframe=st.sampled_from(TIMEFRAMES))
def test_every_moment_lies_in_one_candle_and_the_one_before_it_is_over(time_ms: int, timeframe: str):
    open_time, length = open_of(time_ms, timeframe), length_ms(timeframe)

    assert open_time <= time_ms < open_time + length
    assert last_closed(time_ms, timeframe) + length == open_time <= time_ms


@given(st.text(max_size=12))
def test_any_text_is_a_timeframe_or_refused(text: str):
    try:
        assert parse(text) in TIMEFRAMES
    except InvalidInput:
        return
