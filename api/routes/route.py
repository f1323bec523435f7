"""What a route is: a value that says everything about one method of one path. The documentation is made from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from api.deps import Deps
from app.errors import FlotillaError
from app.usecases.asking import Asking

JSON = "application/json"
Spelled = Annotated[
    str, Meta(min_length=2, max_length=40, description="Such as BTCUSDT, BTC-USDT-SWAP, BTC/USDT:USDT.")
]
"""A symbol as anybody writes it; ``app.domain.market.symbols`` knows them all."""
StrategyName = Literal["V3", "ICT"]
"""Those of ``app.domain.strategies.table``; a house rule keeps them equal."""


class Asks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request may carry: fields named in the path come from there, the rest from the query or the JSON body."""


class Nothing(Asks, frozen=True):
    """A request that carries nothing."""


class Answer(msgspec.Struct, frozen=True):
    """The ``data`` of an answer."""


class File(Answer, frozen=True):
    """An answer that is sent as it is, without the envelope."""

    body: bytes


class Stream(Answer, frozen=True):
    """An answer that goes on for as long as both sides want. ``pieces`` is given what cuts the connection off."""

    pieces: Callable[[Callable[[], None]], Iterator[bytes]]


RAW = (File, Stream)  # sent without the envelope

AsksT = TypeVar("AsksT", bound=Asks)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Call(Generic[AsksT]):
    """One request, checked. ``actor`` is who asks: until there are accounts, whoever sits at this machine."""

    deps: Deps
    asks: AsksT
    now: datetime
    trace_id: str
    actor: str = "api"
    last_event_id: str | None = None  # of a client that comes back to a stream

    @property
    def asking(self) -> Asking:
        """Who asks, for what leaves a trace."""
        return Asking(self.actor, self.trace_id, self.now)


@dataclass(frozen=True, slots=True)
class Reply(Generic[AnswerT]):
    """The data of an answer. With an ``error`` it is sent as that error, and the data beside it."""

    data: AnswerT
    status: int = 200
    error: FlotillaError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Route(Generic[AsksT, AnswerT]):
    """One method of one path. ``statuses`` are those that carry ``answer``; ``raises`` are the errors to expect."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Callable[[Call[AsksT]], Reply[AnswerT]]
    tag: str
    summary: str
    asks: type[AsksT]
    answer: type[AnswerT]
    statuses: tuple[int, ...] = (200,)
    raises: tuple[type[FlotillaError], ...] = ()
    media: str = JSON
    asks_example: AsksT | None = None
    example: AnswerT | None = None
    quiet: bool = False  # asked every few seconds by a machine: not worth a line in the log

    @property
    def writes(self) -> bool:
        """Whether it changes something: then its fields come from a JSON body, else from the query."""
        return self.method != "GET"

    @property
    def name(self) -> str:
        """A name that no other route has."""
        words = self.path.replace("{", "").replace("}", "").replace(".", "_").replace("-", "_").strip("/")
        return f"{self.method.lower()}_{words.replace('/', '_') or 'page'}"


AnyRoute = Route[Any, Any]
