"""What was recorded, moment by moment, and the player that hands it on as the live feed would."""

import asyncio
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any, Literal, TypeAlias

import msgspec

from app.domain.market import symbols
from app.domain.market.values import Event
from app.errors import CorruptData, FlotillaError, InvalidInput
from app.exchanges.exchange import Exchange, Session

LONGEST_PAUSE_S = 60.0
AT_ONCE = 500  # so many, then the event loop has its turn


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing that went over the wire."""

    time_ms: int
    """When it was received or sent, by the clock of whoever recorded it."""
    kind: Literal["said", "asked", "answered", "opened"]
    """A message of the stream, one that was sent to it, an answer of the REST API, a new connection."""
    url: str
    message: str | bytes = ""


Moment: TypeAlias = Frame | Event


@dataclass(slots=True)
class Played:
    """What came of it."""

    moments: int = 0
    events: int = 0
    skipped: int = 0
    """What was sent, and answers that nobody reads."""
    unreadable: int = 0
    example: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


async def replay(
    moments: Iterable[Moment],
    sink: Callable[[list[Event]], None],
    *,
    receive: Callable[[str | bytes, int], list[Event]] | None = None,
    answer: Callable[[Frame], list[Event]] | None = None,
    speed: float | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Played:
    """Hand on what was recorded, in its order; ``speed`` 2 is twice as fast as it happened, None as fast as it goes.

    Frames go through ``receive`` (a session's, or ``through`` several) and ``answer`` (``answers_of`` an exchange); values go on as
    they are. What cannot be understood is counted, as it is live.
    """
    played, began_s = Played(), monotonic()
    for moment in moments:
        if played.from_ms is None:
            played.from_ms = moment.time_ms
        if speed is not None:
            early_s = (moment.time_ms - played.from_ms) / 1_000 / speed - (monotonic() - began_s)
            if (
                early_s > LONGEST_PAUSE_S
            ):  # a night without a recording, or a damaged time: nobody wants to sit through it
                began_s -= early_s - LONGEST_PAUSE_S
                early_s = LONGEST_PAUSE_S
            if early_s > 0:
                await sleep(early_s)
        if played.moments % AT_ONCE == AT_ONCE - 1:
            await sleep(0)
        played.moments += 1
        played.to_ms = moment.time_ms
        try:
            events = _events(moment, receive, answer)
        except FlotillaError as error:
            played.unreadable += 1
            played.example = played.example or str(error)[:200]
            continue
        if events is None:
            played.skipped += 1
        elif events:
            played.events += len(events)
            sink(events)
    return played


def _events(
    moment: Moment,
    receive: Callable[[str | bytes, int], list[Event]] | None,
    answer: Callable[[Frame], list[Event]] | None,
) -> list[Event] | None:
    if not isinstance(moment, Frame):
        return [moment]
    if moment.kind == "said" and receive:
        return receive(moment.message, moment.time_ms)
    if moment.kind == "answered" and answer:
        return answer(moment)
    return None


def through(sessions: Sequence[Session]) -> Callable[[str | bytes, int], list[Event]]:
    """A ``receive`` for what was recorded on one connection and comes through several today: the first that understands it."""
    if not sessions:
        raise InvalidInput("There is no session to replay through.")
    order = list(sessions)

    def receive(message: str | bytes, received_ms: int) -> list[Event]:
        for number, session in enumerate(order):
            try:
                events = session.receive(message, received_ms)
            except CorruptData:
                if number == len(order) - 1:
                    raise
            else:
                order.insert(0, order.pop(number))
                return events
        return []

    return receive


def answers_of(exchange: Exchange) -> Callable[[Frame], list[Event]]:
    """An ``answer`` for recorded books of Binance, whose address names the symbol. Raises CorruptData for other answers."""

    def answer(frame: Frame) -> list[Event]:
        parts = urllib.parse.urlsplit(frame.url)
        name = urllib.parse.parse_qs(parts.query).get("symbol", [""])[0]
        if not parts.path.endswith("/depth") or not name:
            raise CorruptData(f"Nothing reads the answer of {parts.path or frame.url}.")
        symbol = symbols.parse(name, spot=parts.path.startswith("/api/"))
        try:
            said: Any = msgspec.json.decode(frame.message)
        except msgspec.DecodeError as error:
            raise CorruptData(f"An answer that is not JSON: {error}") from error
        events: list[Event] = exchange.book(symbol).read(said, frame.time_ms)
        return events

    return answer


def together(*sources: Iterable[Moment]) -> Iterator[Moment]:
    """Several recordings as one, by their times; each must be in order itself."""
    return merge(*sources, key=lambda moment: moment.time_ms)
