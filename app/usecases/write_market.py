"""Write what the feed harvested: one transaction, in which finished hours and days are rolled up from their minutes as well.

A row that the database refuses would hold up all others for ever. So what is refused as a whole is written in halves, down to the
rows that are at fault, which are let go and told.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine

from app.domain.market.timeframes import length_ms, open_of
from app.domain.market.watching import MADE_OF
from app.errors import Misconfigured, Unavailable
from app.storage import depths, flow, funding, klines, open_interest, refused, symbols, tickers
from app.storage.database import transaction
from app.storage.klines import Kline
from app.usecases.harvest import Harvest


@dataclass(slots=True)
class Written:
    """Rows by table, and the candles that came into being by rolling up."""

    rows: dict[str, int] = field(default_factory=dict)
    rolled: list[Kline] = field(default_factory=list)
    refused: int = 0
    """Rows that the database would not have."""
    why: str = ""
    """What it said of one of them."""


def write(engine: Engine, harvest: Harvest, now: datetime) -> Written:
    """Store all of it or nothing. The same harvest again changes nothing."""
    with transaction(engine) as db:
        written = Written()
        changed = klines.store(db, harvest.klines.values()) if harvest.klines else 0
        if changed:
            written.rolled = _roll_up(db, harvest.klines.values())
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
            refused.store(db, harvest.refused)
        if harvest.notes:
            symbols.note_market(db, harvest.notes.values(), now)
    counts = {
        "klines": changed + len(written.rolled),
        "trade_flow": len(harvest.flows),
        "tickers": len(harvest.tickers),
        "depth_summaries": len(harvest.depths),
        "open_interest": len(harvest.open_interest),
        "funding_rates": len(harvest.funding),
        "refused_messages": len(harvest.refused),
    }
    written.rows = {table: count for table, count in counts.items() if count}
    return written


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


def _roll_up(db: Connection, stored: Iterable[Kline]) -> list[Kline]:
    """The higher candles that end with one of these, where all that they are made of is there. Gaps are left to the repair."""
    rolled: list[Kline] = []
    ended = list(stored)
    while ended:
        wanted = {
            (row.pair_id, timeframe, open_of(row.open_time, timeframe))
            for row in ended
            for timeframe, base in MADE_OF.items()
            if base == row.timeframe and (row.open_time + length_ms(base)) % length_ms(timeframe) == 0
        }
        made = [row for key in sorted(wanted) if (row := _made(db, *key)) is not None]
        if made:
            klines.store(db, made)
        rolled += made
        ended = made
    return rolled


def _made(db: Connection, pair_id: int, timeframe: str, open_time: int) -> Kline | None:
    base = MADE_OF[timeframe]
    length = length_ms(timeframe)
    parts = klines.read(
        db, pair_id, base, since_ms=open_time, until_ms=open_time + length, limit=length // length_ms(base)
    )
    if len(parts) * length_ms(base) != length:
        return None
    return summed(pair_id, timeframe, open_time, parts)


def summed(pair_id: int, timeframe: str, open_time: int, parts: list[Kline]) -> Kline:
    """One candle of several. What one part does not know, the whole does not know."""

    def total(name: str) -> float | None:
        values = [getattr(part, name) for part in parts]
        return None if None in values else sum(values)

    trades = total("trades")
    return Kline(
        pair_id,
        timeframe,
        open_time,
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum(part.volume for part in parts),
        total("quote_volume"),
        None if trades is None else int(trades),
        total("taker_buy_volume"),
        total("taker_buy_quote_volume"),
        "rollup",
    )
