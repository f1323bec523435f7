"""A long run of a fleet at a sped-up demo market: whether any process's memory grows, in MB an hour.

    python -m ops.bench.soak --hours 2 --speed 20 --symbols 50

It starts a fleet of its own in a temporary state folder, samples every process four times a minute, and tells how it is each
quarter of an hour; Ctrl-C ends it early with what was seen. The slope is Theil's: the median of the slopes between all pairs of
samples, which one garbage collection or one nightly job does not bend. It is taken after the warm-up, in which caches and windows
fill. A process that was replaced is counted, and its slope is that of its longest life. It ends with 1 when a process grows so fast
as to fill its ceiling within a day, was replaced, or when the fleet is not whole at the end.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from app.errors import FlotillaError
from app.host.fleet_report import ProcessReport
from app.settings import Settings, load
from app.storage.database import open_engine, reading
from app.storage.tables import klines, simulation_trades, strategy_judgments
from ops.bench.bench_fleet import flotilla, look, place, together

SAMPLE_EVERY_S = 15.0
TOLD_EVERY_H = 0.25
DAY_H = 24.0
MOST_POINTS = 240  # pairs grow with the square: an hour's worth is thinned out


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    name: str
    pid: int | None
    memory_mb: float | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class Grown:
    """One process over the whole run, warm-up left out."""

    name: str
    first_mb: float
    last_mb: float
    most_mb: float
    ceiling_mb: int
    slope_mb_h: float
    lives: int

    @property
    def flat(self) -> bool:
        """Whether it would stay below its ceiling for a day at this rate."""
        return self.lives == 1 and self.last_mb + self.slope_mb_h * DAY_H < self.ceiling_mb


def grown(name: str, samples: Sequence[Sample], ceiling_mb: int) -> Grown:
    """What the samples of one process come to."""
    lives: dict[int | None, list[Sample]] = {}
    for one in samples:
        if one.memory_mb is not None:
            lives.setdefault(one.pid, []).append(one)
    if not lives:  # it was stopped, or never seen to live
        return Grown(name, 0.0, 0.0, 0.0, ceiling_mb, 0.0, 0)
    longest = max(lives.values(), key=len)
    sizes = [one.memory_mb or 0.0 for one in longest]
    tenth = max(1, len(sizes) // 10)
    return Grown(
        name,
        round(statistics.median(sizes[:tenth]), 1),
        round(statistics.median(sizes[-tenth:]), 1),
        round(max(one.memory_mb or 0.0 for life in lives.values() for one in life), 1),
        ceiling_mb,
        round(slope([(one.at_s / 3600, one.memory_mb or 0.0) for one in longest]), 2),
        len(lives),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points."""
    kept = points[:: max(1, len(points) // MOST_POINTS)]
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for number, sooner in enumerate(kept)
        for later in kept[number + 1 :]
    ]
    return statistics.median(slopes) if slopes else 0.0


def soak(settings: Settings, hours: float, warm_h: float) -> tuple[list[Grown], bool]:
    """Sample until the time is over or somebody ends it; how each process grew, and whether all were well at the end."""
    samples: list[Sample] = []
    ceilings: dict[str, int] = {}
    reports: list[ProcessReport] = []
    told_h = 0.0
    with suppress(KeyboardInterrupt):
        for at_s, reports in looks(settings, hours):
            ceilings |= {one.name: one.ceiling_mb for one in reports}
            samples += [Sample(at_s, one.name, one.pid, one.memory_mb, bool(one.fresh)) for one in reports]
            if at_s / 3600 >= told_h:
                told_h += TOLD_EVERY_H
                sizes = ", ".join(f"{one.name} {one.memory_mb or 0:.0f}" for one in reports)
                line = f"  {at_s / 3600:.2f} h: {together(reports):.0f} MB ({sizes}); {done(settings)}"
                print(line, file=sys.stderr, flush=True)
    warm = [one for one in samples if one.at_s >= warm_h * 3600]
    rows = [grown(name, [one for one in warm if one.name == name], ceiling) for name, ceiling in ceilings.items()]
    return rows, bool(reports) and all(one.fresh for one in reports)


def looks(settings: Settings, hours: float) -> Iterator[tuple[float, list[ProcessReport]]]:
    """A look every quarter of a minute, with the seconds since the first; of a fleet that cannot be seen, an empty one."""
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < hours * 3600:
        try:
            yield at_s, look(settings)
        except FlotillaError as error:
            print(f"  the fleet cannot be seen: {error}", file=sys.stderr, flush=True)
            yield at_s, []
        time.sleep(SAMPLE_EVERY_S)


def done(settings: Settings) -> str:
    """How much work was done so far."""
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with reading(engine) as db:
            newest = [
                (name, db.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() or 0)
                for name, table in (("judgments", strategy_judgments), ("trades", simulation_trades))
            ]
            candles = db.exec_driver_sql(f"SELECT count(*) FROM {klines.name}").scalar() or 0
    except FlotillaError as error:
        return str(error)
    finally:
        engine.dispose()
    return ", ".join(f"{count:,} {name}" for name, count in [("candles", candles), *newest])


def main(words: Sequence[str] | None = None) -> int:
    """Soak and print; 1 when something grows, was replaced or is not well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--warm", type=float, default=0.5, help="hours that do not count (0.5)")
    parser.add_argument("--speed", type=float, default=20.0, help="of the demo market (20)")
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    if not 0 <= args.warm < args.hours:
        parser.error("--warm must be less than --hours, or nothing is left to measure")
    with place() as env:
        env |= {"FLOTILLA__DEMO__SPEED": str(args.speed), "FLOTILLA__DEMO__SYMBOLS": str(args.symbols)}
        flotilla(env, "start")
        try:
            rows, well = soak(load(env), args.hours, args.warm)
        finally:
            flotilla(env, "stop")
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(
            "| process | first MB | last MB | most MB | ceiling MB | slope MB/h | lives |\n|---|--:|--:|--:|--:|--:|--:|"
        )
        for row in rows:
            sizes = f"{row.first_mb} | {row.last_mb} | {row.most_mb} | {row.ceiling_mb} | {row.slope_mb_h:+.2f} | {row.lives}"
            print(f"| {row.name} | {sizes} |")
    return 0 if well and all(row.flat for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
