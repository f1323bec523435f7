"""One judgment a candle: the index by which judgments are looked up becomes unique.

It serves what the two that it replaces served: their columns are its own, or the beginning of its own. Like the steps before,
it does only what is missing, because MySQL cannot take back DDL.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TABLE = "strategy_judgments"


def upgrade() -> None:
    """Make the new index first: on MySQL the foreign key of ``symbol`` always needs one."""
    made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(_TABLE)}
    if "uk_judgment_lookup" not in made:
        columns = ["symbol", "strategy_type", "timeframe", "created_at"]
        op.create_index("uk_judgment_lookup", _TABLE, columns, unique=True)
    for name in ("idx_symbol_strategy_timeframe", "idx_judgment_lookup"):
        if name in made:
            op.drop_index(name, _TABLE)
