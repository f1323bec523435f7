"""The pairs that are watched. Every common spelling of a symbol is understood; answers use one form, BTC/USDT:USDT."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api import source
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route, Spelled
from app.domain.market import symbols as spelling
from app.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.storage import symbols
from app.storage.database import reading
from app.storage.symbols import MarketNote, Symbol
from app.usecases.change_symbols import add_symbol, remove_symbol, set_status, update_numbers

SymbolStatus = Literal["ACTIVE", "INACTIVE", "SUSPENDED"]


class SymbolView(Answer, frozen=True):
    """One pair. A number that is not known is null; numbers are exact, so they are written as text."""

    id: int
    symbol: str
    status: SymbolStatus
    last_price: Decimal | None
    volume_24h: Annotated[Decimal | None, Meta(description="In the quote coin.")]
    price_change_24h: Annotated[Decimal | None, Meta(description="In percent.")]
    funding_rate: Decimal | None
    created_at: datetime
    updated_at: datetime


class SymbolPage(Answer, frozen=True):
    """Pairs by name."""

    symbols: list[SymbolView]
    total: int
    next_offset: Annotated[int | None, Meta(description="Pass it as offset for the next page; null on the last.")]


class SymbolList(Answer, frozen=True):
    """Every pair that is watched, by name."""

    symbols: list[SymbolView]


class SymbolRemoved(Answer, frozen=True):
    """What was removed."""

    removed: str


class SymbolsUpdated(Answer, frozen=True):
    """Whose numbers changed."""

    updated: list[str]


class SymbolsAsked(Asks, frozen=True):
    """Which pairs."""

    status: Annotated[SymbolStatus | None, Meta(description="In this state only.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=10_000_000)] = 0


class SymbolAsked(Asks, frozen=True):
    """Which pair."""

    symbol: Spelled


class NewSymbol(Asks, frozen=True):
    """A pair to add."""

    symbol: Spelled
    status: SymbolStatus = "ACTIVE"


class SymbolChange(Asks, frozen=True):
    """A pair and what it shall be."""

    symbol: Spelled
    status: SymbolStatus


def read_page(call: Call[SymbolsAsked]) -> Reply[SymbolPage]:
    """Read pairs, page by page."""
    asked = call.asks
    with reading(call.deps.engine) as db:
        found = symbols.listed(db, status=asked.status)
    end = asked.offset + asked.limit
    views = [_view(pair) for pair in found[asked.offset : end]]
    return Reply(SymbolPage(views, len(found), end if end < len(found) else None))


def read_active(call: Call[Nothing]) -> Reply[SymbolList]:
    """Read the pairs that are watched."""
    with reading(call.deps.engine) as db:
        found = symbols.listed(db, status="ACTIVE")
    return Reply(SymbolList([_view(pair) for pair in found]))


def read_symbol(call: Call[SymbolAsked]) -> Reply[SymbolView]:
    """Read one pair."""
    name = spelling.parse(call.asks.symbol)
    pair = call.deps.look_up.symbol(name)
    if pair is None:
        raise NotFound(f"There is no symbol {name!r}.", cure="GET /api/v1/symbols lists them; POST there adds one.")
    return Reply(_view(pair))


def add(call: Call[NewSymbol]) -> Reply[SymbolView]:
    """Add a pair; the feed watches it from its next look on, on the exchanges that trade it."""
    asked, deps = call.asks, call.deps
    pair = add_symbol(deps.engine, deps.look_up, spelling.parse(asked.symbol), asked.status, call.asking)
    return Reply(_view(pair), 201)


def change(call: Call[SymbolChange]) -> Reply[SymbolView]:
    """Watch a pair, or no longer."""
    asked, deps = call.asks, call.deps
    return Reply(_view(set_status(deps.engine, deps.look_up, spelling.parse(asked.symbol), asked.status, call.asking)))


def remove(call: Call[SymbolAsked]) -> Reply[SymbolRemoved]:
    """Remove a pair, and with it its judgments, trades and statistics."""
    name = spelling.parse(call.asks.symbol)
    remove_symbol(call.deps.engine, call.deps.look_up, name, call.asking)
    return Reply(SymbolRemoved(name))


def update(call: Call[Nothing]) -> Reply[SymbolsUpdated]:
    """Take over what the newest tickers of the default exchange say; a number that is not known stays as it was."""
    deps = call.deps
    exchange = source.exchange(deps.settings, None)
    notes = [
        MarketNote(
            pair.symbol,
            last_price=ticker.price,
            volume_24h=ticker.quote_volume,
            price_change_24h=ticker.change_24h_percent,
            funding_rate=ticker.funding_rate,
        )
        for pair, ticker in deps.market.tickers([exchange])
        if ticker is not None
    ]
    return Reply(SymbolsUpdated(update_numbers(deps.engine, deps.look_up, notes, call.asking)))


def _view(pair: Symbol) -> SymbolView:
    return msgspec.convert(pair, SymbolView, from_attributes=True)


_AT = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
_PAIR = SymbolView(
    1,
    "BTC/USDT:USDT",
    "ACTIVE",
    Decimal("43250.5"),
    Decimal("1234567.89"),
    Decimal("5.76"),
    Decimal("0.0001"),
    _AT,
    _AT,
)
_GONE = (InvalidInput, NotFound, Unavailable)

ROUTES = (
    Route(
        "GET",
        "/api/v1/symbols",
        read_page,
        "symbols",
        "Pairs, page by page",
        SymbolsAsked,
        SymbolPage,
        raises=(Unavailable,),
        example=SymbolPage([_PAIR], 1, None),
    ),
    Route(
        "GET",
        "/api/v1/symbols/active",  # Flask takes a path that is written out before one with a symbol in it
        read_active,
        "symbols",
        "The pairs that are watched",
        Nothing,
        SymbolList,
        raises=(Unavailable,),
        example=SymbolList([_PAIR]),
    ),
    Route(
        "GET",
        "/api/v1/symbols/{symbol}",
        read_symbol,
        "symbols",
        "One pair",
        SymbolAsked,
        SymbolView,
        raises=_GONE,
        example=_PAIR,
    ),
    Route(
        "POST",
        "/api/v1/symbols",
        add,
        "symbols",
        "Add a pair",
        NewSymbol,
        SymbolView,
        statuses=(201,),
        raises=(InvalidInput, Conflict, Unavailable),
        asks_example=NewSymbol("BTCUSDT"),
        example=_PAIR,
    ),
    Route(
        "PUT",
        "/api/v1/symbols/{symbol}",
        change,
        "symbols",
        "Watch a pair, or no longer",
        SymbolChange,
        SymbolView,
        raises=_GONE,
        asks_example=SymbolChange("BTCUSDT", "INACTIVE"),
        example=_PAIR,
    ),
    Route(
        "DELETE",
        "/api/v1/symbols/{symbol}",
        remove,
        "symbols",
        "Remove a pair and what hangs on it",
        SymbolAsked,
        SymbolRemoved,
        raises=_GONE,
        example=SymbolRemoved("BTC/USDT:USDT"),
    ),
    Route(
        "POST",
        "/api/v1/symbols/update",
        update,
        "symbols",
        "Take over the newest numbers",
        Nothing,
        SymbolsUpdated,
        raises=(InvalidInput, Unavailable),
        example=SymbolsUpdated(["BTC/USDT:USDT"]),
    ),
)
