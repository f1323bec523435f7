"""One database holds one world: the demo exchange's market, or the live one, never both."""

from sqlalchemy import Engine

from app.domain.market.venue import REPLAY
from app.errors import Misconfigured
from app.storage import pairs
from app.storage.database import reading


def check(engine: Engine, *, simulated: bool) -> None:
    """Refuse a database in which the other world stands. Replayed recordings stand beside either."""
    with reading(engine) as db:
        others = [
            row.name
            for row in pairs.exchanges(db)
            if row.simulated is not simulated and not row.name.startswith(REPLAY)
        ]
    if others:
        there, here = ("live", "the demo exchange's") if simulated else ("the demo exchange's", "live")
        raise Misconfigured(
            f"The market in this database is {there} ({', '.join(others)}), and by feed.exchanges it is {here}: the two never mix.",
            cure="Name another database in database.url (empty: one of its own for each), or go back to the other source in "
            "feed.exchanges.",
        )
