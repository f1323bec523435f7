"""The monitor's threads that talk with people: notices go out by every way that the settings name, commands come in.

Each way has a thread of its own, so that a slow messenger delays neither a look nor another messenger.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

from app.domain.alerts.quiet import QuietHours, never
from app.errors import FlotillaError, Misconfigured, RateLimited
from app.notify.log import LogNotifier
from app.notify.notifier import Notifier
from app.notify.telegram import TelegramNotifier
from app.settings import Settings
from app.usecases.answer_commands import CommandDesk
from app.usecases.deliver_notices import NoticeDelivery, Policy

log = logging.getLogger("monitor")
DELIVER_EVERY_S = 1.0
DELIVERY_STUCK_S = 300.0  # longer than any one attempt to send may take, such as an e-mail to twenty, step by step
LONGEST_TURN_S = 30.0  # then the time is read anew: by it messages are counted, and waiting is begun
HEAR_FOR_S = 25
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 300.0
_LONGEST_DELIVERY_WAIT_S = 60.0  # it must not look stuck


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a person. Telegram, or the log in its place, has no name: its file has had none from the beginning."""

    name: str
    notifier: Notifier
    policy: Policy


def telegram(settings: Settings) -> TelegramNotifier | None:
    """The bot, where it is set up and can be used."""
    if not settings.telegram.token:
        return None
    try:
        return TelegramNotifier(settings.telegram.token, settings.telegram.chat_id, base_url=settings.telegram.base_url)
    except Misconfigured as error:  # without a monitor nobody would be told of anything
        log.critical("Telegram is not told: %s %s", error, error.cure)
        return None


def ways(settings: Settings, bot: TelegramNotifier | None, sender: str) -> list[Way]:
    """Every way that the settings name and that can be used; without any, the log."""
    quiet = quiet_hours(settings)
    made = [Way("", bot, Policy(quiet=quiet))] if bot else []
    for name, make, policy in (
        ("webhook", _webhook, Policy(settings.webhook.least, quiet=quiet)),
        ("email", _email, Policy(settings.email.least, quiet=quiet)),
    ):
        try:
            if (notifier := make(settings, sender)) is not None:
                made.append(Way(name, notifier, policy))
        except Misconfigured as error:
            log.critical("%s is not told: %s %s", name, error, error.cure)
    return made or [Way("", LogNotifier(), Policy(per_minute=1_000))]


def quiet_hours(settings: Settings) -> Callable[[datetime], bool]:
    """When only what is critical is told."""
    begins, ends = settings.alerts.quiet_from, settings.alerts.quiet_to
    if not begins or not ends:
        return never
    zone = ZoneInfo(settings.clock.timezone)
    return QuietHours(time_of_day.fromisoformat(begins), time_of_day.fromisoformat(ends), zone).hold


def deliveries(settings: Settings, bot: TelegramNotifier | None, notices: Path, *, sender: str) -> list["Delivery"]:
    """A thread for each way."""
    made = {
        way.name: NoticeDelivery(notices, way.notifier, LogNotifier(), sender=sender, name=way.name, policy=way.policy)
        for way in ways(settings, bot, sender)
    }
    for one in made.values():
        one.stand_beside(made.values())
    return [Delivery(one, way=name) for name, one in made.items()]


class Delivery(threading.Thread):
    """Delivers notices every second or so. ``alive`` says whether it still does."""

    def __init__(self, notices: NoticeDelivery, clock: Callable[[], float] = time.monotonic, *, way: str = "") -> None:
        super().__init__(name="delivery", daemon=True)
        self.way = way or "telegram"
        self._notices, self._clock = notices, clock
        self._ended = threading.Event()
        self._turned_at_s = clock()

    def run(self) -> None:
        """Deliver until asked to end. Whatever goes wrong costs a pause: nobody else would tell anything this way."""
        pause_s = _FIRST_WAIT_S
        while not self._ended.wait(DELIVER_EVERY_S):
            try:
                self._turn()
                pause_s = _FIRST_WAIT_S
            except (OSError, FlotillaError) as error:  # such as a full disk: it passes, and the notices wait
                log.warning("notices wait: %s", error)
            except Exception:
                log.exception("a mistake of ours: notices wait for %g s", pause_s)
                self._ended.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_DELIVERY_WAIT_S)
            self._turned_at_s = self._clock()

    def _turn(self) -> None:
        """Deliver what waits, for a while: each message that went out shows that it is alive."""
        began_s = self._clock()

        def go_on() -> bool:
            self._turned_at_s = self._clock()
            return self._turned_at_s - began_s < LONGEST_TURN_S

        self._notices.deliver(datetime.now(UTC), go_on)

    @property
    def failures(self) -> int:
        """Attempts in a row that failed."""
        return self._notices.failures

    @property
    def alive(self) -> bool:
        """Whether it runs and has turned lately."""
        return self.is_alive() and self._clock() - self._turned_at_s < DELIVERY_STUCK_S

    def end(self) -> None:
        """Let the message that is on its way go out, within reason."""
        self._ended.set()
        self.join(timeout=3)


class Hearing(threading.Thread):
    """Hears commands until the process ends. One that fails waits, longer each time."""

    def __init__(self, desk: CommandDesk, *, wait_s: int = HEAR_FOR_S) -> None:
        super().__init__(name="hearing", daemon=True)
        self._desk, self._wait_s = desk, wait_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Hear until asked to end."""
        pause_s = _FIRST_WAIT_S
        while not self._ended.is_set():
            try:
                self._desk.turn(wait_s=self._wait_s)
                pause_s = _FIRST_WAIT_S
            except RateLimited as limit:
                self._ended.wait(limit.retry_after_s)
            except (OSError, FlotillaError) as error:
                log.warning("no commands are heard for %g s: %s %s", pause_s, error, getattr(error, "cure", ""))
                pause_s = self._pause(pause_s)
            except Exception:
                log.exception("a mistake of ours: no commands are heard for %g s", pause_s)
                pause_s = self._pause(pause_s)

    def _pause(self, pause_s: float) -> float:
        """Wait for so long; how long the next time."""
        self._ended.wait(pause_s)
        return min(2 * pause_s, _LONGEST_WAIT_S)

    def end(self) -> None:
        """Take no further command. What is being asked of Telegram is left to end with the process."""
        self._ended.set()

    @property
    def alive(self) -> bool:
        """Whether it runs; how long Telegram keeps it waiting is Telegram's."""
        return self.is_alive()


def _webhook(settings: Settings, sender: str) -> Notifier | None:
    if not settings.webhook.url:
        return None
    from app.notify.webhook import WebhookNotifier

    return WebhookNotifier(settings.webhook.url, settings.webhook.secret, sender=sender, clock=time.time)


def _email(settings: Settings, _sender: str) -> Notifier | None:
    email = settings.email
    if not email.host:
        return None
    from app.notify.mail import MailNotifier

    return MailNotifier(
        email.host,
        email.port,
        sender=email.sender,
        to=email.to,
        user=email.user,
        password=email.password,
        security=email.security,
    )
