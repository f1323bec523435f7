"""The accounts of paper trading, and what filled each trade. It does only what is missing: MySQL cannot take back DDL."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make both tables, and drop an index that finds nothing."""
    made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("strategy_judgments")}
    if "idx_trend_direction" in made:
        op.drop_index("idx_trend_direction", "strategy_judgments")
    made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("simulation_trades")}
    if "idx_trade_closed" not in made:
        op.create_index("idx_trade_closed", "simulation_trades", ["strategy_type", "closed_at"])
    _create(
        "trade_fills",
        _big_id(),
        sa.Column("trade_id", _big(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trade_id"], ["simulation_trades.id"], name="fk_trade_fills_trade_id", ondelete="CASCADE"
        ),
        sa.Column("number", sa.Integer(), nullable=False, comment="which one of the trade it is, from 0"),
        *_choice("trade_fills", "kind", ("ENTRY", "EXIT", "FUNDING")),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        *_money("price", "quantity", "margin", "realised", "fee", "funding"),
        sa.Column("reason", sa.String(100)),
        sa.Column("assumed", sa.JSON(), nullable=False),
        sa.UniqueConstraint("trade_id", "number", name="uk_trade_fills_trade_id_number"),
    )
    _create(
        "paper_accounts",
        _big_id(),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.ForeignKeyConstraint(["symbol"], ["symbols.symbol"], name="fk_paper_accounts_symbol", ondelete="CASCADE"),
        *_choice("paper_accounts", "strategy_type", ("V3", "ICT")),
        *_money("starting_equity", "cash", "margin", "realised", "fees", "funding"),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("acted_until", "settled_until", "cooldown_until")
        ),
        sa.Column("state", sa.JSON(), comment="its order or trade; none: idle"),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="counts its changes: who writes says which one was read"
        ),
        sa.UniqueConstraint("symbol", "strategy_type", name="uk_paper_accounts_symbol_strategy_type"),
    )


def _create(table: str, *parts: sa.schema.SchemaItem) -> None:
    if sa.inspect(op.get_bind()).has_table(table):
        return
    options: dict[str, Any] = {"sqlite_autoincrement": True}
    for dialect in ("mysql", "mariadb"):
        options |= {f"{dialect}_engine": "InnoDB", f"{dialect}_charset": "utf8mb4", f"{dialect}_collate": "utf8mb4_bin"}
    op.create_table(table, *parts, sa.PrimaryKeyConstraint("id", name=f"pk_{table}"), **options)


def _big() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _big_id() -> sa.Column[Any]:
    return sa.Column("id", _big(), primary_key=True)


def _money(*names: str) -> list[sa.Column[Any]]:
    exact = sa.Numeric(20, 8).with_variant(sa.String(22), "sqlite")  # text there, as app/storage/types.py explains
    return [sa.Column(name, exact, nullable=False) for name in names]


def _choice(table: str, name: str, allowed: tuple[str, ...]) -> list[Any]:
    words = ", ".join(f"'{word}'" for word in allowed)
    return [
        sa.Column(name, sa.String(32), nullable=False),
        sa.CheckConstraint(f"{name} IN ({words})", name=op.f(f"ck_{table}_{name}")),
    ]
