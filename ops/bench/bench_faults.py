"""What each fault of an exchange, of the database and of ourselves costs: noticed after, whole again after, lost, doubled.

    python -m ops.bench.bench_faults --symbols 1 --json

It starts a demo exchange and a market-feed as real processes, hurts them one fault after the other, and compares what is stored of
demo-binance with what was really traded. Lost and doubled are trades in minutes that pass for whole; a minute that says of itself
that trades are missing stands in its own column. Ratios: none may be lost, doubled, or asked for inside a ban.
"""

import argparse
import json
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.domain.market.timeframes import MINUTE_MS
from ops.bench.market_stage import Stage, stage, wait

EXCHANGE, SYMBOL = "demo-binance", "BTC/USDT:USDT"
ASKS = {"fault": "gap", "channel": "depth", "venue": "binance", "count": 3}  # the feed must ask for a whole book then
COUNTERS = ("gaps", "late", "duplicate", "out_of_order", "refused", "unreadable", "lost", "resyncs")
LONGEST_S = 100.0


@dataclass(slots=True)
class Outcome:
    """One fault. Seconds are counted from the moment it began."""

    fault: str
    from_ms: int
    noticed_s: float | None = None
    by: str = ""
    lasted_s: float = 0.0
    whole_s: float | None = None
    until_ms: int = 0
    lost: int = 0
    doubled: int = 0
    marked: int = 0
    candles_missing: int = 0
    candles_wrong: int = 0
    inside_ban: int = 0


Work = Callable[[Stage], None]


def order(*orders: dict[str, Any]) -> Work:
    """Faults of the exchange, all at once."""

    def begin(stage_: Stage) -> None:
        for each in orders:
            stage_.ask("POST", "faults", each)

    return begin


def kill(how: signal.Signals) -> Work:
    """End the feed and start it again."""

    def begin(stage_: Stage) -> None:
        stage_.end_feed(how)
        stage_.start_feed()

    return begin


def ban_and_kill(stage_: Stage) -> None:
    """A ban that the next process must still obey."""
    order({"fault": "418", "venue": "binance", "for_s": 12}, ASKS)(stage_)
    wait(lambda: any(one.banned_until_ms for one in budgets(stage_)), 30)
    kill(signal.SIGKILL)(stage_)


def lose_candles(stage_: Stage) -> None:
    """Until a minute is over, so that one of them is a closed one."""
    left_s = (MINUTE_MS - stage_.market_ms() % MINUTE_MS) / 1_000 / stage_.settings.demo.speed
    order({"fault": "gap", "channel": "candles", "for_s": left_s + 2})(stage_)


def lock_database(stage_: Stage) -> None:
    """Another process holds the database for some seconds."""
    connection = sqlite3.connect(str(stage_.engine.url.database), isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(6)
    connection.execute("ROLLBACK")
    connection.close()


FAULTS: Mapping[str, Work] = {
    "cut": order({"fault": "cut"}),
    "half_open": order({"fault": "half_open", "for_s": 1}),
    "gap in books": order({"fault": "gap", "channel": "depth", "count": 10}),
    "gap in trades": order({"fault": "gap", "channel": "trades", "for_s": 3}),
    "gap in candles": lose_candles,
    "duplicate": order({"fault": "duplicate", "count": 300}),
    "reorder": order({"fault": "reorder", "count": 100}),
    "garbage": order({"fault": "garbage", "for_s": 3}),
    "slow": order({"fault": "slow", "for_s": 5, "delay_ms": 2500}),
    "429": order({"fault": "429", "venue": "binance", "for_s": 6}, ASKS),
    "418 and kill -9": ban_and_kill,
    "clock_skew": order({"fault": "clock_skew", "for_s": 15}),
    "stale": order({"fault": "stale", "for_s": 17}),
    "handshake_503": order({"fault": "handshake_503", "for_s": 3}, {"fault": "cut"}),
    "kill -9": kill(signal.SIGKILL),
    "SIGTERM": kill(signal.SIGTERM),
    "database away": lock_database,
}


def budgets(stage_: Stage) -> Any:
    """Rate limits, as the feed reports them."""
    report = stage_.report()
    return () if report is None else report.budgets


def signs(stage_: Stage) -> dict[str, Any]:
    """All by which the feed can show that it noticed something."""
    report = stage_.report()
    if report is None:
        return {"process": "gone"}
    found: dict[str, Any] = dict.fromkeys(COUNTERS, 0)
    for one in report.collectors:
        for name in COUNTERS:
            found[name] += one.counters.get(name, 0)
    found["reconnects"] = sum(each.reconnects for one in report.collectors for each in one.connections)
    found["books"] = [book.status for book in report.books if book.status != "ok"]
    found["collector"] = [one.state for one in report.collectors if one.state != "running"]
    found["completeness"] = [one.exchange for one in report.collectors if (one.quality.completeness or 1) < 1]
    found["ban"] = any(each.banned_until_ms for each in report.budgets)
    found["store"] = report.store.away_since_ms is not None
    return found


def hurt(stage_: Stage, name: str, work: Work) -> Outcome:
    """Do it, and watch until all is whole."""
    wait(stage_.whole, LONGEST_S)
    time.sleep(1.2)  # the feed reports once a second: what the fault before did must not pass for this one
    before = signs(stage_)
    inside = stage_.ask("GET", "faults")["requests_inside_ban"]
    out = Outcome(name, stage_.market_ms())
    began_s = time.monotonic()

    def looked() -> None:
        if out.noticed_s is None and (now := signs(stage_)) != before:
            out.noticed_s = round(time.monotonic() - began_s, 1)
            out.by = ", ".join(key for key in now if now[key] != before.get(key))

    with watching(looked) as look:
        work(stage_)
        if out.noticed_s is None:
            out.noticed_s = 0.0 if name in ("kill -9", "SIGTERM") else None
        while time.monotonic() - began_s < LONGEST_S:
            look()
            over = not stage_.ask("GET", "faults")["living"]
            if over and not out.lasted_s:
                out.lasted_s = round(time.monotonic() - began_s, 1)
            done_s = time.monotonic() - began_s
            if over and stage_.whole() and out.noticed_s is not None and done_s > 2.5:
                out.whole_s = round(done_s, 1)
                break
            time.sleep(0.1)
    stage_.ask("DELETE", "faults")
    out.inside_ban = stage_.ask("GET", "faults")["requests_inside_ban"] - inside
    out.until_ms = stage_.market_ms()
    return out


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Look in a thread as well, while the fault itself holds us up."""
    ended = threading.Event()

    def turns() -> None:
        while not ended.wait(0.1):
            look()

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield look
    finally:
        ended.set()
        thread.join()


def compare(stage_: Stage, out: Outcome) -> None:
    """What is stored of the minutes of a fault, beside what was traded."""
    first, last = out.from_ms // MINUTE_MS * MINUTE_MS, out.until_ms // MINUTE_MS * MINUTE_MS
    pair_id = stage_.pair_id(EXCHANGE, SYMBOL)
    place = {"pair_id": pair_id, "first": first, "last": last}
    flows = stage_.rows(
        "SELECT open_time, trades, status FROM trade_flow"
        " WHERE pair_id = :pair_id AND timeframe = '1m' AND open_time BETWEEN :first AND :last",
        **place,
    )
    found = stage_.rows(
        "SELECT open_time, open, high, low, close, trades FROM klines"
        " WHERE pair_id = :pair_id AND timeframe = '1m' AND open_time BETWEEN :first AND :last",
        **place,
    )
    candles: dict[int, tuple[Any, ...]] = {row[0]: tuple(row[1:]) for row in found}
    stored: dict[int, list[Any]] = {}
    for row in flows:
        stored.setdefault(row.open_time, []).append(row)
    minutes = range(first, last + 1, MINUTE_MS)
    truth = stage_.market.candles("binance", SYMBOL, "1m", first, len(minutes), stage_.market_ms())
    for candle in truth:
        rows = stored.get(candle.open_ms, [])
        counted = sum(row.trades for row in rows)
        if not rows or any(row.status == "gap" for row in rows):
            out.marked += 1
        else:
            out.lost += max(0, candle.trades - counted)
        out.doubled += max(0, counted - candle.trades)
        mine = candles.get(candle.open_ms)
        if mine is None:
            out.candles_missing += 1
        elif mine != (candle.open, candle.high, candle.low, candle.close, candle.trades):
            out.candles_wrong += 1


def measure(names: list[str], symbols: int, speed: float) -> list[Outcome]:
    """All of them, one after the other; the comparison waits for the last minute to be over."""
    with stage(symbols=symbols, speed=speed, exchanges_spots="BTC/USDT") as made:
        outcomes = []
        for name in names:
            outcomes.append(hurt(made, name, FAULTS[name]))
            print(f"# {name}: whole after {outcomes[-1].whole_s} s", file=sys.stderr, flush=True)
        over_ms = outcomes[-1].until_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS + 15_000 * max(1.0, speed)
        wait(lambda: made.market_ms() > over_ms, 120)
        for out in outcomes:
            compare(made, out)
    return outcomes


def main() -> int:
    """Measure and print; 1 when something was lost, doubled, asked for inside a ban, or did not come back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, with commas; all by default")
    parser.add_argument("--symbols", type=int, default=1, help="perpetuals of the demo exchange (1)")
    parser.add_argument("--speed", type=float, default=1.0, help="of its clock (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    names = [name.strip() for name in args.faults.split(",")]
    outcomes = measure(names, args.symbols, args.speed)
    if args.json:
        print(json.dumps([{name: getattr(out, name) for name in Outcome.__slots__} for out in outcomes], indent=2))
    else:
        heads = ("noticed s", "whole s", "lost", "doubled", "marked", "candles", "in ban")
        print(f"{'fault':<16} " + " ".join(f"{head:>9}" for head in heads) + "  noticed by")
        for out in outcomes:
            wrong = out.candles_missing + out.candles_wrong
            candles = f"-{wrong}" if wrong else "ok"
            cells = (out.noticed_s, out.whole_s, out.lost, out.doubled, out.marked, candles, out.inside_ban)
            print(f"{out.fault:<16} " + " ".join(f"{cell!s:>9}" for cell in cells) + f"  {out.by}")
    bad = [
        out
        for out in outcomes
        if out.whole_s is None or out.lost or out.doubled or out.inside_ban or out.candles_missing or out.candles_wrong
    ]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
