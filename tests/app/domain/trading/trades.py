"""A LONG at 100, stop at 98, target at 104, and the minutes that happen to it. Costs nothing unless a test says so."""

import csv
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from app.domain.trading.fills import Book, Costs
from app.domain.trading.simulation import Funding, Minute, Order, Trade, advance, open_trade

MINUTE_MS = 60_000
START_MS = 28_333_334 * MINUTE_MS
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
USUAL = Costs()
STEADY = (100, 100, 100, 100)


def minute(
    number: int, open_: float = 100, high: float | None = None, low: float | None = None, close: float | None = None
):
    """The candle of the minute with that number; flat unless told."""
    close = open_ if close is None else close
    return Minute.of(
        START_MS + number * MINUTE_MS,
        open_,
        max(open_, close) if high is None else high,
        min(open_, close) if low is None else low,
        close,
    )


def order(**changes: Any) -> Order:
    """An order for 50 coins, which lose 100 at the stop. A SHORT has its stop at 102 and its target at 96."""
    short = changes.get("direction") == "SHORT"
    usual = {
        "symbol": "BTCUSDT",
        "strategy": "V3",
        "direction": "LONG",
        "signal_ms": START_MS - MINUTE_MS,
        "not_before_ms": START_MS,
        "stop_loss": 102 if short else 98,
        "take_profit": 96 if short else 104,
        "equity": 10_000,
    }
    return Order(**{**usual, **changes})


def opened(*, costs: Costs = FREE, at: Minute | None = None, book: Book | None = None, **changes: Any) -> Trade:
    """The trade of that order."""
    trade = open_trade(order(**changes), minute(0) if at is None else at, costs, book)
    assert isinstance(trade, Trade), trade
    return trade


def after(
    trade: Trade, *minutes: Minute, fundings: tuple[Funding, ...] = (), costs: Costs = FREE, book: Book | None = None
):
    """The trade after these minutes."""
    for each in minutes:
        trade = advance(trade, each, fundings, costs, book)
    return trade


def funding(number: int, rate: float, *, late_ms: int = 0, mark: float | None = None) -> Funding:
    """A settlement at the open of the minute with that number, or some milliseconds later."""
    return Funding.of(START_MS + number * MINUTE_MS + late_ms, rate, mark)


def book(asks: list[tuple[float, float]] | None = None, bids: list[tuple[float, float]] | None = None) -> Book:
    """A book about 100 that holds plenty, unless told."""
    return Book(bids or [(99.9, 1e9)], asks or [(100.1, 1e9)])


def recorded_book(folder: Path) -> Book:
    """The first of the recorded BTC snapshots: 5,000 levels a side."""
    path = folder / "depth_good_and_corrupted" / "test_positive_binance_depth_snapshot_spot_btcusdt_14-04-2025.csv"
    with path.open(encoding="utf-8") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        _, snapshot = next(groupby(rows, key=lambda row: row["LastUpdateId"]))
        sides: dict[str, list[tuple[float, float]]] = {"0": [], "1": []}
        for row in snapshot:
            sides[row["IsAsk"]].append((float(row["Price"]), float(row["Quantity"])))
    return Book(sides["0"], sides["1"])
