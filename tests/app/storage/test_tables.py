"""What the tables themselves guarantee, whoever writes to them."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text

from app.errors import InvalidInput
from app.storage import tables
from app.storage.database import reading, transaction
from tests.builders import NOW

DOCUMENTED = {
    "symbols": "id symbol status funding_rate last_price volume_24h price_change_24h created_at updated_at",
    "strategy_judgments": "id symbol strategy_type timeframe trend_direction score confidence_level indicators_data created_at",
    "simulation_trades": "id symbol strategy_type direction entry_price stop_loss take_profit leverage margin_required "
    "risk_amount position_size status exit_price exit_reason pnl pnl_percentage created_at closed_at",
    "system_monitoring": "id metric_type component strategy_type timeframe success_count total_count success_rate "
    "avg_response_time error_message created_at",
    "symbol_statistics": "id symbol strategy_type total_trades winning_trades losing_trades win_rate total_pnl "
    "avg_pnl_per_trade max_drawdown profit_factor best_trade worst_trade avg_holding_time last_updated",
    "system_config": "id config_key config_value config_type description created_at updated_at",
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_tables_have_the_columns_of_the_documents(name: str):
    assert [column.name for column in tables.metadata.tables[name].columns] == DOCUMENTED[name].split()


def test_a_bad_word_is_refused_also_when_it_comes_from_elsewhere(engine: Engine):
    """Such as from a person's own SQL: then the CHECK does it."""
    with pytest.raises(InvalidInput, match="ck_symbols_status"), transaction(engine) as db:
        db.execute(text("INSERT INTO symbols (symbol, status) VALUES ('BTCUSDT', 'ASLEEP')"))


def test_defaults_are_those_of_the_documents(engine: Engine):
    with transaction(engine) as db:
        db.execute(text("INSERT INTO symbols (symbol) VALUES ('BTCUSDT')"))
        row = db.execute(select(tables.symbols)).one()

    assert (row.status, row.funding_rate, row.last_price) == ("ACTIVE", Decimal(0), Decimal(0))


def test_changing_a_row_renews_its_moment(engine: Engine):
    symbols = tables.symbols
    with transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT", created_at=NOW, updated_at=NOW))
        db.execute(symbols.update().values(last_price=Decimal(1)))
        row = db.execute(select(symbols.c.created_at, symbols.c.updated_at)).one()

    assert row.created_at == NOW
    assert row.updated_at != NOW


def test_a_removed_symbol_takes_everything_about_it_along(engine: Engine):
    one = Decimal(1)
    trade = dict.fromkeys(
        ("entry_price", "stop_loss", "take_profit", "margin_required", "risk_amount", "position_size"), one
    )
    kind = {"symbol": "BTCUSDT", "strategy_type": "V3"}
    about = {
        tables.strategy_judgments: {**kind, "timeframe": "1H", "trend_direction": "UP"},
        tables.simulation_trades: {**kind, **trade, "direction": "LONG"},
        tables.symbol_statistics: kind,
    }
    with transaction(engine) as db:
        db.execute(insert(tables.symbols).values(symbol="BTCUSDT"))
        for table, row in about.items():
            db.execute(insert(table).values(row))
        db.execute(delete(tables.symbols))
    with reading(engine) as db:
        left = [db.execute(select(func.count()).select_from(table)).scalar() for table in about]

    assert left == [0, 0, 0]


def test_a_row_about_an_unknown_symbol_is_refused(engine: Engine):
    with pytest.raises(InvalidInput), transaction(engine) as db:
        db.execute(insert(tables.symbol_statistics).values(symbol="NOSUCH", strategy_type="V3"))


def test_names_differ_by_their_case(engine: Engine):
    """As on SQLite and PostgreSQL; MySQL's own collation would take them for the same."""
    with transaction(engine) as db:
        db.execute(insert(tables.symbols), [{"symbol": "BTCUSDT"}, {"symbol": "btcusdt"}])
        found = db.execute(select(func.count()).where(tables.symbols.c.symbol == "btcusdt")).scalar()

    assert found == 1


def test_text_in_any_script_is_kept(engine: Engine):
    with transaction(engine) as db:
        db.execute(insert(tables.system_config).values(config_key="greeting", config_value="交易系统 🚀"))

        assert db.execute(select(tables.system_config.c.config_value)).scalar() == "交易系统 🚀"


def test_an_id_is_never_given_twice(engine: Engine):
    row = {"at": NOW, "actor": "a", "action": "b", "subject": "c"}
    with transaction(engine) as db:
        first = db.execute(insert(tables.audit_log).values(row)).inserted_primary_key[0]
        db.execute(delete(tables.audit_log))
        second = db.execute(insert(tables.audit_log).values(row)).inserted_primary_key[0]

    assert second > first
