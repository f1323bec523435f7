"""The process "data-cleaner": the job clock, the sweep of tasks left behind, and the nightly housekeeping."""

import logging

from app.host import logs
from app.usecases.ask_task import ask_task
from app.usecases.flush_samples import flush_samples as flush
from app.usecases.sweep_tasks import sweep as sweep_tasks
from workers import beat
from workers.celery_app import serve
from workers.parts import Parts, open_parts

log = logging.getLogger(__name__)


def sweep(parts: Parts) -> None:
    """Put back what dead workers held, and ring again for what waits too long."""
    swept = sweep_tasks(parts.engine, parts.bell, now=parts.now())
    if swept.returned:
        log.warning("put %d tasks back that a worker left behind", swept.returned)


def flush_samples(parts: Parts) -> None:
    """Move the monitor's samples into the database."""
    flush(parts.engine, parts.settings.run_dir, now=parts.now())


def roll_up(parts: Parts) -> None:
    """Ask for the market's minutes to be rolled up into hours."""
    _ask(parts, "roll_up")


def purge(parts: Parts) -> None:
    """Ask for the nightly deletion of what is past its time."""
    _ask(parts, "purge")


def check_database(parts: Parts) -> None:
    """Ask for the weekly look at the database's integrity."""
    _ask(parts, "check_database")


def _ask(parts: Parts, kind: str) -> None:
    ask_task(
        parts.engine, parts.bell, kind=kind, payload={}, actor="clock", trace_id=logs.trace_id.get(), now=parts.now()
    )


def main() -> None:
    """Keep the clock and take work until asked to drain."""
    parts = open_parts("data-cleaner")
    serve(parts, "cleaner", start_clock=lambda app: beat.start(parts, app).ticks)


if __name__ == "__main__":
    main()
