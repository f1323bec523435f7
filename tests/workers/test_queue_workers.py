"""Queue workers as real processes on a real broker: woken, drained, killed, and left without a broker."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select, update

from app.cache.bell import Bell
from app.domain.tasks import MAX_ATTEMPTS, Task
from app.host import archives, backups, heartbeat
from app.settings import ROOT
from app.storage import checkpoints, tables, tasks
from app.storage.database import open_engine, reading, transaction
from app.usecases.ask_task import ask_task
from app.usecases.asking import Asking
from tests.builders import Valkey, wait_for


class Workers:
    """Starts worker processes on one database and one broker, each with a state folder of its own."""

    def __init__(self, database_url: str, broker: Valkey, stack: ExitStack) -> None:
        self.engine: Engine = open_engine(database_url)
        stack.callback(self.engine.dispose)
        self.broker = broker
        self.bell = Bell(broker.url)
        stack.callback(self.bell.close)
        self._database_url, self._stack = database_url, stack

    def start(self, name: str, run_dir: Path | None = None) -> "Worker":
        state = run_dir or Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-")))
        env = os.environ | {
            "FLOTILLA__STATE__DIR": str(state),
            "FLOTILLA__DATABASE__URL": self._database_url,
            "FLOTILLA__REDIS__URL": self.broker.url,
        }
        with (state / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"workers.{name.replace('-', '_')}"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        self._stack.callback(_end, process)
        return Worker(name, state, process)

    def ask(self, kind: str = "drill", **payload: int) -> int:
        asking = Asking("test", None, datetime.now(UTC))
        task = ask_task(self.engine, self.bell, asking, kind=kind, payload=payload)
        return task.id

    def task(self, task_id: int) -> Task:
        with reading(self.engine) as db:
            task = tasks.get(db, task_id)
        assert task is not None
        return task

    def done(self, *ids: int) -> bool:
        return all(self.task(task_id).status == "done" for task_id in ids)

    def times_done(self) -> dict[str, int]:
        log = tables.audit_log
        with reading(self.engine) as db:
            query = select(log.c.subject, func.count()).where(log.c.action == "drill_done").group_by(log.c.subject)
            return {row[0]: row[1] for row in db.execute(query)}


class Worker:
    """One worker process."""

    def __init__(self, name: str, state: Path, process: subprocess.Popen[bytes]) -> None:
        self.name, self.state, self.process = name, state, process

    def work(self) -> str:
        beat = heartbeat.read(self.state / "run", self.name)
        return beat.work if beat and beat.pid == self.process.pid else ""

    def beats(self) -> int:
        beat = heartbeat.read(self.state / "run", self.name)
        return beat.at_ns if beat else 0

    def beats_again(self) -> None:
        before = self.beats()
        wait_for(lambda: self.beats() > before, within_s=30)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture
def workers(sqlite_url: str) -> Iterator[Workers]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-"))
        broker = Valkey(Path(folder))
        broker.start()
        stack.callback(broker.kill)
        yield Workers(sqlite_url, broker, stack)


def test_a_task_that_was_asked_for_is_done(workers: Workers):
    workers.start("strategy-worker")

    asked = workers.ask(steps=3, step_ms=1)

    wait_for(lambda: workers.done(asked), within_s=30)


def test_a_task_that_waited_before_the_worker_came_is_done_without_a_bell(workers: Workers):
    workers.broker.kill()
    asked = workers.ask(steps=1, step_ms=0)
    workers.broker.start()

    workers.start("strategy-worker")

    wait_for(lambda: workers.done(asked), within_s=30)


def test_two_workers_on_one_queue_do_every_task_once(workers: Workers):
    first, second = workers.start("strategy-worker"), workers.start("strategy-worker")
    first.beats_again()
    second.beats_again()

    asked = [workers.ask(steps=5, step_ms=10) for _ in range(40)]

    wait_for(lambda: workers.done(*asked), within_s=60)
    assert set(workers.times_done().values()) == {1}
    assert len(workers.times_done()) == 40


def test_a_drained_worker_ends_well_and_the_next_one_goes_on_where_it_stopped(workers: Workers):
    worker = workers.start("strategy-worker")
    asked = workers.ask(steps=300, step_ms=50)
    wait_for(lambda: workers.task(asked).progress > 0, within_s=30)

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(timeout=15) == 0
    left = workers.task(asked)
    assert left.status == "pending"
    assert 0 < left.progress < 1
    next_one = workers.start("strategy-worker", worker.state)
    wait_for(lambda: workers.task(asked).progress > left.progress, within_s=30)
    assert workers.task(asked).attempts <= 3
    next_one.process.terminate()


def test_what_a_killed_worker_held_is_taken_back_by_the_next_one_of_its_name(workers: Workers):
    worker = workers.start("strategy-worker")
    asked = workers.ask(steps=40, step_ms=50)
    wait_for(lambda: workers.task(asked).progress > 0, within_s=30)

    worker.process.kill()
    worker.process.wait()
    workers.start("strategy-worker", worker.state)

    wait_for(lambda: workers.done(asked), within_s=60)
    assert list(workers.times_done().values()) == [1]


def test_a_long_task_lets_the_others_pass(workers: Workers):
    workers.start("strategy-worker")
    long = workers.ask(steps=2_000, step_ms=50)
    wait_for(lambda: workers.task(long).progress > 0, within_s=30)

    short = workers.ask(steps=1, step_ms=0)

    wait_for(lambda: workers.done(short), within_s=30)
    assert workers.task(long).status in {"pending", "running"}


def test_a_worker_without_a_broker_beats_and_works_again_when_it_is_back(workers: Workers):
    worker = workers.start("strategy-worker")
    worker.beats_again()

    workers.broker.kill()
    wait_for(lambda: "waiting" in worker.work(), within_s=30)
    worker.beats_again()
    workers.broker.start()

    asked = workers.ask(steps=1, step_ms=0)
    wait_for(lambda: workers.done(asked), within_s=30)
    assert worker.process.poll() is None


def test_a_worker_beats_on_while_the_broker_hangs(workers: Workers):
    worker = workers.start("strategy-worker")
    worker.beats_again()

    workers.broker.freeze()
    try:
        wait_for(lambda: "waiting" in worker.work(), within_s=30)
        worker.beats_again()
    finally:
        workers.broker.thaw()

    asked = workers.ask(steps=1, step_ms=0)
    wait_for(lambda: workers.done(asked), within_s=60)


def test_a_worker_waits_for_a_database_that_is_not_there_yet(workers: Workers, tmp_path: Path):
    elsewhere = Workers(f"sqlite:///{tmp_path}/not-yet/flotilla.db", workers.broker, ExitStack())

    worker = elsewhere.start("strategy-worker", Path(tempfile.mkdtemp(prefix="fl-", dir=tmp_path)))

    wait_for(lambda: "waiting for the database" in worker.work(), within_s=30)
    worker.beats_again()
    _end(worker.process)


def test_the_cleaner_sweeps_what_another_host_left_behind(workers: Workers):
    asked = workers.ask(steps=1, step_ms=0)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with transaction(workers.engine) as db:
        tasks.claim(db, asked, worker="strategy-worker@gone", token="t", now=long_ago)

    workers.start("data-cleaner")

    wait_for(lambda: workers.task(asked).status == "pending", within_s=30)


def test_a_nightly_job_that_was_missed_while_the_machine_was_off_is_caught_up_once(workers: Workers):
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    with transaction(workers.engine) as db:
        checkpoints.save(db, "beat", "purge", {"finished_at": two_days_ago.isoformat()}, two_days_ago)

    cleaner = workers.start("data-cleaner")

    def purges() -> list[Task]:
        with reading(workers.engine) as db:
            return [task for task in tasks.recent(db, limit=50) if task.kind == "purge"]

    wait_for(purges, within_s=30)
    cleaner.beats_again()
    cleaner.process.kill()
    cleaner.process.wait()
    again = workers.start("data-cleaner", cleaner.state)
    wait_for(again.work, within_s=30)
    again.beats_again()
    again.beats_again()
    assert len(purges()) == 1


def test_the_cleaner_archives_into_its_state_folder_and_copies_the_database_there(workers: Workers):
    with transaction(workers.engine) as db:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        row = {"metric_type": "SYSTEM_HEALTH", "component": "monitor", "created_at": long_ago}
        db.execute(insert(tables.system_monitoring), [row] * 3)
    cleaner = workers.start("data-cleaner")
    archived, copied = workers.ask("archive"), workers.ask("backup")
    wait_for(lambda: workers.done(archived, copied), within_s=60)

    folder = cleaner.state / "demo"
    assert workers.task(archived).result == {"archived": {"system_monitoring": 3}, "deleted": {"system_monitoring": 3}}
    assert [one.rows for one in archives.listed(folder / "archive")] == [3]
    (made,) = backups.listed(folder / "backups")
    assert made.name == (workers.task(copied).result or {})["name"]
    assert made.redis.answered


def test_a_cancelled_task_ends_between_two_slices(workers: Workers):
    workers.start("strategy-worker")
    asked = workers.ask(steps=2_000, step_ms=50)
    wait_for(lambda: workers.task(asked).progress > 0, within_s=30)

    with transaction(workers.engine) as db:
        tasks.request_cancel(db, asked, datetime.now(UTC))

    wait_for(lambda: workers.task(asked).status == "cancelled", within_s=30)


def test_a_task_that_takes_its_worker_down_again_and_again_is_given_up(workers: Workers):
    asked = workers.ask(steps=2_000, step_ms=50)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with transaction(workers.engine) as db:
        tasks.claim(db, asked, worker="strategy-worker@gone", token="t", now=long_ago)
        db.execute(update(tables.tasks).where(tables.tasks.c.id == asked).values(attempts=MAX_ATTEMPTS))

    workers.start("data-cleaner")

    wait_for(lambda: workers.task(asked).status == "failed", within_s=30)
    assert workers.task(asked).error
