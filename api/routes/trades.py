"""Paper trades. Their times are the market's; money is exact, so it is written as text."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import source
from api.routes.route import Answer, Asks, Call, Nothing, Reply, Route, Spelled, StrategyName
from app.domain.market import symbols as spelling
from app.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.storage import accounts, trades
from app.storage.database import reading
from app.storage.trades import FillRow, Trade
from app.usecases import steer_trades
from app.usecases.read_market import of_last_minute
from app.usecases.tell_judged import trade_news
from app.usecases.trade import trade as bring_forward

Side = Literal["LONG", "SHORT"]
TradeStatus = Literal["ACTIVE", "CLOSED", "STOPPED"]
_MOST_BEHIND_MS = 30 * 60_000
TradeId = Annotated[int, Meta(ge=1, le=2**53)]
Price = Annotated[Decimal, Meta(description="In the quote coin, above 0.")]


class TradeView(Answer, frozen=True):
    """One trade. What a trade that is open has not got yet is null."""

    id: int
    symbol: str
    strategy: StrategyName
    direction: Side
    status: TradeStatus
    entry_price: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    leverage: int
    margin: Decimal
    risk_amount: Annotated[Decimal, Meta(description="What is lost at the first stop, before costs.")]
    quantity: Decimal
    opened_at: datetime
    closed_at: datetime | None
    exit_price: Decimal | None
    exit_reason: str | None
    pnl: Annotated[Decimal | None, Meta(description="After fees and funding.")]
    pnl_percentage: Annotated[Decimal | None, Meta(description="Of the value at entry.")]


class FillView(Answer, frozen=True):
    """One thing that moved money in a trade."""

    kind: Literal["ENTRY", "EXIT", "FUNDING"]
    time_ms: int
    price: Decimal
    quantity: Decimal
    margin: Annotated[Decimal, Meta(description="Set aside; below 0: given back.")]
    realised: Annotated[Decimal, Meta(description="Profit or loss of price alone.")]
    fee: Decimal
    funding: Annotated[Decimal, Meta(description="Paid; below 0: received.")]
    reason: str | None
    assumed: Annotated[dict[str, Any], Meta(description="On what the price rests: the recorded book or basis points.")]


class TradeWhole(Answer, frozen=True):
    """One trade with everything that moved money in it."""

    trade: TradeView
    fills: list[FillView]


class TradePage(Answer, frozen=True):
    """Trades, newest first."""

    trades: list[TradeView]
    next_before_id: Annotated[int | None, Meta(description="Pass it as before_id for the next page; null on the last.")]


class OpenTrade(Answer, frozen=True):
    """A trade that is open, at the newest price; null where none is known."""

    trade: TradeView
    price: float | None
    price_exchange: Annotated[
        str | None, Meta(description="Which one said it: another one when the first has no price of the last minute.")
    ]
    floating_pnl: Annotated[Decimal | None, Meta(description="Of price alone, before the costs of the exit.")]
    leaving: Annotated[str | None, Meta(description="Why it is about to be left.")]


class OpenTrades(Answer, frozen=True):
    """Every trade that is open, and every order that the next minute fills."""

    trades: list[OpenTrade]
    orders: list["OrderView"]


class OrderView(Answer, frozen=True):
    """An order that waits for the next minute."""

    symbol: str
    strategy: StrategyName
    direction: Side
    stop_loss: Decimal
    take_profit: Decimal
    not_before_ms: int


class MoveView(Answer, frozen=True):
    """Where stop and target of a trade will be, from the first minute on that begins then or later."""

    id: int
    from_ms: int
    stop_loss: Decimal
    take_profit: Decimal


class MayOpen(Answer, frozen=True):
    """Whether a new trade may be opened on an account."""

    symbol: str
    strategy: StrategyName
    allowed: bool
    reason: str | None


class Cooldown(Answer, frozen=True):
    """One account that waits after its last entry."""

    symbol: str
    strategy: StrategyName
    until_ms: int
    left_s: float


class Cooldowns(Answer, frozen=True):
    """Who waits, and for how long."""

    cooldowns: list[Cooldown]


class AutoClosed(Answer, frozen=True):
    """What bringing all accounts forward came to."""

    closed: list[int]
    opened: list[int]
    refused: int


class TradesAsked(Asks, frozen=True):
    """Which trades."""

    symbol: Spelled | None = None
    strategy: StrategyName | None = None
    status: TradeStatus | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    before_id: TradeId | None = None


class TradeAsked(Asks, frozen=True):
    """Which trade."""

    id: TradeId


class AccountAsked(Asks, frozen=True):
    """Which account."""

    symbol: Spelled
    strategy: StrategyName


class NewTrade(Asks, frozen=True):
    """A trade to open: it is entered at the open of the next minute."""

    symbol: Spelled
    strategy: StrategyName
    direction: Side
    stop_loss: Price
    take_profit: Price
    max_loss: Annotated[Decimal | None, Meta(description="20, 50, 100 or 200; null: the setting maxLossAmount.")] = None


class TradeChange(Asks, frozen=True):
    """What to move."""

    id: TradeId
    stop_loss: Annotated[Decimal | None, Meta(description="Only in the trade's favour.")] = None
    take_profit: Decimal | None = None


def read_page(call: Call[TradesAsked]) -> Reply[TradePage]:
    """Read the newest trades."""
    asked = call.asks
    with reading(call.deps.engine) as db:
        found = trades.recent(
            db,
            limit=asked.limit + 1,
            symbol=None if asked.symbol is None else spelling.parse(asked.symbol),
            strategy_type=asked.strategy,
            status=asked.status,
            before_id=asked.before_id,
        )
    shown = found[: asked.limit]
    return Reply(TradePage([_view(one) for one in shown], shown[-1].id if len(found) > len(shown) else None))


def read_trade(call: Call[TradeAsked]) -> Reply[TradeWhole]:
    """Read one trade and its fills."""
    with reading(call.deps.engine) as db:
        found, fills = trades.get(db, call.asks.id), trades.fills(db, call.asks.id)
    if found is None:
        raise NotFound(f"There is no trade {call.asks.id}.", cure="GET /api/v1/trades lists them.")
    return Reply(TradeWhole(_view(found), [_fill(row) for row in fills]))


def read_active(call: Call[Nothing]) -> Reply[OpenTrades]:
    """Read what is open, at the newest prices."""
    deps = call.deps
    with reading(deps.engine) as db:
        rows = {row.id: row for row in trades.active(db)}
        busy = accounts.listed(db, busy=True)
    there = source.exchanges(deps.settings)
    prices = deps.market.reference(there, source.market_time(deps.settings, call.now))
    found, orders = [], []
    for kept in busy:
        desk = kept.desk
        if desk.order is not None:
            orders.append(msgspec.convert(desk.order, OrderView, from_attributes=True))
        if desk.trade is None or kept.trade_id not in rows:
            continue
        said = prices.get(desk.symbol)
        price, exchange = (None, None) if said is None else (said.price, said.exchange)
        floating = None if price is None else desk.trade.floating(price)
        leaving = desk.trade.exit_reason or desk.trade.asked_reason
        found.append(OpenTrade(_view(rows[kept.trade_id]), price, exchange, floating, leaving))
    return Reply(OpenTrades(found, orders))


def open_one(call: Call[NewTrade]) -> Reply[OrderView]:
    """Order a trade."""
    asked, deps = call.asks, call.deps
    symbol = spelling.parse(asked.symbol)
    wish = steer_trades.Wish(
        symbol, asked.strategy, asked.direction, asked.stop_loss, asked.take_profit, asked.max_loss
    )
    desk = steer_trades.order(
        deps.engine,
        wish,
        call.asking,
        exchanges=source.exchanges(deps.settings),
        time=source.market_time(deps.settings, call.now),
        price=_price(call, symbol),
    )
    return Reply(msgspec.convert(desk.order, OrderView, from_attributes=True), 202)


def change(call: Call[TradeChange]) -> Reply[MoveView]:
    """Move a trade's stop or target, from the next minute on."""
    asked, deps = call.asks, call.deps
    with reading(deps.engine) as db:
        row = trades.get(db, asked.id)
    move = steer_trades.move(
        deps.engine,
        asked.id,
        asked.stop_loss,
        asked.take_profit,
        call.asking,
        time=source.market_time(deps.settings, call.now),
        price=None if row is None else _price(call, row.symbol),
    )
    return Reply(MoveView(asked.id, move.at_ms, move.stop_loss, move.take_profit), 202)


def close(call: Call[TradeAsked]) -> Reply[TradeView]:
    """Close a trade at the next minute."""
    time = source.market_time(call.deps.settings, call.now)
    return Reply(_view(steer_trades.close(call.deps.engine, call.asks.id, call.asking, time=time)), 202)


def check_creation(call: Call[AccountAsked]) -> Reply[MayOpen]:
    """Say whether a trade may be opened now."""
    symbol, strategy = spelling.parse(call.asks.symbol), call.asks.strategy
    time = source.market_time(call.deps.settings, call.now)
    with reading(call.deps.engine) as db:
        reason = steer_trades.why_not(db, symbol, strategy, exchanges=source.exchanges(call.deps.settings), time=time)
    return Reply(MayOpen(symbol, strategy, reason is None, reason))


def read_cooldowns(call: Call[Nothing]) -> Reply[Cooldowns]:
    """Read which accounts wait after their last entry."""
    now_ms = source.market_time(call.deps.settings, call.now).now_ms
    with reading(call.deps.engine) as db:
        found = accounts.cooling(db, 0 if now_ms is None else now_ms)
    views = [
        Cooldown(symbol, strategy, until_ms, (until_ms - (now_ms or 0)) / 1000)  # type: ignore[arg-type]
        for symbol, strategy, until_ms in found
    ]
    return Reply(Cooldowns(views))


def auto_close(call: Call[Nothing]) -> Reply[AutoClosed]:
    """Bring every account forward to now, as the fleet does by itself every few seconds: stops and targets are looked at."""
    deps = call.deps
    time = source.market_time(deps.settings, call.now)
    with reading(deps.engine) as db:
        behind_ms = accounts.most_behind(db, time.now_ms or 0)
    if behind_ms > _MOST_BEHIND_MS * max(1.0, time.speed):
        raise Conflict(
            f"Open trades are {behind_ms / 60_000:.0f} minutes behind: strategy-worker is settling them.",
            cure="Ask again in a minute; flotilla top shows how far it is.",
        )
    done = bring_forward(deps.engine, exchanges=source.exchanges(deps.settings), time=time, now=call.now)
    for event in done.events:
        if event.what == "closed":
            deps.look_up.statistics_changed(event.symbol, event.strategy)
    deps.market.tell([trade_news(event) for event in done.events])
    ids = {what: [e.trade_id for e in done.events if e.what == what and e.trade_id] for what in ("closed", "opened")}
    refused = sum(event.what == "refused" for event in done.events)
    return Reply(AutoClosed(ids["closed"], ids["opened"], refused))


def _price(call: Call[NewTrade] | Call[TradeChange], symbol: str) -> float | None:
    """The newest price, where there is one of the last minute on any exchange."""
    deps = call.deps
    time = source.market_time(deps.settings, call.now)
    said = deps.market.reference(source.exchanges(deps.settings), time, symbol).get(symbol)
    return said.price if said and of_last_minute(said, time) else None


def _view(row: Trade) -> TradeView:
    return TradeView(
        id=row.id,
        symbol=row.symbol,
        strategy=row.strategy_type,  # type: ignore[arg-type]
        direction=row.direction,  # type: ignore[arg-type]
        status=row.status,  # type: ignore[arg-type]
        entry_price=row.entry_price,
        stop_loss=row.stop_loss,
        take_profit=row.take_profit,
        leverage=row.leverage,
        margin=row.margin_required,
        risk_amount=row.risk_amount,
        quantity=row.position_size,
        opened_at=row.created_at,
        closed_at=row.closed_at,
        exit_price=row.exit_price,
        exit_reason=row.exit_reason,
        pnl=row.pnl if row.status != "ACTIVE" else None,
        pnl_percentage=row.pnl_percentage if row.status != "ACTIVE" else None,
    )


def _fill(row: FillRow) -> FillView:
    return msgspec.convert({name: getattr(row, name) for name in FillView.__struct_fields__}, FillView)


_AT = datetime.fromisoformat("2026-11-21T12:01:00+00:00")
_OPEN = TradeView(
    id=7,
    symbol="BTC/USDT:USDT",
    strategy="V3",
    direction="LONG",
    status="ACTIVE",
    entry_price=Decimal("43271.6"),
    stop_loss=Decimal("42820.1"),
    take_profit=Decimal("44399.8"),
    leverage=24,
    margin=Decimal(400),
    risk_amount=Decimal("99.99"),
    quantity=Decimal("0.221"),
    opened_at=_AT,
    closed_at=None,
    exit_price=None,
    exit_reason=None,
    pnl=None,
    pnl_percentage=None,
)
_ENTRY = FillView(
    kind="ENTRY",
    time_ms=1795262460000,
    price=Decimal("43271.6"),
    quantity=Decimal("0.221"),
    margin=Decimal(400),
    realised=Decimal(0),
    fee=Decimal("4.78"),
    funding=Decimal(0),
    reason=None,
    assumed={"source": "bps", "bps": "5", "reference": "43250", "wanted": "0.221"},
)
_ORDER = OrderView(
    symbol="BTC/USDT:USDT",
    strategy="V3",
    direction="LONG",
    stop_loss=Decimal(42820),
    take_profit=Decimal(44400),
    not_before_ms=1795262460000,
)
_GONE = (InvalidInput, NotFound, Conflict, Unavailable)

ROUTES = (
    Route(
        "GET",
        "/api/v1/trades",
        read_page,
        "trades",
        "Trades, newest first",
        TradesAsked,
        TradePage,
        raises=(InvalidInput, Unavailable),
        example=TradePage([_OPEN], None),
    ),
    Route(
        "GET",
        "/api/v1/trades/active",
        read_active,
        "trades",
        "What is open, at the newest prices",
        Nothing,
        OpenTrades,
        raises=(Unavailable,),
        example=OpenTrades([OpenTrade(_OPEN, 43300.0, "binance", Decimal("6.27"), None)], [_ORDER]),
    ),
    Route(
        "GET",
        "/api/v1/trades/check-creation",
        check_creation,
        "trades",
        "Whether a trade may be opened now",
        AccountAsked,
        MayOpen,
        raises=(InvalidInput, Unavailable),
        example=MayOpen("BTC/USDT:USDT", "V3", False, "BTC/USDT:USDT has an open V3 trade already: one at a time."),
    ),
    Route(
        "GET",
        "/api/v1/trades/cooldown-status",
        read_cooldowns,
        "trades",
        "Which accounts wait after their last entry",
        Nothing,
        Cooldowns,
        raises=(Unavailable,),
        example=Cooldowns([Cooldown("BTC/USDT:USDT", "V3", 1795262760000, 211.5)]),
    ),
    Route(
        "GET",
        "/api/v1/trades/{id}",
        read_trade,
        "trades",
        "One trade and everything that moved money in it",
        TradeAsked,
        TradeWhole,
        raises=(InvalidInput, NotFound, Unavailable),
        example=TradeWhole(_OPEN, [_ENTRY]),
    ),
    Route(
        "POST",
        "/api/v1/trades",
        open_one,
        "trades",
        "Order a trade: the next minute fills it",
        NewTrade,
        OrderView,
        statuses=(202,),
        raises=_GONE,
        asks_example=NewTrade("BTCUSDT", "V3", "LONG", Decimal(42820), Decimal(44400)),
        example=_ORDER,
    ),
    Route(
        "PUT",
        "/api/v1/trades/{id}",
        change,
        "trades",
        "Move a trade's stop or target",
        TradeChange,
        MoveView,
        statuses=(202,),
        raises=_GONE,
        asks_example=TradeChange(7, Decimal(43000)),
        example=MoveView(7, 1795262460000, Decimal(43000), Decimal("44399.8")),
    ),
    Route(
        "POST",
        "/api/v1/trades/{id}/close",
        close,
        "trades",
        "Close a trade at the next minute",
        TradeAsked,
        TradeView,
        statuses=(202,),
        raises=_GONE,
        example=_OPEN,
    ),
    Route(
        "POST",
        "/api/v1/trades/auto-close",
        auto_close,
        "trades",
        "Look at all stops and targets now",
        Nothing,
        AutoClosed,
        raises=(Conflict, Unavailable),
        example=AutoClosed([7], [], 0),
    ),
)
