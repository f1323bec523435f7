"""Migrations, on every kind of database."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, Table, insert, inspect, select, text

from app.errors import Misconfigured, Unavailable
from app.storage import tables
from app.storage.database import open_engine, reading, schema_version, transaction
from app.storage.types import Json
from ops.migrate import make_if_empty, status, upgrade

every_table = pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)


def test_a_blank_database_is_brought_to_the_newest_tables(blank_database_url: str):
    assert upgrade(blank_database_url) == (None, tables.SCHEMA_VERSION)


def test_the_code_names_the_newest_migration(engine: Engine):
    assert status(engine).head == tables.SCHEMA_VERSION


def test_only_an_empty_database_has_its_tables_made_in_passing(blank_database_url: str, tmp_path: Path):
    assert [make_if_empty(blank_database_url) for _ in range(2)] == [True, False]
    assert [make_if_empty(f"sqlite:///{tmp_path}/new/one.db") for _ in range(2)] == [True, False]


def test_the_second_upgrade_changes_nothing(blank_database_url: str):
    upgrade(blank_database_url)

    assert upgrade(blank_database_url) == (tables.SCHEMA_VERSION, tables.SCHEMA_VERSION)


def test_status_says_where_a_database_stands(blank_database_url: str):
    engine = open_engine(blank_database_url, create=True)
    blank = status(engine)
    upgrade(blank_database_url)
    migrated = status(engine)
    engine.dispose()

    assert (blank.state, blank.current) == ("empty", None)
    assert (migrated.state, migrated.current) == ("current", tables.SCHEMA_VERSION)


def test_a_database_of_a_newer_flotilla_is_left_alone(blank_database_url: str):
    upgrade(blank_database_url)
    engine = open_engine(blank_database_url)
    with transaction(engine) as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(Misconfigured, match=r"9999.*newer"):
        upgrade(blank_database_url)

    assert status(engine).state == "newer"
    engine.dispose()


def test_four_migrators_at_once_migrate_once(blank_database_url: str):
    code = "import sys; from ops.migrate import upgrade; print(*upgrade(sys.argv[1]))"
    command = [sys.executable, "-c", code, blank_database_url]
    migrators = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(migrator.communicate()[0].strip() for migrator in migrators)

    newest = tables.SCHEMA_VERSION
    assert said == [f"{newest} {newest}"] * 3 + [f"None {newest}"]


def test_a_migration_that_was_cut_off_goes_on(blank_database_url: str):
    """On MySQL each table is final once it is made, so a killed migrator leaves the first ones and no version."""
    upgrade(blank_database_url)
    engine = open_engine(blank_database_url)
    with transaction(engine) as db:
        for statement in (
            "DROP TABLE alembic_version",
            "DROP TABLE audit_log",
            "DROP TABLE klines",
            "DROP TABLE symbol_statistics",
        ):
            db.execute(text(statement))
        on = "" if db.dialect.name != "mysql" else " ON tasks"
        db.execute(text(f"DROP INDEX idx_tasks_next{on}"))

    upgrade(blank_database_url)

    with reading(engine) as db:
        assert differences(db) == []
    engine.dispose()


def test_an_unreachable_server_is_unavailable_and_its_password_stays_secret():
    with pytest.raises(Unavailable) as caught:
        upgrade("postgresql+psycopg://someone:hunter2@127.0.0.1:1/flotilla")

    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.cure


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="file"):
        upgrade(f"sqlite:///{tmp_path / 'file' / 'flotilla.db'}")


def test_migrated_tables_are_those_of_the_code(engine: Engine):
    with reading(engine) as db:
        assert differences(db) == []
        assert schema_version(db) == tables.SCHEMA_VERSION


@every_table
def test_migrated_checks_are_those_of_the_code(engine: Engine, table: Table):
    wanted = {
        check.name: words(str(check.sqltext)) for check in table.constraints if isinstance(check, CheckConstraint)
    }
    with reading(engine) as db:
        found = {check["name"]: words(check["sqltext"]) for check in inspect(db).get_check_constraints(table.name)}

    assert {name: allowed for name, allowed in found.items() if name.startswith("ck_")} == wanted


@every_table
def test_migrated_defaults_are_those_of_the_code(engine: Engine, twin: Engine, table: Table):
    """Both ways of making a table are asked for a row in which only what must be given is given."""
    with transaction(twin) as db:
        tables.metadata.create_all(db)

    assert row_of_defaults(engine, table) == row_of_defaults(twin, table)


@pytest.fixture
def twin(engine: Engine, database_servers: Any, tmp_path: Path) -> Iterator[Engine]:
    """A blank database of the same kind as ``engine``."""
    kind = "mariadb" if engine.dialect.name == "mysql" else engine.dialect.name
    (tmp_path / "twin").mkdir()
    with ExitStack() as stack:
        twin = open_engine(database_servers.blank(kind, stack, tmp_path / "twin"), create=True)
        yield twin
        twin.dispose()


def differences(db) -> list:
    """What Alembic would change to bring the database to the code's tables."""
    return compare_metadata(MigrationContext.configure(db, opts={"compare_type": differs}), tables.metadata)


def differs(_context, _found_column, _column, found_type, wanted_type) -> bool | None:
    """MariaDB says LONGTEXT for the JSON that it was asked for; everything else is Alembic's to judge."""
    is_json = isinstance(wanted_type, Json) and type(found_type).__name__ == "LONGTEXT"
    return False if is_json else None


def words(sql: str) -> list[str]:
    """The allowed words of a CHECK, however the database writes it."""
    return re.findall(r"'([^']*)'", sql)


def row_of_defaults(engine: Engine, table: Table) -> dict[str, Any]:
    """Insert a row with as little as possible; what the database made of it, with times only as given or not."""
    given: dict[str, Any] = {}
    for column in table.c:
        if not column.nullable and column.server_default is None and not column.primary_key:
            given[column.name] = ANYTHING.get(type(column.type).__name__, lambda _: "BTCUSDT")(column.type)
        elif column.primary_key and column.name != "id":
            given[column.name] = "main-app"
    with transaction(engine) as db:
        if table is not tables.symbols and "symbol" in table.c and table.c.symbol.foreign_keys:
            db.execute(insert(tables.symbols).values(symbol="BTCUSDT"))
        if table is tables.trade_fills:
            db.execute(insert(tables.symbols).values(symbol="BTCUSDT"))
            trade = {"id": 1, "symbol": "BTCUSDT", "strategy_type": "V3", "direction": "LONG"}
            money = ("entry_price", "stop_loss", "take_profit", "margin_required", "risk_amount", "position_size")
            db.execute(insert(tables.simulation_trades).values(trade | dict.fromkeys(money, Decimal(1))))
        if table is tables.trading_pairs:
            db.execute(insert(tables.exchanges).values(id=1, name="binance", display_name="Binance"))
        db.execute(insert(table).values(given))
        row = db.execute(select(table)).mappings().one()
    moments = {column.name for column in table.c if isinstance(column.type, tables.UtcDateTime)}
    return {name: value is not None if name in moments else value for name, value in row.items() if name != "id"}


ANYTHING: dict[str, Callable[[Any], Any]] = {
    "Choice": lambda kind: kind.allowed[0],
    "UtcDateTime": lambda _: datetime(2026, 11, 21, tzinfo=UTC),
    "Exact": lambda _: Decimal("1.5"),
    "Json": lambda _: {},
    "Integer": lambda _: 1,
    "BigInteger": lambda _: 1,
    "Double": lambda _: 1.5,
}
