"""The notifier that is always there: the log of whoever delivers."""

import logging

from app.notify.outbox import Level

_log = logging.getLogger("notices")
_LEVELS: dict[Level, int] = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class LogNotifier:
    """Writes notices to the log. It never fails."""

    longest = 16_000

    def send(self, text: str, level: Level) -> None:
        """Write one message."""
        _log.log(_LEVELS[level], "%s", text)
