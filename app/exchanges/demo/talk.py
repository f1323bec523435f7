"""What one connection says to a venue and what that makes the server do. Nothing in it waits or sees a socket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from app.exchanges.demo.feeds import Feed
from app.exchanges.demo.values import Venue

Dress: TypeAlias = Callable[[str, bytes], bytes]
"""From a stream's name and a message to a frame."""


@dataclass(frozen=True, slots=True)
class Say:
    """A frame for this connection alone."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Listen:
    """Begin to get a stream. ``key`` is the same for everybody who gets the same; ``name`` is what this one calls it."""

    key: str
    name: str
    open: Callable[[], Feed]


@dataclass(frozen=True, slots=True)
class Leave:
    """Get a stream no longer."""

    key: str


@dataclass(frozen=True, slots=True)
class Hang:
    """Close the connection."""

    code: int
    reason: str


Deed: TypeAlias = Say | Listen | Leave | Hang


class Talk(Protocol):
    """One connection's side of the protocol."""

    venue: Venue
    dress: Dress
    beat_every_s: float
    """How often ``beat`` is called."""

    def opening(self) -> Sequence[Deed]:
        """What to do when it is open."""

    def receive(self, message: str) -> Sequence[Deed]:
        """What to do about a message."""

    def beat(self) -> Sequence[Deed]:
        """What to do now and then: pings, and giving up on those who never answered."""

    def pong(self) -> None:
        """The protocol's own pong came."""
