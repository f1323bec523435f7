"""The monitor's threads: which ways the settings make, that a stuck one is noticed, and that commands are heard."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.errors import Misconfigured, Unavailable
from app.notify import mail, outbox
from app.notify.log import LogNotifier
from app.notify.mail import MailNotifier
from app.notify.outbox import Level, Notice
from app.notify.telegram import TelegramNotifier
from app.notify.webhook import WebhookNotifier
from app.settings import Alerts, Clock, Email, Settings, Telegram, Webhook
from app.usecases.deliver_notices import NoticeDelivery
from tests.builders import wait_for
from tests.telegram import TOKEN
from workers import telling
from workers.telling import DELIVERY_STUCK_S, Delivery, Hearing

AT = datetime(2026, 11, 21, 5, 24, tzinfo=UTC)
BOT = Telegram(token=TOKEN, chat_id="42")
EMAIL = Email(host="mail.example", sender="f@example", to=("me@example",))


def ways(settings: Settings) -> dict[str, type]:
    made = telling.ways(settings, telling.telegram(settings), "test")
    return {way.name: type(way.notifier) for way in made}


def test_without_any_way_the_log_is_told():
    assert ways(Settings()) == {"": LogNotifier}


def test_every_way_of_the_settings_is_told_and_the_log_then_is_not():
    everything = Settings(telegram=BOT, webhook=Webhook(url="https://hook.example"), email=EMAIL)

    assert ways(everything) == {"": TelegramNotifier, "webhook": WebhookNotifier, "email": MailNotifier}
    assert ways(Settings(email=EMAIL)) == {"email": MailNotifier}


def test_a_way_that_cannot_be_used_does_not_stop_the_monitor():
    with pytest.raises(Misconfigured):
        TelegramNotifier("no token", "42")

    odd = Settings(telegram=Telegram(token="no token", chat_id="42"), webhook=Webhook(url="not an address"))
    assert ways(odd) == {"": LogNotifier}


def test_quiet_hours_are_the_settings_by_the_peoples_clock():
    settings = Settings(alerts=Alerts(quiet_from="22:00", quiet_to="07:00"), clock=Clock("Asia/Shanghai"))
    quiet = telling.quiet_hours(settings)

    assert quiet(datetime(2026, 11, 21, 14, tzinfo=UTC))
    assert not quiet(datetime(2026, 11, 21, 23, tzinfo=UTC))
    assert not telling.quiet_hours(Settings())(AT)


class SlowNotifier(LogNotifier):
    """A messenger that hangs until it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def send(self, *_anything: object) -> None:
        self.asked.set()
        self.let_go.wait(60)


def test_a_delivery_that_hangs_is_not_called_alive(tmp_path: Path):
    now_s = [1_000.0]
    slow = SlowNotifier()
    delivery = Delivery(NoticeDelivery(tmp_path, slow, LogNotifier(), sender="test"), clock=lambda: now_s[0])
    outbox.post(tmp_path, Notice("one", AT, "critical", "broker", "It ends."))
    delivery.start()
    assert slow.asked.wait(30)
    before = delivery.alive
    now_s[0] += DELIVERY_STUCK_S
    stuck = delivery.alive
    slow.let_go.set()
    wait_for(lambda: delivery.alive, within_s=30)
    delivery.end()

    assert (before, stuck) == (True, False)
    assert not delivery.alive


def test_an_outbox_that_cannot_be_read_does_not_end_the_delivery(tmp_path: Path):
    (tmp_path / "pending").write_text("a file where a folder should be")
    (tmp_path / "sent").write_text("likewise")
    (tmp_path / "delivery.json").write_text(
        json.dumps({"failures": 0, "waits_from": "", "waits_until": "", "told": ["one"], "pieces": {}})
    )
    turns = []

    def clock() -> float:
        turns.append(None)
        return 0.0

    delivery = Delivery(NoticeDelivery(tmp_path, LogNotifier(), LogNotifier(), sender="test"), clock=clock)
    delivery.start()
    wait_for(lambda: len(turns) >= 3, within_s=30)
    alive = delivery.is_alive()
    delivery.end()

    assert alive


class Broken(LogNotifier):
    """A messenger with a mistake in it."""

    def send(self, *_anything: object) -> None:
        raise KeyError("s3cret")


class Kept(LogNotifier):
    """A messenger that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def send(self, text: str, level: Level) -> None:
        self.told.append(text)


def test_a_way_that_is_broken_costs_no_other_way_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    kept = Kept()
    broken = NoticeDelivery(tmp_path, Broken(), LogNotifier(), sender="test", name="webhook")
    well = NoticeDelivery(tmp_path, kept, LogNotifier(), sender="test")
    broken.stand_beside([broken, well])
    well.stand_beside([broken, well])
    threads = [Delivery(broken, way="webhook"), Delivery(well)]
    outbox.post(tmp_path, Notice("one", AT, "critical", "broker", "It ends."))
    for thread in threads:
        thread.start()
    wait_for(lambda: kept.told and threads[0].failures, within_s=30)
    alive = [thread.alive for thread in threads]
    for thread in threads:
        thread.end()

    assert alive == [True, True]
    assert [thread.failures for thread in threads] == [1, 0]
    assert [notice.id for notice in outbox.pending(tmp_path)] == ["one"]
    assert "Broken failed with KeyError at" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_mistake_in_the_delivery_itself_costs_a_pause(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telling, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(telling, "DELIVER_EVERY_S", 0.01)

    class Mistaken:
        turns = 0

        def deliver(self, *_anything: object) -> None:
            self.turns += 1
            raise UnicodeError("a mistake")

    notices: Any = Mistaken()
    delivery = Delivery(notices)
    delivery.start()
    wait_for(lambda: notices.turns > 2, within_s=30)
    alive = delivery.alive
    delivery.end()

    assert alive


def test_a_slow_messenger_in_a_storm_is_not_called_stuck(tmp_path: Path):
    now_s = [1_000.0]
    ages = []

    class Slow(LogNotifier):
        longest = 100  # one notice a message

        def send(self, *_anything: object) -> None:
            now_s[0] += 7
            ages.append(delivery._clock() - delivery._turned_at_s)

    delivery = Delivery(NoticeDelivery(tmp_path, Slow(), LogNotifier(), sender="test"), clock=lambda: now_s[0])
    for number in range(20):
        outbox.post(tmp_path, Notice(f"n{number}", AT, "critical", "broker", f"It ends, for the {number}th time."))
    delivery._turn()
    of_one_turn = len(ages)
    for _ in range(4):
        delivery._turn()

    assert len(ages) == 20
    assert max(ages) <= 7
    assert of_one_turn == 5


def test_an_email_to_twenty_whose_every_step_takes_almost_too_long_is_not_called_stuck():
    steps = 12 + 20  # from connecting to QUIT, and each of those who get it

    assert steps * mail._TIMEOUT_S < DELIVERY_STUCK_S


class Desk:
    """A desk that does as planned, and then nothing."""

    def __init__(self, *plan: Exception | None) -> None:
        self.plan, self.turns = list(plan), 0

    def turn(self, *, wait_s: int) -> int:
        self.turns += 1
        if self.plan and (trouble := self.plan.pop(0)):
            raise trouble
        return 0


def test_hearing_goes_on_after_trouble(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telling, "_FIRST_WAIT_S", 0.01)
    desk: Any = Desk(
        Unavailable("away"), OSError(28, "No space left on device"), Misconfigured("no such bot"), KeyError()
    )
    thread = Hearing(desk, wait_s=0)
    thread.start()
    wait_for(lambda: desk.turns > 5, within_s=30)
    alive = thread.alive
    thread.end()
    thread.join(30)

    assert alive
    assert not thread.alive
