"""From socket to stored: how many messages a second one core carries, how old they are when they stand in the database, and memory.

    python -m ops.bench.bench_feed --symbols 50 --seconds 30 --rate 10000
    python -m ops.bench.bench_feed --soak-minutes 30 --speed 10

The feed is the real process on one core, against the demo exchange on the other: 50 symbols' trades, candles, tops, tickers and
marks, and two deep books. Ratios are against the goals and against the ceiling in supervisord.conf. What was lost is counted from
the ids of the trades and from the feed's own report. ``--soak-minutes`` watches memory at a speed-up instead.
"""

import argparse
import json
import statistics
import time
from typing import Any

from app.host.fleet_file import read_fleet
from app.host.metrics import BOUNDS_S
from app.settings import ROOT
from ops.bench.market_bench import Bench, bench, fill

GOAL_PER_S = 10_000
GOAL_P99_S = 0.1
FEED = "workers.market_feed"
AGE = "flotilla_feed_stored_age_seconds"


def ages(made: Bench) -> list[int]:
    """The histogram of the ages so far."""
    found = made.series(AGE)
    return list(found[0].buckets) if found else [0] * (len(BOUNDS_S) + 1)


def percentile_s(counts: list[int], share: float) -> float:
    """The bucket's end below which so many of them lie, straight within the bucket."""
    total, passed, begin = sum(counts), 0, 0.0
    for count, bound in zip(counts, (*BOUNDS_S, BOUNDS_S[-1] * 2), strict=True):
        if count and passed + count >= share * total:
            return begin + (bound - begin) * (share * total - passed) / count
        passed, begin = passed + count, bound
    return begin


def lost(made: Bench) -> dict[str, float]:
    """What the feed knows to have lost."""
    report = made.report()
    counters: dict[str, float] = dict.fromkeys(("lost", "gaps", "dropped", "refused", "unreadable"), 0)
    for collector in report.collectors:
        for name in counters:
            counters[name] += collector.counters.get(name, 0)
    return {**counters, "rows": report.store.lost}  # changing the rate numbers trades anew, so the difference counts


def load_to(made: Bench, per_s: float) -> None:
    """Raise the rate of trades until as many messages come as wanted."""
    rate = 1
    for _ in range(6):
        before, began = made.counted("flotilla_feed_messages_total"), time.monotonic()
        time.sleep(4)
        now_per_s = (made.counted("flotilla_feed_messages_total") - before) / (time.monotonic() - began)
        if now_per_s >= per_s:
            return
        trades_per_s = max(1.0, per_s * 0.02, now_per_s - 600)  # the rest does not grow with the rate
        rate = max(rate + 1, min(10_000, round(rate * per_s / max(now_per_s if rate > 1 else trades_per_s, 1) * 1.05)))
        made.ask("POST", "/demo/load", {"trade_rate": rate})
        time.sleep(2)


def measure(symbols: int, seconds: int, rate: float) -> dict[str, Any]:
    """Sustain the rate and watch."""
    with bench(FLOTILLA__DEMO__SYMBOLS=str(symbols), FLOTILLA__FEED__BOOKS="2") as made:
        fill(made)
        load_to(made, rate)
        before, cpu, count = ages(made), made.cpu_s(FEED), made.counted("flotilla_feed_messages_total")
        demo_cpu, lost_before, began = made.cpu_s("workers.demo_exchange"), lost(made), time.monotonic()
        memory = []
        while time.monotonic() < began + seconds:
            time.sleep(1)
            memory.append(made.memory_mb(FEED))
        took = time.monotonic() - began
        after = ages(made)
        passed = made.counted("flotilla_feed_messages_total") - count
        counts = [late - early for late, early in zip(after, before, strict=True)]
        ceiling = next(spec.ceiling_mb for spec in read_fleet(ROOT / "supervisord.conf") if spec.name == "market-feed")
        return {
            "messages_per_s": round(passed / took),
            "share_of_goal": round(passed / took / GOAL_PER_S, 2),
            "age_ms_p50": round(percentile_s(counts, 0.5) * 1000, 1),
            "age_ms_p99": round(percentile_s(counts, 0.99) * 1000, 1),
            "age_share_of_goal": round(percentile_s(counts, 0.99) / GOAL_P99_S, 2),
            "cpu_of_one_core": round((made.cpu_s(FEED) - cpu) / took, 2),
            "demo_cpu": round((made.cpu_s("workers.demo_exchange") - demo_cpu) / took, 2),
            "peak_mb": round(max(memory), 1),
            "share_of_ceiling": round(max(memory) / ceiling, 2),
            "messages": int(passed),
            "lost": {name: now - lost_before[name] for name, now in lost(made).items()},
        }


def soak(symbols: int, minutes: float, speed: float) -> dict[str, Any]:
    """Watch memory for a while."""
    with bench(
        FLOTILLA__FEED__EXCHANGES="demo",  # only who knows of the demo takes its clock
        FLOTILLA__DEMO__SYMBOLS=str(symbols),
        FLOTILLA__FEED__BOOKS="2",
        FLOTILLA__DEMO__SPEED=str(speed),
    ) as made:
        fill(made)
        samples: list[tuple[float, float]] = []
        began = time.monotonic()
        while time.monotonic() < began + minutes * 60:
            time.sleep(5)
            samples.append((time.monotonic() - began, made.memory_mb(FEED)))
        half = [megabytes for at, megabytes in samples if at > minutes * 30]
        slope = statistics.linear_regression([at / 3600 for at, _ in samples if at > minutes * 30], half).slope
        return {
            "market_minutes": round(minutes * speed),
            "first_mb": round(samples[0][1], 1),
            "last_mb": round(samples[-1][1], 1),
            "peak_mb": round(max(megabytes for _, megabytes in samples), 1),
            "slope_mb_per_h_second_half": round(slope, 2),
            "lost": lost(made),
        }


def main() -> int:
    """Measure and print; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=float, default=GOAL_PER_S)
    parser.add_argument("--soak-minutes", type=float, default=0)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.soak_minutes:
        found = soak(args.symbols, args.soak_minutes, args.speed)
        well = True
    else:
        found = measure(args.symbols, args.seconds, args.rate)
        well = found["messages_per_s"] >= args.rate and found["age_ms_p99"] <= GOAL_P99_S * 1000
    print(json.dumps(found) if args.json else "\n".join(f"{name:<28} {value}" for name, value in found.items()))
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
