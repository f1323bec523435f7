"""The shape of an exchange: what it would say and ask, and what its answers mean.

It decides; ``connection`` and ``rest`` do the network.

A session is one stream connection without its socket, so the same object serves live streams, replay and tests.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from app.domain.market.values import Event

Channel = Literal["candles", "trades", "depth", "top", "mark", "open_interest", "ticker"]
CHANNELS: tuple[Channel, ...] = ("candles", "trades", "depth", "top", "mark", "open_interest", "ticker")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to watch. Only candles have a timeframe."""

    channel: Channel
    symbol: str
    timeframe: str | None = None


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What must be said now and then, or the exchange closes the connection. Empty: the WebSocket's own ping is enough."""

    every_s: float
    text: str


class Session(Protocol):
    """One stream connection. Nothing in it waits, and it never sees a socket."""

    url: str
    lasts_s: float | None
    """Reconnect by plan after this long, before the exchange cuts; None: it never does."""
    silent_s: float
    """A connection that says nothing for so long is dead."""
    keep_alive: KeepAlive | None
    wanted: Sequence[Wanted]
    speed: float
    """How fast the time of ``receive`` runs: 1 unless whoever runs it says otherwise. Answers are waited for by our time."""
    counters: Counter[str]
    """What went wrong and was met by itself, by its name; empty where nothing is counted."""

    def opening(self) -> list[str]:
        """What to send right after connecting (again): it also forgets the state of the connection before."""

    def receive(self, message: str | bytes, received_ms: int) -> list[Event]:
        """What a message says; nothing for acknowledgements. Raises CorruptData for what cannot be understood, and
        Unavailable when the exchange says that the subscription or the connection failed.
        """

    def to_send(self) -> list[str]:
        """What must be sent now (a pong, a request for a book), since the last call."""

    def ask_snapshot(self, symbol: str) -> bool:
        """Get a whole book through this very stream, by what ``to_send`` says next. False: ``Exchange.book`` must be called."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much weight one bucket of an exchange allows in so many seconds."""

    bucket: str
    weight: int
    per_s: float
    used_header: str | None = None
    """The answer's header in which the exchange says how much is used, lower case."""


@dataclass(frozen=True, slots=True)
class RestCall:
    """One call of the REST API: a method of the exchange's ccxt class with its arguments, what it costs, what the answer means."""

    method: str
    arguments: tuple[Any, ...]
    bucket: str
    weight: int
    read: Callable[[Any, int], list[Any]] = field(repr=False)
    """From the parsed JSON and the time it was received to our values. Raises CorruptData."""


class Instrument(msgspec.Struct, frozen=True):
    """What an exchange trades. Unknown is None."""

    symbol: str
    base: str
    quote: str
    settle: str | None = None
    price_step: float | None = None
    quantity_step: float | None = None
    contract_size: float | None = None
    """Base coins in one contract, where the exchange counts contracts."""
    min_quantity: float | None = None
    active: bool = True


class Exchange(Protocol):
    """One exchange. ``name`` is how it is stored: a demo of Binance is ``demo-binance``, never ``binance``."""

    name: str
    ccxt_id: str
    """The ccxt module that carries its REST calls."""
    limits: Sequence[Limit]
    polled: frozenset[Channel]
    """Channels that have no stream here and are asked for by REST."""
    most_candles: int
    """In one answer."""

    @property
    def ccxt_urls(self) -> Mapping[str, Any]:
        """Put over ``urls["api"]`` of the ccxt object."""

    def sessions(self, wanted: Sequence[Wanted]) -> list[Session]:
        """As few connections as the exchange allows. Raises InvalidInput for a symbol that it cannot have."""

    def instruments(self) -> list[RestCall]:
        """What it trades (``Instrument``); for exchanges that count contracts, the mappers learn their size from it."""

    def server_time(self) -> RestCall:
        """One ``int``: the exchange's clock in ms."""

    def candles(self, symbol: str, timeframe: str, since_ms: int, limit: int) -> RestCall:
        """``Candle``, oldest first, beginning at ``since_ms``. The one that still runs has ``closed`` False."""

    def book(self, symbol: str) -> RestCall:
        """One ``Depth`` with ``snapshot``."""

    def trades(self, symbol: str) -> RestCall:
        """The newest ``Trade``s, oldest first."""

    def poll(self, channel: Channel, symbol: str) -> RestCall:
        """The present value of ``open_interest``, ``mark``, ``ticker`` or ``top``."""

    def funding(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """``Funding`` that was settled, oldest first: all of the ``limit`` hours from ``since_ms`` on, for nobody pays more often,
        and of what is later nothing behind a hole. None where the symbol has none (spot).
        """

    def open_interest_history(self, symbol: str, since_ms: int, limit: int) -> RestCall | None:
        """``OpenInterest`` every 5 minutes (or what the exchange has), oldest first, from ``since_ms`` on: up to ``limit``, and at
        least 100 where it has them. None where it keeps none.
        """
