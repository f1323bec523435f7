"""Who listens to what: one producer per stream while anybody does, each message framed once, nobody waited for."""

import asyncio
import contextlib
import heapq
import itertools
import logging
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.exchanges.demo import frames
from app.exchanges.demo.faults import Garbage
from app.exchanges.demo.feeds import Feed
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.talk import Deed, Dress, Hang, Leave, Listen, Say, Talk
from app.exchanges.demo.values import Venue

log = logging.getLogger(__name__)
MOST_WAITING_BYTES = 4_000_000
"""What a client that does not read may leave lying; then it is cut. About ten seconds of everything."""
_SLOT_S = 0.02
_BLOCKED_S = 0.005
_GONE_S = 0.3  # how late the loop may be before it gives up what it missed


class Client:
    """One open connection: its socket's side."""

    _numbers = itertools.count(1)

    def __init__(self, transport: asyncio.Transport, talk: Talk) -> None:
        self.number = next(self._numbers)
        self.talk = talk
        self.names: dict[str, str] = {}
        self.silent = False
        """Half open: nothing is said to it any more, and it does not know."""
        self.cut = False
        self._transport = transport
        self._out: list[bytes] = []

    @property
    def venue(self) -> Venue:
        """Where it is connected."""
        return self.talk.venue

    def put(self, frame: bytes) -> None:
        """Say this with the next ``flush``."""
        if not self.silent:
            self._out.append(frame)

    def flush(self) -> bool:
        """Send what was put. False: it does not read, or is gone."""
        if not self._out:
            return True
        data = b"".join(self._out)
        self._out.clear()
        if self._transport.is_closing():
            return False
        self._transport.write(data)
        return self._transport.get_write_buffer_size() <= MOST_WAITING_BYTES

    async def gone(self) -> None:
        """Wait until its end of the connection is closed."""
        while not self._transport.is_closing():  # noqa: ASYNC110 - a transport tells nobody
            await asyncio.sleep(_GONE_S)

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self.cut = True
        reset(self._transport)


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection so that its other end sees a reset instead of an end."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.Transport):
        transport.abort()


@dataclass(slots=True, eq=False)
class _Stream:
    key: str
    feed: Feed
    clients: dict[Client, Dress] = field(default_factory=dict)
    sent: int = 0


class Hub:
    """All clients and all streams that somebody listens to."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.clients: set[Client] = set()
        self.streams: dict[str, _Stream] = {}
        self.sent = self.dropped_clients = 0
        self._due: list[tuple[float, int, _Stream]] = []
        self._order = itertools.count()
        self._dirty: set[Client] = set()
        self._news = asyncio.Event()

    def join(self, client: Client) -> None:
        """A connection opened."""
        self.clients.add(client)
        client.silent = self._scene.faults.living("half_open", client.venue) is not None
        self.do(client, client.talk.opening())

    def part(self, client: Client) -> None:
        """A connection closed."""
        self.clients.discard(client)
        self._dirty.discard(client)
        for key in list(client.names):
            self._leave(client, key)

    def do(self, client: Client, deeds: Sequence[Deed]) -> bool:
        """Do what its talk decided. False: the connection is to be closed."""
        stays = True
        for deed in deeds:
            match deed:
                case Say(frame):
                    client.put(frame)
                case Listen():
                    self._listen(client, deed)
                case Leave(key):
                    self._leave(client, key)
                case Hang(code, reason):
                    client.put(frames.close(code, reason))
                    stays = False
        if not client.flush():
            self._drop(client)
        return stays

    def feed(self, key: str) -> Feed | None:
        """The feed of a stream that somebody listens to."""
        stream = self.streams.get(key)
        return stream.feed if stream else None

    def half_open(self, venue: Venue | None) -> int:
        """Say nothing more to those who are connected now; how many."""
        found = [client for client in self.clients if venue in (None, client.venue)]
        for client in found:
            client.silent = True
        return len(found)

    def cut(self, venue: Venue | None) -> int:
        """Cut the connections of a venue; how many."""
        found = [client for client in self.clients if venue in (None, client.venue)]
        for client in found:
            client.reset()
        return len(found)

    async def run(self) -> None:
        """Advance every stream when it is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            wait_s = max(0.0, self._due[0][0] - loop.time()) if self._due else None
            with contextlib.suppress(TimeoutError):  # a new stream may be due before all others
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            await self._turn(loop)

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        began = loop.time()
        until = began + 0.001
        while self._due and self._due[0][0] <= until:
            due, _, stream = heapq.heappop(self._due)
            if not stream.clients:
                continue  # nobody listens any more
            try:
                self._tell(stream)
            except Exception:
                log.exception("a stream failed", extra={"stream": stream.key})
            late = loop.time() - due
            following = due + stream.feed.every_s * (1 + (int(late / stream.feed.every_s) if late > _GONE_S else 0))
            heapq.heappush(self._due, (following, next(self._order), stream))
            if loop.time() - began > _BLOCKED_S:
                self._flush()
                await asyncio.sleep(0)
                began = loop.time()
        self._flush()

    def _tell(self, stream: _Stream) -> None:
        feed = stream.feed
        messages = feed.advance()
        faults = self._scene.faults
        messages = faults.bent(feed.venue, feed.symbol, feed.channel, stream, messages)
        if not messages:
            return
        delay_s = faults.delay_s(feed.venue, feed.symbol)
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._send_late, stream, messages)
        else:
            self._send(stream, messages)

    def _send_late(self, stream: _Stream, messages: list[bytes]) -> None:
        self._send(stream, messages)
        self._flush()

    def _send(self, stream: _Stream, messages: list[bytes]) -> None:
        made: dict[tuple[Dress, str], bytes] = {}
        stream.sent += len(messages)
        for client, dress in stream.clients.items():
            if client.silent:
                continue
            name = client.names[stream.key]
            data = made.get((dress, name))
            if data is None:
                data = b"".join([_framed(dress, name, message) for message in messages])
                made[dress, name] = data
            client.put(data)
            self._dirty.add(client)
            self.sent += len(messages)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for client in dirty:
            if not client.flush():
                self._drop(client)

    def _drop(self, client: Client) -> None:
        if not client.cut:
            self.dropped_clients += 1
            log.warning("a client that does not read was cut", extra={"client": client.number, "venue": client.venue})
            client.reset()

    def _listen(self, client: Client, deed: Listen) -> None:
        stream = self.streams.get(deed.key)
        if stream is None:
            stream = self.streams[deed.key] = _Stream(deed.key, deed.open())
            slots = max(1, round(stream.feed.every_s / _SLOT_S))
            now = asyncio.get_running_loop().time()
            slot = now - now % stream.feed.every_s + (next(self._order) % slots) * _SLOT_S
            while slot <= now:
                slot += stream.feed.every_s
            heapq.heappush(self._due, (slot, next(self._order), stream))
            self._news.set()
        client.names[deed.key] = deed.name
        stream.clients[client] = client.talk.dress
        opening = [_framed(client.talk.dress, deed.name, message) for message in stream.feed.opening()]
        delay_s = self._scene.faults.delay_s(stream.feed.venue, stream.feed.symbol)
        if opening and delay_s:  # behind the changes that are under way, so that they stay in order
            asyncio.get_running_loop().call_later(delay_s, self._put_late, client, opening)
        else:
            for frame in opening:
                client.put(frame)

    def _put_late(self, client: Client, frames_: list[bytes]) -> None:
        for frame in frames_:
            client.put(frame)
        self._dirty.add(client)
        self._flush()

    def _leave(self, client: Client, key: str) -> None:
        client.names.pop(key, None)
        stream = self.streams.get(key)
        if stream is not None:
            stream.clients.pop(client, None)
            if not stream.clients:
                del self.streams[key]
                self._scene.faults.forget(stream)


def _framed(dress: Dress, name: str, message: bytes) -> bytes:
    return frames.binary(message) if isinstance(message, Garbage) else dress(name, message)
