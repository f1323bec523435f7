"""REST answers of the demo exchange, before they are written to a socket."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from app.exchanges.demo.limits import LimitReport
from app.exchanges.demo.values import Venue

Query: TypeAlias = Mapping[str, str]
Body: TypeAlias = bytes | Iterator[bytes]
"""JSON, or its parts where making it takes long: between two of them the server may do something else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON, and headers beside the usual ones."""

    status: int
    body: Body
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

    body: Callable[[Query], Body]
    weight: Callable[[Query], int]


def listed(rows: Iterable[bytes], before: bytes = b"[", after: bytes = b"]") -> Iterator[bytes]:
    """A list, row by row."""
    mark = before
    for row in rows:
        yield mark + row
        mark = b","
    yield after if mark == b"," else before + after


def whole(query: Query, name: str, default: int | None = None) -> int | None:
    """A whole number of the query. Raises ValueError where it is none."""
    text = query.get(name)
    return default if text is None or text == "" else int(text)
