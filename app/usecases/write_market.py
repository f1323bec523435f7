"""Write what the feed harvested: one transaction, and then the higher candles that its minutes complete.

A row that the database refuses would hold up all others for ever. So what is refused as a whole is written in halves, down to the
rows that are at fault, which are let go and told.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Engine

from app.errors import Misconfigured, Unavailable
from app.storage import depths, flow, funding, klines, open_interest, refused, symbols, tickers
from app.storage.database import transaction
from app.storage.klines import Kline
from app.usecases.harvest import Harvest
from app.usecases.higher_candles import Made, make_higher


@dataclass(slots=True)
class Written:
    """Rows by table, and the candles that a candle of the stream completed."""

    rows: dict[str, int] = field(default_factory=dict)
    rolled: list[Kline] = field(default_factory=list)
    refused: int = 0
    """Rows that the database would not have."""
    why: str = ""
    """What it said of one of them."""


def write(engine: Engine, harvest: Harvest, now: datetime) -> Written:
    """Store all of it or nothing, then what it completes. The same harvest again changes nothing.

    When it raises in between, the same again makes up for it.
    """
    with transaction(engine) as db:
        changed = klines.store(db, harvest.klines.values()) if harvest.klines else []
        if harvest.flows:
            flow.store(db, harvest.flows.values())
        if harvest.tickers:
            tickers.store(db, harvest.tickers.values())
        if harvest.depths:
            depths.store(db, harvest.depths.values())
        if harvest.open_interest:
            open_interest.store(db, harvest.open_interest.values())
        if harvest.funding:
            funding.store(db, harvest.funding.values())
        if harvest.refused:
            # By our clock, as they are purged: the market's may run faster.
            refused.store(db, [replace(message, at=now) for message in harvest.refused])
        if harvest.notes:
            symbols.note_market(db, harvest.notes.values(), now)
    refused_count = len(harvest.refused)
    try:
        higher = make_higher(engine, harvest.klines.values()) if harvest.klines else Made()
    except Exception:
        harvest.refused.clear()  # they have no key: written again, they would stand there twice
        raise
    counts = {
        "klines": len(changed) + higher.changed,
        "trade_flow": len(harvest.flows),
        "tickers": len(harvest.tickers),
        "depth_summaries": len(harvest.depths),
        "open_interest": len(harvest.open_interest),
        "funding_rates": len(harvest.funding),
        "refused_messages": refused_count,
    }
    return Written({table: count for table, count in counts.items() if count}, higher.news)


def write_what_can_be(engine: Engine, harvest: Harvest, now: datetime) -> Written:
    """Store all but the rows that cannot be stored. Raises Unavailable while the database is away: then try all of it again."""
    try:
        return write(engine, harvest, now)
    except (Unavailable, Misconfigured):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a driver thinks of a value, the other rows are worth storing
        halves = harvest.halves()
        if halves is None:
            return Written(refused=max(1, len(harvest)), why=f"{error} {harvest.sample()}")
    written = Written()
    for half in halves:
        part = write_what_can_be(engine, half, now)
        written.rows = dict(Counter(written.rows) + Counter(part.rows))
        written.rolled += part.rolled
        written.refused += part.refused
        written.why = part.why or written.why
    return written
