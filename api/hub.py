"""The push stream: one subscription to the market's news, every message written once, handed to whoever asked for it.

What arrived within a moment is put together once for all clients that asked for the same, so a thousand clients share their
bytes. Each has a bounded queue: one whose queue is full is cut off and counted, for waiting for it would make all others slow.
Threads and locks here are those of the standard library; in main-app gevent makes them greenlets.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from app.cache.keys import parts_of
from app.cache.pubsub import Listener
from app.errors import Unavailable
from app.host.metrics import Metrics

Topic = Literal["ticker", "kline", "depth", "collector", "judgment", "trade"]
TOPICS: tuple[Topic, ...] = ("ticker", "kline", "depth", "collector", "judgment", "trade")
KEEP_ALIVE_S = 15.0  # shorter than any proxy's patience
RETRY_MS = 3_000
CLIENTS = 1_500
MOST_WAITING = 256 * 1024  # bytes for one client; what it reads slower than that, it will never catch up with
BEHIND_S = 10.0  # likewise: who has not taken for so long what waits for it
REMEMBERED = 2_000  # frames, for those who come back after a short break
MOMENT_S = 0.05  # news are gathered for so long, and a little longer the more clients there are
MOMENT_EACH_S = 0.00005
_LISTEN_S = 1.0
_TRY_AGAIN_S = 1.0
_STILL_HERE = b": still here\n\n"
_log = logging.getLogger("api.push")


def nothing_to_cut() -> None:
    """For a server that cannot cut a connection off: its clients are left to their timeouts."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client asked for. No symbols: of every one; no exchange: of every one, and what is of none is for all."""

    topics: frozenset[str]
    symbols: frozenset[str] = frozenset()
    exchange: str | None = None

    def takes(self, frame: "Frame") -> bool:
        """Whether this is for it. What is not about one symbol is for everybody."""
        return (
            frame.topic in self.topics
            and (not self.symbols or frame.symbol is None or frame.symbol in self.symbols)
            and (self.exchange is None or frame.exchange in ("", self.exchange))
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, as it is sent."""

    number: int
    topic: str
    symbol: str | None
    exchange: str
    text: bytes


@dataclass(slots=True, eq=False)
class Client:
    """One open stream."""

    interest: Interest
    cut: Callable[[], None]
    waiting: deque[bytes] = field(default_factory=deque)
    size: int = 0
    since_s: float = 0.0
    woken: threading.Event = field(default_factory=threading.Event)
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, piece: bytes, now_s: float) -> bool:
        """Queue a piece. False: the client does not keep up: its queue is full, or what is in it is old by now."""
        with self.lock:
            if not self.waiting:
                self.since_s = now_s
            elif self.size + len(piece) > MOST_WAITING or now_s - self.since_s > BEHIND_S:
                return False
            self.waiting.append(piece)
            self.size += len(piece)
        self.woken.set()
        return True

    def take(self) -> bytes:
        """Everything that waits."""
        with self.lock:
            pieces, self.waiting, self.size = self.waiting, deque(), 0
            self.woken.clear()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Said(msgspec.Struct):
    """What must be known of a message to hand it on."""

    exchange: str = ""


class Hub:
    """All open streams, and the one subscription that feeds them. It listens only while somebody wants to hear."""

    def __init__(
        self,
        listen: Callable[[], Listener],
        *,
        metrics: Metrics,
        simulated: bool,
        started_ms: int,
        limit: int = CLIENTS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listen, self._metrics = listen, metrics
        self._sleep, self._monotonic = sleep, monotonic
        self._simulated, self._limit, self._started = simulated, limit, f"{started_ms:x}"
        self._groups: dict[Interest, set[Client]] = {}
        self._clients = 0
        self._lock = threading.Lock()
        self._wanted, self._ended = threading.Event(), False
        self._subscriptions = self._number = 0
        self._frames: deque[Frame] = deque(maxlen=REMEMBERED)
        self._state: Literal["connecting", "live", "degraded"] = "connecting"

    @property
    def clients(self) -> int:
        """How many streams are open."""
        return self._clients

    def leave_room(self, connections: int) -> None:
        """Where there may be so many connections in all, a quarter of them stays for everything else."""
        self._limit = min(self._limit, connections * 3 // 4)

    def start(self) -> threading.Thread:
        """Begin to listen, in a thread of its own."""
        thread = threading.Thread(target=self.run, name="push", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Listen and hand on, until ``end``."""
        while not self._ended:
            if not self._clients:
                self._wanted.wait(_LISTEN_S)
                self._wanted.clear()
                continue
            try:
                listener = self._listen()
            except Unavailable as error:
                self._lost(error)
                continue
            try:
                self._hand_on(listener)
            except Unavailable as error:
                self._lost(error)
            finally:
                listener.close()

    def end(self) -> None:
        """Say goodbye to all and take nobody more."""
        self._ended = True
        self._wanted.set()
        self._tell_all(_event("bye", {"reason": "Flotilla ends or restarts; come back in a moment."}), last=True)

    def room(self) -> None:
        """Raise Unavailable when no more streams can be opened."""
        if self._ended:
            raise Unavailable("main-app is ending.", cure="Ask again after its restart.")
        if self._clients >= self._limit:
            self._metrics.count("flotilla_push_refused_total")
            raise Unavailable(
                f"{self._clients} streams are open, which is as many as there may be.",
                cure="Close one, or ask again later.",
            )

    def stream(self, interest: Interest, resume: str | None, cut: Callable[[], None]) -> Iterator[bytes]:
        """The pieces of one client's stream. It counts as open from the first piece to the end."""
        client = Client(interest, cut)
        with self._lock:
            if self._ended:
                return
            before = self._missed(interest, resume)
            self._groups.setdefault(interest, set()).add(client)
            self._clients += 1
            self._count_clients()
        self._wanted.set()
        try:
            yield self._hello(interest) + before
            while True:
                if not client.woken.wait(KEEP_ALIVE_S):
                    yield _STILL_HERE
                elif piece := client.take():
                    yield piece
                if client.over:
                    return
        finally:
            self._leave(client)

    def _hand_on(self, listener: Listener) -> None:
        """Serve from one subscription, while anybody wants it."""
        self._subscribed()
        while not self._ended:
            heard = listener.hear(_LISTEN_S)
            if not self._clients:
                self._state = "connecting"
                return  # the last one left; what is published from now on, nobody missed
            if heard:
                self._spread([frame for channel, payload in heard if (frame := self._frame(channel, payload))])
                self._sleep(MOMENT_S + self._clients * MOMENT_EACH_S)

    def _subscribed(self) -> None:
        with self._lock:
            came_back = self._state == "degraded"
            self._state = "live"
            self._subscriptions += 1
            self._frames.clear()
        if came_back:
            _log.info("Redis is back: the streams go on")
            self._tell_all(_event("resync", {"reason": "Redis was away: something may have been missed."}))
        self._tell_all(_event("live", {}))

    def _lost(self, error: Unavailable) -> None:
        if self._state != "degraded":
            _log.warning("the streams are silent: %s", error)
            with self._lock:
                self._state = "degraded"
            self._tell_all(_event("degraded", {"reason": str(error)}))
        self._sleep(_TRY_AGAIN_S)

    def _frame(self, channel: str, payload: bytes) -> Frame | None:
        """A message as it is sent; None for one that is not ours."""
        try:
            parts = parts_of(channel)
            if len(parts) < 3 or parts[1] not in TOPICS:
                return None
            exchange = msgspec.json.decode(payload, type=_Said).exchange
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._metrics.count("flotilla_push_unreadable_total")
            return None
        self._number += 1
        topic, symbol = parts[1], None if parts[1] == "collector" else parts[2]
        head = f"id: {self._id(self._number)}\nevent: {topic}\ndata: ".encode()
        return Frame(self._number, topic, symbol, exchange, head + payload.replace(b"\n", b" ") + b"\n\n")

    def _spread(self, frames: Sequence[Frame]) -> None:
        with self._lock:
            self._frames.extend(frames)
            groups = [(interest, list(clients)) for interest, clients in self._groups.items()]
        sent, now_s = 0, self._monotonic()
        for interest, clients in groups:
            chosen = [frame.text for frame in frames if interest.takes(frame)]
            if not chosen:
                continue
            piece = b"".join(chosen)
            for client in clients:
                if client.offer(piece, now_s):
                    sent += len(chosen)
                else:
                    self._drop(client)
        self._metrics.count("flotilla_push_heard_total", len(frames))
        self._metrics.count("flotilla_push_sent_total", sent)

    def _drop(self, client: Client) -> None:
        """Cut off one that does not keep up."""
        self._leave(client)
        self._metrics.count("flotilla_push_dropped_total")
        client.over = True
        client.take()
        client.woken.set()
        client.cut()

    def _leave(self, client: Client) -> None:
        with self._lock:
            group = self._groups.get(client.interest, set())
            if client not in group:
                return
            group.remove(client)
            if not group:
                del self._groups[client.interest]
            self._clients -= 1
            self._count_clients()

    def _tell_all(self, piece: bytes, *, last: bool = False) -> None:
        with self._lock:
            everybody = [client for clients in self._groups.values() for client in clients]
        now_s = self._monotonic()
        for client in everybody:
            if not client.offer(piece, now_s):
                self._drop(client)
            elif last:
                client.over = True
                client.woken.set()

    def _hello(self, interest: Interest) -> bytes:
        said = {
            "state": self._state,
            "simulated": self._simulated,
            "topics": sorted(interest.topics),
            "symbols": sorted(interest.symbols),
            "exchange": interest.exchange,
            "keep_alive_s": KEEP_ALIVE_S,
        }
        return f"retry: {RETRY_MS}\n".encode() + _event("hello", said)

    def _missed(self, interest: Interest, resume: str | None) -> bytes:
        """What a client that comes back must be told first: what it missed, or that nobody knows any more."""
        if not resume:
            return b""
        run, _, number = resume.rpartition("-")
        oldest = self._frames[0].number if self._frames else self._number + 1
        known = run == self._id(0).rpartition("-")[0] and number.isdecimal() and len(number) < 19
        if not known or not oldest - 1 <= int(number) <= self._number:
            return _event("resync", {"reason": "What came after the last event that you saw is no longer known."})
        return b"".join(frame.text for frame in self._frames if frame.number > int(number) and interest.takes(frame))

    def _id(self, number: int) -> str:
        """Numbers count on within one subscription; between two of them there is a gap that nobody knows the length of."""
        return f"{self._started}.{self._subscriptions}-{number}"

    def _count_clients(self) -> None:
        self._metrics.gauge("flotilla_push_clients", self._clients)


def _event(name: str, said: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(said))
