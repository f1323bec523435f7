from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab

from workers.celery_app import _celery_schedule
from workers.schedule import Daily


def due(when: Daily, *, last: datetime, now: datetime, zone: str = "UTC") -> bool:
    schedule = _celery_schedule(when)
    assert isinstance(schedule, crontab)
    schedule.app = Celery(set_as_current=False)
    schedule.app.conf.timezone = zone
    schedule.nowfun = lambda: now.astimezone(ZoneInfo(zone))
    return bool(schedule.is_due(last).is_due)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_a_daily_job_is_due_at_its_hour():
    assert not due(Daily(2), last=at("2026-11-20T02:00"), now=at("2026-11-21T01:59"))
    assert due(Daily(2), last=at("2026-11-20T02:00"), now=at("2026-11-21T02:00"))


def test_the_hour_is_the_peoples_and_not_the_servers():
    assert not due(Daily(2), last=at("2026-11-20T18:00"), now=at("2026-11-21T02:00"), zone="Asia/Shanghai")
    assert due(Daily(2), last=at("2026-11-19T18:00"), now=at("2026-11-20T18:00"), zone="Asia/Shanghai")


def test_a_job_missed_for_days_is_due_at_once():
    assert due(Daily(2), last=at("2026-11-15T02:00"), now=at("2026-11-21T13:37"))


@pytest.mark.parametrize(("day", "is_due"), [("2026-11-21", False), ("2026-11-22", True), ("2026-11-23", False)])
def test_a_weekly_job_is_due_on_its_weekday(day: str, is_due: bool):
    """2026-11-22 is a Sunday, which is weekday 6 as Python counts."""
    now = at(f"{day}T03:00")

    assert due(Daily(3, weekday=6), last=now - timedelta(hours=6), now=now) is is_due
