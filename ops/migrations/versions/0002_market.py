"""The tables of the market: what the exchanges say, what was refused of it, and who collects it.

Like the first step it is written out, and makes only what is missing, because MySQL cannot take back DDL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make every table."""
    _create(
        "exchanges",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("display_name", sa.String(100), nullable=False),
        sa.Column("api_endpoint", sa.String(255)),
        sa.Column("websocket_endpoint", sa.String(255)),
        sa.Column("rate_limit_per_minute", sa.Integer()),
        sa.Column("supported_timeframes", sa.JSON()),
        sa.Column("features", sa.JSON()),
        *_choice("exchanges", "status", ("active", "inactive", "maintenance"), default="active"),
        sa.Column("simulated", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        _made_at("created_at"),
        _made_at("updated_at"),
        sa.UniqueConstraint("name", name="uk_exchanges_name"),
        counted=True,
    )
    _create(
        "trading_pairs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("exchange_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchanges.id"], name="fk_trading_pairs_exchange_id"),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("base_currency", sa.String(20), nullable=False),
        sa.Column("quote_currency", sa.String(20), nullable=False),
        sa.Column("settle_currency", sa.String(20), comment="none: spot"),
        *_doubles("min_amount", "price_step", "quantity_step", "contract_size", "maker_fee", "taker_fee"),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        _made_at("created_at"),
        _made_at("updated_at"),
        sa.UniqueConstraint("exchange_id", "symbol", name="uk_trading_pairs_exchange_id_symbol"),
        indexes={"idx_trading_pairs_symbol": ["symbol"]},
        counted=True,
    )
    _create(
        "klines",
        *_span("klines"),
        *_doubles("open", "high", "low", "close", "volume", required=True),
        *_doubles("quote_volume"),
        *_numbers("trades"),
        *_doubles("taker_buy_volume", "taker_buy_quote_volume"),
        *_choice("klines", "source", ("stream", "rest", "rollup", "import")),
        sa.Column("marks", sa.Text(), comment="what is odd about it, with commas"),
        indexes={"idx_klines_age": ["timeframe", "source", "open_time"]},
    )
    _create(
        "trade_flow",
        *_span("trade_flow"),
        *_doubles("open", "high", "low", "close", "buy_volume", "sell_volume", "buy_quote", "sell_quote"),
        *_numbers("trades"),
        *_doubles("largest_quote"),
        *_numbers("first_id", "last_id"),
        *_choice("trade_flow", "status", ("ok", "gap", "repaired"), default="ok"),
        indexes={"idx_trade_flow_age": ["timeframe", "open_time"]},
    )
    _create(
        "tickers",
        *_span("tickers"),
        *_doubles("price", "volume_24h", "quote_volume_24h", "bid", "ask", "bid_volume", "ask_volume"),
        *_doubles("high_24h", "low_24h", "change_24h", "change_24h_percent"),
        *_numbers("trades_count"),
        *_doubles("mark_price", "index_price", "funding_rate"),
        *_numbers("next_funding_time"),
        indexes={"idx_tickers_age": ["timeframe", "open_time"]},
    )
    _create(
        "depth_summaries",
        *_span("depth_summaries"),
        *_choice("depth_summaries", "status", ("ok", "warming", "stale", "gap")),
        *_doubles("bid", "ask", "mid", "spread_percent"),
        *_numbers("bid_levels", "ask_levels"),
        *_doubles("bid_quote_10", "ask_quote_10", "bid_quote_50", "ask_quote_50", "bid_quote_1pct", "ask_quote_1pct"),
        *_doubles("imbalance"),
        indexes={"idx_depth_summaries_age": ["timeframe", "open_time"]},
    )
    _create(
        "open_interest",
        *_span("open_interest"),
        *_doubles("quantity", required=True),
        *_doubles("value", "change_percent"),
        indexes={"idx_open_interest_age": ["timeframe", "open_time"]},
    )
    _create(
        "funding_rates",
        _big_id(),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("pair_id", "time_ms", name="uk_funding_rates_pair_id_time_ms"),
        *_doubles("rate", required=True),
        *_doubles("mark_price"),
    )
    _create(
        "refused_messages",
        _big_id(),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("exchange", sa.String(50), nullable=False),
        sa.Column("symbol", sa.String(40)),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text()),
        indexes={"idx_refused_messages_at": ["at"], "idx_refused_messages_reason": ["reason", "id"]},
        counted=True,
    )
    _create(
        "collectors",
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("exchange", sa.String(50), nullable=False),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("symbols", sa.JSON(), comment="none: every active one"),
        *_choice("collectors", "desired", ("running", "stopped"), default="running"),
        sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("wanted_by", sa.String(100)),
        sa.Column("wanted_at", _moment()),
        sa.Column("actual", sa.String(32)),
        sa.Column("note", sa.Text()),
        sa.Column("reported_at", _moment()),
        key="name",
    )


def _create(
    table: str,
    *parts: sa.schema.SchemaItem,
    key: str = "id",
    counted: bool = False,
    indexes: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Where ids are ``counted``, SQLite never gives one twice."""
    here = sa.inspect(op.get_bind())
    if not here.has_table(table):
        options: dict[str, Any] = {"sqlite_autoincrement": counted}
        for dialect in ("mysql", "mariadb"):
            options |= {f"{dialect}_engine": "InnoDB", f"{dialect}_charset": "utf8mb4"}
            options[f"{dialect}_collate"] = "utf8mb4_bin"
        op.create_table(table, *parts, sa.PrimaryKeyConstraint(key, name=f"pk_{table}"), **options)
    made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    for name, columns in (indexes or {}).items():
        if name not in made:
            op.create_index(name, table, columns)


def _dialect() -> str:
    return op.get_bind().dialect.name


def _big_id() -> sa.Column[Any]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def _span(table: str) -> list[Any]:
    return [
        _big_id(),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("open_time", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("pair_id", "timeframe", "open_time", name=f"uk_{table}_pair_id_timeframe_open_time"),
    ]


def _doubles(*names: str, required: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Double(), nullable=not required) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger()) for name in names]


def _choice(table: str, name: str, allowed: tuple[str, ...], *, default: str | None = None) -> list[Any]:
    words = ", ".join(f"'{word}'" for word in allowed)
    return [
        sa.Column(name, sa.String(32), nullable=False, server_default=default),
        sa.CheckConstraint(f"{name} IN ({words})", name=op.f(f"ck_{table}_{name}")),
    ]


def _moment() -> sa.types.TypeEngine[Any]:
    if _dialect() in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import DATETIME

        return DATETIME(fsp=6)
    return sa.DateTime(timezone=_dialect() == "postgresql")


def _made_at(name: str) -> sa.Column[Any]:
    clocks = {"sqlite": "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))", "postgresql": "CURRENT_TIMESTAMP"}
    clock = clocks.get(_dialect(), "CURRENT_TIMESTAMP(6)")
    return sa.Column(name, _moment(), nullable=False, server_default=sa.text(clock))
