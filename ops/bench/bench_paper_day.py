"""A day of the demo market at speed-up, judged and traded by a fleet; then judged and traded again from what was recorded.

    python -m ops.bench.bench_paper_day --hours 24 --speed 120 --symbols 50

The second time every quarter of an hour is judged and carried out by itself, over a copy of the fleet's candles, books, open
interest and funding. Every trade must come out the same to the last digit: paper equals backtest. Beside that, every fill of the
fleet is held against the truth that the demo market tells: its candles and its funding. What was judged on data that came late
may differ, for the second time all of it is there: trades count from the first close on after which no judgment differs, which must
come within six hours. Those that were open at an end do not count. It ends with 1 when anything differs.
"""

import argparse
import json
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, select, text

from app.cache.bell import Bell
from app.domain.market.market_time import MarketTime
from app.domain.market.readings import STATUSES
from app.domain.market.timeframes import MINUTE_MS, length_ms
from app.domain.market.watching import HISTORY
from app.exchanges.demo.market import Market
from app.settings import load
from app.storage import trades
from app.storage.database import open_engine, reading, transaction
from app.storage.tables import (
    checkpoints,
    exchanges,
    klines,
    paper_accounts,
    simulation_trades,
    strategy_judgments,
    symbol_statistics,
    tasks,
    trade_fills,
    trading_pairs,
)
from app.usecases.begin_judging import begin_cycle
from app.usecases.judge import STEP
from app.usecases.run_tasks import run_next
from app.usecases.trade import trade
from ops.bench.bench_fleet import flotilla, place

VENUE = "demo-binance"
EXCHANGES = ("demo-binance", "demo-okx", "demo-htx")
MOST_WARM_MS = 6 * length_ms("1h")
_OURS = (trade_fills, simulation_trades, paper_accounts, symbol_statistics, strategy_judgments, tasks)


def lived(env: dict[str, str], hours: float) -> None:
    """Let a fleet live for so many hours of its market's time. Its history is fetched before the market begins to run fast."""
    slow = env | {"FLOTILLA__DEMO__SPEED": "1"}
    flotilla(slow, "start")
    settings = load(env)
    engine = open_engine(settings.database_url)
    try:
        while not _has_history(engine, settings.demo.symbols):
            time.sleep(2)
        flotilla(slow, "stop")
        flotilla(env, "start")
        began_s, first_ms = time.monotonic(), None
        while first_ms is None or _span(engine)[1] - first_ms < hours * length_ms("1h"):
            time.sleep(5)
            first_ms = _span(engine)[0] or None
            print(f"  {time.monotonic() - began_s:.0f} s: {_counts(engine)}", file=sys.stderr, flush=True)
    finally:
        engine.dispose()
        flotilla(env, "stop")


def _has_history(engine: Engine, symbols: int) -> bool:
    """Whether so many perpetuals have every candle that strategies read."""
    wanted = {"15m": 250, "1h": 250, "4h": 250, "1d": 25, "1m": HISTORY["1m"]}
    mine, pair = klines.c, trading_pairs.c
    query = (
        select(mine.timeframe, pair.id, func.count())
        .join(trading_pairs, pair.id == mine.pair_id)
        .join(exchanges, exchanges.c.id == pair.exchange_id)
        .where(exchanges.c.name == VENUE, pair.settle_currency.is_not(None))
        .group_by(mine.timeframe, pair.id)
    )
    with reading(engine) as db:
        full = Counter(timeframe for timeframe, _, count in db.execute(query) if count >= wanted.get(timeframe, 1e9))
    return all(full[timeframe] >= symbols for timeframe in wanted)


def again(engine: Engine, first_ms: int, last_ms: int) -> None:
    """Judge and trade everything once more, a quarter of an hour after the other."""
    with transaction(engine) as db:
        for table in _OURS:
            db.execute(delete(table))
        db.execute(delete(checkpoints).where(checkpoints.c.owner == "judge"))
    bell = Bell("unix:///nowhere/valkey.sock")  # who works is we
    for close_ms in range(first_ms, last_ms + 1, length_ms(STEP)):
        now = MarketTime(close_ms + 20_000)
        begin_cycle(engine, bell, exchanges=EXCHANGES, time=now, trace_id=None, now=datetime.now(UTC))
        while run_next(
            engine,
            queue="strategy",
            worker="bench",
            now=lambda: datetime.now(UTC),
            beat=lambda _: None,
            draining=lambda: False,
        ):
            pass
        trade(engine, exchanges=EXCHANGES, time=now, now=datetime.now(UTC))


def judged(engine: Engine) -> dict[tuple[Any, ...], str]:
    """Every judgment of 15m and what it says."""
    mine = strategy_judgments.c
    query = select(mine.symbol, mine.strategy_type, mine.created_at, mine.indicators_data).where(
        mine.timeframe == "15M"
    )
    with reading(engine) as db:
        return {(row[0], row[1], row[2]): json.dumps(row[3]) for row in db.execute(query)}


def traded(engine: Engine, since_ms: int, until_ms: int) -> dict[tuple[Any, ...], list[Any]]:
    """Every trade that began and ended within this time, with all that filled it; ids are left out."""
    found = {}
    with reading(engine) as db:
        for one in trades.recent(db, limit=100_000):
            opened_ms = round(one.created_at.timestamp() * 1000)
            closed_ms = round(one.closed_at.timestamp() * 1000) if one.closed_at else until_ms + 1
            if since_ms <= opened_ms and closed_ms <= until_ms:
                fills = [row._replace(trade_id=0) for row in trades.fills(db, one.id)]
                found[one.symbol, one.strategy_type, opened_ms] = [replace(one, id=0), *fills]
    return found


def untrue(market: Market, those: dict[tuple[Any, ...], list[Any]]) -> list[str]:
    """What filled these trades that the demo market's own candles and funding do not say."""
    wrong = []
    for (symbol, _, _), (_, *fills) in those.items():
        for fill in fills:
            minute_ms = fill.time_ms // MINUTE_MS * MINUTE_MS
            if fill.kind == "FUNDING":
                rates = [one.rate for one in market.funding("binance", symbol, minute_ms, minute_ms + MINUTE_MS)]
                paid = {(Decimal(repr(rate)) * fill.quantity * fill.price).quantize(Decimal("1e-8")) for rate in rates}
                if not {abs(fill.funding)} & {abs(one) for one in paid}:
                    wrong.append(f"{symbol}: funding {fill.funding} at {fill.time_ms} is none of {paid}")
                continue
            [row] = market.candle_table("binance", symbol, "1m", minute_ms, 1)
            reference = Decimal(fill.assumed["reference"])
            if not Decimal(repr(float(row[3]))) <= reference <= Decimal(repr(float(row[2]))):
                wrong.append(f"{symbol}: {reference} was not traded in the minute of {minute_ms}")
    return wrong


def _status(data: str | None) -> str:
    """What a judgment said of its inputs."""
    if data is None:
        return "none"
    words = [word for word in json.loads(data)["inputs"][:2] if word in STATUSES]
    return words[0] if words else "none"


def _span(engine: Engine) -> tuple[int, int]:
    mine = strategy_judgments.c
    with reading(engine) as db:
        query = select(func.min(mine.created_at), func.max(mine.created_at)).where(mine.timeframe == "15M")
        first, last = db.execute(query).one()
    return (round(first.timestamp() * 1000), round(last.timestamp() * 1000)) if first else (0, 0)


def _counts(engine: Engine) -> str:
    with reading(engine) as db:
        made = db.execute(select(func.count()).select_from(strategy_judgments)).scalar_one()
        opened = db.execute(select(func.count()).select_from(simulation_trades)).scalar_one()
    return f"{made} judgments, {opened} trades"


def _copied(url: str, target: Path) -> str:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as source, sqlite3.connect(target) as there:
        source.backup(there)
    return f"sqlite:///{target}"


def compared(url: str, copy: Path, symbols: int, seed: int) -> dict[str, Any]:
    """Run it again, and say what differs."""
    first, second = open_engine(url), open_engine(_copied(url, copy))
    first_ms, last_ms = _span(first)
    began_s = time.perf_counter()
    again(second, first_ms, last_ms)
    took_s = time.perf_counter() - began_s
    said, said_again = judged(first), judged(second)
    different = {key for key in said.keys() | said_again.keys() if said.get(key) != said_again.get(key)}
    warm_ms = max((round(key[2].timestamp() * 1000) for key in different), default=first_ms)
    ours, theirs = (traded(engine, warm_ms + 1, last_ms) for engine in (first, second))
    with reading(first) as db:
        pages = db.execute(text("PRAGMA page_count")).scalar_one() * db.execute(text("PRAGMA page_size")).scalar_one()
    wrong = untrue(Market(seed, symbols), ours)
    answer = {
        "hours": (last_ms - first_ms) / length_ms("1h"),
        "judgments": len(said),
        "judgments_that_differ": len(different),
        "hours_until_none_differs": (warm_ms - first_ms) / length_ms("1h"),
        "statuses_of_those": Counter(
            f"{_status(said.get(key))} then {_status(said_again.get(key))}" for key in different
        ),
        "trades": len(ours),
        "by_exit": Counter(rows[0].exit_reason for rows in ours.values()),
        "by_strategy": Counter(key[1] for key in ours),
        "pnl": str(sum((rows[0].pnl for rows in ours.values()), Decimal(0))),
        "trades_that_differ": sum(theirs.get(key) != rows for key, rows in ours.items()),
        "trades_of_the_second_run_only": len(theirs.keys() - ours.keys()),
        "fills_against_the_truth": len(wrong),
        "database_mb": pages / 1e6,
        "again_seconds": took_s,
    }
    for key, rows in ours.items():
        if theirs.get(key) != rows:
            print(f"differs: {key}\n  {rows}\n  {theirs.get(key)}", file=sys.stderr)
    for sentence in wrong[:20]:
        print(sentence, file=sys.stderr)
    first.dispose()
    second.dispose()
    return answer


def main(words: Sequence[str] | None = None) -> int:
    """Live, live again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="as it always is")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--speed", type=float, default=120.0)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where to leave the database of the day")
    parser.add_argument("--of", type=Path, help="a database that a demo fleet has left, in place of a day of our own")
    args = parser.parse_args(words)
    with place() as env:
        env |= {
            "FLOTILLA__DEMO__SPEED": str(args.speed),
            "FLOTILLA__DEMO__SYMBOLS": str(args.symbols),
            "FLOTILLA__DEMO__SEED": str(args.seed),
        }
        folder = Path(env["FLOTILLA__STATE__DIR"])
        if args.of is None:
            lived(env, args.hours)
        else:
            shutil.copy(
                _copied(f"sqlite:///{args.of}", folder / "left.db").removeprefix("sqlite:///"), folder / "demo.db"
            )
        if args.keep is not None:
            _copied(f"sqlite:///{folder / 'demo.db'}", args.keep)
        found = compared(f"sqlite:///{folder / 'demo.db'}", folder / "again.db", args.symbols, args.seed)
    print(json.dumps(found, indent=2))
    same = (
        found["trades_that_differ"] == found["trades_of_the_second_run_only"] == found["fills_against_the_truth"] == 0
    )
    return 0 if same and found["hours_until_none_differs"] * length_ms("1h") <= MOST_WARM_MS else 1


if __name__ == "__main__":
    sys.exit(main())
