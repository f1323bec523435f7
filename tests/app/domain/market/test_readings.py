"""A value that is not known is none."""

from app.domain.market.readings import WARMING


def test_unknown_is_not_zero():
    assert WARMING.value is None
