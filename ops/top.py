"""`flotilla top`: the whole fleet on one screen, again and again: processes, exchanges, strategies, open trades, last notices."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine

from app.domain.strategies.table import STRATEGIES
from app.errors import FlotillaError, Unavailable
from app.host import feed_report, fleet_file
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.probes import HostProbe
from app.host.supervisor import Supervisor
from app.notify import outbox
from app.settings import ROOT, Settings
from app.storage import accounts, judgments, statistics
from app.storage.database import open_engine, reading
from app.usecases.market_source import Source
from app.usecases.measure_work import business

_HOME, _REST, _LINE = "\x1b[H", "\x1b[J", "\x1b[K"
_MOST_TRADES, _MOST_NOTICES = 12, 5


def watch(settings: Settings, *, every_s: float, once: bool, write: Callable[[str], object] = sys.stdout.write) -> None:
    """Draw the screen until Ctrl-C; on a terminal over the one before, else one below the other."""
    if not settings.state_dir.exists():
        raise Unavailable(f"There is no fleet in {settings.state_dir}.", cure="Start it: make run")
    host, engine = HostProbe(settings.state_dir), open_engine(settings.database_url, pool_size=1)
    overwrites = sys.stdout.isatty() and not once
    try:
        if overwrites:
            write("\x1b[2J")
        while True:
            width, height = shutil.get_terminal_size((110, 50))
            lines = [line[: width - 1] for part in _parts(settings, host, engine) for line in part]
            if overwrites:
                write(_HOME + "".join(f"{line}{_LINE}\n" for line in lines[: height - 1]) + _REST)
            else:
                write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
            if once:
                return
            time.sleep(every_s)
    except KeyboardInterrupt:
        return
    finally:
        engine.dispose()


def _parts(settings: Settings, host: HostProbe, engine: Engine) -> Iterator[Sequence[str]]:
    """What stands on the screen, from top to bottom. What does not answer says so and leaves the rest as it is."""
    yield _head(settings, host)
    for look in (_processes, _exchanges, _work, _notices):
        try:
            yield ["", *look(settings, engine)]
        except FlotillaError as error:
            yield ["", f"  {error}", f"  -> {error.cure}"]


def _head(settings: Settings, host: HostProbe) -> list[str]:
    seen = host.sample()
    world = "SIMULATED market" if settings.simulated else "live market"
    cpu = "  ?" if seen.cpu_percent is None else f"{seen.cpu_percent:3.0f}"
    return [
        f"Flotilla  {datetime.now(UTC):%H:%M:%S} UTC  {world}  {settings.address}",
        (
            f"machine   cpu {cpu} %   memory {seen.memory_percent:3.0f} % of {seen.memory_total_mb:.0f} MB   "
            f"disk {seen.disk_percent:3.0f} %   load {seen.load_1m:.2f}"
        ),
    ]


def _processes(settings: Settings, _engine: Engine) -> list[str]:
    specs = fleet_file.read_fleet(ROOT / "supervisord.conf")
    reports = fleet_report(specs, Supervisor(settings.supervisor_socket), settings.run_dir, time.time())
    return ["PROCESS          STATE     UP        MEMORY         BEAT   WORK", *map(_process, reports)]


def _process(one: ProcessReport) -> str:
    up = "-" if one.uptime_s is None else f"{one.uptime_s // 3600}h{one.uptime_s % 3600 // 60:02d}"
    memory = "-" if one.memory_mb is None else f"{one.memory_mb:.0f} of {one.ceiling_mb} MB"
    beat = "-" if one.heartbeat_age_s is None else f"{one.heartbeat_age_s:.0f} s"
    return f"{one.name:<16} {one.state:<9} {up:<9} {memory:<14} {beat:<6} {one.last_work or ''}"


def _exchanges(settings: Settings, _engine: Engine) -> list[str]:
    seen = feed_report.look(settings.run_dir, time.time_ns() // 1_000_000)
    if seen.report is None:
        return ["EXCHANGES        market-feed has not reported yet"]
    lines = [f"EXCHANGES        market-feed's report is {seen.state}, {(seen.age_ms or 0) / 1000:.0f} s old"]
    for one in seen.report.collectors:
        score = "-" if one.quality.score is None else f"{one.quality.score:.0f}"
        lines.append(
            f"{one.exchange:<16} {one.state:<9} quality {score:>3}   {sum(one.messages.values()):>9} messages   {one.note}"
        )
    waiting, lost = seen.report.store.waiting, seen.report.store.lost
    return [*lines, f"{'':<16} {waiting} rows wait to be written, {lost} lost"]


def _work(settings: Settings, engine: Engine) -> list[str]:
    source = Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
    now = source.time(time.time_ns() // 1_000_000)
    with reading(engine) as db:
        found = business(db, now)
        closes = {name: judgments.last_close(db, name, "15M") for name in STRATEGIES}
        busy = [kept.desk for kept in accounts.listed(db, busy=True)]
        rows = statistics.listed(db)
    behind = "nothing judged yet" if found.cycles_behind is None else f"{found.cycles_behind} closes behind"
    bad = {"ledger off": found.broken_accounts, "failed": found.failed_chores, "damaged": found.damaged_tables}
    unknown = [word for word, names in bad.items() if names is None]
    trouble = [f"{word}: {', '.join(names)}" for word, names in bad.items() if names]
    trouble += [f"not known: {', '.join(unknown)}"] if unknown else []
    lines = [f"STRATEGIES       {behind}  {' '.join(trouble)}".rstrip()]
    for name, close in closes.items():
        mine = [row for row in rows if row.strategy_type == name]
        count, won = sum(row.total_trades for row in mine), sum(row.winning_trades for row in mine)
        pnl = sum((row.total_pnl for row in mine if row.total_pnl is not None), start=0)
        judged = "-" if close is None else f"{close:%m-%d %H:%M}"
        lines.append(f"{name:<16} judged {judged:<12} {count:>4} trades closed, {won} won, {pnl:+.2f} USDT")
    orders = sum(desk.order is not None for desk in busy)
    open_ones = [desk.trade for desk in busy if desk.trade is not None]
    lines += ["", f"OPEN TRADES      {len(open_ones)}, and {orders} orders for the next minute"]
    for trade in open_ones[:_MOST_TRADES]:
        lines.append(
            f"{trade.symbol:<16} {trade.strategy:<4} {trade.direction:<6} in {trade.entry_price.normalize():f}   "
            f"stop {trade.stop_loss.normalize():f}   target {trade.take_profit.normalize():f}   x{trade.leverage}"
        )
    return lines


def _notices(settings: Settings, _engine: Engine) -> list[str]:
    found = outbox.recent(settings.notices_dir, _MOST_NOTICES)
    return ["LAST NOTICES", *(f"{one.at:%m-%d %H:%M} {one.level:<9} {one.text}" for one in found)]
