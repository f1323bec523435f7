"""Tasks as rows: claimed by one, guarded by a token, taken back when their worker is gone."""

import subprocess
import sys
import threading

import pytest
from sqlalchemy import Engine

from app.domain.tasks import LEASE_S, MAX_ATTEMPTS, Slice, Task
from app.errors import Conflict, NotFound
from app.storage import tasks
from app.storage.database import reading, transaction
from tests.builders import NOW, later

HALF = Slice({"done": 1}, 0.5)
WHOLE = Slice({"done": 2}, 1.0, {"sum": 3})


def ask(engine: Engine, *, queue: str = "strategy", now=NOW) -> int:
    with transaction(engine) as db:
        return tasks.ask(db, kind="drill", queue=queue, payload={"steps": 2}, trace_id="abc", now=now)


def claim(engine: Engine, task_id: int, *, worker: str = "w1", token: str = "t1", now=NOW) -> Task | None:
    with transaction(engine) as db:
        return tasks.claim(db, task_id, worker=worker, token=token, now=now)


def save(engine: Engine, task_id: int, slice_: Slice, *, token: str = "t1", now=NOW) -> bool:
    with transaction(engine) as db:
        return tasks.save_slice(db, task_id, token, slice_, now)


def take_back(engine: Engine, *, now, worker: str | None = None) -> int:
    with transaction(engine) as db:
        return tasks.return_left_behind(db, now=now, worker=worker).all


def read(engine: Engine, task_id: int) -> Task:
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    return task


def test_a_task_is_asked_for_claimed_and_done(engine: Engine):
    task_id = ask(engine)
    claimed = claim(engine, task_id, now=later(1))
    kept = save(engine, task_id, HALF, now=later(2))
    finished = save(engine, task_id, WHOLE, now=later(3))
    task = read(engine, task_id)

    assert claimed is not None
    assert (claimed.status, claimed.payload, claimed.attempts, claimed.state) == ("running", {"steps": 2}, 1, None)
    assert (kept, finished) == (True, True)
    assert (task.status, task.state, task.progress, task.result) == ("done", {"done": 2}, 1.0, {"sum": 3})
    assert (task.created_at, task.started_at, task.finished_at) == (NOW, later(1), later(3))
    assert (task.claim_token, task.lease_until, task.trace_id, task.claimed_by) == (None, None, "abc", "w1")


def test_a_claimed_task_cannot_be_claimed_again(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)

    assert claim(engine, task_id, worker="w2", token="t2") is None
    assert read(engine, task_id).claimed_by == "w1"


def test_eight_threads_claim_at_once_and_one_wins(engine: Engine):
    for _ in range(5):
        task_id = ask(engine)
        winners: list[str] = []
        together = threading.Barrier(8)

        def compete(name: str, task_id: int = task_id, won: list[str] = winners, start: threading.Barrier = together):
            start.wait()
            if claim(engine, task_id, worker=name, token=name):
                won.append(name)

        threads = [threading.Thread(target=compete, args=(f"w{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert winners == [read(engine, task_id).claimed_by]


COMPETE = """
import sys
from datetime import UTC, datetime
from app.storage import tasks
from app.storage.database import open_engine, reading, transaction
engine, name, won = open_engine(sys.argv[1]), sys.argv[2], 0
print("ready", flush=True)
sys.stdin.readline()
while True:
    with reading(engine) as db:
        candidate = tasks.next_pending(db, "strategy", now=datetime.now(UTC))
    if candidate is None:
        break
    with transaction(engine) as db:
        won += tasks.claim(db, candidate, worker=name, token=name, now=datetime.now(UTC)) is not None
print(won)
"""


def test_eight_processes_share_the_tasks_without_doing_one_twice(engine: Engine, database_url: str):
    for _ in range(40):
        ask(engine)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COMPETE, database_url, f"w{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(8)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    won = [int(worker.communicate("go\n")[0]) for worker in workers]
    with reading(engine) as db:
        done = tasks.recent(db, limit=100)

    assert sum(won) == 40
    assert {task.attempts for task in done} == {1}


def test_the_longest_waiting_task_of_a_queue_is_next(engine: Engine):
    first, second, other = ask(engine, now=later(1)), ask(engine, now=later(2)), ask(engine, queue="cleaner")
    with reading(engine) as db:
        assert tasks.next_pending(db, "strategy", now=later(10_000)) == first
        assert tasks.next_pending(db, "cleaner", now=later(10_000)) == other
        assert tasks.next_pending(db, "nobody", now=later(10_000)) is None
    claim(engine, first)
    with reading(engine) as db:
        assert tasks.next_pending(db, "strategy", now=later(10_000)) == second


def test_a_task_that_was_given_back_goes_behind_those_that_wait(engine: Engine):
    first, second = ask(engine), ask(engine, now=later(1))
    claim(engine, first)
    with transaction(engine) as db:
        assert tasks.release(db, first, "t1", later(2))
    with reading(engine) as db:
        assert tasks.next_pending(db, "strategy", now=later(10_000)) == second


def test_a_zombie_changes_nothing(engine: Engine):
    """It was taken for dead, another worker went on with its task, and now it wakes up."""
    task_id = ask(engine)
    claim(engine, task_id)
    take_back(engine, now=later(LEASE_S + 1))
    claim(engine, task_id, worker="w2", token="t2", now=later(LEASE_S + 2))
    before = read(engine, task_id)
    with transaction(engine) as db:
        written = [
            tasks.save_slice(db, task_id, "t1", HALF, later(99)),
            tasks.save_slice(db, task_id, "t1", WHOLE, later(99)),
            tasks.fail(db, task_id, "t1", "too late", later(99)),
            tasks.cancel(db, task_id, "t1", later(99)),
            tasks.release(db, task_id, "t1", later(99)),
        ]

    assert written == [False] * 5
    assert read(engine, task_id) == before


def test_nothing_is_written_to_a_task_that_is_over(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    save(engine, task_id, WHOLE)

    assert not save(engine, task_id, HALF)
    assert claim(engine, task_id, token="t2") is None
    assert take_back(engine, now=later(10_000)) == 0


def test_each_slice_renews_the_lease(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    save(engine, task_id, HALF, now=later(LEASE_S - 1))

    assert take_back(engine, now=later(LEASE_S + 1)) == 0
    assert take_back(engine, now=later(2 * LEASE_S)) == 1
    assert read(engine, task_id).state == {"done": 1}


def test_a_dead_predecessors_tasks_come_back_at_once_and_no_others(engine: Engine):
    mine, others = ask(engine), ask(engine)
    claim(engine, mine, worker="w1")
    claim(engine, others, worker="w2")

    assert take_back(engine, now=later(1), worker="w1") == 1
    assert (read(engine, mine).status, read(engine, others).status) == ("pending", "running")


def test_a_task_that_ends_its_worker_again_and_again_is_given_up(engine: Engine):
    task_id = ask(engine)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = claim(engine, task_id)
        assert claimed is not None
        assert claimed.attempts == attempt
        assert take_back(engine, now=later(1), worker="w1") == 1
    task = read(engine, task_id)

    assert (task.status, task.finished_at) == ("failed", later(1))
    assert f"{MAX_ATTEMPTS} times" in (task.error or "")


def test_a_task_that_makes_progress_may_be_interrupted_any_number_of_times(engine: Engine):
    task_id = ask(engine)
    for _ in range(3 * MAX_ATTEMPTS):
        claim(engine, task_id)
        save(engine, task_id, HALF)
        take_back(engine, now=later(1), worker="w1")

    assert read(engine, task_id).status == "pending"


def test_draining_does_not_count_as_an_attempt(engine: Engine):
    task_id = ask(engine)
    for _ in range(3 * MAX_ATTEMPTS):
        claim(engine, task_id)
        with transaction(engine) as db:
            assert tasks.release(db, task_id, "t1", NOW)
    task = read(engine, task_id)

    assert (task.status, task.attempts, task.claimed_by) == ("pending", 0, None)


def test_a_failed_task_says_why_at_a_bearable_length(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    with transaction(engine) as db:
        assert tasks.fail(db, task_id, "t1", "x" * 100_000, later(1))
    task = read(engine, task_id)

    assert (task.status, task.finished_at) == ("failed", later(1))
    assert 1000 < len(task.error or "") < 10_000


def test_what_waits_is_cancelled_at_once(engine: Engine):
    task_id = ask(engine)
    with transaction(engine) as db:
        task = tasks.request_cancel(db, task_id, later(1))

    assert (task.status, task.finished_at) == ("cancelled", later(1))
    assert claim(engine, task_id) is None


def test_what_runs_is_marked_and_its_worker_cancels_it(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    with transaction(engine) as db:
        task = tasks.request_cancel(db, task_id, later(1))
    assert (task.status, task.cancel_requested, task.finished_at) == ("running", True, None)

    with transaction(engine) as db:
        assert tasks.cancel(db, task_id, "t1", later(2))

    assert (read(engine, task_id).status, read(engine, task_id).finished_at) == ("cancelled", later(2))


def test_what_was_to_be_cancelled_does_not_start_again_after_its_workers_death(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    with transaction(engine) as db:
        tasks.request_cancel(db, task_id, later(1))

    assert take_back(engine, now=later(2), worker="w1") == 1
    assert read(engine, task_id).status == "cancelled"


def test_what_is_over_or_unknown_cannot_be_cancelled(engine: Engine):
    task_id = ask(engine)
    claim(engine, task_id)
    save(engine, task_id, WHOLE)

    with pytest.raises(Conflict, match="already done"), transaction(engine) as db:
        tasks.request_cancel(db, task_id, NOW)
    with pytest.raises(NotFound), transaction(engine) as db:
        tasks.request_cancel(db, task_id + 1000, NOW)


def test_the_newest_are_read_page_by_page(engine: Engine):
    ids = [ask(engine) for _ in range(5)]
    claim(engine, ids[0])
    with reading(engine) as db:
        page = tasks.recent(db, limit=2)
        rest = tasks.recent(db, limit=9, before_id=page[-1].id)
        running = tasks.recent(db, limit=9, status="running")

    assert [task.id for task in page + rest] == ids[::-1]
    assert [task.id for task in running] == [ids[0]]


def test_queues_are_counted_and_those_that_wait_too_long_are_named(engine: Engine):
    claim(engine, ask(engine))
    ask(engine, now=later(10))
    ask(engine, queue="cleaner")
    with reading(engine) as db:
        assert tasks.counts(db) == {("strategy", "running"): 1, ("strategy", "pending"): 1, ("cleaner", "pending"): 1}
        assert tasks.waiting_queues(db, asked_before=later(5)) == ["cleaner"]
        assert tasks.waiting_queues(db, asked_before=later(11)) == ["cleaner", "strategy"]


def test_a_task_that_is_to_be_tried_again_waits_its_time_and_goes_on_from_its_state(engine: Engine):
    first, second = ask(engine), ask(engine, now=later(1))
    claim(engine, first)
    with transaction(engine) as db:
        assert not tasks.try_again(db, first, "another's", {}, later(600))
        assert tasks.try_again(db, first, "t1", {"half": True}, later(600))
    with reading(engine) as db:
        early, in_time = (tasks.next_pending(db, "strategy", now=later(at)) for at in (599, 600))
        kept = tasks.get(db, first)
    claim(engine, second)
    with reading(engine) as db:
        alone = [tasks.next_pending(db, "strategy", now=later(at)) for at in (599, 600)]

    assert (early, in_time, alone) == (second, second, [None, first])
    assert kept is not None
    assert (kept.status, kept.state, kept.attempts, kept.claim_token) == ("pending", {"half": True}, 0, None)


def test_a_clock_that_was_set_back_keeps_no_task_waiting(engine: Engine):
    asked = ask(engine, now=later(86_400))
    with reading(engine) as db:
        assert tasks.next_pending(db, "strategy", now=NOW) == asked
