"""Calculators for a trader: leverage, risk, rolling. Money is exact; fees, funding and slippage are left out, as in any plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from app.domain.trading.money import ZERO, Number, decimal_of, exact, in_full, number, part, positive, product, quotient
from app.domain.trading.sizing import MAINTENANCE, MOST_LEVERAGE_OF_THE_TOOL, sized
from app.errors import InvalidInput

Direction: TypeAlias = Literal["LONG", "SHORT"]

# Where a person says nothing else (B5.7).
ENTRY: Final = Decimal(50_000)
STOP: Final = Decimal(49_000)
LOSS: Final = Decimal(200)
BALANCE: Final = Decimal(10_000)
RISK_FRACTION: Final = Decimal("0.02")
PRINCIPAL: Final = Decimal(200)
TRIGGER: Final = Decimal(1)
LOCK_SHARE: Final = Decimal("0.5")
LEVERAGE_DECAY: Final = Decimal("0.5")
LEAST_LEVERAGE: Final = Decimal(5)

MOST_LEVERAGE_OF_ROLLING: Final = Decimal(50)
STEPS: Final = 100
MOST_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class LeveragePlan:
    """``distance_percent`` is that of the stop, in percent of the entry; money is in the quote coin, ``quantity`` in coins."""

    direction: Direction
    distance_percent: Decimal
    leverage: int
    margin: Decimal
    quantity: Decimal
    notional: Decimal
    affordable: bool
    """Whether the balance holds the margin."""


@dataclass(frozen=True, slots=True)
class RiskPlan:
    """``risk`` is what is lost at the stop, where that holds: an isolated position may be liquidated before it."""

    direction: Direction
    risk: Decimal
    quantity: Decimal
    notional: Decimal
    margin: Decimal
    affordable: bool
    liquidation_price: Decimal
    stop_holds: bool


@dataclass(frozen=True, slots=True)
class Roll:
    """One roll, at ``price``: what it took out of the position, and the position that it made."""

    number: int
    price: Decimal
    profit: Decimal
    withdrawn: Decimal
    locked: Decimal
    margin: Decimal
    leverage: Decimal
    quantity: Decimal
    liquidation_price: Decimal


@dataclass(frozen=True, slots=True)
class RollingPlan:
    """The rolls, and how it ends. withdrawn + locked + equity == principal + profit, to the last digit."""

    direction: Direction
    principal: Decimal
    rolls: tuple[Roll, ...]
    price: Decimal
    """The last of the path, or that at which the position was liquidated."""
    withdrawn: Decimal
    locked: Decimal
    equity: Decimal
    """What the position is worth at the end: its margin and its floating profit."""
    floating: Decimal
    profit: Decimal
    """All of it: taken by rolls, floating at the end, or (below 0) lost by the liquidation."""
    liquidated: bool
    liquidated_step: int | None
    """Which price of the path it was, from 0."""


@dataclass(frozen=True, slots=True)
class _Position:
    entry: Decimal
    margin: Decimal
    leverage: Decimal
    quantity: Decimal
    sign: int

    def floating(self, price: Decimal) -> Decimal:
        return product(self.sign * (price - self.entry), self.quantity)

    @property
    def liquidation_price(self) -> Decimal:
        """Where the margin is used up. A position of nothing is never liquidated."""
        return max(ZERO, self.entry - self.sign * quotient(self.margin, self.quantity)) if self.quantity else ZERO


@dataclass(frozen=True, slots=True)
class _Rules:
    trigger: Decimal
    lock_share: Decimal
    leverage_decay: Decimal
    min_leverage: Decimal


@dataclass(frozen=True, slots=True)
class _Course:
    """Where rolling stands: ``taken`` is the profit of the rolls so far."""

    position: _Position
    price: Decimal
    rolls: tuple[Roll, ...] = ()
    withdrawn: Decimal = ZERO
    locked: Decimal = ZERO
    taken: Decimal = ZERO
    liquidated_step: int | None = None


def leverage_plan(
    entry: Number = ENTRY, stop: Number = STOP, max_loss: Number = LOSS, balance: Number = BALANCE
) -> LeveragePlan:
    """The leverage and margin that lose ``max_loss`` at the stop. A stop above the entry is that of a SHORT: the origin's
    distance was signed, and a SHORT got a leverage of nonsense.
    """
    plan = sized(entry, stop, max_loss, most=MOST_LEVERAGE_OF_THE_TOOL)
    price = exact(entry)
    return LeveragePlan(
        _direction(price, exact(stop)),
        100 * plan.distance,
        plan.leverage,
        plan.margin,
        plan.quantity,
        product(plan.quantity, price),
        plan.margin <= positive(balance, "balance"),
    )


def risk_plan(
    balance: Number, entry: Number, stop: Number, leverage: Number, *, risk_fraction: Number = RISK_FRACTION
) -> RiskPlan:
    """The size that loses ``risk_fraction`` of the balance at the stop, and the margin that it needs."""
    money, price, stop_price = positive(balance, "balance"), positive(entry, "entry"), positive(stop, "stop")
    fraction, times = number(risk_fraction), positive(leverage, "leverage")
    if not 0 < fraction <= 1:
        raise InvalidInput(f"The risk must be above 0 and at most 1 (0.02 is 2 %), not {risk_fraction}.")
    if not 1 <= times <= MOST_LEVERAGE_OF_THE_TOOL:
        raise InvalidInput(f"The leverage must be from 1 to {MOST_LEVERAGE_OF_THE_TOOL}, not {leverage}.")
    if price == stop_price:
        raise InvalidInput(f"The stop must lie away from the entry: both are {price}.")
    risk = product(money, fraction)
    quantity = quotient(risk, abs(price - stop_price))
    margin = part(quantity, price, times)
    direction = _direction(price, stop_price)
    sign = 1 if direction == "LONG" else -1
    held = quotient(price, times) - product(price, decimal_of(MAINTENANCE))
    liquidation = max(ZERO, price - sign * held)
    holds = sign * (stop_price - liquidation) > 0
    return RiskPlan(direction, risk, quantity, product(quantity, price), margin, margin <= money, liquidation, holds)


def rolling_plan(
    entry: Number, target: Number, principal: Number = PRINCIPAL, leverage: Number = MOST_LEVERAGE_OF_ROLLING
) -> RollingPlan:
    """Roll along a straight path of 100 steps from entry to target, by the usual rules. Above the entry is a LONG."""
    return dynamic_rolling_plan(entry, target, principal, leverage)


def dynamic_rolling_plan(
    entry: Number,
    target: Number,
    principal: Number = PRINCIPAL,
    leverage: Number = MOST_LEVERAGE_OF_ROLLING,
    *,
    trigger: Number = TRIGGER,
    lock_share: Number = LOCK_SHARE,
    leverage_decay: Number = LEVERAGE_DECAY,
    min_leverage: Number = LEAST_LEVERAGE,
    prices: Sequence[Number] | None = None,
) -> RollingPlan:
    """Roll by rules of one's own, and along ``prices`` if they are given: they come after the entry, and may go against it.

    A roll happens when the floating profit reaches ``trigger`` x what was put in: the principal at first, later what the roll
    before left at risk. It takes out what was put in, locks ``lock_share`` of the profit, and puts the rest in again, at the price
    of the moment and ``leverage_decay`` x the leverage: not below ``min_leverage``, and never above the leverage before. A
    position whose margin is used up at a price of the path is liquidated there; it loses its margin and no more.
    """
    start, goal = positive(entry, "entry"), positive(target, "target")
    if start == goal:
        raise InvalidInput(f"The target must lie away from the entry: both are {start}.")
    money, times = positive(principal, "principal"), positive(leverage, "leverage")
    if not 1 <= times <= MOST_LEVERAGE_OF_ROLLING:
        raise InvalidInput(f"The leverage must be from 1 to {MOST_LEVERAGE_OF_ROLLING}, not {leverage}.")
    rules = _rules(trigger, lock_share, leverage_decay, min_leverage)
    path = _straight(start, goal) if prices is None else [positive(price, "price") for price in prices]
    if not 1 <= len(path) <= MOST_STEPS:
        raise InvalidInput(f"The path must have from 1 to {MOST_STEPS} prices, not {len(path)}.")
    direction = _direction(goal, start)
    sign = 1 if direction == "LONG" else -1
    course = _Course(_opened(start, money, times, sign), start)
    with in_full():
        for step, price in enumerate(path):
            if course.liquidated_step is not None or not course.position.margin:
                break
            course = _moved(course, price, step, rules)
        floating = course.position.floating(course.price)
        lost = course.liquidated_step is not None
        return RollingPlan(
            direction=direction,
            principal=money,
            rolls=course.rolls,
            price=course.price,
            withdrawn=course.withdrawn,
            locked=course.locked,
            equity=ZERO if lost else course.position.margin + floating,
            floating=ZERO if lost else floating,
            profit=course.taken + (-course.position.margin if lost else floating),
            liquidated=lost,
            liquidated_step=course.liquidated_step,
        )


def _rules(trigger: Number, lock_share: Number, leverage_decay: Number, min_leverage: Number) -> _Rules:
    rules = _Rules(
        positive(trigger, "trigger"),
        exact(lock_share),
        positive(leverage_decay, "leverage decay"),
        positive(min_leverage, "least leverage"),
    )
    if not 0 <= rules.lock_share <= 1:
        raise InvalidInput(f"The locked share must be from 0 to 1, not {lock_share}.")
    if rules.leverage_decay > 1:
        raise InvalidInput(f"The leverage decay must be at most 1, not {leverage_decay}: leverage never grows.")
    if not 1 <= rules.min_leverage <= MOST_LEVERAGE_OF_ROLLING:
        raise InvalidInput(f"The least leverage must be from 1 to {MOST_LEVERAGE_OF_ROLLING}, not {min_leverage}.")
    return rules


def _moved(course: _Course, price: Decimal, step: int, rules: _Rules) -> _Course:
    """The course after one price: liquidated, rolled, or just carried on."""
    position = course.position
    floating = position.floating(price)
    if position.margin + floating <= 0:
        return replace(course, price=price, liquidated_step=step)
    if not floating or floating < product(position.margin, rules.trigger):
        return replace(course, price=price)
    locked = product(floating, rules.lock_share)
    leverage = min(position.leverage, max(rules.min_leverage, product(position.leverage, rules.leverage_decay)))
    smaller = _opened(price, floating - locked, leverage, position.sign)
    roll = Roll(
        number=len(course.rolls) + 1,
        price=price,
        profit=floating,
        withdrawn=position.margin,
        locked=locked,
        margin=smaller.margin,
        leverage=leverage,
        quantity=smaller.quantity,
        liquidation_price=smaller.liquidation_price,
    )
    return _Course(
        smaller,
        price,
        (*course.rolls, roll),
        course.withdrawn + position.margin,
        course.locked + locked,
        course.taken + floating,
    )


def _opened(price: Decimal, margin: Decimal, leverage: Decimal, sign: int) -> _Position:
    return _Position(price, margin, leverage, part(margin, leverage, price), sign)


def _straight(start: Decimal, goal: Decimal) -> list[Decimal]:
    return [start + part(goal - start, Decimal(step), Decimal(STEPS)) for step in range(1, STEPS + 1)]


def _direction(higher_if_long: Decimal, than: Decimal) -> Direction:
    return "LONG" if higher_if_long > than else "SHORT"
