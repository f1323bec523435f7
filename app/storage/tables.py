"""Every table: six of the documents, two more of paper trading, five that keep the fleet itself, and the market's, from
``exchanges`` on.

Names, columns, lengths and defaults follow the documents, with three changes: ENUM is text with a CHECK; ``idx_created_at``,
which they use three times, carries its table's name, because SQLite and PostgreSQL want index names to be unique; and states,
counts and times are NOT NULL. Measured numbers may be NULL as there: unknown is not zero.

What a market says is measured, not booked, so it is kept as doubles, and its times as milliseconds: they come and go by the
thousand. ``open_time`` says when the span of such a row began. The index ``..._age`` is for the purge and for the roll-up.
Nothing refers to these rows by their ids, and ``pair_id`` is no foreign key: InnoDB would lock the pair for each row, against
whoever renews it. Pairs are never deleted; one that is gone from its exchange is inactive.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
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

from app.domain.recovery import OUTCOMES
from app.domain.tasks import STATUSES
from app.storage.types import BigId, Choice, Exact, Json, ShortText, UtcDateTime, to_sortable

SCHEMA_VERSION = "0005"  # the newest migration in ops/migrations/versions; a test keeps them equal

SYMBOL_STATUSES = ("ACTIVE", "INACTIVE", "SUSPENDED")
STRATEGIES = ("V3", "ICT")
STRATEGIES_OR_ALL = (*STRATEGIES, "ALL")
TIMEFRAMES = ("4H", "1H", "15M", "1D")
TIMEFRAMES_OR_ALL = (*TIMEFRAMES, "ALL")
TRENDS = ("RANGE", "UP", "DOWN")
CONFIDENCES = ("HIGH", "MEDIUM", "LOW")
DIRECTIONS = ("LONG", "SHORT")
FILL_KINDS = ("ENTRY", "EXIT", "FUNDING")
TRADE_STATUSES = ("ACTIVE", "CLOSED", "STOPPED")
METRICS = ("API_SUCCESS_RATE", "STRATEGY_CALCULATION_RATE", "SYSTEM_HEALTH")
CONFIG_TYPES = ("STRING", "NUMBER", "JSON", "BOOLEAN")
DESIRED_STATES = ("running", "stopped")
ACTIONS = ("start", "stop", "restart")
EXCHANGE_STATUSES = ("active", "inactive", "maintenance")
KLINE_SOURCES = ("stream", "rest", "rollup", "import")
FLOW_STATUSES = ("ok", "gap", "repaired")
DEPTH_STATUSES = ("ok", "warming", "stale", "gap")

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
_OF_THE_MARKET = _OPTIONS | {"sqlite_autoincrement": False}  # it would cost a tenth of the speed


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


def _of_pair(*, time: str = "open_time", timeframe: bool = True) -> list[Any]:
    """Of which pair and of when a row of the market is: one row for each."""
    span: list[Column[Any]] = [Column("timeframe", ShortText("timeframe", 8), nullable=False)] if timeframe else []
    moment = Column(time, BigInteger, nullable=False)
    key = ["pair_id", *(column.name for column in span), time]
    return [Column("pair_id", Integer, nullable=False), *span, moment, UniqueConstraint(*key)]


def _doubles(*names: str, required: bool = False) -> list[Column[Any]]:
    return [Column(name, Double, nullable=not required) for name in names]


def _numbers(*names: str) -> list[Column[Any]]:
    return [Column(name, BigInteger) for name in names]


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
    # The documents have three more indexes: two whose words are the beginning of this one's or are its own, and one by trend, of
    # which there are three: it would find a third of the rows, and cost a twentieth of the room.
    Index("uk_judgment_lookup", "symbol", "strategy_type", "timeframe", "created_at", unique=True),
    Index("idx_strategy_judgments_created_at", "created_at"),
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
    Index("idx_trade_closed", "strategy_type", "closed_at"),
    **_OPTIONS,
)

trade_fills = Table(
    "trade_fills",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("trade_id", BigId, ForeignKey("simulation_trades.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False, comment="which one of the trade it is, from 0"),
    *_choice("kind", FILL_KINDS),
    Column("time_ms", BigInteger, nullable=False),
    *(_exact(name, 20, 8, required=True, default=False) for name in ("price", "quantity", "margin", "realised")),
    *(_exact(name, 20, 8, required=True, default=False) for name in ("fee", "funding")),
    Column("reason", ShortText("reason", 100)),
    Column("assumed", Json, nullable=False),
    UniqueConstraint("trade_id", "number"),
    **_OPTIONS,
)

paper_accounts = Table(
    "paper_accounts",
    metadata,
    Column("id", BigId, primary_key=True),
    _symbol(),
    *_choice("strategy_type", STRATEGIES),
    *(_exact(name, 20, 8, required=True, default=False) for name in ("starting_equity", "cash", "margin")),
    *(_exact(name, 20, 8, required=True, default=False) for name in ("realised", "fees", "funding")),
    *(Column(name, BigInteger, nullable=False) for name in ("acted_until", "settled_until", "cooldown_until")),
    Column("state", Json, comment="its order or trade; none: idle"),
    Column("revision", Integer, nullable=False, comment="counts its changes: who writes says which one was read"),
    UniqueConstraint("symbol", "strategy_type"),
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

recoveries = Table(
    "recoveries",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("key", ShortText("key", 160), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("fault", ShortText("fault", 50), nullable=False),
    Column("subject", ShortText("subject", 100), nullable=False),
    Column("action", ShortText("action", 50), nullable=False),
    Column("done_by", ShortText("process", 50), nullable=False),
    Column("reason", ShortText("reason", 1_000), nullable=False),
    *_choice("outcome", OUTCOMES),
    Column("note", ShortText("note", 1_000), nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("key"),
    Index("idx_recoveries_at", "at"),
    Index("idx_recoveries_outcome_at", "outcome", "at"),
    **_OPTIONS,
)

exchanges = Table(
    "exchanges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", ShortText("exchange", 50), nullable=False),
    Column("display_name", ShortText("display name", 100), nullable=False),
    Column("api_endpoint", ShortText("address", 255)),
    Column("websocket_endpoint", ShortText("address", 255)),
    Column("rate_limit_per_minute", Integer),
    Column("supported_timeframes", Json),
    Column("features", Json),
    *_choice("status", EXCHANGE_STATUSES, default="active"),
    Column("simulated", Boolean, nullable=False, server_default=text("false")),
    _moment("created_at"),
    _moment("updated_at", renewed=True),
    UniqueConstraint("name"),
    **_OPTIONS,
)

trading_pairs = Table(
    "trading_pairs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange_id", Integer, ForeignKey("exchanges.id"), nullable=False),
    Column("symbol", ShortText("symbol", 40), nullable=False),
    Column("base_currency", ShortText("coin", 20), nullable=False),
    Column("quote_currency", ShortText("coin", 20), nullable=False),
    Column("settle_currency", ShortText("coin", 20), comment="none: spot"),
    *_doubles("min_amount", "price_step", "quantity_step", "contract_size", "maker_fee", "taker_fee"),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    _moment("created_at"),
    _moment("updated_at", renewed=True),
    UniqueConstraint("exchange_id", "symbol"),
    Index("idx_trading_pairs_symbol", "symbol"),
    **_OPTIONS,
)

klines = Table(
    "klines",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(),
    *_doubles("open", "high", "low", "close", "volume", required=True),
    *_doubles("quote_volume"),
    *_numbers("trades"),
    *_doubles("taker_buy_volume", "taker_buy_quote_volume"),
    *_choice("source", KLINE_SOURCES),
    Column("marks", Text, comment="what is odd about it, with commas"),
    Index("idx_klines_age", "timeframe", "source", "open_time"),
    **_OF_THE_MARKET,
)

trade_flow = Table(
    "trade_flow",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(),
    *_doubles("open", "high", "low", "close"),
    *_doubles("buy_volume", "sell_volume", "buy_quote", "sell_quote"),
    *_numbers("trades"),
    *_doubles("largest_quote"),
    *_numbers("first_id", "last_id"),
    *_choice("status", FLOW_STATUSES, default="ok"),
    Index("idx_trade_flow_age", "timeframe", "open_time"),
    **_OF_THE_MARKET,
)

tickers = Table(
    "tickers",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(),
    *_doubles("price", "volume_24h", "quote_volume_24h", "bid", "ask", "bid_volume", "ask_volume"),
    *_doubles("high_24h", "low_24h", "change_24h", "change_24h_percent"),
    *_numbers("trades_count"),
    *_doubles("mark_price", "index_price", "funding_rate"),
    *_numbers("next_funding_time"),
    Index("idx_tickers_age", "timeframe", "open_time"),
    **_OF_THE_MARKET,
)

depth_summaries = Table(
    "depth_summaries",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(),
    *_choice("status", DEPTH_STATUSES),
    *_doubles("bid", "ask", "mid", "spread_percent"),
    *_numbers("bid_levels", "ask_levels"),
    *_doubles("bid_quote_10", "ask_quote_10", "bid_quote_50", "ask_quote_50", "bid_quote_1pct", "ask_quote_1pct"),
    *_doubles("imbalance"),
    Index("idx_depth_summaries_age", "timeframe", "open_time"),
    **_OF_THE_MARKET,
)

open_interest = Table(
    "open_interest",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(),
    *_doubles("quantity", required=True),
    *_doubles("value", "change_percent"),
    Index("idx_open_interest_age", "timeframe", "open_time"),
    **_OF_THE_MARKET,
)

funding_rates = Table(
    "funding_rates",
    metadata,
    Column("id", BigId, primary_key=True),
    *_of_pair(time="time_ms", timeframe=False),
    *_doubles("rate", required=True),
    *_doubles("mark_price"),
    **_OF_THE_MARKET,
)

refused_messages = Table(
    "refused_messages",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("exchange", ShortText("exchange", 50), nullable=False),
    Column("symbol", ShortText("symbol", 40)),
    Column("channel", ShortText("channel", 32), nullable=False),
    Column("reason", ShortText("reason", 64), nullable=False),
    Column("detail", Text),
    Index("idx_refused_messages_at", "at"),
    Index("idx_refused_messages_reason", "reason", "id"),
    **_OPTIONS,
)

collectors = Table(
    "collectors",
    metadata,
    Column("name", ShortText("collector", 50), primary_key=True),
    Column("exchange", ShortText("exchange", 50), nullable=False),
    Column("title", ShortText("title", 100), nullable=False),
    Column("channels", Json, nullable=False),
    Column("symbols", Json, comment="none: every active one"),
    *_choice("desired", DESIRED_STATES, default="running"),
    _count("revision"),
    Column("wanted_by", ShortText("actor", 100)),
    Column("wanted_at", UtcDateTime),
    Column("actual", ShortText("state", 32)),
    Column("note", Text),
    Column("reported_at", UtcDateTime),
    **(_OPTIONS | {"sqlite_autoincrement": False}),
)
