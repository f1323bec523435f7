"""The log as a notifier."""

import logging

import pytest

from app.notify.log import LogNotifier
from app.notify.outbox import Level


@pytest.mark.parametrize(
    ("level", "logged"), [("info", logging.INFO), ("warning", logging.WARNING), ("critical", logging.CRITICAL)]
)
def test_a_notice_is_logged_with_its_level(caplog: pytest.LogCaptureFixture, level: Level, logged: int):
    caplog.set_level(logging.DEBUG)
    LogNotifier().send("100 % of the disk", level)

    assert [record.levelno for record in caplog.records] == [logged]
