"""The market as strategies read it, from rows: as it was known at one moment, whichever moment that is."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.domain.market.candles import NAMES, Candles, Floats
from app.domain.market.readings import WARMING, Reading
from app.domain.market.timeframes import MINUTE_MS, length_ms, open_of
from app.domain.strategies.market import Frame, Market, frame
from app.storage import flow, klines, open_interest, pairs, tickers
from app.storage.pairs import Pair

_FRESH_MS = 10 * MINUTE_MS
"""Funding and open interest come every minute or so; what is older says nothing of this moment."""
_OLDEST_MS = 60 * MINUTE_MS
"""What is older than this is as if it had never come."""
_DELTA_BARS = 24
_SEEN_SHARE = 0.05
_INTEREST_MS = 6 * 60 * MINUTE_MS


def first_pairs(db: Connection, symbols: Collection[str], exchanges: Sequence[str]) -> dict[str, Pair]:
    """Which pair each symbol is judged and traded by: that of the first of these exchanges which trades it. Where none does any
    more, of the first that did.
    """
    those = [pair for pair in pairs.listed(db) if pair.symbol in symbols and pair.exchange in exchanges]
    those.sort(
        key=lambda pair: (not pair.is_active, exchanges.index(pair.exchange)), reverse=True
    )  # the last has the word
    return {pair.symbol: pair for pair in those}


def pair_ids(db: Connection, symbols: Collection[str], exchanges: Sequence[str]) -> dict[str, int]:
    """The ids of these pairs."""
    return {symbol: pair.id for symbol, pair in first_pairs(db, symbols, exchanges).items()}


Frames: TypeAlias = dict[tuple[str, int], Frame]


def market_of(
    db: Connection, ids: Mapping[str, int], as_of_ms: int, needs: Mapping[str, int], known: Frames | None = None
) -> Market:
    """Read what is needed of these pairs. Nothing that came after ``as_of_ms`` is looked at.

    ``known`` holds frames of the same pairs and moment, by timeframe and bars; what is read is added.
    """
    those = tuple(ids.values())
    known = {} if known is None else known
    for timeframe, bars in needs.items():
        if (timeframe, bars) in known:
            continue
        end_ms = open_of(as_of_ms, timeframe)
        table = klines.tables(db, timeframe, end_ms - bars * length_ms(timeframe), end_ms, those)
        made = frame([_candles(table[pair_id]) for pair_id in those], timeframe, bars, as_of_ms)
        _fill_delta(db, made, those, timeframe, end_ms)
        made.delta[~_whole(made.delta)] = np.nan  # an average over a hole would never be known again
        known[timeframe, bars] = made
    frames = {timeframe: known[timeframe, bars] for timeframe, bars in needs.items()}
    funding, interest = _funding(db, those, as_of_ms), _interest(db, those, as_of_ms)
    return Market(
        tuple(ids),
        as_of_ms,
        frames,
        tuple(funding.get(pair_id, WARMING) for pair_id in those),
        tuple(interest.get(pair_id, WARMING) for pair_id in those),
    )


def _candles(table: Floats) -> Candles:
    columns = np.full((len(NAMES), len(table)), np.nan)
    columns[:5] = table[:, 1:6].T
    columns[NAMES.index("taker_buy_volume")] = table[:, 6]
    return Candles.from_arrays(table[:, 0].astype(np.int64), columns)


def _fill_delta(db: Connection, made: Frame, those: Sequence[int], timeframe: str, end_ms: int) -> None:
    """Where the exchange's candles do not say who took (OKX, HTX), the trades that we saw do: as far back as deltas are read.

    A bar is taken from them only if they come to its own volume, for what was not watched leaves no trace in them.
    """
    silent = {
        pair_id: row
        for row, pair_id in enumerate(those)
        if made.known[row] and np.isnan(made.delta[row, -1]) and not np.isnan(made.volume[row, -1])
    }
    if not silent:
        return
    length, last = length_ms(timeframe), made.delta.shape[1]
    since_ms = end_ms - min(_DELTA_BARS, last) * length
    hour_ms = length_ms("1h")
    hours_end_ms = since_ms if length < hour_ms else max(since_ms, open_of(end_ms - hour_ms, "1h"))
    bought, sold = np.zeros(made.delta.shape), np.zeros(made.delta.shape)
    for kind, begin_ms, until_ms in (("1h", since_ms, hours_end_ms), ("1m", hours_end_ms, end_ms)):
        for pair_id, at_ms, buy, sell in flow.bars(
            db, list(silent), length, since_ms=begin_ms, until_ms=until_ms, timeframe=kind
        ):
            place = last - 1 - (end_ms - length - at_ms) // length
            bought[silent[pair_id], place] += buy
            sold[silent[pair_id], place] += sell
    seen = bought + sold
    whole = (seen > 0) & (np.abs(seen - made.volume) <= _SEEN_SHARE * made.volume) & np.isnan(made.delta)
    made.delta[whole] = (bought - sold)[whole] / seen[whole]


def _whole(delta: Floats) -> NDArray[np.bool_]:
    """The bars of each row after which every one is known."""
    known: NDArray[np.bool_] = np.logical_and.accumulate(~np.isnan(delta[:, ::-1]), axis=1)
    return known[:, ::-1]


def _funding(db: Connection, ids: Collection[int], as_of_ms: int) -> dict[int, Reading]:
    """The rate that the last ticker says; an old one is stale, and only told."""
    found = {}
    for pair_id, rows in tickers.between(db, "1m", as_of_ms - _OLDEST_MS, as_of_ms, ids):
        known = [(row.open_time, row.funding_rate) for row in rows if row.funding_rate is not None]
        if known:
            at_ms, rate = known[-1]
            found[pair_id] = Reading(rate, "ok" if at_ms >= as_of_ms - _FRESH_MS else "stale")
    return found


def _interest(db: Connection, ids: Collection[int], as_of_ms: int) -> dict[int, Reading]:
    """The change over six hours, from what was measured then and now."""
    then_ms = as_of_ms - _INTEREST_MS
    then = {
        pair_id: rows[-1].quantity
        for pair_id, rows in open_interest.between(db, "1m", then_ms - _FRESH_MS, then_ms, ids)
    }
    found = {}
    for pair_id, rows in open_interest.between(db, "1m", as_of_ms - _OLDEST_MS, as_of_ms, ids):
        if then.get(pair_id):
            change = (rows[-1].quantity / then[pair_id] - 1) * 100
            found[pair_id] = Reading(change, "ok" if rows[-1].open_time >= as_of_ms - _FRESH_MS else "stale")
    return found
