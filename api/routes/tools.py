"""Calculators for a trader, and a look at whether everything that a trade needs is there."""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api import source
from api.routes.health import ready
from api.routes.route import Answer, AnyRoute, Asks, Call, Nothing, Reply, Route
from app.domain.trading import calculators
from app.domain.trading.sizing import MOST_LEVERAGE_OF_THE_TOOL
from app.errors import FlotillaError, InvalidInput, Unavailable
from app.storage import pairs, symbols
from app.storage.database import reading
from app.usecases.read_market import of_last_minute

Direction = Literal["LONG", "SHORT"]
MOST_SYMBOLS = 20  # whose candles are looked at: somebody waits for the answer


class LeveragePlan(Answer, frozen=True):
    """The leverage and margin that lose what may be lost at the stop."""

    direction: Direction
    distance_percent: Annotated[Decimal, Meta(description="Of the stop, in percent of the entry.")]
    leverage: int
    margin: Decimal
    quantity: Decimal
    notional: Decimal
    affordable: Annotated[bool, Meta(description="Whether the balance holds the margin.")]


class RiskPlan(Answer, frozen=True):
    """The size that loses a share of the balance at the stop."""

    direction: Direction
    risk: Decimal
    quantity: Decimal
    notional: Decimal
    margin: Decimal
    affordable: bool
    liquidation_price: Decimal
    stop_holds: Annotated[bool, Meta(description="Whether the stop comes before the liquidation.")]


class RollView(Answer, frozen=True):
    """One roll: what it took out of the position, and the position that it made."""

    number: int
    price: Decimal
    profit: Decimal
    withdrawn: Decimal
    locked: Decimal
    margin: Decimal
    leverage: Decimal
    quantity: Decimal
    liquidation_price: Decimal


class RollingPlan(Answer, frozen=True):
    """The rolls, and how it ends: withdrawn + locked + equity = principal + profit."""

    direction: Direction
    principal: Decimal
    rolls: list[RollView]
    price: Decimal
    withdrawn: Decimal
    locked: Decimal
    equity: Decimal
    floating: Decimal
    profit: Decimal
    liquidated: bool
    liquidated_step: int | None


class RollingParameters(Answer, frozen=True):
    """What rolling does unless it is asked to do otherwise, and its limits."""

    principal: Decimal
    leverage: Decimal
    most_leverage: Decimal
    trigger: Decimal
    lock_share: Decimal
    leverage_decay: Decimal
    min_leverage: Decimal
    steps: int
    most_steps: int


class TestedPart(Answer, frozen=True):
    """One part of the system, as it was a moment ago."""

    name: str
    ok: bool
    what: str
    seconds: Annotated[float, Meta(description="What looking took, at this and the other parts of its kind.")]


class SystemTest(Answer, frozen=True):
    """Every part that a trade needs."""

    ok: bool
    parts: list[TestedPart]


class LeverageAsked(Asks, frozen=True):
    """A trade to plan."""

    entry: Decimal = calculators.ENTRY
    stop: Annotated[Decimal, Meta(description="Above the entry for a SHORT.")] = calculators.STOP
    max_loss: Decimal = calculators.LOSS
    balance: Decimal = calculators.BALANCE


class RiskAsked(Asks, frozen=True):
    """A trade to size."""

    balance: Decimal
    entry: Decimal
    stop: Decimal
    leverage: Annotated[Decimal, Meta(description=f"From 1 to {MOST_LEVERAGE_OF_THE_TOOL}.")]
    risk_fraction: Annotated[Decimal, Meta(description="0.02 is 2 % of the balance.")] = calculators.RISK_FRACTION


class RollingAsked(Asks, frozen=True):
    """A way from an entry to a target, straight."""

    entry: Decimal
    target: Annotated[Decimal, Meta(description="Below the entry for a SHORT.")]
    principal: Decimal = calculators.PRINCIPAL
    leverage: Decimal = calculators.MOST_LEVERAGE_OF_ROLLING


class DynamicRollingAsked(RollingAsked, frozen=True):
    """Rolling by rules of one's own, along prices of one's own."""

    trigger: Annotated[Decimal, Meta(description="Roll at so many times what was put in.")] = calculators.TRIGGER
    lock_share: Annotated[Decimal, Meta(description="Of the profit, from 0 to 1.")] = calculators.LOCK_SHARE
    leverage_decay: Decimal = calculators.LEVERAGE_DECAY
    min_leverage: Decimal = calculators.LEAST_LEVERAGE
    prices: Annotated[list[Decimal], Meta(min_length=1, max_length=calculators.MOST_STEPS)] | None = None


def plan_leverage(call: Call[LeverageAsked]) -> Reply[LeveragePlan]:
    """Plan leverage and margin from what may be lost."""
    asked = call.asks
    plan = calculators.leverage_plan(asked.entry, asked.stop, asked.max_loss, asked.balance)
    return Reply(msgspec.convert(plan, LeveragePlan, from_attributes=True))


def plan_risk(call: Call[RiskAsked]) -> Reply[RiskPlan]:
    """Size a trade from a share of the balance."""
    asked = call.asks
    plan = calculators.risk_plan(
        asked.balance, asked.entry, asked.stop, asked.leverage, risk_fraction=asked.risk_fraction
    )
    return Reply(msgspec.convert(plan, RiskPlan, from_attributes=True))


def plan_rolling(call: Call[RollingAsked]) -> Reply[RollingPlan]:
    """Roll a position along a straight way."""
    asked = call.asks
    return _rolling(calculators.rolling_plan(asked.entry, asked.target, asked.principal, asked.leverage))


def plan_dynamic_rolling(call: Call[DynamicRollingAsked]) -> Reply[RollingPlan]:
    """Roll a position by rules of one's own."""
    asked = call.asks
    rules = {
        name: getattr(asked, name) for name in ("trigger", "lock_share", "leverage_decay", "min_leverage", "prices")
    }
    return _rolling(
        calculators.dynamic_rolling_plan(asked.entry, asked.target, asked.principal, asked.leverage, **rules)
    )


def read_rolling_parameters(call: Call[Nothing]) -> Reply[RollingParameters]:  # noqa: ARG001 - one shape for all
    """Read what rolling does by itself."""
    usual = DynamicRollingAsked(Decimal(1), Decimal(2))
    return Reply(
        RollingParameters(
            usual.principal,
            usual.leverage,
            calculators.MOST_LEVERAGE_OF_ROLLING,
            usual.trigger,
            usual.lock_share,
            usual.leverage_decay,
            usual.min_leverage,
            calculators.STEPS,
            calculators.MOST_STEPS,
        )
    )


def test_system(call: Call[Nothing]) -> Reply[SystemTest]:
    """Look at every part that a trade needs: the fleet, the symbols, the newest prices and candles, the calculators."""
    looks = (_fleet, _symbols, _prices, _candles, _calculators)
    parts = [part for look in looks for part in _timed(look, call)]
    return Reply(SystemTest(all(part.ok for part in parts), parts))


def _timed(look: Callable[[Call[Nothing]], list[tuple[str, bool, str]]], call: Call[Nothing]) -> list[TestedPart]:
    began = time.perf_counter()
    try:
        found = look(call)
    except FlotillaError as error:
        found = [(look.__name__.strip("_"), False, f"{error} {error.cure}".strip())]
    return [TestedPart(name, ok, what, round(time.perf_counter() - began, 4)) for name, ok, what in found]


def _fleet(call: Call[Nothing]) -> list[tuple[str, bool, str]]:
    return [(check.name, check.ok, check.detail) for check in ready(call).data.checks]


def _symbols(call: Call[Nothing]) -> list[tuple[str, bool, str]]:
    with reading(call.deps.engine) as db:
        active = len(symbols.listed(db, status="ACTIVE"))
    return [("symbols", active > 0, f"{active} are watched.")]


def _prices(call: Call[Nothing]) -> list[tuple[str, bool, str]]:
    settings = call.deps.settings
    now = source.market_time(settings, call.now)
    found = [ticker for _, ticker in call.deps.market.tickers([source.exchange(settings, None)]) if ticker is not None]
    fresh = sum(of_last_minute(ticker, now) for ticker in found)
    return [("prices", fresh > 0, f"{fresh} of {len(found)} symbols have a price of the last minute.")]


def _candles(call: Call[Nothing]) -> list[tuple[str, bool, str]]:
    settings, market = call.deps.settings, call.deps.market
    now, exchange = source.market_time(settings, call.now), source.exchange(settings, None)
    with reading(call.deps.engine) as db:
        watched = {pair.symbol for pair in symbols.listed(db, status="ACTIVE")}
        traded = [pair.symbol for pair in pairs.listed(db, exchange=exchange, active=True) if pair.symbol in watched]
    found = [market.candles(exchange, symbol, "1m", now, limit=1) for symbol in traded[:MOST_SYMBOLS]]
    fresh = sum(one.status == "ok" for one in found)
    ages_ms = [one.age_ms for one in found if one.age_ms is not None]
    age = f"is {min(ages_ms) / 1000:.1f} s old, by the market's time" if ages_ms else "has no age that is known"
    said = f"{fresh} of {len(found)} symbols have their last minute; the newest {age}."
    return [("candles", 0 < fresh == len(found), said)]


def _calculators(call: Call[Nothing]) -> list[tuple[str, bool, str]]:  # noqa: ARG001 - one shape for all
    plan = calculators.leverage_plan(100, 98, 100)
    right = (plan.leverage, plan.margin) == (40, Decimal(125))
    return [
        ("calculators", right, f"A stop of 2 % and a loss of 100 make leverage {plan.leverage}, margin {plan.margin}.")
    ]


def _rolling(plan: calculators.RollingPlan) -> Reply[RollingPlan]:
    return Reply(msgspec.convert(plan, RollingPlan, from_attributes=True))


def _calculator(path: str, handler: Callable[[Call[Any]], Reply[Any]], summary: str, asks: Asks) -> AnyRoute:
    """A calculator, whose example is what it really answers."""
    example = handler(Call(None, asks, None, "")).data  # type: ignore[arg-type] # it needs no parts and no clock
    tag = path.split("/")[3]
    return Route(
        "POST",
        path,
        handler,
        tag,
        summary,
        type(asks),
        type(example),
        raises=(InvalidInput,),
        asks_example=asks,
        example=example,
    )


_ROLLING = RollingAsked(Decimal(50_000), Decimal(55_000))

ROUTES = (
    _calculator(
        "/api/v1/tools/leverage-calculator", plan_leverage, "Leverage and margin from what may be lost", LeverageAsked()
    ),
    _calculator(
        "/api/v1/tools/risk-calculator",
        plan_risk,
        "The size that loses a share of the balance",
        RiskAsked(Decimal(10_000), Decimal(50_000), Decimal(49_000), Decimal(10)),
    ),
    _calculator("/api/v1/tools/rolling-calculator", plan_rolling, "Rolling along a straight way", _ROLLING),
    _calculator("/api/v1/strategies/rolling/calculate", plan_rolling, "Rolling along a straight way", _ROLLING),
    _calculator(
        "/api/v1/tools/dynamic-rolling-calculator",
        plan_dynamic_rolling,
        "Rolling by rules of one's own",
        DynamicRollingAsked(Decimal(50_000), Decimal(55_000), lock_share=Decimal("0.25")),
    ),
    Route(
        "GET",
        "/api/v1/tools/rolling-parameters",
        read_rolling_parameters,
        "tools",
        "What rolling does by itself",
        Nothing,
        RollingParameters,
        example=RollingParameters(
            Decimal(200), Decimal(50), Decimal(50), Decimal(1), Decimal("0.5"), Decimal("0.5"), Decimal(5), 100, 10_000
        ),
    ),
    Route(
        "POST",
        "/api/v1/tools/system-test",
        test_system,
        "tools",
        "Whether everything that a trade needs is there",
        Nothing,
        SystemTest,
        raises=(Unavailable,),
        example=SystemTest(ok=True, parts=[TestedPart("database", ok=True, what="It answers.", seconds=0.002)]),
    ),
)
