"""Moving what is past its time into the archive."""

import random
import subprocess
import sys
import time
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from app.domain.tasks import TRY_AGAIN_AFTER, Task
from app.host import archives, packed
from app.host.vault import Vault
from app.storage import judgments, row_text, symbols, tasks, trades
from app.storage.database import reading, transaction
from app.storage.judgments import NewJudgment
from app.storage.tables import metadata, simulation_trades, strategy_judgments, system_monitoring, trade_fills
from app.storage.trades import FillRow
from app.usecases import archive
from app.usecases.run_tasks import run_next
from tests.app.storage.test_trades import TRADE
from tests.builders import NOW

MARKET = datetime.fromisoformat("2027-03-10T12:00:00+00:00")
"""The newest close: the market runs months ahead of our clock here, as in a sped-up demo."""


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "archive", tmp_path / "backups")


@pytest.fixture(autouse=True)
def listed(request: pytest.FixtureRequest) -> None:
    if "engine" in request.fixturenames:
        with transaction(request.getfixturevalue("engine")) as db:
            symbols.add(db, "BTCUSDT", now=NOW)


def judge(engine: Engine, *ages: float, timeframe: str = "15M") -> None:
    """Judgments so many days before the newest close, and one at it."""
    rows = [
        NewJudgment(
            "BTCUSDT", "V3", timeframe, "UP", Decimal("61.25"), "HIGH", {"i": [0.1, None, age]}, MARKET - timedelta(age)
        )
        for age in (*ages, 0)
    ]
    with transaction(engine) as db:
        judgments.keep(db, rows)


def trade(engine: Engine, *, opened: float, closed: float | None, fills: int = 2) -> int:
    """A trade that was opened and closed so many days before the newest close."""
    with transaction(engine) as db:
        trade_id = trades.add(db, now=MARKET - timedelta(opened), **TRADE)
        numbers = [Decimal("1.00000001")] * 6
        trades.add_fills(db, [FillRow(trade_id, n, "ENTRY", n, *numbers, "why", {"bps": n}) for n in range(fills)])
        if closed is not None:
            ending: dict[str, Any] = {"status": "CLOSED", "exit_price": Decimal(46000), "exit_reason": "target"}
            ending |= {"pnl": Decimal("-1.5"), "pnl_percentage": Decimal("2.2"), "now": MARKET - timedelta(closed)}
            trades.close(db, trade_id, **ending)
    return trade_id


def samples(engine: Engine, *ages: float) -> None:
    with transaction(engine) as db:
        rows = [
            {"metric_type": "SYSTEM_HEALTH", "component": f"{age}", "created_at": NOW - timedelta(age)} for age in ages
        ]
        db.execute(insert(system_monitoring), rows)


def run(engine: Engine, vault: Vault) -> Task:
    with transaction(engine) as db:
        tasks.ask(db, kind="archive", queue="cleaner", payload={}, trace_id=None, now=NOW)
    task = go_on(engine, vault, NOW)
    assert task.status in ("done", "pending")
    return task


def go_on(engine: Engine, vault: Vault, now: datetime) -> Task:
    """What a worker comes to with the newest task."""
    run_next(
        engine, queue="cleaner", worker="w", now=lambda: now, beat=lambda _: None, draining=lambda: False, vault=vault
    )
    with reading(engine) as db:
        (task,) = tasks.recent(db, limit=1)
    return task


def rows(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    with reading(engine) as db:
        return [tuple(row) for row in db.execute(select(metadata.tables[table]).order_by(metadata.tables[table].c.id))]


def archived(vault: Vault, table: str) -> list[list[Any]]:
    """Every line of the table's archives, by id, after they were verified."""
    found = []
    for manifest in archives.listed(vault.archives):
        archives.verify(vault.archives, manifest)
        if manifest.table == table:
            found += [row_text.from_line(line) for line in archives.lines(vault.archives, manifest)]
    return sorted(found)


def test_what_is_past_its_time_is_archived_and_then_goes(engine: Engine, vault: Vault):
    judge(engine, 61, 59, 100)
    old = trade(engine, opened=95, closed=91)
    trade(engine, opened=95, closed=89)
    trade(engine, opened=400, closed=None)
    samples(engine, 31, 29)
    before = {table: rows(engine, table) for table in ("strategy_judgments", "trade_fills")}
    task = run(engine, vault)

    assert (task.status, task.progress) == ("done", 1.0)
    assert task.result == {
        "archived": {"strategy_judgments": 2, "simulation_trades": 1, "system_monitoring": 1},
        "deleted": {"strategy_judgments": 2, "simulation_trades": 3, "system_monitoring": 1},
    }
    assert [MARKET - row[-1] for row in rows(engine, "strategy_judgments")] == [timedelta(59), timedelta(0)]
    assert len(rows(engine, "simulation_trades")) == 2
    assert {row[1] for row in rows(engine, "trade_fills")} == {row[0] for row in rows(engine, "simulation_trades")}
    assert [row[2] for row in rows(engine, "system_monitoring")] == ["29"]
    ((*written, fills),) = archived(vault, "simulation_trades")
    assert written[0] == old
    went = [row for row in before["trade_fills"] if row[1] == old]
    assert row_text.Reader(trade_fills, row_text.names(trade_fills)).rows(fills) == [
        dict(zip(row_text.names(trade_fills), row, strict=True)) for row in went
    ]
    reader = row_text.Reader(strategy_judgments, row_text.names(strategy_judgments))
    back = [tuple(reader.row(line).values()) for line in archived(vault, "strategy_judgments")]
    assert back == [row for row in before["strategy_judgments"] if MARKET - row[-1] > timedelta(60)]


def test_an_archive_holds_one_month_and_says_what_is_in_it(sqlite_engine: Engine, vault: Vault):
    with transaction(sqlite_engine) as db:
        symbols.add(db, "BTCUSDT", now=NOW)
    judge(sqlite_engine, *(60.5 + n for n in range(20)))
    run(sqlite_engine, vault)
    months = {one.name.split("/")[1]: one for one in archives.listed(vault.archives)}

    assert list(months) == ["2026-12", "2027-01"]
    december = months["2026-12"]
    assert (december.table, december.rows) == ("strategy_judgments", 11)
    assert december.first_moment[:10] == "2026-12-21"
    assert december.last_moment[:10] == "2026-12-31"
    assert december.columns == row_text.names(strategy_judgments)


def test_nothing_is_old_where_nothing_was_judged(engine: Engine, vault: Vault):
    trade(engine, opened=500, closed=400)

    assert run(engine, vault).result == {"archived": {}, "deleted": {}}


def test_nothing_goes_when_the_disk_does_not_take_it(
    sqlite_engine: Engine, vault: Vault, monkeypatch: pytest.MonkeyPatch
):
    samples(sqlite_engine, 31, 40)
    monkeypatch.setattr(packed, "look", lambda path: packed.Packed(0, "", 0, 0))
    tries = [run(sqlite_engine, vault), *(go_on(sqlite_engine, vault, NOW + n * TRY_AGAIN_AFTER) for n in (1, 2, 3))]

    assert [task.status for task in tries] == ["pending", "pending", "pending", "failed"]
    assert "read back" in (tries[-1].error or "")
    assert len(rows(sqlite_engine, "system_monitoring")) == 2
    assert archives.listed(vault.archives) == []


def test_what_the_disk_did_not_take_is_archived_some_minutes_later(
    sqlite_engine: Engine, vault: Vault, monkeypatch: pytest.MonkeyPatch
):
    samples(sqlite_engine, 31, 40)
    monkeypatch.setattr(packed, "look", lambda path: packed.Packed(0, "", 0, 0))
    run(sqlite_engine, vault)
    monkeypatch.undo()

    assert go_on(sqlite_engine, vault, NOW + TRY_AGAIN_AFTER).status == "done"
    assert rows(sqlite_engine, "system_monitoring") == []


def test_rows_that_stand_in_an_archive_already_only_go(engine: Engine, vault: Vault):
    samples(engine, 31, 40)
    was = rows(engine, "system_monitoring")
    run(engine, vault)
    first = archives.listed(vault.archives)
    with transaction(engine) as db:  # as a kill before the deletion, or a person, leaves them
        db.execute(insert(system_monitoring), [dict(zip(system_monitoring.c.keys(), row, strict=True)) for row in was])
    samples(engine, 32)
    task = run(engine, vault)

    assert task.result is not None
    assert task.result["deleted"] == {"system_monitoring": 3}
    assert task.result["archived"] == {"system_monitoring": 1}
    assert rows(engine, "system_monitoring") == []
    assert len(archived(vault, "system_monitoring")) == 3
    assert archives.listed(vault.archives)[: len(first)] == first


def test_a_row_with_the_id_of_an_archived_one_is_another_row(sqlite_engine: Engine, vault: Vault):
    """A database that was made anew begins its ids anew."""
    samples(sqlite_engine, 31)
    run(sqlite_engine, vault)
    with transaction(sqlite_engine) as db:
        row = {"id": 1, "metric_type": "SYSTEM_HEALTH", "component": "new", "created_at": NOW - timedelta(31)}
        db.execute(insert(system_monitoring).values(row))
    run(sqlite_engine, vault)

    assert [line[2] for line in archived(vault, "system_monitoring")] == ["31", "new"]


def test_rows_are_written_anew_while_they_are_there_when_their_archive_is_damaged(sqlite_engine: Engine, vault: Vault):
    samples(sqlite_engine, 31)
    was = rows(sqlite_engine, "system_monitoring")
    run(sqlite_engine, vault)
    (manifest,) = archives.listed(vault.archives)
    (vault.archives / f"{manifest.name}.jsonl.gz").write_bytes(b"damaged")
    with transaction(sqlite_engine) as db:
        db.execute(insert(system_monitoring).values(dict(zip(system_monitoring.c.keys(), was[0], strict=True))))
    run(sqlite_engine, vault)

    assert len(archived(vault, "system_monitoring")) == 1
    assert rows(sqlite_engine, "system_monitoring") == []


def test_a_worker_without_folders_deletes_nothing(sqlite_engine: Engine):
    samples(sqlite_engine, 31)
    with transaction(sqlite_engine) as db:
        task_id = tasks.ask(db, kind="archive", queue="cleaner", payload={}, trace_id=None, now=NOW)
    run_next(sqlite_engine, queue="cleaner", worker="w", now=lambda: NOW, beat=lambda _: None, draining=lambda: False)
    with reading(sqlite_engine) as db:
        task = tasks.get(db, task_id)

    assert task is not None
    assert (task.status, len(rows(sqlite_engine, "system_monitoring"))) == ("failed", 1)


WORKER = """
import sys
from datetime import datetime
from pathlib import Path
from app.host.vault import Vault
from app.storage import tasks
from app.storage.database import open_engine, transaction
from app.usecases import archive
from app.usecases.run_tasks import run_next

archive.MOST_IN_A_FILE = 97
engine, place, now = open_engine(sys.argv[1]), Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
with transaction(engine) as db:
    tasks.return_left_behind(db, now=now, worker="w")
    if not tasks.is_unfinished(db, "archive"):
        tasks.ask(db, kind="archive", queue="cleaner", payload={}, trace_id=None, now=now)
print("started", flush=True)
run_next(
    engine, queue="cleaner", worker="w", now=lambda: now, beat=lambda _: None, draining=lambda: False,
    vault=Vault(place / "archive", place / "backups"),
)
"""
KILLS = {"sqlite": 8, "mysql": 4, "postgresql": 4}


def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(
    engine: Engine, database_url: str, vault: Vault, tmp_path: Path
):
    chance = random.Random(3)
    count = 3_000
    samples(engine, *(31 + n / 100 for n in range(count)))
    ids = [row[0] for row in rows(engine, "system_monitoring")]
    words = [sys.executable, "-c", WORKER, database_url, str(tmp_path), NOW.isoformat()]
    for _ in range(KILLS[engine.dialect.name]):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "started\n"
            time.sleep(chance.uniform(0, 0.15))
            worker.kill()
        gone = set(ids) - {row[0] for row in rows(engine, "system_monitoring")}
        for table in ("system_monitoring", "strategy_judgments", "simulation_trades"):
            archives.remove_unfinished(vault.archives, table)
        assert gone <= {line[0] for line in archived(vault, "system_monitoring")}
    for _ in range(2):  # a task that was killed too often is given up; the next one goes on
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    assert rows(engine, "system_monitoring") == []
    assert [line[0] for line in archived(vault, "system_monitoring")] == ids


def test_a_batch_counts_what_belongs_to_its_rows(engine: Engine, vault: Vault):
    from app.storage import archived_rows

    ids = [trade(engine, opened=95, closed=91, fills=4) for _ in range(5)]
    with transaction(engine) as db:
        left, gone = archived_rows.remove(db, "simulation_trades", ids, most=12)
        one, least = archived_rows.remove(db, "simulation_trades", left, most=1)

    assert (left, gone, one, least) == (ids[2:], 10, ids[3:], 5)
    assert len(rows(engine, "simulation_trades")) == 2
    assert metadata.tables["trade_fills"] in archived_rows.parts_of(simulation_trades.name)
    assert archive.MOST_IN_A_FILE >= archived_rows.PAGE
