"""The process "data-cleaner": the job clock, the sweep of tasks left behind, and the nightly housekeeping."""

import logging
from typing import Any

from app.domain.market.market_time import ms_of
from app.host import kept_logs, logs, probes
from app.usecases import back_up
from app.usecases.ask_task import ask_task
from app.usecases.asking import Asking
from app.usecases.flush_recoveries import flush_recoveries
from app.usecases.flush_samples import flush_samples as flush
from app.usecases.market_source import Source
from app.usecases.measure_work import measure as measure_work
from app.usecases.sweep_tasks import sweep as sweep_tasks
from app.usecases.watch_disk import CLEAN_UP, watch_disk
from workers import beat
from workers.celery_app import serve
from workers.parts import Parts, open_parts

log = logging.getLogger(__name__)


def sweep(parts: Parts) -> None:
    """Put back what dead workers held, ring again for what waits too long, and look how full the disk is."""
    swept = sweep_tasks(parts.engine, parts.bell, now=parts.now())
    if swept.returned:
        log.warning("put %d tasks back that a worker left behind", swept.returned)
    used_percent = probes.disk_percent(parts.settings.state_dir)
    backups, trace_id = parts.settings.backup_dir, logs.trace_id.get()
    if watch_disk(parts.engine, parts.bell, backups, used_percent=used_percent, trace_id=trace_id, now=parts.now()):
        log.warning("the disk is %.0f %% full: the clean-up comes early", used_percent)


def flush_samples(parts: Parts) -> None:
    """Move the monitor's samples, and what was mended, into the database."""
    flush(parts.engine, parts.settings.run_dir, now=parts.now())
    flush_recoveries(parts.engine, parts.settings.run_dir, now=parts.now())


def keep_logs(parts: Parts) -> None:
    """Keep log entries for as long as their level is worth."""
    kept_logs.keep(parts.settings.log_dir, parts.now())


def measure(parts: Parts) -> None:
    """Take up how well the work of the last minute was done."""
    settings, now = parts.settings, parts.now()
    source = Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
    time = source.time(ms_of(now))
    judging = bool(settings.feed.exchanges)
    found = measure_work(parts.engine, settings.run_dir, parts.metrics, time=time, now=now, judging=judging)
    if found.broken_accounts:
        log.error("paper accounts do not add up: %s", ", ".join(found.broken_accounts[:10]))


def roll_up(parts: Parts) -> None:
    """Ask for the market's minutes to be rolled up into hours."""
    _ask(parts, "roll_up")


def purge(parts: Parts) -> None:
    """Ask for the nightly clean-up: what is past its time is added up, archived, and only then deleted."""
    for kind in CLEAN_UP:
        _ask(parts, kind)


def backup(parts: Parts) -> None:
    """Ask for the nightly copy of the database, unless the settings leave that to somebody else."""
    if parts.settings.backup.enabled:
        _ask(parts, "backup", back_up.NIGHTLY)


def check_database(parts: Parts) -> None:
    """Ask for the weekly look at the database's integrity."""
    _ask(parts, "check_database")


def _ask(parts: Parts, kind: str, payload: dict[str, Any] | None = None) -> None:
    asking = Asking("clock", logs.trace_id.get(), parts.now())
    ask_task(parts.engine, parts.bell, asking, kind=kind, payload=payload or {})


def main() -> None:
    """Keep the clock and take work until asked to drain."""
    parts = open_parts("data-cleaner")
    serve(parts, "cleaner", start_clock=lambda app: beat.start(parts, app).ticks)


if __name__ == "__main__":
    main()
