"""How large a trade is, from what may be lost at its stop: leverage, margin, quantity. The same for every strategy.

With X = |entry - stop| / entry: leverage = floor(1 / (X + 0.005)), capped; margin = ceil(loss / (leverage x X)), isolated;
quantity = loss / |entry - stop|. The half percent is what an exchange keeps as maintenance margin, so the stop is reached before
the liquidation. All of it is computed with fractions: a floor or a ceiling must not depend on a rounded digit.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Final

from app.domain.trading.money import UNIT, Number, decimal_of, exact, positive, product, text
from app.errors import InvalidInput

MAX_LOSSES: Final = tuple(map(Decimal, (20, 50, 100, 200)))
MAX_LOSS: Final = Decimal(100)
MOST_LEVERAGE: Final = 24
MOST_LEVERAGE_OF_THE_TOOL: Final = 125
MAINTENANCE: Final = Fraction(5, 1000)
LEAST_STEPS: Final = 20
"""Of the last booked decimal, between entry and stop: with fewer, rounding alone would be a twentieth of the loss."""


@dataclass(frozen=True, slots=True)
class Size:
    """What to open. ``distance`` is X, a fraction of the entry; ``margin`` is in whole quote coins, ``quantity`` in base coins."""

    distance: Decimal
    leverage: int
    margin: Decimal
    quantity: Decimal
    risk_amount: Decimal
    """What is lost at the stop, before fees and slippage: below the greatest loss by what the quantity was snapped down."""


def size(
    entry: Number,
    stop: Number,
    max_loss: Number = MAX_LOSS,
    *,
    most: int = MOST_LEVERAGE,
    quantity_step: Number | None = None,
    min_quantity: Number | None = None,
) -> Size:
    """Size a trade. Raises InvalidInput for a loss that is not one of the four, no distance, a price too low to be booked, or less
    than may be traded.
    """
    steps = abs(exact(entry) - exact(stop)) / UNIT
    if 0 < steps < LEAST_STEPS:
        raise InvalidInput(
            f"The price, {text(exact(entry))}, is too low to be traded on paper: what is booked has eight decimals, and its stop "
            f"is only {steps:.0f} steps of the last one away.",
            cure="Trade the pair that counts it by the thousand, such as 1000PEPE/USDT:USDT, or set the stop further away.",
        )
    loss = exact(max_loss)
    if loss not in MAX_LOSSES:
        raise InvalidInput(f"The greatest loss must be 20, 50, 100 or 200 USDT, not {max_loss}.")
    return sized(entry, stop, loss, most=most, quantity_step=quantity_step, min_quantity=min_quantity)


def sized(
    entry: Number,
    stop: Number,
    max_loss: Number,
    *,
    most: int,
    quantity_step: Number | None = None,
    min_quantity: Number | None = None,
) -> Size:
    """Like ``size``, for any loss: the calculators ask for one freely."""
    price, stop_price, loss = positive(entry, "entry"), positive(stop, "stop"), positive(max_loss, "greatest loss")
    risk = abs(price - stop_price)
    if risk == 0:
        raise InvalidInput(f"The stop must lie away from the entry: both are {price}.")
    distance = Fraction(risk) / Fraction(price)
    leverage = leverage_for(distance, most)
    quantity = snapped(Fraction(loss) / Fraction(risk), quantity_step)
    if quantity < max(UNIT, exact(min_quantity or 0)):
        raise InvalidInput(
            f"{text(quantity)} coins are too few to trade: the least is {text(exact(min_quantity or 0) or UNIT)}.",
            cure="Allow a greater loss, or set the stop closer to the entry.",
        )
    return Size(
        decimal_of(distance),
        leverage,
        exact(ceil(Fraction(loss) / (leverage * distance))),
        quantity,
        decimal_of(Fraction(quantity) * Fraction(risk)),
    )


def leverage_for(distance: Fraction, most: int) -> int:
    """Whole leverage for a stop so far away, from 1 to ``most``."""
    if most < 1:
        raise InvalidInput(f"The greatest leverage must be at least 1, not {most}.")
    return max(1, min(most, floor(1 / (distance + MAINTENANCE))))


def snapped(quantity: Fraction, step: Number | None) -> Decimal:
    """The quantity in whole steps, rounded down, so that never more is lost; in eight decimals where no step is known."""
    if step is None:
        return decimal_of(quantity, ROUND_FLOOR)
    unit = positive(step, "quantity step")
    return product(unit, Decimal(floor(quantity / Fraction(unit))))
