"""Deleting what is past its time."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text

from app.domain.market.timeframes import DAY_MS
from app.domain.retention import POLICY
from app.domain.tasks import Slice, Task
from app.errors import InvalidInput
from app.exchanges.exchange import Instrument
from app.storage import audit, checkpoints, flow, free_pages, klines, pairs, tasks
from app.storage.database import open_engine, reading, transaction
from app.storage.flow import Flow
from app.storage.klines import Kline
from app.storage.tables import metadata, refused_messages
from app.usecases import purge, roll_up
from app.usecases.run_tasks import run_next
from ops.migrate import upgrade
from tests.builders import NOW

OLD = 1_007


def fill(engine: Engine) -> None:
    """For each rule, rows just within their time and just past it."""
    with transaction(engine) as db:
        for days, channel in ((6, "young"), (8, "old")):
            row = {"at": NOW - timedelta(days=days), "exchange": "binance", "channel": channel, "reason": "late"}
            db.execute(insert(refused_messages), [row] * (3 if channel == "young" else OLD))
        for days in (364, 366):
            audit.record(db, now=NOW - timedelta(days=days), actor="a", action="b", subject=f"{days} days")
        for days in (6, 8):
            at = NOW - timedelta(days=days)
            task_id = tasks.ask(db, kind="drill", queue="done", payload={}, trace_id=None, now=at)
            tasks.claim(db, task_id, worker="w", token="t", now=at)
            tasks.save_slice(db, task_id, "t", Slice({}, 1.0, {"days": days}), at)
        tasks.ask(db, kind="drill", queue="waiting", payload={}, trace_id=None, now=NOW - timedelta(days=100))


def run(engine: Engine, least: int = 1) -> Task:
    with transaction(engine) as db:
        task_id = tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
    slices: list[str] = []
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=slices.append, draining=lambda: False)
    with reading(engine) as db:
        task = tasks.get(db, task_id)
    assert task is not None
    assert len(slices) >= least  # tasks; traces; batches of what was refused; all that there is none of
    return task


def test_what_is_past_its_time_goes_and_all_else_stays(engine: Engine):
    fill(engine)
    task = run(engine, least=5)
    with reading(engine) as db:
        channels = set(db.execute(select(refused_messages.c.channel)).scalars())
        subjects = [row.subject for row in audit.recent(db, 9)]
        left = {one.queue: one.status for one in tasks.recent(db, limit=9)}
        refused = db.execute(select(func.count()).select_from(refused_messages)).scalar()

    assert (task.status, task.progress) == ("done", 1.0)
    assert (task.result or {})["deleted"] == {"tasks": 1, "audit_log": 1, "refused_messages": OLD}
    assert (channels, refused, subjects) == ({"young"}, 3, ["364 days"])
    assert left == {"done": "done", "waiting": "pending", "cleaner": "done"}


def test_a_purge_takes_no_payload():
    with pytest.raises(InvalidInput):
        purge.begin({"table": "symbols"})


def test_a_table_whose_rule_was_dropped_meanwhile_is_left_alone(sqlite_engine: Engine):
    state = {"left": ["symbols", "strategy_judgments", "tasks"], "deleted": {"audit_log": 1}}
    with transaction(sqlite_engine) as db:
        task_id = tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
        task = tasks.get(db, task_id)
        assert task is not None
        slice_ = purge.step(db, task, state, NOW)

    assert slice_.result == {"deleted": {"audit_log": 1}, "pages_handed_back": 0}


def test_every_rule_names_a_table_its_moment_and_an_index_on_it():
    for keep in POLICY:
        table = metadata.tables[keep.table]
        found_by = keep.found_by or keep.since
        asked = [found_by] if keep.timeframe is None else ["timeframe", *["source"] * bool(keep.sources), found_by]
        indexes = [[column.name for column in index.columns][: len(asked)] for index in table.indexes]

        assert keep.since in table.columns
        assert asked in indexes, f"Without an index, purging {keep.name} reads all of it for each batch."
        assert "id" in table.columns


MARKET_MS = 1_763_000_040_000


def candle(age_days: float, timeframe: str = "1m", source: str = "stream") -> Kline:
    opened = MARKET_MS - int(age_days * DAY_MS)
    return Kline(1, timeframe, opened, 1.0, 2.0, 0.5, 1.5, 10.0, source=source)  # type: ignore[arg-type]


def purge_all(engine: Engine) -> None:
    with transaction(engine) as db:
        tasks.ask(db, kind="purge", queue="cleaner", payload={}, trace_id=None, now=NOW)
    run_next(engine, queue="cleaner", worker="w1", now=lambda: NOW, beat=lambda _: None, draining=lambda: False)


def ages(engine: Engine, timeframe: str = "1m") -> list[float]:
    with reading(engine) as db:
        return [(MARKET_MS - row.open_time) / DAY_MS for row in klines.read(db, 1, timeframe)]


def rolled_up(engine: Engine, age_days: float) -> None:
    with transaction(engine) as db:
        state = {"until_ms": MARKET_MS - int(age_days * DAY_MS)}
        checkpoints.save(db, roll_up.OWNER, roll_up.NAME, state, NOW)


def test_rows_of_the_market_go_by_the_markets_time_and_by_their_resolution(engine: Engine):
    """The market's clock stands a year before ours here, as it may stand ahead of it in a sped-up demo."""
    ages_1m, ages_1h, ages_1d = (0, 13.5, 14.5), (700, 731), (0, 4_000)
    with transaction(engine) as db:
        klines.store(db, [candle(age) for age in ages_1m])
        klines.store(db, [candle(age, "1h") for age in ages_1h] + [candle(age, "1d") for age in ages_1d])
    rolled_up(engine, 0)
    purge_all(engine)

    assert ages(engine) == [13.5, 0]
    assert ages(engine, "1h") == [700]
    assert ages(engine, "1d") == [4_000, 0]


def test_minutes_stay_until_they_are_rolled_up(engine: Engine):
    with transaction(engine) as db:
        klines.store(db, [candle(age) for age in (0, 20, 30)])
        few = [None] * 12
        flow.store(db, [Flow(1, "1m", MARKET_MS - 30 * DAY_MS, *few)])
    purge_all(engine)
    before = ages(engine)
    rolled_up(engine, 25)
    purge_all(engine)

    assert before == [30, 20, 0]
    assert ages(engine) == [20, 0]
    with reading(engine) as db:
        assert flow.read(db, 1, "1m") == []


def test_what_a_person_replayed_stays_and_tells_no_time(engine: Engine):
    with transaction(engine) as db:
        known = [Instrument("BTC/USDT:USDT", "BTC", "USDT", "USDT")]
        [replayed] = pairs.ensure_pairs(db, "replay-binance", known, NOW).values()
        [watched] = pairs.ensure_pairs(db, "binance", known, NOW).values()
        for pair_id in (replayed, watched):
            klines.store(db, [replace(candle(age), pair_id=pair_id) for age in (10, 900)])
            flow.store(db, [Flow(pair_id, "1m", MARKET_MS - age * DAY_MS, *[None] * 12) for age in (10, 900)])
        klines.store(db, [replace(candle(-300), pair_id=replayed)])
    rolled_up(engine, 0)
    purge_all(engine)

    with reading(engine) as db:
        assert [len(klines.read(db, pair_id, "1m", limit=9)) for pair_id in (replayed, watched)] == [3, 1]
        assert [len(flow.read(db, pair_id, "1m")) for pair_id in (replayed, watched)] == [2, 1]


def test_what_a_person_imported_stays_and_tells_no_time(engine: Engine):
    with transaction(engine) as db:
        klines.store(db, [candle(age, source="import") for age in (-300, 0, 900)] + [candle(10), candle(20)])
    rolled_up(engine, 0)
    purge_all(engine)

    assert ages(engine) == [900, 20, 10, 0, -300]


def pages(engine: Engine, pragma: str = "page_count") -> int:
    with reading(engine) as db:
        return int(db.execute(text(f"PRAGMA {pragma}")).scalar_one())


def refuse(engine: Engine, count: int) -> None:
    row = {"at": NOW - timedelta(days=8), "exchange": "binance", "channel": "old", "reason": "r", "detail": "x" * 200}
    with transaction(engine) as db:
        db.execute(insert(refused_messages), [row] * count)


def test_what_a_purge_leaves_free_in_the_file_of_sqlite_goes_back_to_the_disk(sqlite_engine: Engine, tmp_path: Path):
    empty = pages(sqlite_engine)
    refuse(sqlite_engine, 3_000)
    full = pages(sqlite_engine)
    task = run(sqlite_engine)
    with sqlite_engine.connect() as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()

    assert full > empty + 100
    assert pages(sqlite_engine, "freelist_count") == 0
    assert (tmp_path / "flotilla.db").stat().st_size == pages(sqlite_engine) * 4096 < (empty + 30) * 4096
    assert (task.result or {})["pages_handed_back"] > full - empty - 30


def test_pages_are_handed_back_in_many_short_slices(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(purge, "_HAND_BACK_MS", 0.0)
    refuse(sqlite_engine, 300)
    with transaction(sqlite_engine) as db:
        db.execute(delete(refused_messages))
        free = free_pages.hand_back(db, for_ms=0)
    assert free == 1
    before = pages(sqlite_engine, "freelist_count")
    task = run(sqlite_engine)

    assert before > 10
    assert (task.result or {})["pages_handed_back"] >= before
    assert pages(sqlite_engine, "freelist_count") == 0


def test_while_somebody_reads_an_old_moment_no_page_is_handed_back_for_that_would_only_take_more_room(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    refuse(sqlite_engine, 300)
    with transaction(sqlite_engine) as db:
        db.execute(delete(refused_messages))
    monkeypatch.setattr(free_pages, "LONGEST_WAL", 10)
    assert (run(sqlite_engine).result or {})["pages_handed_back"] == 0

    monkeypatch.undo()
    assert (run(sqlite_engine).result or {})["pages_handed_back"] > 0


def test_a_database_that_was_made_before_is_purged_as_ever_and_stays_as_it_was_made(tmp_path: Path):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as before:
        before.execute("PRAGMA auto_vacuum = NONE").close()
        before.execute("PRAGMA user_version = 1").close()
    upgrade(f"sqlite:///{path}")
    engine = open_engine(f"sqlite:///{path}")
    refuse(engine, 300)
    task = run(engine)

    assert task.result == {"deleted": {"refused_messages": 300}, "pages_handed_back": 0}
    assert (pages(engine, "auto_vacuum"), pages(engine, "freelist_count") > 0) == (0, True)
    engine.dispose()


def test_a_database_that_was_made_before_hands_pages_back_once_a_person_has_converted_it(tmp_path: Path):
    """As docs/runbook.md says it."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as before:
        before.execute("PRAGMA user_version = 1").close()
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL").close()
        db.execute("VACUUM").close()
    engine = open_engine(f"sqlite:///{path}")
    refuse(engine, 300)

    assert (run(engine).result or {})["pages_handed_back"] > 10
    engine.dispose()
