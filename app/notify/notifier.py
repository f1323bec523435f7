"""What a notifier is, and how long texts are cut for it."""

from typing import Protocol

from app.notify.outbox import Level


class Notifier(Protocol):
    """A way to a person."""

    longest: int
    """The most that one message may hold, counted by ``length``."""

    def send(self, text: str, level: Level) -> None:
        """Deliver one message, without waiting for longer than a few seconds.

        Raises RateLimited or Unavailable when it can be tried again, InvalidInput when this message can never be
        delivered, and Misconfigured when none can until a person acts.
        """


def length(text: str) -> int:
    """Count as messengers do, in UTF-16 units: an emoji counts two."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, longest: int) -> list[str]:
    """Cut a text into pieces that fit, at ends of lines or words where there are any."""
    pieces = []
    while length(text) > longest:
        end = _fits(text, longest)
        for mark in ("\n", " "):
            at = text.rfind(mark, end // 2, end + 1)
            if at > 0:
                end = at
                break
        pieces.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*pieces, text] if text or not pieces else pieces


def _fits(text: str, longest: int) -> int:
    """How many characters from the beginning fit."""
    units = 0
    for position, character in enumerate(text):
        units += 2 if character > "\uffff" else 1
        if units > longest:
            return position
    return len(text)
