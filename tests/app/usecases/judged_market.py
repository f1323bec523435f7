"""A market of our own making that is long enough to be judged: candles, funding and open interest of some symbols, as rows."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine

from app.domain.market.candles import Candles, roll_up
from app.domain.market.timeframes import length_ms
from app.exchanges.exchange import Instrument
from app.storage import klines, open_interest, pairs, symbols, tickers
from app.storage.database import transaction
from app.storage.klines import Kline
from app.storage.open_interest import OpenInterestRow
from app.storage.tickers import TickerRow
from tests.builders import NOW

VENUE = "demo-binance"
QUARTER_MS = length_ms("15m")
CLOSE_MS = int(NOW.timestamp() * 1000) // length_ms("4h") * length_ms("4h")
"""A close of every timeframe, so that all of them have just closed."""
_MINUTE_MS = 60_000


def names(count: int) -> list[str]:
    """Symbols."""
    return [f"C{number:03d}/USDT:USDT" for number in range(count)]


def furnish(engine: Engine, listed: Sequence[str], *, until_ms: int = CLOSE_MS, days: int = 43) -> dict[str, int]:
    """Everything that a strategy reads of these symbols, up to this close; the ids of their pairs."""
    with transaction(engine) as db:
        for symbol in listed:
            if symbols.get(db, symbol) is None:
                symbols.add(db, symbol, now=NOW)
        instruments = [Instrument(symbol, symbol.partition("/")[0], "USDT", "USDT") for symbol in listed]
        ids = pairs.ensure_pairs(db, VENUE, instruments, NOW)
        for number, symbol in enumerate(listed):
            rows = _candles(number, until_ms, days)
            for timeframe in ("15m", "1h", "4h", "1d"):
                klines.store(
                    db,
                    _klines(
                        ids[symbol], rows if timeframe == "15m" else roll_up(rows, timeframe, made_of="15m"), timeframe
                    ),
                )
            furnish_live(db, ids[symbol], until_ms)
    return {symbol: ids[symbol] for symbol in listed}


def furnish_live(db, pair_id: int, until_ms: int) -> None:
    """Funding and open interest of the six hours before."""
    minutes = range(until_ms - 6 * 3_600_000 - _MINUTE_MS, until_ms, _MINUTE_MS)
    interest = [OpenInterestRow(pair_id, "1m", minute, 1_000.0 + place) for place, minute in enumerate(minutes)]
    open_interest.store(db, interest)
    tickers.store(db, [TickerRow(pair_id, "1m", until_ms - _MINUTE_MS, price=100.0, funding_rate=0.0001)])


def _candles(seed: int, until_ms: int, days: int) -> Candles:
    """Ends at ``until_ms``; the same candle is the same whichever end is asked for."""
    first_ms = CLOSE_MS - days * 86_400_000
    count = (until_ms - first_ms) // QUARTER_MS
    random = np.random.default_rng(seed)
    steps = random.normal(0.0001, 0.004, (5_000, 4))[:count]
    close = 100 * np.exp(np.cumsum(steps[:, 0]))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(steps[:, 1]) / 4)
    low = np.minimum(opened, close) * (1 - np.abs(steps[:, 2]) / 4)
    volume = 100 * np.exp(steps[:, 3] * 80)
    taken = volume * (0.5 + np.clip(steps[:, 0] * 30, -0.4, 0.4))
    unknown = np.full(count, np.nan)
    times = first_ms + QUARTER_MS * np.arange(count)
    return Candles.from_arrays(times, np.array([opened, high, low, close, volume, unknown, unknown, taken]))


def _klines(pair_id: int, of: Candles, timeframe: str) -> list[Kline]:
    columns = (of.open_time_ms, of.open, of.high, of.low, of.close, of.volume, of.taker_buy_volume)
    return [
        Kline(pair_id, timeframe, time, *numbers, taker_buy_volume=taken, source="rest")
        for time, *numbers, taken in zip(*(column.tolist() for column in columns), strict=True)
    ]
