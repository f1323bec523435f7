"""What the paper trades amount to, as the API tells it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.deps import Deps
from app.domain.paper.desk import Desk
from app.domain.trading.account import Account
from app.storage import accounts
from app.storage.database import reading, transaction
from tests.api.paper import Paper
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS
from tests.app.usecases.paper_market import BTC, MINUTE_MS, PRICE

BOTH_NAMES = ("strategies/statistics", "trades/statistics")


@pytest.fixture
def paper(deps: Deps, client: FlaskClient) -> Paper:
    """One coin, on which nobody has traded."""
    paper = Paper(deps, client)
    paper.clock(1)
    return paper


@pytest.fixture
def lived(paper: Paper) -> Paper:
    """A loss in the third minute, a win of a quarter later, and a trade that is open."""
    paper.stopped()
    for quarter, minute in ((1, (PRICE, 130.0, PRICE, PRICE)), (2, (PRICE,) * 4)):
        begin = 15 * quarter
        paper.minutes(*[PRICE] * 12, begin=begin - 12)
        paper.judge(inputs=rising(), close=quarter)
        paper.minutes(PRICE, PRICE, minute, begin=begin)
        paper.trade(begin + 3)
    paper.clock(33)
    assert [one.status for one in paper.trades()] == ["STOPPED", "CLOSED", "ACTIVE"]
    return paper


def pnls(paper: Paper) -> tuple[Decimal, Decimal]:
    loss, win = (one.pnl for one in paper.trades()[:2])
    assert loss is not None
    assert win is not None
    assert loss < 0 < win
    return loss, win


@pytest.mark.parametrize("path", BOTH_NAMES)
def test_without_accounts_there_is_nothing_to_tell(paper: Paper, path: str):
    assert paper.ask(path) == {"strategies": [], "symbols": []}


def test_what_no_trade_can_say_is_null(paper: Paper):
    paper.opened()
    [found] = paper.ask("trades/statistics")["strategies"]
    figures = found["figures"]

    assert (figures["total_trades"], Decimal(figures["total_pnl"])) == (0, 0)
    assert {name for name, value in figures.items() if value is None} == {
        "win_rate",
        "avg_pnl_per_trade",
        "best_trade",
        "worst_trade",
        "profit_factor",
        "max_drawdown",
        "avg_holding_time",
    }
    assert paper.ask("trades/statistics")["symbols"] == []


@pytest.mark.parametrize("path", BOTH_NAMES)
def test_a_loss_and_a_win_are_summed_up_by_strategy_and_by_symbol(lived: Paper, path: str):
    found = lived.ask(path)
    [whole], [of_symbol] = found["strategies"], found["symbols"]
    loss, win = pnls(lived)
    figures = whole["figures"]

    assert (whole["strategy"], whole["accounts"], Decimal(whole["starting_equity"])) == ("V3", 1, 10_000)
    assert [figures[name] for name in ("total_trades", "winning_trades", "losing_trades")] == [2, 1, 1]
    assert Decimal(figures["win_rate"]) == 50
    assert Decimal(figures["total_pnl"]) == loss + win
    assert (Decimal(figures["worst_trade"]), Decimal(figures["best_trade"])) == (loss, win)
    assert Decimal(figures["profit_factor"]) == round(win / -loss, 4)
    assert Decimal(figures["max_drawdown"]) == round(-loss / 100, 4)
    assert figures["avg_holding_time"] == 2
    assert (of_symbol["symbol"], of_symbol["strategy"]) == (BTC, "V3")
    last_closed = datetime.fromtimestamp((CLOSE_MS + 18 * MINUTE_MS - 1) / 1000, UTC)
    assert datetime.fromisoformat(of_symbol["last_updated"]) == last_closed
    assert {name: value and Decimal(value) for name, value in of_symbol["figures"].items()} == {
        name: value and Decimal(value) for name, value in figures.items()
    }


def test_the_equity_is_what_the_account_holds_with_the_entry_of_the_open_trade_paid(lived: Paper):
    [whole] = lived.ask("trades/statistics")["strategies"]
    loss, win = pnls(lived)
    [entry] = lived.fills(lived.trades()[2].id)

    assert Decimal(whole["equity"]) == 10_000 + loss + win - entry.fee == lived.account().desk.account.equity
    fees = sum((fill.fee for one in lived.trades() for fill in lived.fills(one.id)), Decimal(0))
    assert (Decimal(whole["fees"]), Decimal(whole["funding"])) == (fees, 0)


def test_other_strategies_and_symbols_have_no_part_in_it(lived: Paper):
    for question in ("strategy=ICT", "symbol=ETHUSDT"):
        assert lived.ask(f"trades/statistics?{question}") == {"strategies": [], "symbols": []}
    both = lived.ask("trades/statistics?strategy=V3&symbol=btc-usdt-swap")
    assert both == lived.ask("trades/statistics")


def test_accounts_are_added_as_if_they_were_one(lived: Paper):
    from_other = lived.account().desk
    with transaction(lived.engine) as db:
        accounts.open_all(db, [Desk(BTC, "ICT", Account.opened(500), from_other.acted_until_ms, CLOSE_MS)])
    found = lived.ask("trades/statistics")["strategies"]

    assert [(one["strategy"], Decimal(one["starting_equity"])) for one in found] == [("V3", 10_000), ("ICT", 500)]
    points = lived.ask("trades/equity-curve")["points"]
    assert Decimal(points[0]["equity"]) == 10_500
    with reading(lived.engine) as db:
        assert len(accounts.keys(db)) == 2


def test_the_equity_is_a_curve_that_begins_before_the_first_trade(lived: Paper):
    loss, win = pnls(lived)
    points = lived.ask("trades/equity-curve?strategy=V3&symbol=BTCUSDT")["points"]

    assert [(one["time_ms"], Decimal(one["equity"])) for one in points] == [
        (None, 10_000),
        (CLOSE_MS + 3 * MINUTE_MS - 1, 10_000 + loss),
        (CLOSE_MS + 18 * MINUTE_MS - 1, 10_000 + loss + win),
    ]
    assert lived.ask("trades/equity-curve?strategy=ICT") == {"points": []}


@pytest.mark.parametrize(("timeframe", "rows"), [("day", 30), ("week", 4)])
def test_days_and_weeks_are_told_with_everything_up_to_their_end(lived: Paper, timeframe: str, rows: int):
    loss, win = pnls(lived)
    found = lived.ask(f"strategies/cumulative-statistics?timeframe={timeframe}")
    before, last = found["rows"][-2:]
    today = datetime.fromtimestamp(CLOSE_MS / 1000, UTC)

    assert (found["timeframe"], len(found["rows"])) == (timeframe, rows)
    assert datetime.fromisoformat(last["date"]).date() <= today.date()
    assert [last[name] for name in ("trades", "wins", "losses")] == [2, 1, 1]
    assert (Decimal(last["win_rate"]), Decimal(last["pnl"])) == (50, loss + win)
    assert (last["cumulative_trades"], Decimal(last["cumulative_pnl"])) == (2, loss + win)
    assert (before["trades"], before["win_rate"], before["cumulative_win_rate"]) == (0, None, None)


def test_as_many_rows_are_told_as_are_asked_for(lived: Paper):
    path = "strategies/cumulative-statistics?period=2&strategy=V3&symbol=BTCUSDT"

    assert [row["trades"] for row in lived.ask(path)["rows"]] == [0, 2]
    assert [row["trades"] for row in lived.ask("strategies/cumulative-statistics?period=1&strategy=ICT")["rows"]] == [0]


def test_days_are_those_of_the_market_and_what_it_has_not_reached_yet_is_in_none(lived: Paper):
    lived.clock(2.5)  # the first trade was closed half a minute later
    assert lived.ask("strategies/cumulative-statistics?period=1")["rows"][0]["trades"] == 0
    lived.clock(24 * 60)
    assert [row["trades"] for row in lived.ask("strategies/cumulative-statistics?period=2")["rows"]] == [2, 0]


REFUSED: list[Any] = [
    (path, question)
    for path in (*BOTH_NAMES, "trades/equity-curve", "strategies/cumulative-statistics")
    for question in ("strategy=V9", "symbol=%3F%3F", "nothing=1")
]


@pytest.mark.parametrize(
    ("path", "question"),
    [
        *REFUSED,
        ("strategies/cumulative-statistics", "timeframe=month"),
        ("strategies/cumulative-statistics", "period=0"),
        ("strategies/cumulative-statistics", "period=1001"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(paper: Paper, path: str, question: str):
    error = paper.ask(f"{path}?{question}", status=400)

    assert error["message"]
    assert error["what_to_do"]


def test_without_the_time_of_the_market_days_are_ours(deps: Deps, client: FlaskClient):
    rows = Paper(deps, client).ask("strategies/cumulative-statistics?period=1")["rows"]

    assert [row["date"] for row in rows] == ["2026-11-21"]
