"""The push stream: Server-Sent Events, which every browser and `curl -N` understand."""

from typing import Annotated

from msgspec import Meta

from api import source
from api.errors import nearest
from api.hub import TOPICS, Interest
from api.routes.route import Asks, Call, Reply, Route, Stream
from app.domain.market import symbols
from app.errors import InvalidInput, Unavailable

EVENT_STREAM = "text/event-stream; charset=utf-8"
MOST_SYMBOLS = 1_000
_List = Annotated[str, Meta(max_length=20_000)]


class StreamAsked(Asks, frozen=True):
    """What to be told."""

    topics: Annotated[_List, Meta(description=f"Some of {', '.join(TOPICS)}, with commas.")] = ",".join(TOPICS)
    symbols: Annotated[_List, Meta(description="With commas, in any common spelling. Empty: all of them.")] = ""
    exchange: Annotated[str, Meta(max_length=30, description="Of this one only.")] | None = None
    last_event_id: (
        Annotated[str, Meta(max_length=60, description="Go on after this event; else the header Last-Event-ID.")] | None
    ) = None


def stream(call: Call[StreamAsked]) -> Reply[Stream]:
    """Tickers, candles, depth tops and collector states as they come, each an event with an id and JSON data.

    `hello` comes first and says the state; `degraded` says that nothing can be told just now, `resync` that something was
    missed (read the present values again), `live` that it goes on, `bye` that Flotilla ends. A comment comes every 15 s. Who
    does not read fast enough is cut off, and may come back.
    """
    asked = call.asks
    exchange = None if asked.exchange is None else source.exchange(call.deps.settings, asked.exchange)
    interest = Interest(frozenset(_topics(asked.topics)), frozenset(_symbols(asked.symbols)), exchange)
    call.deps.hub.room()
    resume = asked.last_event_id or call.last_event_id
    return Reply(Stream(lambda cut: call.deps.hub.stream(interest, resume, cut)))


def _topics(text: str) -> list[str]:
    found = [word.strip() for word in text.split(",") if word.strip()]
    for topic in found:
        if topic not in TOPICS:
            raise InvalidInput(f"There is no topic {topic[:60]!r}.", cure=nearest(topic, TOPICS))
    return found or list(TOPICS)


def _symbols(text: str) -> list[str]:
    found = [symbols.parse(word) for word in text.split(",") if word.strip()]
    if len(found) > MOST_SYMBOLS:
        raise InvalidInput(f"{len(found)} symbols are too many.", cure=f"Name at most {MOST_SYMBOLS}, or none for all.")
    return found


ROUTES = (
    Route(
        "GET",
        "/api/v1/market/stream",
        stream,
        "market",
        "The push stream",
        StreamAsked,
        Stream,
        raises=(InvalidInput, Unavailable),
        media=EVENT_STREAM,
    ),
)
