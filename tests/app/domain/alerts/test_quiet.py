"""Quiet hours follow the people's clock."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from app.domain.alerts.quiet import QuietHours

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(("hour_utc", "quiet"), [(13, False), (14, True), (20, True), (22, True), (23, False)])
def test_they_go_over_midnight_by_the_peoples_clock(hour_utc: int, quiet: bool):
    hours = QuietHours(time(22), time(7), SHANGHAI)  # 14:00 to 23:00 UTC

    assert hours.hold(datetime(2026, 11, 21, hour_utc, tzinfo=UTC)) is quiet


@pytest.mark.parametrize(("hour", "quiet"), [(12, False), (13, True), (14, False)])
def test_they_may_lie_within_one_day(hour: int, quiet: bool):
    hours = QuietHours(time(13), time(14), ZoneInfo("UTC"))

    assert hours.hold(datetime(2026, 11, 21, hour, tzinfo=UTC)) is quiet


def test_equal_times_are_no_quiet_hours():
    hours = QuietHours(time(7), time(7), ZoneInfo("UTC"))

    assert not any(hours.hold(datetime(2026, 11, 21, hour, tzinfo=UTC)) for hour in range(24))
