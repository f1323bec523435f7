"""Running tasks in slices: each takes effect once, whatever happens in between."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, update

from app.domain.tasks import TRY_AGAIN_AFTER, Slice, Task
from app.errors import Conflict, CorruptData, LimitExceeded, Unavailable
from app.host.logs import trace_id
from app.storage import audit, tasks
from app.storage.database import reading, transaction
from app.storage.tables import tasks as task_rows
from app.usecases.run_tasks import run_next
from app.usecases.task_table import KINDS, TaskKind
from tests.builders import NOW, later

Between = Callable[[Connection, Task, dict[str, Any]], None]


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Between], None]:
    """Makes a kind "count" of three slices. Each leaves a trace, then does what the test wants."""

    def define(then: Between) -> None:
        def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:
            done = state["done"] + 1
            audit.record(db, now=now, actor="count", action="count", subject=str(done))
            then(db, task, {"done": done})
            return Slice({"done": done}, done / 3, {"counted": 3} if done == 3 else None)

        counting = TaskKind("count", "strategy", "Count to three.", lambda _payload: {"done": 0}, step)
        monkeypatch.setitem(KINDS, "count", counting)

    return define


def nothing(*_: object) -> None:
    pass


def ask(engine: Engine, kind: str = "count", payload: dict | None = None, trace: str | None = None) -> int:
    with transaction(engine) as db:
        return tasks.ask(db, kind=kind, queue="strategy", payload=payload or {}, trace_id=trace, now=NOW)


def run(
    engine: Engine,
    *,
    worker: str = "w1",
    beat: Callable[[str], None] = nothing,
    draining: Callable[[], bool] = lambda: False,
    put_off: Collection[str] = (),
) -> bool:
    return run_next(
        engine,
        queue="strategy",
        worker=worker,
        now=lambda: later(5),
        beat=beat,
        draining=draining,
        put_off=put_off,
    )


def read(engine: Engine, task_id: int) -> Task:
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    return task


def traces(engine: Engine) -> list[str]:
    with reading(engine) as db:
        return [row.subject for row in audit.recent(db, 100)][::-1]


def turns(*answers: bool) -> Callable[[], bool]:
    """Answers that are given one after another, the last one for ever."""
    left: Iterator[bool] = iter(answers)
    return lambda: next(left, answers[-1])


def test_a_task_is_run_to_its_end(engine: Engine, kind):
    kind(nothing)
    task_id = ask(engine)
    beats: list[str] = []

    assert run(engine, beat=beats.append)

    task = read(engine, task_id)
    assert (task.status, task.result, task.finished_at) == ("done", {"counted": 3}, later(5))
    assert traces(engine) == ["1", "2", "3"]
    assert beats == [f"count {task_id}: 33%", f"count {task_id}: 67%", f"count {task_id}: 100%"]


def test_nothing_pending_is_said(engine: Engine):
    assert not run(engine)


def test_one_task_is_run_at_a_time(engine: Engine, kind):
    kind(nothing)
    first, second = ask(engine), ask(engine)
    run(engine)

    assert (read(engine, first).status, read(engine, second).status) == ("done", "pending")


def test_a_kind_that_is_put_off_waits_and_lets_the_others_pass(engine: Engine, kind):
    kind(nothing)
    waiting, other = ask(engine, "drill", {"steps": 1, "step_ms": 0}), ask(engine)

    assert run(engine, put_off={"drill"})
    assert not run(engine, put_off={"drill"})
    assert (read(engine, waiting).status, read(engine, other).status) == ("pending", "done")
    assert run(engine)
    assert read(engine, waiting).status == "done"


def test_a_draining_worker_takes_nothing_new(engine: Engine, kind):
    kind(nothing)
    task_id = ask(engine)

    assert not run(engine, draining=lambda: True)
    assert read(engine, task_id).attempts == 0


def test_a_draining_worker_finishes_its_slice_and_another_goes_on(engine: Engine, kind):
    kind(nothing)
    task_id = ask(engine)
    run(engine, draining=turns(False, True))
    drained = read(engine, task_id)
    run(engine, worker="w2")

    assert (drained.status, drained.state, drained.attempts) == ("pending", {"done": 1}, 0)
    assert (read(engine, task_id).status, read(engine, task_id).claimed_by) == ("done", "w2")
    assert traces(engine) == ["1", "2", "3"]


def test_a_cancelled_task_stops_between_two_slices(engine: Engine, kind):
    kind(nothing)
    task_id = ask(engine)

    def cancel_now(_text: str) -> None:
        with transaction(engine) as db:
            tasks.request_cancel(db, task_id, later(1))

    run(engine, beat=cancel_now)

    assert read(engine, task_id).status == "cancelled"
    assert traces(engine) == ["1"]


def test_a_fault_fails_the_task_with_its_message_and_undoes_the_slice(engine: Engine, kind):
    def fail_at_two(_db: Connection, _task: Task, state: dict) -> None:
        if state["done"] == 2:
            raise LimitExceeded("Too many candles.", cure="Ask for fewer.")

    kind(fail_at_two)
    task_id = ask(engine)

    assert run(engine)

    task = read(engine, task_id)
    assert (task.status, task.error) == ("failed", "Too many candles. Ask for fewer.")
    assert (task.state, traces(engine)) == ({"done": 1}, ["1"])


def busy(engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> list[str]:
    """A kind "count" that tries again, and whose second slice fails so often; how its task stands after each run."""
    left = [error] * times

    def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:
        done = state["done"] + 1
        audit.record(db, now=now, actor="count", action="count", subject=str(done))
        if done == 2 and left:
            raise left.pop()
        return Slice({**state, "done": done}, done / 3, {"counted": 3} if done == 3 else None)

    kind = TaskKind("count", "strategy", "Count.", lambda _payload: {"done": 0}, step, tries_again=True)
    monkeypatch.setitem(KINDS, "count", kind)
    task_id, found = ask(engine), []
    for turn in range(9):
        at = later(5) + turn * TRY_AGAIN_AFTER
        while run_next(
            engine, queue="strategy", worker="w", now=lambda at=at: at, beat=nothing, draining=lambda: False
        ):
            found.append(read(engine, task_id).status)
    return found


@pytest.mark.parametrize("error", [Conflict("Somebody reads it."), LimitExceeded("The disk is full.")])
def test_what_may_have_passed_in_some_minutes_is_tried_again_from_where_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    assert busy(engine, monkeypatch, error, times=3) == ["pending", "pending", "pending", "done"]
    assert traces(engine) == ["1", "2", "3"]


def test_what_does_not_pass_fails_after_three_more_tries_with_its_message(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    error = LimitExceeded("The disk is full.", cure="Free space.")
    assert busy(engine, monkeypatch, error, times=99) == ["pending", "pending", "pending", "failed"]
    with reading(engine) as db:
        (task,) = tasks.recent(db, limit=9)
    assert task.error == "The disk is full. Free space."


def test_what_no_time_mends_is_not_tried_again(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    assert busy(engine, monkeypatch, CorruptData("It is damaged."), times=1) == ["failed"]


def test_an_unforeseen_fault_ends_the_task_but_not_the_worker(engine: Engine, kind):
    kind(lambda *_: 1 / 0)
    task_id = ask(engine)

    assert run(engine)
    assert "ZeroDivisionError" in (read(engine, task_id).error or "")


def test_a_task_of_a_kind_that_is_not_known_fails(engine: Engine):
    task_id = ask(engine, kind="from_the_future")
    run(engine)

    assert "from_the_future" in (read(engine, task_id).error or "")


def test_a_payload_that_slipped_past_the_door_fails_the_task(engine: Engine):
    task_id = ask(engine, kind="drill", payload={"steps": -1})
    run(engine)

    assert read(engine, task_id).status == "failed"


def test_when_something_is_unavailable_the_task_waits_and_the_worker_hears_of_it(engine: Engine, kind):
    def away(*_: object) -> None:
        raise Unavailable("The exchange does not answer.")

    kind(away)
    task_id = ask(engine)

    with pytest.raises(Unavailable, match="exchange"):
        run(engine)

    task = read(engine, task_id)
    assert (task.status, task.attempts, traces(engine)) == ("pending", 0, [])


def test_before_the_task_is_given_back_a_worker_shows_that_it_lives(engine: Engine, kind):
    """The slice has waited for the database, and giving back waits for it again."""
    seen: list[tuple[str, str]] = []

    def away(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    kind(away)
    task_id = ask(engine)
    with pytest.raises(Unavailable):
        run(engine, beat=lambda text: seen.append((text, read(engine, task_id).status)))

    assert seen == [("waiting for the database", "running")]


def test_a_claim_that_was_lost_undoes_the_slice(engine: Engine, kind):
    """While it computed, it was thought dead, and another worker finished the task."""
    other = []

    def look(_db: Connection, _task: Task, state: dict, _now: datetime) -> dict:
        if not other:
            other.append("w2")
            with transaction(engine) as db:
                tasks.return_left_behind(db, now=later(10_000))
            run(engine, worker="w2")
        return state

    kind(nothing)
    counting = KINDS["count"]
    KINDS["count"] = TaskKind("count", "strategy", "", counting.begin, counting.step, look)
    task_id = ask(engine)

    assert run(engine)

    assert (read(engine, task_id).status, read(engine, task_id).claimed_by) == ("done", "w2")
    assert traces(engine) == ["1", "2", "3"]


def test_the_trace_id_of_the_request_is_bound_while_its_task_runs(engine: Engine, kind):
    seen = []
    kind(lambda *_: seen.append(trace_id.get()))
    ask(engine, trace="abc")
    run(engine)

    assert seen == ["abc"] * 3
    assert trace_id.get() is None


def test_looking_keeps_no_writer_waiting(engine: Engine, kind):
    def look(_db: Connection, _task: Task, state: dict, _now: datetime) -> dict:
        with transaction(engine) as db:
            audit.record(db, now=NOW, actor="somebody", action="else", subject="meanwhile")
        return state

    kind(nothing)
    counting = KINDS["count"]
    KINDS["count"] = TaskKind("count", "strategy", "", counting.begin, counting.step, look)
    task_id = ask(engine)
    run(engine)

    assert read(engine, task_id).status == "done"
    assert traces(engine).count("meanwhile") == 3


def telling(monkeypatch: pytest.MonkeyPatch, then: Between = nothing) -> None:
    """A kind "count" of three slices, each of which has news."""

    def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:
        done = state["done"] + 1
        audit.record(db, now=now, actor="count", action="count", subject=str(done))
        then(db, task, {"done": done})
        return Slice({"done": done}, done / 3, {"counted": 3} if done == 3 else None, news=[f"counted {done}"])

    counting = TaskKind("count", "strategy", "Count to three.", lambda _payload: {"done": 0}, step)
    monkeypatch.setitem(KINDS, "count", counting)


def hearing(engine: Engine, heard: list[Any], **wishes: Any) -> bool:
    """Run a task, and hear its news with what was kept by then."""

    def tell(news: Sequence[Any]) -> None:
        heard.append((list(news), traces(engine)))

    return run_next(
        engine,
        queue="strategy",
        worker="w1",
        now=lambda: later(5),
        beat=nothing,
        draining=wishes.get("draining", lambda: False),
        tell=tell,
    )


def test_news_are_told_once_the_slice_is_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    telling(monkeypatch)
    task_id, heard = ask(engine), []
    hearing(engine, heard)

    assert heard == [(["counted 1"], ["1"]), (["counted 2"], ["1", "2"]), (["counted 3"], ["1", "2", "3"])]
    assert read(engine, task_id).status == "done"


def test_a_slice_that_is_lost_is_not_told(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def taken_over_in_the_second(db: Connection, task: Task, state: dict[str, Any]) -> None:
        if state["done"] == 2:
            db.execute(update(task_rows).where(task_rows.c.id == task.id).values(claim_token="another's"))

    telling(monkeypatch, taken_over_in_the_second)
    ask(engine)
    heard: list[Any] = []
    hearing(engine, heard)

    assert [news for news, _ in heard] == [["counted 1"]]
    assert traces(engine) == ["1"]


def test_a_slice_that_fails_is_not_told(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def breaks(_db: Connection, _task: Task, state: dict[str, Any]) -> None:
        if state["done"] == 2:
            raise LimitExceeded("Too much.")

    telling(monkeypatch, breaks)
    task_id, heard = ask(engine), []
    hearing(engine, heard)

    assert heard == [(["counted 1"], ["1"])]
    assert read(engine, task_id).status == "failed"


def test_what_was_told_is_not_told_again_by_who_goes_on(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    telling(monkeypatch)
    ask(engine)
    heard: list[Any] = []
    hearing(engine, heard, draining=turns(False, True))
    hearing(engine, heard)

    assert [news for news, _ in heard] == [["counted 1"], ["counted 2"], ["counted 3"]]


def test_a_slice_without_news_tells_nothing(engine: Engine, kind):
    kind(nothing)
    ask(engine)
    heard: list[Any] = []
    hearing(engine, heard)

    assert heard == []
