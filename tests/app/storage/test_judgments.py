"""Judgments of strategies."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput, NotFound
from app.storage import judgments, symbols
from app.storage.database import reading, transaction
from app.storage.judgments import Judgment, NewJudgment
from tests.builders import NOW, later

JUDGMENT = {
    "symbol": "BTCUSDT",
    "strategy_type": "V3",
    "timeframe": "1H",
    "trend_direction": "UP",
    "score": Decimal("8.50"),
    "confidence_level": "HIGH",
    "indicators_data": {"ma20": [1.5, None], "note": "突破"},
}


@pytest.fixture(autouse=True)
def listed(engine: Engine) -> None:
    with transaction(engine) as db:
        symbols.add(db, "BTCUSDT", now=NOW)


def judge(engine: Engine, *, now=NOW, **changes) -> int:
    with transaction(engine) as db:
        return judgments.add(db, new(now, **changes))


def test_a_judgment_is_kept_as_it_was_made(engine: Engine):
    judge(engine)
    with reading(engine) as db:
        found = judgments.latest(db, "BTCUSDT", "V3", "1H")

    assert found is not None
    assert {name: getattr(found, name) for name in JUDGMENT} == JUDGMENT
    assert found.created_at == NOW


def test_the_latest_is_of_that_strategy_and_timeframe(engine: Engine):
    judge(engine, now=later(1))
    newest = judge(engine, now=later(2))
    judge(engine, now=later(3), timeframe="4H")
    judge(engine, now=later(4), strategy_type="ICT")
    with reading(engine) as db:
        found = judgments.latest(db, "BTCUSDT", "V3", "1H")

        assert found is not None
        assert found.id == newest
        assert judgments.latest(db, "BTCUSDT", "ICT", "1D") is None


def test_the_last_close_is_the_newest_one_whatever_was_written_last(engine: Engine):
    judge(engine, now=later(900))
    judge(engine, now=NOW)  # it was late
    judge(engine, now=later(1800), timeframe="4H")
    with reading(engine) as db:
        assert judgments.last_close(db, "V3", "1H") == later(900)
        assert judgments.last_close(db, "ICT", "1H") is None


def test_the_newest_are_read_page_by_page(engine: Engine):
    ids = [judge(engine, now=later(second)) for second in range(3)]
    with reading(engine) as db:
        page = judgments.recent(db, limit=2, symbol="BTCUSDT")
        rest = judgments.recent(db, limit=2, before_id=page[-1].id)

    assert [one.id for one in page + rest] == ids[::-1]


def test_an_unknown_score_stays_unknown(engine: Engine):
    judge(engine, score=None, indicators_data=None)
    with reading(engine) as db:
        (found,) = judgments.recent(db, limit=1)

    assert (found.score, found.indicators_data) == (None, None)


def test_a_symbol_that_is_not_listed_is_named(engine: Engine):
    with pytest.raises(NotFound, match="NOSUCH"):
        judge(engine, symbol="NOSUCH")


@pytest.mark.parametrize(
    ("field", "bad", "allowed"),
    [
        ("strategy_type", "V4", "V3, ICT"),
        ("timeframe", "15m", "4H, 1H, 15M, 1D"),
        ("trend_direction", "SIDEWAYS", "RANGE, UP, DOWN"),
        ("confidence_level", "SURE", "HIGH, MEDIUM, LOW"),
    ],
)
def test_a_bad_word_is_refused_with_those_that_are_allowed(engine: Engine, field: str, bad: str, allowed: str):
    with pytest.raises(InvalidInput, match=allowed):
        judge(engine, **{field: bad})


def new(moment=NOW, **changes) -> NewJudgment:
    return NewJudgment(**(JUDGMENT | changes), created_at=moment)


@pytest.mark.parametrize("count", [1, 400])
def test_a_candle_is_judged_once_however_often_it_is_written(engine: Engine, count: int):
    moments = [later(second) for second in range(count)]
    with transaction(engine) as db:
        judgments.keep(db, [new(moment) for moment in moments])
    with transaction(engine) as db:
        judgments.keep(db, [new(moment, trend_direction="DOWN") for moment in moments])
        judgments.keep(db, [new(later(1_000), timeframe="4H")])
    with reading(engine) as db:
        found = judgments.recent(db, limit=1_000)

    assert [one.trend_direction for one in found] == ["UP"] * (count + 1)
    assert judgments_equal(found[-1])


def judgments_equal(found: Judgment) -> bool:
    return {name: getattr(found, name) for name in JUDGMENT} == JUDGMENT and found.created_at == NOW
