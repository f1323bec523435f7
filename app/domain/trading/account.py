"""One paper account for each (symbol, strategy), booked from what its trades did.

Signs: ``realised`` is profit (+) or loss (-) of price alone; ``fees`` and ``funding`` are what was paid, so funding that was
received counts below nought. ``margin`` is set aside for the open trade and comes back when it is closed. At every moment, to the
last digit: cash + margin == starting_equity + realised - fees - funding.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from app.domain.trading.money import ZERO, Number, positive
from app.domain.trading.simulation import Booking, Trade
from app.errors import CorruptData, InvalidInput


@dataclass(frozen=True, slots=True)
class Account:
    """What is there, in the quote coin."""

    starting_equity: Decimal
    cash: Decimal
    margin: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    @classmethod
    def opened(cls, starting_equity: Number) -> Self:
        """An account that has not traded yet."""
        equity = positive(starting_equity, "starting equity")
        return cls(equity, equity)

    @property
    def equity(self) -> Decimal:
        """What it is worth without the floating profit of an open trade: what a new trade may use when there is none."""
        return self.cash + self.margin


def booked(account: Account, event: Booking) -> Account:
    """The account after one thing that a trade did."""
    return replace(
        account,
        cash=account.cash - event.margin + event.realised - event.fee - event.funding,
        margin=account.margin + event.margin,
        realised=account.realised + event.realised,
        fees=account.fees + event.fee,
        funding=account.funding + event.funding,
    )


def caught_up(account: Account, before: Trade | None, after: Trade) -> Account:
    """The account after everything that happened to a trade since ``before``; None: since there was no trade."""
    known = 0
    if before is not None:
        known = len(before.bookings)
        if _named(before) != _named(after) or before.bookings != after.bookings[:known]:
            raise InvalidInput("These are not two states of one trade.", cure="Pass the state that was booked last.")
    for event in after.bookings[known:]:
        account = booked(account, event)
    return account


def check(account: Account) -> None:
    """Raise CorruptData when a digit was lost or made."""
    is_there = account.cash + account.margin
    should_be = account.starting_equity + account.realised - account.fees - account.funding
    if is_there != should_be:
        raise CorruptData(f"The account holds {is_there}, and its bookings say {should_be}.")


def _named(trade: Trade) -> tuple[str, str, str, int]:
    return trade.symbol, trade.strategy, trade.direction, trade.opened_ms
