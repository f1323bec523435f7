"""A value is used only while it is ok."""

import pytest

from app.domain.market.readings import STATUSES, WARMING, Reading


@pytest.mark.parametrize("status", STATUSES)
def test_only_an_ok_reading_is_usable(status: str):
    assert Reading(0.0, status).usable == (0.0 if status == "ok" else None)  # type: ignore[arg-type]


def test_unknown_is_not_zero():
    assert WARMING.value is None
