"""Exchanges that contradict each other."""

import pytest

from app.domain.market.consistency import disagreements
from app.domain.market.values import BookTop


def top(exchange: str, mid: float, time_ms: int = 0) -> BookTop:
    return BookTop(exchange, "BTC/USDT:USDT", time_ms, 0, bid=mid - 1, bid_quantity=1, ask=mid + 1, ask_quantity=1)


@pytest.mark.parametrize(
    ("mid", "severity"),
    [(1_000, None), (1_010, None), (1_010.1, "WARNING"), (1_020, "WARNING"), (1_020.1, "CRITICAL"), (990, "WARNING")],
)
def test_mids_that_differ(mid: float, severity: str | None):
    found = disagreements([top("binance", 1_000), top("okx", mid)])

    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("later_ms", "severity"), [(10_000, None), (10_001, "WARNING"), (20_001, "CRITICAL")])
def test_times_that_differ(later_ms: int, severity: str | None):
    found = disagreements([top("binance", 1_000, later_ms), top("okx", 1_000)])

    assert [(each.kind, each.severity) for each in found] == ([("time", severity)] if severity else [])


def test_times_of_a_market_that_runs_faster_may_be_further_apart():
    tops = [top("binance", 1_000, 600_000), top("okx", 1_000)]

    assert disagreements(tops, speed=60.0) == []
    assert [each.severity for each in disagreements(tops, speed=59.0)] == ["WARNING"]


def test_every_two_are_compared_and_the_worst_comes_first():
    found = disagreements([top("binance", 1_000), top("okx", 1_015), top("htx", 1_030, 15_000)])

    assert [(each.exchanges, each.kind, each.severity) for each in found] == [
        (("binance", "htx"), "price", "CRITICAL"),
        (("binance", "okx"), "price", "WARNING"),
        (("okx", "htx"), "price", "WARNING"),
        (("binance", "htx"), "time", "WARNING"),
        (("okx", "htx"), "time", "WARNING"),
    ]
    assert found[0].sentence == "binance and htx differ by 3.00 % in the price of BTC/USDT:USDT."
    assert found[-1].sentence.endswith("by 15.0 s in the time of BTC/USDT:USDT.")


def test_one_exchange_cannot_contradict_itself():
    assert disagreements([top("binance", 1_000)]) == disagreements([]) == []
