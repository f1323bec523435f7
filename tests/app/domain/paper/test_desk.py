"""The desk of one account: whatever is judged and whatever the minutes bring, in whichever portions, the money adds up."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from app.domain.paper.desk import (
    PATIENCE_MS,
    REACTION_MS,
    Desk,
    Terms,
    Told,
    answered,
    blocked,
    left,
    moved,
    settled,
    wanted,
)
from app.domain.strategies.table import STRATEGIES
from app.domain.strategies.v3.inputs import V3Inputs
from app.domain.trading.account import Account, check
from app.domain.trading.fills import Book, Costs
from app.domain.trading.simulation import Booking, Funding, Minute
from app.errors import Conflict, FlotillaError, InvalidInput
from tests.app.domain.strategies.v3.readings import falling, resting, rising

MINUTE_MS, QUARTER_MS = 60_000, 900_000
BTC, START_MS = "BTC/USDT:USDT", 2_000_000 * QUARTER_MS
V3 = STRATEGIES["V3"]
TERMS = Terms(Costs(), Decimal(100), 5 * MINUTE_MS)
SPARSE = Book([(109.99, 12.0)], [(110.01, 12.0)])
"""Holds too little for a whole trade: the rest follows."""
JUDGED = {
    "rising": rising(),
    "falling": falling(),
    "resting": resting(surge_15m=0.5),
    "against": rising(vwap_15m=111.0, delta_15m=-0.3, surge_15m=1.0, oi_6h=0.0),
}


@dataclass(frozen=True)
class Quarter:
    """What happens from one close to the next: a judgment, a person, and candles, of which some are missing."""

    judged: str | None
    fresh: bool
    wish: str | None
    minutes: Sequence[tuple[int, int, int, int] | None]
    fundings: Sequence[tuple[int, int]]
    thin: frozenset[int]


@dataclass
class Life:
    """All that happened to a desk."""

    desk: Desk
    told: list[Told] = field(default_factory=list)

    @property
    def bookings(self) -> list[Booking]:
        """What moved money, in its order."""
        return [one for told in self.told if told.trade is not None for one in told.trade.bookings[told.known :]]


def idle(equity: int = 10_000) -> Desk:
    """A desk on which nothing has happened yet."""
    return Desk(BTC, "V3", Account.opened(equity), START_MS - QUARTER_MS, START_MS - QUARTER_MS)


def judge(desk: Desk, close_ms: int, inputs: V3Inputs | None, *, fresh: bool = True) -> Desk:
    """Answer what V3 makes of it."""
    return answered(desk, V3, inputs and (inputs, V3.judge(inputs)), close_ms, TERMS, fresh=fresh)


def flat(number: int, price: float = 110.0) -> Minute:
    """A minute in which nothing happens, so many after the start."""
    return Minute.of(START_MS + number * MINUTE_MS, price, price, price, price)


def pass_by(desk: Desk, *minutes: Minute, fundings: Sequence[Funding] = (), book: Book | None = None) -> Desk:
    """Let minutes pass; what it comes to."""
    return settled(desk, minutes, fundings, TERMS, lambda _open_ms: book)[0]


def asked(desk: Desk, wish: str | None, close_ms: int) -> Desk:
    """What a person wants, half a minute after a close. What may not be, is not."""
    now_ms = close_ms + MINUTE_MS // 2
    with suppress(FlotillaError):
        if wish == "LONG":
            return wanted(desk, "LONG", Decimal(108), Decimal(113), now_ms, TERMS, "alice")
        if wish == "SHORT":
            return wanted(desk, "SHORT", Decimal(112), Decimal(107), now_ms, TERMS, "alice")
        if wish == "leave":
            return left(desk, "MANUAL", now_ms)
        if wish == "protect":
            return moved(desk, Decimal(110), None, now_ms)
        if wish == "aim":
            return moved(desk, None, Decimal("111.5"), now_ms)
    return desk


def lived(quarters: Sequence[Quarter], portion: int) -> Life:
    """Live through them, with so many minutes settled at a time."""
    life = Life(idle())
    fundings = [
        Funding.of(START_MS + number * QUARTER_MS + minute * MINUTE_MS, rate / 1e5)
        for number, quarter in enumerate(quarters)
        for minute, rate in quarter.fundings
    ]
    thin = {
        START_MS + number * QUARTER_MS + minute * MINUTE_MS
        for number, quarter in enumerate(quarters)
        for minute in quarter.thin
    }
    for number, quarter in enumerate(quarters):
        close_ms = START_MS + number * QUARTER_MS
        life.desk = judge(life.desk, close_ms, JUDGED[quarter.judged] if quarter.judged else None, fresh=quarter.fresh)
        life.desk = asked(life.desk, quarter.wish, close_ms)
        for begin in range(0, 15, portion):
            candles = list(minutes(close_ms, quarter.minutes[begin : begin + portion], begin))
            before = life.desk
            life.desk, told = settled(
                before, candles, fundings, TERMS, lambda open_ms: SPARSE if open_ms in thin else None
            )
            life.told += [told] if told else []
            must_add_up(life)
        if life.desk.busy:
            life.desk = replace(life.desk, settled_until_ms=max(life.desk.settled_until_ms, close_ms + QUARTER_MS))
    return life


def minutes(close_ms: int, four: Sequence[tuple[int, int, int, int] | None], begin: int) -> Iterator[Minute]:
    for number, tenths in enumerate(four, begin):
        if tenths is not None:
            open_, close, up, down = (Decimal(one) / 10 for one in tenths)
            high, low = max(open_, close) + up, min(open_, close) - down
            yield Minute.of(close_ms + number * MINUTE_MS, open_, high, low, close)


def must_add_up(life: Life) -> None:
    desk, account = life.desk, life.desk.account
    check(account)
    paid = sum((one.realised - one.fee - one.funding for one in life.bookings), Decimal(0))
    assert account.cash + account.margin == account.starting_equity + paid
    assert account.cash + account.margin == 10_000 + account.realised - account.fees - account.funding
    assert account.margin == (desk.trade.held_margin if desk.trade else 0)
    assert desk.order is None or desk.trade is None
    assert (desk.basis is not None) == desk.busy


tenths = st.tuples(st.integers(1_080, 1_120), st.integers(1_080, 1_120), st.integers(0, 15), st.integers(0, 15))
quarters = st.lists(
    st.builds(
        Quarter,
        judged=st.sampled_from([None, "rising", "rising", "falling", "falling", "resting", "against"]),
        fresh=st.sampled_from([True, True, True, False]),
        wish=st.sampled_from([None, None, "LONG", "SHORT", "leave", "protect", "aim"]),
        minutes=st.lists(st.none() | tenths | tenths | tenths, min_size=15, max_size=15),
        fundings=st.lists(st.tuples(st.integers(0, 14), st.integers(-300, 300)), max_size=2, unique_by=lambda one: one[0]),
        thin=st.frozensets(st.integers(0, 14), max_size=6),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@trials(deadline=None, max_examples=60)
@given(quarters, st.sampled_from([2, 5, 15]))
def test_whatever_comes_the_money_adds_up_and_portions_make_no_difference(lives: list[Quarter], portion: int):
    one_by_one, in_bulk = lived(lives, 1), lived(lives, portion)

    assert one_by_one.desk == in_bulk.desk
    assert one_by_one.bookings == in_bulk.bookings
    assert [told.refusal for told in one_by_one.told if told.refusal] == [
        told.refusal for told in in_bulk.told if told.refusal
    ]


@trials(deadline=None, max_examples=60)
@given(quarters)
def test_there_are_never_two_trades_at_once(lives: list[Quarter]):
    held = Decimal(0)
    for booking in lived(lives, 15).bookings:
        if booking.kind == "entry":
            assert held == 0
            held = booking.quantity
        elif booking.kind == "exit":
            held -= booking.quantity
        assert held >= 0


def test_the_random_lives_are_lively():
    """Else the tests above would prove nothing."""
    up = Quarter("rising", True, None, [(1_100, 1_101, 1, 1)] * 15, [(5, 100)], frozenset())
    thin = Quarter("falling", True, None, [(1_100, 1_099, 1, 1)] * 15, [], frozenset(range(15)))
    life = lived([up, thin], 15)

    kinds = [booking.kind for booking in life.bookings]
    assert kinds[:2] == ["entry", "funding"]
    assert kinds.count("exit") > 1  # the sparse book fills it in parts
    assert {told.trade.exit_reason for told in life.told if told.trade} >= {"TREND_FLIP"}


def test_a_close_asks_and_the_minute_after_the_next_fills():
    desk = judge(idle(), START_MS, rising())
    assert desk.order is not None
    assert desk.order.not_before_ms == START_MS + REACTION_MS
    assert pass_by(desk, flat(0)).order == desk.order

    after = pass_by(desk, flat(0), flat(1))
    assert after.trade is not None
    assert after.trade.opened_ms == START_MS + MINUTE_MS
    assert after.cooldown_until_ms == START_MS + 6 * MINUTE_MS


def test_minutes_that_passed_before_change_nothing_again():
    desk = pass_by(judge(idle(), START_MS, rising()), flat(0), flat(1), flat(2, 109.0))

    assert pass_by(desk, flat(1, 50.0), flat(2, 50.0)) == desk


def test_an_idle_desk_lets_minutes_pass():
    assert pass_by(idle(), flat(0), flat(1)) == idle()


def test_a_close_is_not_answered_before_the_minutes_before_it_have_passed():
    desk = pass_by(judge(idle(), START_MS, rising()), *map(flat, range(14)))

    with pytest.raises(InvalidInput, match="is settled up to"):
        judge(desk, START_MS + QUARTER_MS, resting())
    assert judge(pass_by(desk, flat(14)), START_MS + QUARTER_MS, rising()).trade is not None


def test_a_close_is_answered_once_and_in_order():
    desk = judge(idle(), START_MS, resting(surge_15m=0.5))

    for close_ms in (START_MS, START_MS - QUARTER_MS):
        with pytest.raises(InvalidInput, match="has answered up to"):
            judge(desk, close_ms, rising())


def test_a_judgment_that_is_not_fresh_opens_nothing_but_still_takes_a_trade_out():
    assert not judge(idle(), START_MS, rising(), fresh=False).busy

    desk = pass_by(judge(idle(), START_MS, rising()), *map(flat, range(15)))
    desk = judge(desk, START_MS + QUARTER_MS, falling(), fresh=False)
    assert desk.trade is not None
    assert (desk.trade.asked_reason, desk.trade.asked_ms) == ("TREND_FLIP", START_MS + QUARTER_MS + REACTION_MS)


def test_an_order_that_no_minute_filled_is_forgotten_when_its_reason_is_old():
    desk = judge(idle(), START_MS, rising())
    next_ms, after_ms = START_MS + QUARTER_MS, START_MS + REACTION_MS + PATIENCE_MS
    desk = judge(replace(desk, settled_until_ms=next_ms), next_ms, None)
    assert desk.order is not None

    desk = judge(replace(desk, settled_until_ms=next_ms + QUARTER_MS), next_ms + QUARTER_MS, None)
    assert next_ms + QUARTER_MS >= after_ms
    assert (desk.order, desk.basis, desk.account.equity) == (None, None, 10_000)


def test_levels_that_money_cannot_tell_apart_open_nothing_and_hold_up_nobody():
    inputs, verdict = rising(), V3.judge(rising())
    assert verdict.levels is not None
    tiny = replace(verdict, levels=replace(verdict.levels, entry=2.2e-9, stop=2.1e-9, target=2.4e-9))
    desk = Desk(BTC, "V3", Account.opened(10_000), START_MS - QUARTER_MS, START_MS)

    after = answered(desk, V3, (inputs, tiny), START_MS, TERMS, fresh=True)

    assert not after.busy
    assert after.acted_until_ms == START_MS


def test_a_refused_order_leaves_the_desk_idle_and_says_why():
    desk, told = settled(
        judge(idle(), START_MS, rising()), [flat(0), flat(1, 105.0), flat(2)], (), TERMS, lambda _: None
    )

    assert told is not None
    assert (told.trade, told.basis is not None) == (None, True)
    assert told.refusal is not None
    assert told.refusal.reason == "PASSED_STOP"
    assert (desk.busy, desk.basis, desk.settled_until_ms) == (False, None, START_MS + 2 * MINUTE_MS)


def test_a_trade_of_a_person_is_left_by_the_person():
    desk = wanted(judge(idle(), START_MS, None), "LONG", Decimal(108), Decimal(120), START_MS + 1, TERMS, actor="alice")
    desk = pass_by(desk, *map(flat, range(15)))
    desk = judge(desk, START_MS + QUARTER_MS, falling())

    assert desk.trade is not None
    assert (desk.trade.opened_ms, desk.trade.asked_reason) == (START_MS + MINUTE_MS, None)
    asked_for = left(desk, "MANUAL", START_MS + QUARTER_MS).trade
    assert asked_for is not None
    assert asked_for.asked_reason == "MANUAL"


def test_what_is_not_there_cannot_be_left_or_moved():
    for change in (lambda: left(idle(), "MANUAL", START_MS), lambda: moved(idle(), Decimal(100), None, START_MS)):
        with pytest.raises(Conflict, match=f"{BTC} has no open V3 trade"):
            change()


def test_a_desk_says_why_nothing_new_may_be_opened():
    ordered = judge(idle(), START_MS, rising())
    trading = pass_by(ordered, flat(0), flat(1))
    cooling = pass_by(trading, flat(2, 50.0))

    assert blocked(idle(), START_MS) is None
    assert "has an order of V3 already" in (blocked(ordered, START_MS) or "")
    assert "one at a time" in (blocked(trading, START_MS) or "")
    assert blocked(cooling, START_MS + 3 * MINUTE_MS) == f"{BTC} cools down after its last V3 trade for 180 s more."
    assert blocked(cooling, START_MS + 6 * MINUTE_MS - 1) == f"{BTC} cools down after its last V3 trade for 1 s more."
    assert blocked(cooling, START_MS + 6 * MINUTE_MS) is None
    with pytest.raises(Conflict, match="cools down"):
        wanted(cooling, "LONG", Decimal(108), Decimal(120), START_MS + 3 * MINUTE_MS, TERMS, "alice")


def test_a_stop_that_is_moved_past_the_target_is_refused():
    desk = pass_by(judge(idle(), START_MS, rising()), flat(0), flat(1))
    assert desk.trade is not None

    with pytest.raises(InvalidInput, match="must lie beyond its stop"):
        moved(desk, desk.trade.take_profit + 1, None, START_MS)
    both = moved(desk, Decimal(200), Decimal(210), START_MS).move
    assert both is not None
    assert (both.stop_loss, both.take_profit) == (200, 210)
