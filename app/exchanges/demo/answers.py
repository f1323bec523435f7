"""REST answers of the demo exchange, before they are written to a socket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from app.exchanges.demo.limits import LimitReport
from app.exchanges.demo.values import Venue

Query: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON bytes, and headers beside the usual ones."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that the venue answers with an error of its own words."""

    def __init__(self, status: int, code: Any, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Door(Protocol):
    """One venue's REST."""

    venue: Venue

    def answer(self, path: str, query: Query) -> Answer:
        """What it says to a GET below its prefix."""

    def limits(self) -> dict[str, LimitReport]:
        """How much of its limits is used."""

    def pardon(self) -> None:
        """Forget bans."""


@dataclass(frozen=True, slots=True)
class Route:
    """One address: what it answers, and what that costs."""

    body: Callable[[Query], bytes]
    weight: Callable[[Query], int]


def whole(query: Query, name: str, default: int | None = None) -> int | None:
    """A whole number of the query. Raises ValueError where it is none."""
    text = query.get(name)
    return default if text is None or text == "" else int(text)
