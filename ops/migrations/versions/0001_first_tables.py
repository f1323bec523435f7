"""The six tables of the documents, and the four that keep the fleet itself.

Everything is written out, so that this step stays what it was when the tables have long moved on. MySQL cannot take back
DDL: a run that was cut off there leaves some tables behind, so each table and index is only made where it is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    _create(
        "symbols",
        _integer_id(),
        sa.Column("symbol", sa.String(20), nullable=False),
        *_choice("symbols", "status", ("ACTIVE", "INACTIVE", "SUSPENDED"), default="ACTIVE"),
        _measured("funding_rate", 10, 8),
        _measured("last_price", 20, 8),
        _measured("volume_24h", 20, 8),
        _measured("price_change_24h", 10, 4),
        _made_at("created_at"),
        _made_at("updated_at"),
        sa.UniqueConstraint("symbol", name="uk_symbols_symbol"),
        indexes={"idx_symbol_status": ["symbol", "status"], "idx_updated_at": ["updated_at"]},
    )
    _create(
        "strategy_judgments",
        _big_id(),
        *_symbol("strategy_judgments"),
        *_choice("strategy_judgments", "strategy_type", ("V3", "ICT")),
        *_choice("strategy_judgments", "timeframe", ("4H", "1H", "15M", "1D")),
        *_choice("strategy_judgments", "trend_direction", ("RANGE", "UP", "DOWN")),
        _measured("score", 5, 2),
        *_choice("strategy_judgments", "confidence_level", ("HIGH", "MEDIUM", "LOW"), default="MEDIUM"),
        sa.Column("indicators_data", sa.JSON()),
        _made_at("created_at"),
        indexes={
            "idx_symbol_strategy_timeframe": ["symbol", "strategy_type", "timeframe"],
            "idx_strategy_judgments_created_at": ["created_at"],
            "idx_trend_direction": ["trend_direction"],
            "idx_judgment_lookup": ["symbol", "strategy_type", "timeframe", "created_at"],
        },
    )
    _create(
        "simulation_trades",
        _big_id(),
        *_symbol("simulation_trades"),
        *_choice("simulation_trades", "strategy_type", ("V3", "ICT")),
        *_choice("simulation_trades", "direction", ("LONG", "SHORT")),
        sa.Column("entry_price", _exact(20, 8), nullable=False),
        sa.Column("stop_loss", _exact(20, 8), nullable=False),
        sa.Column("take_profit", _exact(20, 8), nullable=False),
        _count("leverage", "1"),
        sa.Column("margin_required", _exact(20, 8), nullable=False),
        sa.Column("risk_amount", _exact(20, 8), nullable=False),
        sa.Column("position_size", _exact(20, 8), nullable=False),
        *_choice("simulation_trades", "status", ("ACTIVE", "CLOSED", "STOPPED"), default="ACTIVE"),
        sa.Column("exit_price", _exact(20, 8)),
        sa.Column("exit_reason", sa.String(100)),
        _measured("pnl", 20, 8),
        _measured("pnl_percentage", 10, 4),
        _made_at("created_at"),
        sa.Column("closed_at", _moment()),
        indexes={
            "idx_symbol_strategy": ["symbol", "strategy_type"],
            "idx_status": ["status"],
            "idx_simulation_trades_created_at": ["created_at"],
            "idx_trade_lookup": ["symbol", "strategy_type", "status", "created_at"],
        },
    )
    _create(
        "system_monitoring",
        _big_id(),
        *_choice(
            "system_monitoring", "metric_type", ("API_SUCCESS_RATE", "STRATEGY_CALCULATION_RATE", "SYSTEM_HEALTH")
        ),
        sa.Column("component", sa.String(50), nullable=False),
        *_choice("system_monitoring", "strategy_type", ("V3", "ICT", "ALL"), default="ALL"),
        *_choice("system_monitoring", "timeframe", ("4H", "1H", "15M", "1D", "ALL"), default="ALL"),
        _count("success_count"),
        _count("total_count"),
        _measured("success_rate", 5, 2),
        _measured("avg_response_time", 10, 3),
        sa.Column("error_message", sa.Text()),
        _made_at("created_at"),
        indexes={
            "idx_metric_component": ["metric_type", "component"],
            "idx_system_monitoring_created_at": ["created_at"],
            "idx_monitoring_lookup": ["metric_type", "component", "created_at"],
        },
    )
    _create(
        "symbol_statistics",
        _big_id(),
        *_symbol("symbol_statistics"),
        *_choice("symbol_statistics", "strategy_type", ("V3", "ICT")),
        _count("total_trades"),
        _count("winning_trades"),
        _count("losing_trades"),
        _measured("win_rate", 5, 2),
        _measured("total_pnl", 20, 8),
        _measured("avg_pnl_per_trade", 20, 8),
        _measured("max_drawdown", 10, 4),
        _measured("profit_factor", 10, 4),
        _measured("best_trade", 20, 8),
        _measured("worst_trade", 20, 8),
        sa.Column("avg_holding_time", sa.Integer(), server_default=sa.text("0"), comment="minutes"),
        _made_at("last_updated"),
        sa.UniqueConstraint("symbol", "strategy_type", name="uk_symbol_strategy"),
        indexes={"idx_win_rate": ["win_rate"], "idx_total_pnl": ["total_pnl"]},
    )
    _create(
        "system_config",
        _integer_id(),
        sa.Column("config_key", sa.String(100), nullable=False),
        sa.Column("config_value", sa.Text(), nullable=False),
        *_choice("system_config", "config_type", ("STRING", "NUMBER", "JSON", "BOOLEAN"), default="STRING"),
        sa.Column("description", sa.Text()),
        _made_at("created_at"),
        _made_at("updated_at"),
        sa.UniqueConstraint("config_key", name="uk_system_config_config_key"),
    )
    _create(
        "tasks",
        _big_id(),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("queue", sa.String(50), nullable=False),
        *_choice("tasks", "status", ("pending", "running", "done", "failed", "cancelled"), default="pending"),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.JSON(), comment="the checkpoint that the next slice starts from"),
        sa.Column("progress", sa.Double(), nullable=False, server_default=sa.text("0"), comment="from 0 to 1"),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="claims since a slice was last saved",
        ),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("claimed_by", sa.String(100)),
        sa.Column("claim_token", sa.String(64)),
        sa.Column("lease_until", _moment()),
        sa.Column("trace_id", sa.String(64)),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column(
            "waits_since", _moment(), nullable=False, comment="its place in the queue: when it came, or was given back"
        ),
        sa.Column("started_at", _moment()),
        sa.Column("finished_at", _moment()),
        indexes={
            "idx_tasks_next": ["queue", "status", "waits_since"],
            "idx_tasks_lease": ["status", "lease_until"],
            "idx_tasks_finished_at": ["finished_at"],
        },
    )
    _create(
        "process_states",
        sa.Column("name", sa.String(50), nullable=False),
        *_choice("process_states", "desired", ("running", "stopped"), default="running"),
        *_choice("process_states", "action", ("start", "stop", "restart"), default="start"),
        _count("revision"),
        _count("applied_revision"),
        sa.Column("wanted_by", sa.String(100)),
        sa.Column("wanted_at", _moment()),
        sa.Column("actual", sa.String(32)),
        sa.Column("pid", sa.Integer()),
        sa.Column("note", sa.Text()),
        sa.Column("reported_at", _moment()),
        sa.Column("applied_at", _moment()),
        key=["name"],
    )
    _create(
        "checkpoints",
        sa.Column("owner", sa.String(50), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("saved_at", _moment(), nullable=False),
        key=["owner", "name"],
    )
    _create(
        "audit_log",
        _big_id(),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("before", sa.JSON()),
        sa.Column("after", sa.JSON()),
        sa.Column("trace_id", sa.String(64)),
        indexes={"idx_audit_log_at": ["at"]},
    )


def _create(
    table: str,
    *parts: sa.schema.SchemaItem,
    key: Sequence[str] = ("id",),
    indexes: Mapping[str, Sequence[str]] | None = None,
) -> None:
    here = sa.inspect(op.get_bind())
    if not here.has_table(table):
        options: dict[str, Any] = {"sqlite_autoincrement": key == ("id",)}
        for dialect in ("mysql", "mariadb"):
            options |= {f"{dialect}_engine": "InnoDB", f"{dialect}_charset": "utf8mb4"}
            options[f"{dialect}_collate"] = "utf8mb4_bin"
        op.create_table(table, *parts, sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"), **options)
    made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    for name, columns in (indexes or {}).items():
        if name not in made:
            op.create_index(name, table, columns)


def _dialect() -> str:
    return op.get_bind().dialect.name


def _integer_id() -> sa.Column[Any]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def _big_id() -> sa.Column[Any]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def _symbol(table: str) -> list[Any]:
    return [
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.ForeignKeyConstraint(["symbol"], ["symbols.symbol"], name=f"fk_{table}_symbol", ondelete="CASCADE"),
    ]


def _choice(table: str, name: str, allowed: tuple[str, ...], *, default: str | None = None) -> list[Any]:
    words = ", ".join(f"'{word}'" for word in allowed)
    return [
        sa.Column(name, sa.String(32), nullable=False, server_default=default),
        sa.CheckConstraint(f"{name} IN ({words})", name=op.f(f"ck_{table}_{name}")),
    ]


def _count(name: str, default: str = "0") -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text(default))


def _exact(precision: int, scale: int) -> sa.types.TypeEngine[Any]:
    """SQLite has no exact number with a fraction: text there, as app/storage/types.py explains."""
    return sa.Numeric(precision, scale).with_variant(sa.String(precision + 2), "sqlite")


def _measured(name: str, precision: int, scale: int) -> sa.Column[Any]:
    nought = f"'{'0' * (precision - scale)}.{'0' * scale}'" if _dialect() == "sqlite" else "0"
    return sa.Column(name, _exact(precision, scale), server_default=sa.text(nought))


def _moment() -> sa.types.TypeEngine[Any]:
    if _dialect() in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import DATETIME

        return DATETIME(fsp=6)
    return sa.DateTime(timezone=_dialect() == "postgresql")


def _made_at(name: str) -> sa.Column[Any]:
    clocks = {"sqlite": "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))", "postgresql": "CURRENT_TIMESTAMP"}
    clock = clocks.get(_dialect(), "CURRENT_TIMESTAMP(6)")
    return sa.Column(name, _moment(), nullable=False, server_default=sa.text(clock))
