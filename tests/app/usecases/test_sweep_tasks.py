"""Putting back what was left behind, and ringing where a bell was lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.domain.tasks import LEASE_S, MAX_ATTEMPTS
from app.storage import recoveries, tasks
from app.storage.database import reading, transaction
from app.usecases.sweep_tasks import Swept, sweep, take_back
from tests.builders import NOW, later


@pytest.fixture
def bell(valkey_url: str) -> Iterator[Bell]:
    bell = Bell(valkey_url)
    yield bell
    bell.close()


def ask(engine: Engine, queue: str) -> int:
    with transaction(engine) as db:
        return tasks.ask(db, kind="drill", queue=queue, payload={"steps": 1}, trace_id=None, now=NOW)


def test_a_lost_bell_is_rung_again(engine: Engine, bell: Bell):
    ask(engine, "strategy")
    too_early = sweep(engine, bell, now=later(1))
    in_time = sweep(engine, bell, now=later(3))

    assert (too_early, in_time) == (Swept(0, ()), Swept(0, ("strategy",)))
    assert (bell.length("strategy"), bell.length("cleaner")) == (1, 0)


def test_what_a_dead_worker_held_is_put_back_and_rung_for(engine: Engine, bell: Bell):
    task_id = ask(engine, "cleaner")
    with transaction(engine) as db:
        tasks.claim(db, task_id, worker="w1", token="t1", now=NOW)
    alive = sweep(engine, bell, now=later(LEASE_S - 1))
    dead = sweep(engine, bell, now=later(LEASE_S + 1))
    with reading(engine) as db:
        assert tasks.next_pending(db, "cleaner", now=later(10_000)) == task_id

    assert (alive, dead) == (Swept(0, ()), Swept(1, ("cleaner",)))
    assert bell.length("cleaner") == 1


def test_what_was_left_behind_is_noted_with_what_became_of_it(engine: Engine, bell: Bell):
    task_id = ask(engine, "cleaner")
    for attempt in range(MAX_ATTEMPTS):
        with transaction(engine) as db:
            tasks.claim(db, task_id, worker="w1", token=f"t{attempt}", now=NOW)
        take_back(engine, now=later(attempt + 1), worker="w1")
    sweep(engine, bell, now=later(9))

    with reading(engine) as db:
        noted = recoveries.recent(db, limit=9)[::-1]
    assert [one.outcome for one in noted] == ["recovered"] * (MAX_ATTEMPTS - 1) + ["given_up"]
    assert [one.note for one in noted][-2:] == ["1 wait again", "1 are given up"]


def test_without_a_broker_nothing_is_rung_and_nothing_lost(sqlite_engine: Engine, tmp_path: Path):
    ask(sqlite_engine, "strategy")

    assert sweep(sqlite_engine, Bell(f"unix://{tmp_path / 'nobody.sock'}"), now=later(3)) == Swept(0, ())
