"""Every table. The first six are those of the documents, the last four keep the fleet itself.

Names, columns, lengths and defaults follow the documents, with three changes: ENUM is text with a CHECK; ``idx_created_at``,
which they use three times, carries its table's name, because SQLite and PostgreSQL want index names to be unique; and states,
counts and times are NOT NULL. Measured numbers may be NULL as there: unknown is not zero.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from app.domain.tasks import STATUSES
from app.storage.types import BigId, Choice, Exact, Json, ShortText, UtcDateTime, to_sortable

SCHEMA_VERSION = "0001"  # the newest migration in ops/migrations/versions; a test keeps them equal

SYMBOL_STATUSES = ("ACTIVE", "INACTIVE", "SUSPENDED")
STRATEGIES = ("V3", "ICT")
STRATEGIES_OR_ALL = (*STRATEGIES, "ALL")
TIMEFRAMES = ("4H", "1H", "15M", "1D")
TIMEFRAMES_OR_ALL = (*TIMEFRAMES, "ALL")
TRENDS = ("RANGE", "UP", "DOWN")
CONFIDENCES = ("HIGH", "MEDIUM", "LOW")
DIRECTIONS = ("LONG", "SHORT")
TRADE_STATUSES = ("ACTIVE", "CLOSED", "STOPPED")
METRICS = ("API_SUCCESS_RATE", "STRATEGY_CALCULATION_RATE", "SYSTEM_HEALTH")
CONFIG_TYPES = ("STRING", "NUMBER", "JSON", "BOOLEAN")
DESIRED_STATES = ("running", "stopped")
ACTIONS = ("start", "stop", "restart")

metadata = MetaData(
    naming_convention={
        "ix": "idx_%(table_name)s_%(column_0_N_name)s",
        "uq": "uk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# utf8mb4_bin: MySQL's own collation takes "btcusdt" for "BTCUSDT", which the other two databases do not.
_OPTIONS: dict[str, Any] = {
    "sqlite_autoincrement": True,  # an id that was purged is never given to another row
    **{
        f"{dialect}_{option}": value
        for dialect in ("mysql", "mariadb")
        for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
    },
}


class utc_now(FunctionElement[Any]):  # noqa: N801 - SQLAlchemy's own functions are written so
    """The database's clock, for rows written by hand; our own writes pass ``now``."""

    type = UtcDateTime()
    inherit_cache = True


class Zero(ColumnElement[Any]):
    """Nought, as a default of an ``Exact`` column."""

    inherit_cache = True

    def __init__(self, exact: Exact) -> None:
        self.exact = exact


@compiles(utc_now)
def _now_on_servers(element: utc_now, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return "CURRENT_TIMESTAMP" if compiler.dialect.name == "postgresql" else "CURRENT_TIMESTAMP(6)"


@compiles(utc_now, "sqlite")
def _now_on_sqlite(element: utc_now, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(Zero)
def _zero(element: Zero, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    if compiler.dialect.name != "sqlite":
        return "0"
    return f"'{to_sortable(0, element.exact.precision, element.exact.scale)}'"


def _exact(name: str, precision: int, scale: int, *, required: bool = False, default: bool = True) -> Column[Any]:
    exact = Exact(precision, scale)
    return Column(name, exact, nullable=not required, server_default=Zero(exact) if default else None)


def _choice(name: str, allowed: tuple[str, ...], *, default: str | None = None, required: bool = True) -> list[Any]:
    """A column and its CHECK. The words are our own, so they need no quoting."""
    words = ", ".join(f"'{word}'" for word in allowed)
    what = name.replace("_", " ")
    return [
        Column(name, Choice(what, allowed), nullable=not required, server_default=default),
        CheckConstraint(f"{name} IN ({words})", name=name),
    ]


def _symbol() -> Column[Any]:
    return Column("symbol", ShortText("symbol", 20), ForeignKey("symbols.symbol", ondelete="CASCADE"), nullable=False)


def _count(name: str, default: int = 0) -> Column[Any]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def _moment(name: str, *, renewed: bool = False) -> Column[Any]:
    """When the row was made; ``renewed`` stands for MySQL's ON UPDATE CURRENT_TIMESTAMP."""
    return Column(name, UtcDateTime, nullable=False, server_default=utc_now(), onupdate=utc_now() if renewed else None)


symbols = Table(
    "symbols",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("symbol", ShortText("symbol", 20), nullable=False),
    *_choice("status", SYMBOL_STATUSES, default="ACTIVE"),
    _exact("funding_rate", 10, 8),
    _exact("last_price", 20, 8),
    _exact("volume_24h", 20, 8),
    _exact("price_change_24h", 10, 4),
    _moment("created_at"),
    _moment("updated_at", renewed=True),
    UniqueConstraint("symbol"),
    Index("idx_symbol_status", "symbol", "status"),
    Index("idx_updated_at", "updated_at"),
    **_OPTIONS,
)

strategy_judgments = Table(
    "strategy_judgments",
    metadata,
    Column("id", BigId, primary_key=True),
    _symbol(),
    *_choice("strategy_type", STRATEGIES),
    *_choice("timeframe", TIMEFRAMES),
    *_choice("trend_direction", TRENDS),
    _exact("score", 5, 2),
    *_choice("confidence_level", CONFIDENCES, default="MEDIUM"),
    Column("indicators_data", Json),
    _moment("created_at"),
    Index("idx_symbol_strategy_timeframe", "symbol", "strategy_type", "timeframe"),
    Index("idx_strategy_judgments_created_at", "created_at"),
    Index("idx_trend_direction", "trend_direction"),
    Index("idx_judgment_lookup", "symbol", "strategy_type", "timeframe", "created_at"),
    **_OPTIONS,
)

simulation_trades = Table(
    "simulation_trades",
    metadata,
    Column("id", BigId, primary_key=True),
    _symbol(),
    *_choice("strategy_type", STRATEGIES),
    *_choice("direction", DIRECTIONS),
    _exact("entry_price", 20, 8, required=True, default=False),
    _exact("stop_loss", 20, 8, required=True, default=False),
    _exact("take_profit", 20, 8, required=True, default=False),
    _count("leverage", 1),
    _exact("margin_required", 20, 8, required=True, default=False),
    _exact("risk_amount", 20, 8, required=True, default=False),
    _exact("position_size", 20, 8, required=True, default=False),
    *_choice("status", TRADE_STATUSES, default="ACTIVE"),
    _exact("exit_price", 20, 8, default=False),
    Column("exit_reason", ShortText("exit reason", 100)),
    _exact("pnl", 20, 8),
    _exact("pnl_percentage", 10, 4),
    _moment("created_at"),
    Column("closed_at", UtcDateTime),
    Index("idx_symbol_strategy", "symbol", "strategy_type"),
    Index("idx_status", "status"),
    Index("idx_simulation_trades_created_at", "created_at"),
    Index("idx_trade_lookup", "symbol", "strategy_type", "status", "created_at"),
    **_OPTIONS,
)

system_monitoring = Table(
    "system_monitoring",
    metadata,
    Column("id", BigId, primary_key=True),
    *_choice("metric_type", METRICS),
    Column("component", ShortText("component", 50), nullable=False),
    *_choice("strategy_type", STRATEGIES_OR_ALL, default="ALL"),
    *_choice("timeframe", TIMEFRAMES_OR_ALL, default="ALL"),
    _count("success_count"),
    _count("total_count"),
    _exact("success_rate", 5, 2),
    _exact("avg_response_time", 10, 3),
    Column("error_message", Text),
    _moment("created_at"),
    Index("idx_metric_component", "metric_type", "component"),
    Index("idx_system_monitoring_created_at", "created_at"),
    Index("idx_monitoring_lookup", "metric_type", "component", "created_at"),
    **_OPTIONS,
)

symbol_statistics = Table(
    "symbol_statistics",
    metadata,
    Column("id", BigId, primary_key=True),
    _symbol(),
    *_choice("strategy_type", STRATEGIES),
    _count("total_trades"),
    _count("winning_trades"),
    _count("losing_trades"),
    _exact("win_rate", 5, 2),
    _exact("total_pnl", 20, 8),
    _exact("avg_pnl_per_trade", 20, 8),
    _exact("max_drawdown", 10, 4),
    _exact("profit_factor", 10, 4),
    _exact("best_trade", 20, 8),
    _exact("worst_trade", 20, 8),
    Column("avg_holding_time", Integer, server_default=text("0"), comment="minutes"),
    _moment("last_updated", renewed=True),
    UniqueConstraint("symbol", "strategy_type", name="uk_symbol_strategy"),
    Index("idx_win_rate", "win_rate"),
    Index("idx_total_pnl", "total_pnl"),
    **_OPTIONS,
)

system_config = Table(
    "system_config",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("config_key", ShortText("config key", 100), nullable=False),
    Column("config_value", Text, nullable=False),
    *_choice("config_type", CONFIG_TYPES, default="STRING"),
    Column("description", Text),
    _moment("created_at"),
    _moment("updated_at", renewed=True),
    UniqueConstraint("config_key"),
    **_OPTIONS,
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("kind", ShortText("kind", 50), nullable=False),
    Column("queue", ShortText("queue", 50), nullable=False),
    *_choice("status", STATUSES, default="pending"),
    Column("payload", Json, nullable=False),
    Column("state", Json, comment="the checkpoint that the next slice starts from"),
    Column("progress", Double, nullable=False, server_default=text("0"), comment="from 0 to 1"),
    Column("result", Json),
    Column("error", Text),
    Column(
        "attempts", Integer, nullable=False, server_default=text("0"), comment="claims since a slice was last saved"
    ),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("claimed_by", ShortText("worker", 100)),
    Column("claim_token", ShortText("claim token", 64)),
    Column("lease_until", UtcDateTime),
    Column("trace_id", ShortText("trace id", 64)),
    Column("created_at", UtcDateTime, nullable=False),
    Column(
        "waits_since", UtcDateTime, nullable=False, comment="its place in the queue: when it came, or was given back"
    ),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Index("idx_tasks_next", "queue", "status", "waits_since"),
    Index("idx_tasks_lease", "status", "lease_until"),
    Index("idx_tasks_finished_at", "finished_at"),
    **_OPTIONS,
)

process_states = Table(
    "process_states",
    metadata,
    Column("name", ShortText("process", 50), primary_key=True),
    *_choice("desired", DESIRED_STATES, default="running"),
    *_choice("action", ACTIONS, default="start"),
    _count("revision"),
    _count("applied_revision"),
    Column("wanted_by", ShortText("actor", 100)),
    Column("wanted_at", UtcDateTime),
    Column("actual", ShortText("state", 32)),
    Column("pid", Integer),
    Column("note", Text),
    Column("reported_at", UtcDateTime),
    Column("applied_at", UtcDateTime),
    **(_OPTIONS | {"sqlite_autoincrement": False}),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("owner", ShortText("owner", 50), primary_key=True),
    Column("name", ShortText("checkpoint", 100), primary_key=True),
    Column("state", Json, nullable=False),
    Column("saved_at", UtcDateTime, nullable=False),
    **(_OPTIONS | {"sqlite_autoincrement": False}),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", ShortText("actor", 100), nullable=False),
    Column("action", ShortText("action", 50), nullable=False),
    Column("subject", ShortText("subject", 200), nullable=False),
    Column("before", Json),
    Column("after", Json),
    Column("trace_id", ShortText("trace id", 64)),
    Index("idx_audit_log_at", "at"),
    **_OPTIONS,
)
