"""Judgments of strategies."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput, NotFound
from app.storage import judgments, symbols
from app.storage.database import reading, transaction
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
        return judgments.add(db, now=now, **(JUDGMENT | changes))


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


def test_the_newest_are_read_page_by_page(engine: Engine):
    ids = [judge(engine) for _ in range(3)]
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
