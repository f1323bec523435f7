"""Putting archived rows back."""

from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert, select

from app.errors import CorruptData, NotFound
from app.host import archives
from app.host.vault import Vault
from app.storage import judgments, symbols, trades
from app.storage.database import open_engine, reading, transaction
from app.storage.tables import metadata, strategy_judgments, system_monitoring
from app.usecases.restore_archive import restore_archive
from ops.migrate import upgrade
from tests.app.usecases.test_archive import MARKET, judge, rows, run, samples, trade
from tests.builders import NOW

TABLES = ("strategy_judgments", "simulation_trades", "trade_fills", "system_monitoring")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "archive", tmp_path / "backups")


def fill(engine: Engine) -> None:
    with transaction(engine) as db:
        symbols.add(db, "BTCUSDT", now=NOW)
    judge(engine, 61, 61.5, 59)
    trade(engine, opened=95, closed=91, fills=3)
    trade(engine, opened=95, closed=91.5, fills=1)
    samples(engine, 31, 32)


def everything(engine: Engine) -> dict[str, list[tuple]]:
    return {table: rows(engine, table) for table in TABLES}


def test_what_was_archived_comes_back_as_it_was_and_twice_changes_nothing(engine: Engine, vault: Vault):
    fill(engine)
    before = everything(engine)
    run(engine, vault)
    went = everything(engine)
    once = [restore_archive(engine, vault.archives, one.name) for one in archives.listed(vault.archives)]
    again = [restore_archive(engine, vault.archives, one.name) for one in archives.listed(vault.archives)]

    assert went != before
    assert everything(engine) == before
    assert all(one.well and (one.put_back, one.were_there) == (one.rows, 0) for one in once)
    assert all(one.well and (one.put_back, one.were_there) == (0, one.rows) for one in again)


def test_what_comes_after_the_restored_gets_an_id_of_its_own(engine: Engine, vault: Vault):
    fill(engine)
    run(engine, vault)
    with transaction(engine) as db:
        db.execute(delete(system_monitoring))
    for one in archives.listed(vault.archives):
        restore_archive(engine, vault.archives, one.name)
    samples(engine, 1)

    ids = [row[0] for row in rows(engine, "system_monitoring")]
    assert len(ids) == 3
    assert len(set(ids)) == 3


def test_an_archive_can_be_restored_into_another_kind_of_database(engine: Engine, vault: Vault, tmp_path: Path):
    fill(engine)
    before = everything(engine)
    run(engine, vault)
    url = f"sqlite:///{tmp_path / 'another.db'}"
    upgrade(url)
    with ExitStack() as stack:
        other = open_engine(url)
        stack.callback(other.dispose)
        for one in archives.listed(vault.archives):
            assert restore_archive(other, vault.archives, one.name).well
        there = everything(other)
        with reading(other) as db:
            (symbol,) = symbols.listed(db)

    assert {name: len(found) for name, found in there.items()} == {
        "strategy_judgments": 2,
        "simulation_trades": 2,
        "trade_fills": 4,
        "system_monitoring": 2,
    }
    assert all(row in before[table] for table in TABLES for row in there[table])
    assert (symbol.symbol, symbol.status) == ("BTCUSDT", "INACTIVE")  # listed for their sake, and not watched


def test_another_row_in_the_place_of_an_archived_one_stays_and_is_told(engine: Engine, vault: Vault):
    fill(engine)
    run(engine, vault)
    archived = {one.table: one for one in archives.listed(vault.archives)}
    with transaction(engine) as db:
        taken = archived["system_monitoring"].first_id
        row = {"id": taken, "metric_type": "SYSTEM_HEALTH", "component": "another", "created_at": NOW}
        db.execute(insert(system_monitoring).values(row))
    judge(engine, 61)  # the same close, judged again: it has another id
    by_id = restore_archive(engine, vault.archives, archived["system_monitoring"].name)
    by_close = restore_archive(engine, vault.archives, archived["strategy_judgments"].name)

    assert (by_id.put_back, by_id.refused, by_id.well) == (1, 1, False)
    assert (by_close.put_back, by_close.refused) == (1, 1)
    with reading(engine) as db:
        components = set(db.execute(select(system_monitoring.c.component)).scalars())
        closes = db.execute(select(strategy_judgments.c.created_at)).scalars().all()
    assert "another" in components
    assert sorted(closes) == sorted({MARKET - timedelta(age) for age in (0, 59, 61, 61.5)})


def test_a_restored_trade_has_its_fills_and_counts_again(engine: Engine, vault: Vault):
    fill(engine)
    run(engine, vault)
    with reading(engine) as db:
        assert trades.closings(db) == []
    for one in archives.listed(vault.archives):
        restore_archive(engine, vault.archives, one.name)

    with reading(engine) as db:
        assert [one.pnl for one in trades.closings(db)] == [Decimal("-1.5")] * 2
        assert [len(trades.fills(db, one.id)) for one in trades.recent(db, limit=9)] == [1, 3]  # the newest first
        assert judgments.recent(db, limit=9)[0].indicators_data is not None


def test_nothing_is_put_back_from_an_archive_that_is_not_whole(sqlite_engine: Engine, vault: Vault):
    fill(sqlite_engine)
    run(sqlite_engine, vault)
    went = everything(sqlite_engine)
    for one in archives.listed(vault.archives):
        path = vault.archives / f"{one.name}.jsonl.gz"
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(CorruptData):
            restore_archive(sqlite_engine, vault.archives, one.name)

    assert everything(sqlite_engine) == went
    with pytest.raises(NotFound):
        restore_archive(sqlite_engine, vault.archives, "system_monitoring/2026-01/1-2-abc")
    assert metadata.tables.keys() >= set(TABLES)


def test_a_zero_byte_that_only_some_databases_keep_makes_no_restore_fail(
    sqlite_engine: Engine, engine: Engine, vault: Vault
):
    row = {"metric_type": "SYSTEM_HEALTH", "component": "a\0b", "created_at": NOW - timedelta(31)}
    with transaction(sqlite_engine) as db:
        db.execute(insert(system_monitoring), [row])
    run(sqlite_engine, vault)
    (one,) = archives.listed(vault.archives)
    once, again = (restore_archive(engine, vault.archives, one.name) for _ in range(2))

    assert (once.put_back, again.were_there, again.well) == (1, 1, True)
    with reading(engine) as db:
        found = db.execute(select(system_monitoring.c.component)).scalar()
    assert found == ("a\ufffdb" if engine.dialect.name == "postgresql" else "a\0b")
