"""What the fleet does by itself when something fails, and what became of it. It does only what is missing: MySQL cannot take
back DDL.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    if sa.inspect(op.get_bind()).has_table("recoveries"):
        return
    options: dict[str, Any] = {"sqlite_autoincrement": True}
    for dialect in ("mysql", "mariadb"):
        options |= {f"{dialect}_engine": "InnoDB", f"{dialect}_charset": "utf8mb4", f"{dialect}_collate": "utf8mb4_bin"}
    op.create_table(
        "recoveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("at", _at(), nullable=False),
        sa.Column("fault", sa.String(50), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("done_by", sa.String(50), nullable=False),
        sa.Column("reason", sa.String(1_000), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('pending', 'recovered', 'given_up', 'unknown')", name=op.f("ck_recoveries_outcome")
        ),
        sa.Column("note", sa.String(1_000), nullable=False),
        sa.Column("ended_at", _at()),
        sa.PrimaryKeyConstraint("id", name="pk_recoveries"),
        sa.UniqueConstraint("key", name="uk_recoveries_key"),
        sa.Index("idx_recoveries_at", "at"),
        sa.Index("idx_recoveries_outcome_at", "outcome", "at"),
        **options,
    )


def _at() -> sa.types.TypeEngine[Any]:
    dialect = op.get_bind().dialect.name
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import DATETIME

        return DATETIME(fsp=6)
    return sa.DateTime(timezone=dialect == "postgresql")
