"""Celery, kept small: one solo worker a process, JSON only, and a loop of our own around it.

Celery workers that reconnect by themselves have been reported for years to stop consuming in silence. Here none ever
reconnects: when the connection breaks the worker ends, the loop waits for the broker, and a new worker starts, the same
way as the first.
"""

import gc
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab, schedule
from celery.worker import state as celery_state
from kombu.entity import Queue

from app.cache.bell import broker_url
from app.errors import FlotillaError, Unavailable
from app.host import logs, posture_file
from app.storage import tasks
from app.storage.database import reading
from app.usecases.run_tasks import run_next
from app.usecases.sweep_tasks import take_back
from app.usecases.task_table import waiting_kinds
from workers.beat import remember_finished
from workers.parts import Parts
from workers.schedule import JOBS, PULSE, WORK, Daily, Job, handler

log = logging.getLogger(__name__)
PULSE_EVERY_S = 2.0
TURN_S = 2.0  # after that a long task lets the other messages of its queue pass
MESSAGE_LIFE_S = 60  # a wake-up call that nobody took for a minute wakes nobody: the rows are swept anyway
_WAIT_S = 1.0


def make_app(parts: Parts, queue: str, beat: Callable[[str], None]) -> Celery:
    """The Celery application of one worker, with the jobs of its queue."""
    app = Celery("flotilla", broker=broker_url(parts.settings.redis_url), set_as_current=True)
    own = f"{queue}.{parts.worker}"
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_queues=[Queue(name, routing_key=name) for name in (queue, own)],
        task_default_queue=queue,
        task_routes={job.name: {"queue": job.queue} for job in JOBS},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry=False,
        broker_connection_retry_on_startup=False,
        broker_transport_options={
            "visibility_timeout": 3600,  # a wake-up call: nothing holds one for more than a few seconds
            "socket_timeout": 2,
            "socket_connect_timeout": 1,
        },
        beat_schedule={job.name: _entry(job) for job in JOBS},
        timezone=parts.settings.clock.timezone,
    )
    _add(app, PULSE, lambda: beat("waiting for work"))
    _add(app, WORK, lambda: take_turn(parts, queue))
    for job in JOBS:
        if job.queue == queue:
            _add(app, job.name, _run_job(parts, job, beat))
    logging.getLogger("celery").setLevel(logging.WARNING)
    logging.getLogger("kombu").setLevel(logging.WARNING)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(_is_news)
    return app


def take_turn(parts: Parts, queue: str) -> None:
    """Run pending tasks for one turn; if there is more, go to the end of the queue: nothing else has to wait."""
    until = time.monotonic() + TURN_S
    put_off = waiting_kinds(posture_file.read(parts.settings.run_dir, parts.now()))

    def turn_is_over() -> bool:
        return parts.life.draining.is_set() or time.monotonic() >= until

    while not turn_is_over():
        worked = run_next(
            parts.engine,
            queue=queue,
            worker=parts.worker,
            now=parts.now,
            beat=parts.life.beat,
            draining=turn_is_over,
            tell=parts.tell,
            vault=parts.vault,
            put_off=put_off,
        )
        if not worked:
            return
    with reading(parts.engine) as db:
        more = tasks.next_pending(db, queue, now=parts.now(), put_off=put_off) is not None
    if more and not parts.life.draining.is_set():
        parts.bell.ring(queue)


def serve(parts: Parts, queue: str, *, start_clock: Callable[[Celery], Callable[[], bool]] | None = None) -> None:
    """Take work from ``queue`` until asked to drain. Start is recovery: first, what a dead predecessor held comes back.

    ``start_clock`` is called once with the Celery application; what it returns says whether the clock still ticks, and
    when it does not, neither does the heartbeat.
    """
    life = parts.life
    life.on_drain(_stop_celery)
    _patiently(parts, lambda: _recover(parts), "the database")
    ticks: Callable[[], bool] = lambda: True  # noqa: E731 - replaced below where there is a clock

    def beat(work: str) -> None:
        if ticks():
            life.beat(work)

    app = make_app(parts, queue, beat)
    own = f"{queue}.{parts.worker}"
    if start_clock:
        ticks = start_clock(app)
    gc.freeze()  # what is loaded now stays: the collector need not walk it again
    while not life.draining.is_set():
        _patiently(parts, lambda: _hear_the_broker(parts, queue), "the broker")
        if life.draining.is_set():
            return
        _consume_once(parts, app, own)


def _consume_once(parts: Parts, app: Celery, own: str) -> None:
    def pulse() -> None:
        parts.metrics.publish(parts.settings.run_dir, parts.life.name)
        if parts.bell.length(own) is None:  # it answers within a second, or not
            parts.life.beat("waiting for the broker")  # its fault, not ours
            raise ConnectionError(
                "the broker does not answer"
            )  # ends this worker: Celery takes it for a lost connection
        app.send_task(PULSE, queue=own, expires=MESSAGE_LIFE_S, retry=False)

    def ready(consumer: Any) -> None:
        log.info("taking work from %s", own.partition(".")[0])
        parts.bell.ring(own.partition(".")[0])  # rows may have come while nobody listened
        consumer.timer.call_repeatedly(PULSE_EVERY_S, pulse)

    worker = app.WorkController(
        pool="solo",
        hostname=f"{parts.life.name}@{own}",
        ready_callback=ready,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    log.info("no longer connected to the broker")


def _recover(parts: Parts) -> None:
    taken_back = take_back(parts.engine, now=parts.now(), worker=parts.worker)
    if taken_back:
        log.warning("took back %d tasks of a predecessor that did not end well", taken_back)


def _hear_the_broker(parts: Parts, queue: str) -> None:
    if parts.bell.length(queue) is None:
        raise Unavailable("The broker does not answer.")


def _patiently(parts: Parts, attempt: Callable[[], None], what: str) -> None:
    """Try until it works or we are asked to drain. Waiting is told as such: it must not look like being stuck."""
    told = False
    while not parts.life.draining.is_set():
        try:
            attempt()
        except Unavailable as error:
            if not told:
                log.warning("waiting for %s: %s", what, error)
                told = True
            parts.life.beat(f"waiting for {what}")
            parts.life.draining.wait(_WAIT_S)
        else:
            if told:
                log.info("%s is back", what)
            return


def _add(app: Celery, name: str, function: Callable[[], None]) -> None:
    def task() -> None:  # Celery wants a function with a name of its own
        function()

    app.task(task, name=name)


def _run_job(parts: Parts, job: Job, beat: Callable[[str], None]) -> Callable[[], None]:
    run = handler(job)

    def run_job() -> None:
        bound = logs.trace_id.set(logs.new_trace_id())
        started_s = time.monotonic()
        try:
            run(parts)
            if isinstance(job.when, Daily):
                remember_finished(parts, job)
            parts.metrics.count("flotilla_jobs_total", job=job.name, outcome="done")
        except FlotillaError as error:
            outcome = "unavailable" if isinstance(error, Unavailable) else "failed"  # the alerts tell them apart
            parts.metrics.count("flotilla_jobs_total", job=job.name, outcome=outcome)
            log.warning("job %s: %s", job.name, error)  # it comes again with its next turn
        except Exception:  # an error of ours: Celery logs it, and the alerts must know
            parts.metrics.count("flotilla_jobs_total", job=job.name, outcome="failed")
            raise
        finally:
            parts.metrics.observe("flotilla_job_seconds", time.monotonic() - started_s, job=job.name)
            logs.trace_id.reset(bound)
        beat(f"job {job.name}")

    return run_job


def _entry(job: Job) -> dict[str, Any]:
    return {"task": job.name, "schedule": _celery_schedule(job.when), "options": {"expires": MESSAGE_LIFE_S}}


def _celery_schedule(when: timedelta | Daily) -> schedule | crontab:
    if isinstance(when, timedelta):
        return schedule(when)
    weekday = "*" if when.weekday is None else str((when.weekday + 1) % 7)  # Celery counts from Sunday
    return crontab(hour=str(when.hour), minute=str(when.minute), day_of_week=weekday)


def _is_news(record: logging.LogRecord) -> bool:
    """That Celery may not reconnect by itself is our own doing, and no reason to wake anybody."""
    return not record.getMessage().startswith("Retrying to")


def _stop_celery() -> None:
    celery_state.should_stop = 0
