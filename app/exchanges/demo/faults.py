"""Faults on request: what goes wrong, where, for how long, and what it did, so that a test can measure how it was met."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.domain.market import symbols
from app.errors import InvalidInput
from app.exchanges.demo.values import Venue

Kind = Literal[
    "cut", "half_open", "gap", "duplicate", "reorder", "garbage", "slow", "429", "418", "clock_skew", "stale", "handshake_503"
]  # fmt: skip
FeedKind = Literal["candles", "trades", "depth", "top", "mark", "open_interest", "ticker"]
_ON_MESSAGES = ("gap", "duplicate", "reorder", "garbage")
_OF_A_SYMBOL = (*_ON_MESSAGES, "slow", "stale")
_KEPT = 500

Seconds = Annotated[float, Meta(ge=0, le=3600)]


class FaultOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person or a test asks for. Without a venue, symbol or channel it is meant for all of them."""

    fault: Kind
    venue: Venue | None = None
    symbol: str | None = None
    channel: FeedKind | None = None
    for_s: Seconds = 0.0
    """How long. 0: once for ``cut``; as long as it takes for ``count`` messages; 60 s for the others."""
    count: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """How many messages (gap, duplicate, reorder, garbage); 1 where neither this nor ``for_s`` is said."""
    delay_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    """Of ``slow``."""
    skew_ms: Annotated[int, Meta(ge=-86_400_000, le=86_400_000)] = 5_000
    """Of ``clock_skew``."""
    garbage: Literal["json", "types", "noise", "mixed"] = "mixed"
    retry_after_s: Seconds = 0.0
    """Of 429 and 418; 0: until the fault is over."""


class FaultReport(msgspec.Struct, frozen=True):
    """One fault, as it is told. Times are our clock's; ``market_ms`` is the market's when it began."""

    id: int
    order: FaultOrder
    from_ms: int
    until_ms: int | None
    ended_ms: int | None
    market_ms: int
    done: dict[str, int]


@dataclass(slots=True, eq=False)
class Fault:
    """One that lives, or lived."""

    id: int
    order: FaultOrder
    from_ms: int
    until_ms: int | None
    market_ms: int
    left: int | None
    ended_ms: int | None = None
    done: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        """Note what it did."""
        self.done[what] = self.done.get(what, 0) + by

    def report(self) -> FaultReport:
        """How it is told."""
        return FaultReport(
            self.id, self.order, self.from_ms, self.until_ms, self.ended_ms, self.market_ms, dict(self.done)
        )


class Garbage(bytes):
    """Bytes that go out as they are, as a binary message."""


class Faults:
    """All faults of the demo exchange. ``real_ms`` is our clock, ``market_ms`` the market's."""

    def __init__(self, real_ms: Callable[[], int], market_ms: Callable[[], int], seed: int = 1) -> None:
        self._real_ms, self._market_ms = real_ms, market_ms
        self._living: list[Fault] = []
        self._past: deque[Fault] = deque(maxlen=_KEPT)
        self._held: dict[object, bytes] = {}
        self._next_id = 1
        self._random = random.Random(seed)  # noqa: S311 - noise, not a secret

    def ask(self, order: FaultOrder) -> Fault:
        """Begin one. Raises InvalidInput for a symbol that is none."""
        if order.symbol is not None:
            order = msgspec.structs.replace(order, symbol=symbols.parse(order.symbol))
        if order.symbol is not None and order.fault not in _OF_A_SYMBOL:
            raise InvalidInput(f"{order.fault} holds for a venue, not for a symbol.", cure="Leave symbol out.")
        now = self._real_ms()
        counted = order.fault in _ON_MESSAGES
        left = (order.count or (None if order.for_s else 1)) if counted else None
        lasts_s = order.for_s or (None if counted else 0.0 if order.fault == "cut" else 60.0)
        until = None if lasts_s is None else now + round(lasts_s * 1000)
        fault = Fault(self._next_id, order, now, until, self._market_ms(), left)
        self._next_id += 1
        self._living.append(fault)
        return fault

    def end(self, fault_id: int | None = None) -> int:
        """End one, or all; how many that were."""
        ended = [fault for fault in self._living if fault_id in (None, fault.id)]
        for fault in ended:
            self._finish(fault, self._real_ms())
        return len(ended)

    def reports(self) -> tuple[list[FaultReport], list[FaultReport]]:
        """Those that live, and those that are over, oldest first."""
        self._sweep()
        return [fault.report() for fault in self._living], [fault.report() for fault in self._past]

    def living(self, kind: Kind, venue: Venue, symbol: str | None = None) -> Fault | None:
        """The fault of a kind that holds there now."""
        if not self._living:
            return None
        self._sweep()
        for fault in self._living:
            order = fault.order
            if order.fault == kind and order.venue in (None, venue) and order.symbol in (None, symbol):
                return fault
        return None

    def skew_ms(self, venue: Venue) -> int:
        """How wrong the venue's clock is."""
        fault = self.living("clock_skew", venue)
        return fault.order.skew_ms if fault else 0

    def frozen_ms(self, venue: Venue, symbol: str | None) -> int | None:
        """The market time at which a stale symbol stopped."""
        fault = self.living("stale", venue, symbol)
        return fault.market_ms if fault else None

    def delay_s(self, venue: Venue, symbol: str | None = None) -> float:
        """How late answers and messages are."""
        fault = self.living("slow", venue, symbol)
        return fault.order.delay_ms / 1000 if fault else 0.0

    def ban_s(self, fault: Fault) -> float:
        """How long a 429 or 418 tells clients to wait."""
        return fault.order.retry_after_s or ((fault.until_ms or 0) - self._real_ms()) / 1000

    def bent(
        self, venue: Venue, symbol: str, channel: FeedKind, stream: object, messages: Sequence[bytes]
    ) -> list[bytes]:
        """The messages of one stream, as they go out."""
        if not self._living and not self._held:
            return list(messages)
        self._sweep()
        out: list[bytes] = []
        for message in messages:
            fault = self._on_message(venue, symbol, channel)
            if fault is None:
                out.append(message)
            elif fault.order.fault == "gap":
                self._did(fault, "dropped")
            elif fault.order.fault == "duplicate":
                out += [message, message]
                self._did(fault, "doubled")
            elif fault.order.fault == "garbage":
                out += [self._garbage(fault.order.garbage, message), message]
                self._did(fault, "garbage")
            elif stream in self._held:  # reorder: the one that was held comes after this one
                out += [message, self._held.pop(stream)]
                self._did(fault, "swapped")
            else:
                self._held[stream] = message
        if stream in self._held and self._on_message(venue, symbol, channel) is None:
            out.append(self._held.pop(stream))  # the fault was ended while a message was held
        return out

    def forget(self, stream: object) -> None:
        """Nobody listens to it any more: what was held of it goes."""
        self._held.pop(stream, None)

    def _on_message(self, venue: Venue, symbol: str, channel: FeedKind) -> Fault | None:
        for fault in self._living:
            order = fault.order
            if (
                order.fault in _ON_MESSAGES
                and order.venue in (None, venue)
                and order.symbol in (None, symbol)
                and order.channel in (None, channel)
            ):
                return fault
        return None

    def _did(self, fault: Fault, what: str) -> None:
        fault.count(what)
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                self._finish(fault, self._real_ms())

    def _garbage(self, kind: str, message: bytes) -> bytes:
        if kind == "mixed":
            kind = self._random.choice(("json", "types", "noise"))
        if kind == "noise":
            return Garbage(self._random.randbytes(64))
        if kind == "json":
            return message[: max(1, len(message) * 2 // 3)]
        return msgspec.json.encode(_wrong_types(msgspec.json.decode(message)))

    def _sweep(self) -> None:
        now = self._real_ms()
        for fault in [fault for fault in self._living if fault.until_ms is not None and fault.until_ms <= now]:
            self._finish(fault, fault.until_ms or now)

    def _finish(self, fault: Fault, at_ms: int) -> None:
        if fault in self._living:
            self._living.remove(fault)
            fault.ended_ms = at_ms
            self._past.append(fault)


def _wrong_types(value: Any, name: str = "") -> Any:
    """The same document with its numbers where no number is: names of streams and symbols stay, so that it reaches a reader."""
    if isinstance(value, dict):
        return {key: _wrong_types(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_wrong_types(inner, name) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return {"not": "a number"}
    try:
        float(value)
    except ValueError:
        return value
    return ["NaN"]
