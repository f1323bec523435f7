"""A worker is killed at random moments, again and again. Its work is done once, and at most one slice of it twice."""

import random
import subprocess
import sys
import time

from sqlalchemy import Engine

from app.domain.tasks import MAX_ATTEMPTS, Task
from app.storage import audit, tasks
from app.storage.database import reading, transaction
from app.usecases.drill import STEPS_A_SLICE
from tests.builders import NOW

WORKER = """
import sys
from datetime import UTC, datetime
from app.storage import tasks
from app.storage.database import open_engine, transaction
from app.usecases.run_tasks import run_next

def now():
    return datetime.now(UTC)

engine = open_engine(sys.argv[1])
with transaction(engine) as db:
    tasks.return_left_behind(db, now=now(), worker="worker")
print("started", flush=True)
run_next(
    engine, queue="strategy", worker="worker", now=now, beat=lambda _: print("slice", flush=True), draining=lambda: False
)
"""
KILLS = {"sqlite": 8, "mysql": 5, "postgresql": 5}
STEPS = {"sqlite": 5_000, "mysql": 2_500, "postgresql": 2_500}
STEP_MS = 1


def test_a_drill_whose_worker_is_killed_at_random_is_done_once(engine: Engine, database_url: str):
    steps = STEPS[engine.dialect.name]
    with transaction(engine) as db:
        payload = {"steps": steps, "step_ms": STEP_MS}
        task_id = tasks.ask(db, kind="drill", queue="strategy", payload=payload, trace_id="abc", now=NOW)
    chance = random.Random(7)
    for _ in range(KILLS[engine.dialect.name]):
        before = read(engine, task_id)
        reported = STEPS_A_SLICE * run_and_kill(
            database_url,
            after_s=chance.uniform(0, 8 * STEPS_A_SLICE * STEP_MS / 1000),
            not_before_a_slice=before.attempts >= MAX_ATTEMPTS - 1,
        )
        after = read(engine, task_id)

        assert after.status in ("pending", "running"), "The drill must outlast the killing."
        assert done(before) + reported <= done(after) <= done(before) + reported + STEPS_A_SLICE

    subprocess.run([sys.executable, "-c", WORKER, database_url], check=True, stdout=subprocess.DEVNULL)

    task = read(engine, task_id)
    assert (task.status, task.result, done(task)) == ("done", {"steps": steps}, steps)
    with reading(engine) as db:
        traces = [(row.action, row.subject, row.after, row.trace_id) for row in audit.recent(db, 100)]
    assert traces == [("drill_done", f"task {task_id}", {"steps": steps}, "abc")]


def run_and_kill(url: str, *, after_s: float, not_before_a_slice: bool) -> int:
    """Start a worker and kill it; how many slices it has said to be kept."""
    with subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "started\n"
        said = worker.stdout.readline() if not_before_a_slice else ""
        time.sleep(after_s)
        worker.kill()
        said += worker.stdout.read()
    return said.count("slice\n")


def read(engine: Engine, task_id: int) -> Task:
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    return task


def done(task: Task) -> int:
    return 0 if task.state is None else task.state["done"]
