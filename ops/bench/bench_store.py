"""Rows a second into each database, beside its bare driver in the same run.

    python -m ops.bench.bench_store --rows 100000 --rounds 5 --json

Three kinds of work: new candles in one go, as a backfill and an import bring them; the same candles again, over those that are
there; and the feed's turns: small transactions in which the flow, tickers and depth of the present minute are written again and
again. The peer is what a careful person writes without us: one transaction, ``executemany`` of one prepared upsert, with the
driver alone (sqlite3, pymysql, psycopg), into the same tables with the same indexes and durability. Rounds alternate, and the
medians are compared. Servers are private ones, as tests/servers.py starts them; one that is not installed is left out.
It ends with 1 when bulk writing is slower than its peer by more than a fifth.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, delete, text

from app.storage import depths, flow, tickers
from app.storage.bulk import Upsert, upsert_rows
from app.storage.database import open_engine, transaction
from app.storage.depths import DepthRow
from app.storage.flow import Flow
from app.storage.tables import KLINE_SOURCES, metadata
from app.storage.tickers import TickerRow
from ops.migrate import upgrade

MINUTE = 60_000
START = 1_763_000_040_000
PAIRS = 50
LEAST_RATIO = 0.8  # texts are measured, which the driver alone does not do
KLINE = (
    "pair_id", "timeframe", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades",
    "taker_buy_volume", "taker_buy_quote_volume", "source", "marks",
)  # fmt: skip
KEY = ("pair_id", "timeframe", "open_time")
CANDLES = Upsert(metadata.tables["klines"], KLINE, KEY, ("source", "rollup"))
Row = tuple[Any, ...]


def candles(count: int) -> list[Row]:
    """A minute of all pairs after the other, as a feed sees them."""
    return [
        (n % PAIRS + 1, "1m", START + n // PAIRS * MINUTE, 45_000.1 + n, 45_010.25 + n, 44_990.5 + n, 45_001.75 + n,
         12.3456 + n, 555_555.125 + n, 1_000 + n, 6.1728 + n, 277_777.5 + n, KLINE_SOURCES[0], None)
        for n in range(count)
    ]  # fmt: skip


def turn(n: int) -> tuple[list[Flow], list[TickerRow], list[DepthRow]]:
    """What a feed of 50 symbols has to write after its 50 ms: most of it is of the same minute as before."""
    opened = START + n // 200 * MINUTE
    value = 100.0 + n
    flows = [
        Flow(pair, "1m", opened, value, value, value, value, n, n, value, value, n, value, n, n)
        for pair in range(1, PAIRS + 1)
    ]
    some = range(1 + n % 5 * 10, 11 + n % 5 * 10)
    tops = [TickerRow(pair, "1m", opened, price=value, bid=value, ask=value, trades_count=n) for pair in some]
    books = [DepthRow(pair, "1m", opened, "ok", value, value, value, 0.01, 1000, 1000) for pair in (1, 2)]
    return flows, tops, books


def rate(rows: int, work: Callable[[], None]) -> float:
    """Rows a second."""
    began = time.perf_counter()
    work()
    return rows / (time.perf_counter() - began)


def ours(engine: Engine, rows: Sequence[Row]) -> None:
    """One transaction through app/storage/bulk.py."""
    with transaction(engine) as db:
        upsert_rows(db, CANDLES, rows)


def theirs(engine: Engine, rows: Sequence[Row]) -> None:
    """One transaction of the driver alone."""
    kind = engine.dialect.name
    mark = "?" if kind == "sqlite" else "%s"
    names = ", ".join(KLINE)
    insert = f"INSERT INTO klines ({names}) VALUES ({', '.join([mark] * len(KLINE))})"
    if kind == "mysql":
        changes = ", ".join(f"{name} = VALUES({name})" for name in KLINE[3:])
        statement = f"{insert} ON DUPLICATE KEY UPDATE {changes}"
    else:
        changes = ", ".join(f"{name} = excluded.{name}" for name in KLINE[3:])
        statement = f"{insert} ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {changes}"
    pooled = engine.raw_connection()
    try:
        connection: Any = pooled.driver_connection
        cursor = connection.cursor()
        if kind == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(statement, rows)
        connection.commit()
        cursor.close()
    finally:
        pooled.close()


def empty(engine: Engine) -> None:
    """No rows of the market."""
    for name in ("klines", "trade_flow", "tickers", "depth_summaries"):
        with transaction(engine) as db:
            if engine.dialect.name == "sqlite":
                db.execute(delete(metadata.tables[name]))
            else:  # rows that were deleted stay in the way for a while
                db.execute(text(f"TRUNCATE TABLE {name}"))


def feed(engine: Engine, turns: int) -> tuple[float, float]:
    """Rows a second of the feed's turns, and the ms of the slowest hundredth of them."""
    made = [turn(n) for n in range(turns)]
    took = []
    for flows, tops, books in made:
        began = time.perf_counter()
        with transaction(engine) as db:
            flow.store(db, flows)
            tickers.store(db, tops)
            depths.store(db, books)
        took.append(time.perf_counter() - began)
    rows = sum(len(part) for parts in made for part in parts)
    return rows / sum(took), statistics.quantiles(took, n=100)[98] * 1000


def measure(engine: Engine, rows: list[Row], rounds: int, turns: int) -> dict[str, Any]:
    """All of it on one database."""
    found: dict[str, list[float]] = {name: [] for name in ("new", "again", "peer_new", "peer_again", "feed", "p99")}
    contenders = [("", ours), ("peer_", theirs)]
    for number in range(rounds):
        for prefix, work in contenders if number % 2 else contenders[::-1]:
            empty(engine)
            found[f"{prefix}new"].append(rate(len(rows), lambda work=work: work(engine, rows)))  # type: ignore[misc]
            found[f"{prefix}again"].append(rate(len(rows), lambda work=work: work(engine, rows)))  # type: ignore[misc]
        empty(engine)
        rate_of_feed, p99 = feed(engine, turns)
        found["feed"].append(rate_of_feed)
        found["p99"].append(p99)
    median = {name: statistics.median(values) for name, values in found.items()}
    return {
        "new_rows_per_s": round(median["new"]),
        "again_rows_per_s": round(median["again"]),
        "driver_new_rows_per_s": round(median["peer_new"]),
        "driver_again_rows_per_s": round(median["peer_again"]),
        "ratio_new": round(median["new"] / median["peer_new"], 2),
        "ratio_again": round(median["again"] / median["peer_again"], 2),
        "feed_rows_per_s": round(median["feed"]),
        "feed_turn_ms_p99": round(median["p99"], 2),
    }


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Engine | None]:
    """A migrated, empty database; None where there is no such server."""
    import pytest

    from tests import servers

    with ExitStack() as stack:
        try:
            url = _address(kind, folder, stack, servers)
        except pytest.skip.Exception as error:
            print(f"{kind} is left out: {error}", file=sys.stderr)
            yield None
            return
        upgrade(url)
        engine = open_engine(url, answer_s=600)
        stack.callback(engine.dispose)
        yield engine


def _address(kind: str, folder: Path, stack: ExitStack, servers: Any) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / 'bench.db'}"
    server: URL = stack.enter_context({"mariadb": servers.mariadb, "postgresql": servers.postgresql}[kind]())
    found: URL = stack.enter_context(servers.database_on(server))
    return found.render_as_string(hide_password=False)


def main() -> int:
    """Measure and print; 1 when bulk writing is slower than the bare driver."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="candles (100000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    parser.add_argument("--turns", type=int, default=400, help="turns of the feed (400)")
    parser.add_argument("--only", choices=("sqlite", "mariadb", "postgresql"), help="one database")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    args, _ = parser.parse_known_args()
    rows = candles(args.rows)
    found: dict[str, dict[str, Any]] = {}
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    try:
        for kind in (args.only,) if args.only else ("sqlite", "mariadb", "postgresql"):
            with database(kind, folder) as engine:
                if engine is not None:
                    found[kind] = measure(engine, rows, args.rounds, args.turns)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for kind, figures in found.items():
            print(f"{kind}: " + ", ".join(f"{name} {figure}" for name, figure in figures.items()))
    slow = [kind for kind, each in found.items() if min(each["ratio_new"], each["ratio_again"]) < LEAST_RATIO]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
