"""One full judging cycle over 50 and 1,000 symbols, in a process of its own, beside TA-Lib and smartmoneyconcepts symbol by symbol.

    python -m ops.bench.bench_judge

A cycle is what strategy-worker does when candles of every timeframe have closed: its tasks read the candles from SQLite, judge each
symbol by every strategy, write a row for each timeframe, and put it into the cache and on its channel in a real Valkey. The peers
compute from arrays that are in memory already: TA-Lib the indicators that V3 reads, smartmoneyconcepts the structures that ICT
reads, one symbol after the other. Goals: 1,000 symbols in 10 s of one core, within the ceiling of strategy-worker, in a time that
grows no faster than the symbols; and 60 days of judgments of 1,000 symbols within 7.4 GB (A2). It ends with 1 when
one of them is missed.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import redis
from sqlalchemy import Engine, func, insert, select, text

from app.cache.bell import Bell
from app.cache.market import MarketCache
from app.cache.redis import RedisCache
from app.domain.market.market_time import MarketTime
from app.domain.market.timeframes import length_ms
from app.domain.strategies.ict.inputs import SWING_4H
from app.domain.strategies.market import Market
from app.domain.strategies.table import STRATEGIES
from app.domain.structure.breaks import breaks
from app.domain.structure.gaps import gaps
from app.domain.structure.liquidity import pools
from app.domain.structure.order_blocks import order_blocks
from app.domain.structure.swings import swings
from app.exchanges.exchange import Instrument
from app.host.fleet_file import read_fleet
from app.settings import ROOT
from app.storage import judgments, pairs, symbols
from app.storage.bulk import Upsert, upsert_rows
from app.storage.database import open_engine, reading, transaction
from app.storage.tables import klines, strategy_judgments, system_config
from app.usecases.begin_judging import begin_cycle
from app.usecases.judge import judge_all, rows_of
from app.usecases.run_tasks import run_next
from app.usecases.strategy_market import market_of, pair_ids
from app.usecases.tell_judged import Teller
from ops.bench.bench_push import valkey as broker_in
from ops.migrate import upgrade

VENUE = "demo-binance"
CLOSE_MS = 1_763_683_200_000  # a midnight: every timeframe has just closed
SECONDS, DAYS, BYTES = 10.0, 60, 7.4e9
_COLUMNS = ("pair_id", "timeframe", "open_time", "open", "high", "low", "close", "volume", "taker_buy_volume", "source")


def needs() -> dict[str, int]:
    """How many candles of each timeframe the strategies read."""
    found: dict[str, int] = {}
    for strategy in STRATEGIES.values():
        for timeframe, bars in strategy.needs.items():
            found[timeframe] = max(bars, found.get(timeframe, 0))
    return found


def furnish(engine: Engine, count: int) -> None:
    """Random walks for so many symbols."""
    now, names = datetime.now(UTC), [f"C{number:04d}/USDT:USDT" for number in range(count)]
    put = Upsert(klines, _COLUMNS, ("pair_id", "timeframe", "open_time"))
    with transaction(engine) as db:
        for name in names:
            symbols.add(db, name, now=now)
        listed = [Instrument(name, name.partition("/")[0], "USDT", "USDT") for name in names]
        ids = pairs.ensure_pairs(db, VENUE, listed, now)
        setting = {"config_key": "judgedSymbols", "config_value": "1000", "config_type": "NUMBER"}
        db.execute(insert(system_config).values(setting))
        random = np.random.default_rng(1)
        for pair_id in ids.values():
            for timeframe, bars in needs().items():
                spread = 0.01 * (length_ms(timeframe) / length_ms("4h")) ** 0.5
                steps = random.normal(0, spread, bars + 1)
                path = 100 * np.exp(np.cumsum(steps))
                opened, closed = path[:-1], path[1:]
                volume = random.gamma(2, 50, bars)
                times = CLOSE_MS - length_ms(timeframe) * np.arange(bars, 0, -1)
                columns = (
                    opened, np.maximum(opened, closed) * (1 + spread / 4), np.minimum(opened, closed) * (1 - spread / 4),
                    closed, volume, volume * random.uniform(0.3, 0.7, bars),
                )  # fmt: skip
                ticks = (np.round(column, 3) for column in columns)  # as an exchange would say them
                rows = zip(times.tolist(), *(column.tolist() for column in ticks), strict=True)
                upsert_rows(db, put, [(pair_id, timeframe, *row, "rest") for row in rows])


def cycle(url: str, redis_url: str) -> dict[str, Any]:
    """One cycle; what it took in this process."""
    engine = open_engine(url)
    teller = Teller(RedisCache(redis_url), MarketCache(redis_url))
    time_there = MarketTime(CLOSE_MS + 20_000)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    begin_cycle(engine, Bell(redis_url), exchanges=(VENUE,), time=time_there, trace_id=None, now=datetime.now(UTC))
    while run_next(
        engine,
        queue="strategy",
        worker="bench",
        now=lambda: datetime.now(UTC),
        beat=lambda _: None,
        draining=lambda: False,
        tell=teller.judged,
    ):
        pass
    answer = {
        "seconds": time.perf_counter() - wall_s,
        "cpu_seconds": time.process_time() - cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    with reading(engine) as db:
        answer["rows"] = db.execute(select(func.count()).select_from(strategy_judgments)).scalar_one()
    with redis.from_url(redis_url) as client:
        answer["cached"] = sum(1 for _ in client.scan_iter("strategy:judgment:*", count=10_000))
    teller.close()
    engine.dispose()
    return answer


def peers(url: str) -> dict[str, Any]:
    """The same work by others, symbol by symbol, against ours."""
    engine = open_engine(url)
    with reading(engine) as db:
        ids = pair_ids(db, {one.symbol for one in symbols.listed(db)}, (VENUE,))
        markets = {name: market_of(db, ids, CLOSE_MS, strategy.needs) for name, strategy in STRATEGIES.items()}
    engine.dispose()
    return {"ta_lib": _against_ta_lib(markets["V3"]), "smartmoneyconcepts": _against_smc(markets["ICT"])}


def _against_ta_lib(market: Market) -> dict[str, float]:
    import talib

    began_s = time.perf_counter()
    for frame in market.frames.values():
        for high, low, close in zip(frame.high, frame.low, frame.close, strict=True):
            talib.ADX(high, low, close)
            talib.ATR(high, low, close)
            talib.MACD(close)
            talib.BBANDS(close, 20)
            for length in (20, 50, 200):
                talib.SMA(close, length)
            talib.EMA(close, 20)
    theirs_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    STRATEGIES["V3"].read(market)
    ours_s = time.perf_counter() - began_s
    return {"symbols": len(market.symbols), "seconds": theirs_s, "ours": ours_s, "ours_times_theirs": ours_s / theirs_s}


def _against_smc(market: Market, most: int = 50) -> dict[str, float]:
    """Swings, gaps, breaks, order blocks and pools of 4h. It is slow, so of some symbols only."""
    with redirect_stdout(io.StringIO()):  # it greets whoever imports it
        import pandas as pd
        from smartmoneyconcepts import smc

    frame = market.frames["4h"]
    tables = [
        pd.DataFrame({name: getattr(frame, name)[row] for name in ("open", "high", "low", "close", "volume")})
        for row in range(min(most, len(market.symbols)))
    ]
    smc.swing_highs_lows(tables[0], SWING_4H)
    began_s = time.perf_counter()
    for table in tables:
        turns = smc.swing_highs_lows(table, SWING_4H)
        smc.fvg(table)
        smc.bos_choch(table, turns)
        smc.ob(table, turns)
        smc.liquidity(table, turns)
    theirs_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    for row in range(len(tables)):
        open_, high, low, close, volume = (
            getattr(frame, name)[row] for name in ("open", "high", "low", "close", "volume")
        )
        found = swings(high, low, SWING_4H)
        gaps(high, low, open_, close)
        breaks(found, close)
        order_blocks(high, low, close, volume, found)
        pools(found, high, low)
    ours_s = time.perf_counter() - began_s
    return {"symbols": len(tables), "seconds": theirs_s, "ours": ours_s, "theirs_times_ours": theirs_s / ours_s}


def storage_per_symbol_day(folder: Path, count: int = 20) -> float:
    """Bytes of a day of judgments of one symbol, indexes and all, in SQLite."""
    url = f"sqlite:///{folder / 'size.db'}"
    upgrade(url)
    engine = open_engine(url)
    furnish(engine, count)
    made = []
    with reading(engine) as db:
        ids = pair_ids(db, {one.symbol for one in symbols.listed(db)}, (VENUE,))
        for strategy in STRATEGIES.values():
            market = market_of(db, ids, CLOSE_MS, strategy.needs)
            made += [
                row for one in judge_all(strategy, market) for row in rows_of(one, CLOSE_MS, one.strategy.timeframes)
            ]
    before = _size(engine)
    for quarter in range(96):
        moved = timedelta(minutes=15 * quarter)
        rows = [
            row._replace(created_at=row.created_at + moved)
            for row in made
            if quarter * length_ms("15m") % length_ms(row.timeframe.lower()) == 0
        ]
        with transaction(engine) as db:
            judgments.keep(db, rows)
    size = (_size(engine) - before) / count
    engine.dispose()
    return size


def _size(engine: Engine) -> float:
    with reading(engine) as db:
        pages, page = (db.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
    return float(pages * page)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="as it always is")
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.of:
        print(json.dumps(cycle(*args.of)))
        return 0
    ceiling = next(spec.ceiling_mb for spec in read_fleet(ROOT / "supervisord.conf") if spec.name == "strategy-worker")
    found: dict[str, Any] = {"ceiling_mb": ceiling}
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        for count in (50, 1_000):
            url = f"sqlite:///{Path(folder) / f'{count}.db'}"
            upgrade(url)
            engine = open_engine(url)
            furnish(engine, count)
            engine.dispose()
            with broker_in(dict(os.environ) | {"FLOTILLA__STATE__DIR": str(Path(folder) / str(count))}) as redis_url:
                command = [sys.executable, "-m", "ops.bench.bench_judge", "--of", url, redis_url]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[str(count)] = json.loads(done.stdout)
        found["peers"] = peers(url)
        found["bytes_per_symbol_day"] = storage_per_symbol_day(Path(folder))
    few, many = found["50"], found["1000"]
    found["growth"] = many["cpu_seconds"] / few["cpu_seconds"] / 20
    found["share_of_storage"] = found["bytes_per_symbol_day"] * 1_000 * DAYS / BYTES
    well = many["cpu_seconds"] <= SECONDS and many["peak_mb"] <= ceiling and found["share_of_storage"] <= 1
    print(json.dumps(found, indent=2))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
