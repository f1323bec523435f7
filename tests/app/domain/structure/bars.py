"""Candles to look for structure in, and what holds of every structure: nothing known is rewritten."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.feather
import pytest

from app.domain.market.candles import Floats
from app.domain.structure.swings import Swing

LENGTH = 5
FILES = ("BTC_USDT_USDT-15m-futures", "BTC_USDT_USDT-1h-futures")


class Bars(NamedTuple):
    high: Floats
    low: Floats
    open: Floats
    close: Floats
    volume: Floats

    def until(self, end: int) -> "Bars":
        return Bars(*(column[:end] for column in self))

    @property
    def span(self) -> Floats:
        """A stand-in for the ATR that is known at once: the mean of all spans so far."""
        return np.cumsum(self.high - self.low) / np.arange(1, len(self.high) + 1)


def walk(seed: int, count: int = 300) -> Bars:
    """A market that wanders in steps of a tenth, so that equal prices are common."""
    rng = np.random.default_rng(seed)
    close = np.round(100 + np.cumsum(rng.normal(0, 0.6, count)), 1)
    open_ = np.round(np.append(100, close[:-1]) + rng.choice([-0.1, 0, 0, 0.1], count), 1)
    high = np.round(np.maximum(open_, close) + np.abs(rng.normal(0, 0.3, count)), 1)
    low = np.round(np.minimum(open_, close) - np.abs(rng.normal(0, 0.3, count)), 1)
    return Bars(high, low, open_, close, np.round(rng.exponential(10, count)))


def bars_of(*rows: Sequence[float]) -> Bars:
    """From rows of open, high, low, close and, if it matters, volume."""
    table = np.array([[*row, 1.0][:5] for row in rows], dtype=float).reshape(-1, 5)
    return Bars(table[:, 1], table[:, 2], table[:, 0], table[:, 3], table[:, 4])


def flat(*closes: float) -> Bars:
    """Candles that only have a close."""
    return bars_of(*([close] * 4 for close in closes))


def mirrored(bars: Bars) -> Bars:
    """The same market upside down."""
    return Bars(-bars.low, -bars.high, -bars.open, -bars.close, bars.volume)


@pytest.fixture(params=[*range(4), *FILES], ids=str)
def market(request) -> Bars:
    """Generated markets, and recorded ones where they are at hand."""
    if isinstance(request.param, int):
        return walk(request.param)
    folder = request.getfixturevalue("recorded") / "klines_binance_usdm"
    table = pyarrow.feather.read_table(folder / f"{request.param}.feather")
    return Bars(*(table[column].to_numpy()[:600] for column in ("high", "low", "open", "close", "volume")))


def as_of(found: Any, bar: int) -> Any:
    """A structure as it stood at the close of a bar: what came to it later is not yet there."""
    later = {
        each.name: None
        for each in fields(found)
        if each.name.endswith("_at") and each.name != "known_at" and (getattr(found, each.name) or 0) > bar
    }
    return replace(found, **later) if later else found


def rewritten(find: Callable[[Bars], list[Any]], bars: Bars) -> list[int]:
    """Bars at whose close something else was known than the whole series says was known by then."""
    whole = find(bars)
    return [
        bar
        for bar in range(len(bars.close))
        if find(bars.until(bar + 1)) != [as_of(each, bar) for each in whole if each.known_at <= bar]
    ]


class Oracle:
    """EURUSD and what smartmoneyconcepts finds in it, with a swing length of 5."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        o, h, l, c, v = self._table("EURUSD_15M.csv", columns=(1, 2, 3, 4, 6)).T  # noqa: E741
        self.bars = Bars(h, l, o, c, v)

    def _table(self, name: str, columns: Sequence[int] | None = None) -> Floats:
        return np.genfromtxt(self._folder / name, delimiter=",", skip_header=1, usecols=columns)

    def rows(self, name: str) -> dict[int, list[float]]:
        """By bar: its row, where there is one."""
        table = self._table(f"{name}_result_data.csv")
        return {int(bar): table[bar].tolist() for bar in np.flatnonzero(~np.isnan(table).all(axis=1))}

    @property
    def swings(self) -> list[Swing]:
        """Its swings, with a time at which each could be known. The first and the last one are made up, to close the line."""
        last = len(self.bars.close) - 1
        return [
            Swing("high" if kind == 1 else "low", at, min(at + LENGTH, last), price)
            for at, (kind, price) in self.rows("swing_highs_lows").items()
        ]


@cache
def _oracle(folder: Path) -> Oracle:
    return Oracle(folder)


@pytest.fixture
def oracle(recorded: Path) -> Oracle:
    return _oracle(recorded / "oracle_smc")
