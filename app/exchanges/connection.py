"""A stream connection that stays: it opens, listens, notices silence, comes back, and moves on before it is cut.

Messages are handled inside the event loop's callback, as many at a time as one read of the socket brought. So there is no queue
between the socket and the ``sink`` that could overflow: while we are busy, the exchange's own TCP window closes. It costs a
third less than a task that awaits each message.
"""

import asyncio
import contextlib
import random
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event as WireEvent
from websockets.protocol import State

from app.domain.market.values import Event
from app.errors import FlotillaError, Misconfigured, RateLimited, Unavailable
from app.exchanges.exchange import Session
from app.exchanges.throttle import REFUSALS, Bans, retry_after_s

LARGEST_BYTES = 8 * 2**20
MOST_UNSENT_BYTES = 2**20
PING_S = 20.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a connection is, in seconds. Tests are in more of a hurry."""

    open_s: float = 10.0
    close_s: float = 2.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    healthy_s: float = 60.0
    """A connection that lasted so long makes the next pause the first again."""
    overlap_s: float = 15.0
    """How long a planned successor may take to say its first word, before the old one goes anyway."""
    between_s: float = 0.21
    """Between two of more than ``at_once`` opening messages: Binance cuts who says more than five in a second."""
    at_once: int = 3
    unreadable_in_a_row: int = 50


PACE = Pace()


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How a connection is, and what it has seen."""

    host: str
    state: Literal["connecting", "open", "waiting", "stopped"]
    opened_ms: int | None
    last_message_ms: int | None
    messages: int
    reconnects: int
    planned: int
    """Reconnects by plan, of all."""
    unreadable: int
    unreadable_example: str
    note: str


def pause_s(
    failures: int, chance: float, *, first_s: float = 1.0, longest_s: float = 60.0, told_s: float = 0.0
) -> float:
    """How long to wait after so many failures in a row, with ``chance`` from 0 to 1.

    Full jitter, so that a thousand clients of a restarted server do not come back in one moment; never before what the exchange
    told us.
    """
    ceiling_s = min(longest_s, first_s * 2.0 ** min(max(failures, 1) - 1, 30))
    return told_s + max(0.1 * first_s, chance * ceiling_s)


class Connection:
    """One session on the wire, for as long as ``run`` runs. Everything happens in the thread of the event loop."""

    def __init__(
        self,
        session: Session,
        sink: Callable[[list[Event]], None],
        *,
        now_ms: Callable[[], int],
        changed: Callable[[bool], None] = lambda _open: None,
        pace: Pace = PACE,
        bans: Bans | None = None,
        proxies: bool = False,
        chance: Callable[[], float] = random.random,
        tried: Callable[[bool], None] = lambda _connected: None,
    ) -> None:
        """``sink`` takes the events of some messages, oldest first. ``changed`` is told when the stream begins (True) and when
        something may have been missed (False). ``bans`` remembers a refused handshake over a restart. ``proxies`` obeys the
        proxy settings of the environment. ``tried`` is told of each attempt to connect whether it succeeded.
        """
        self.session = session
        self._tried = tried
        self._sink, self._changed, self._now_ms, self._chance = sink, changed, now_ms, chance
        self._pace, self._bans, self._proxies = pace, bans, proxies
        self._host = urllib.parse.urlsplit(session.url).netloc
        self._state: Literal["connecting", "open", "waiting", "stopped"] = "connecting"
        self._link: _Link | None = None
        self._links: set[_Link] = set()  # two while a planned successor proves itself
        self._failures = 0
        self._opened = 0
        self._planned = 0
        self._messages = 0
        self._unreadable = 0
        self._unreadable_in_a_row = 0
        self._example = ""
        self._note = ""
        self._opened_ms: int | None = None
        self._last_ms: int | None = None
        self._broken: Exception | None = None

    def state(self) -> ConnectionState:
        """How it is."""
        return ConnectionState(
            host=self._host,
            state=self._state,
            opened_ms=self._opened_ms,
            last_message_ms=self._last_ms,
            messages=self._messages,
            reconnects=max(0, self._opened - 1),
            planned=self._planned,
            unreadable=self._unreadable,
            unreadable_example=self._example,
            note=self._note,
        )

    def say(self) -> None:
        """Send what the session wants to say now: after ``ask_snapshot``, outside of the sink."""
        if self._link:
            self._answer(self._link)

    async def run(self) -> None:
        """Stay connected until cancelled. Raises only what the sink raised, and Misconfigured for an address that is none."""
        try:
            while True:
                link: _Link | None = await self._until_open()
                while link:
                    link = await self._stay(link)
        finally:
            self._state = "stopped"
            self._link = None
            for one in tuple(self._links):
                await one.end()

    async def _until_open(self) -> "_Link":
        while True:
            self._state = "connecting"
            told_s = self._bans.left_s() if self._bans else 0.0
            if told_s:
                self._note = f"the exchange asked us to wait: {self._bans.why() if self._bans else ''}"
            else:
                try:
                    return await self._open()
                except Unavailable as error:
                    if self._broken:
                        raise self._broken from error
                    self._note = str(error)
                    told_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
                self._failures += 1
            await self._pause(told_s)

    async def _pause(self, told_s: float = 0.0) -> None:
        self._state = "waiting"
        pace = self._pace
        await asyncio.sleep(
            pause_s(
                self._failures,
                self._chance(),
                first_s=pace.first_pause_s,
                longest_s=pace.longest_pause_s,
                told_s=told_s,
            )
        )

    async def _open(self) -> "_Link":
        """Raises Unavailable, RateLimited when the handshake was refused with a wish to wait."""
        try:
            link = await self._shake_hands()
        except Unavailable:
            self._tried(False)
            raise
        self._tried(True)
        self._link = link
        link.watch()
        return link

    async def _shake_hands(self) -> "_Link":
        extra: dict[str, Any] = {"ssl": _tls()} if self.session.url.startswith("wss:") else {}
        try:
            link = await connect(
                self.session.url,
                compression=None,
                proxy=True if self._proxies else None,
                open_timeout=self._pace.open_s,
                close_timeout=self._pace.close_s,
                ping_interval=None,
                max_size=LARGEST_BYTES,
                create_connection=self._make_link,  # type: ignore[arg-type]
                **extra,
            )
        except InvalidStatus as error:
            raise self._refusal(error) from error
        except InvalidURI as error:
            raise Misconfigured(f"{self.session.url!r} is not the address of a stream.") from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise Unavailable(f"cannot connect: {str(error) or type(error).__name__}") from error
        assert isinstance(link, _Link)  # noqa: S101 - for the type checker: what _make_link made
        return link

    def _make_link(self, protocol: ClientProtocol, **settings: Any) -> "_Link":
        return _Link(protocol, self, **settings)

    def came(self, link: "_Link") -> None:
        """Its socket is open."""
        self._links.add(link)

    def gone(self, link: "_Link") -> None:
        """Its socket is closed."""
        self._links.discard(link)

    def _refusal(self, error: InvalidStatus) -> Unavailable:
        status, headers = error.response.status_code, error.response.headers
        said = f"the handshake was refused with status {status}"
        told_s = retry_after_s(headers, self._now_ms())
        if status not in REFUSALS and told_s is None:
            return Unavailable(said)
        if self._bans:
            self._bans.refused(said, told_s, guess_s=self._pace.longest_pause_s)
            told_s = self._bans.left_s()
        return RateLimited(said, retry_after_s=told_s or self._pace.longest_pause_s)

    async def _stay(self, link: "_Link") -> "_Link | None":
        """Until the link has a successor by plan, or is gone (None), after the pause that its end asks for."""
        began_s = time.monotonic()
        due_s = self.session.lasts_s * (1.0 - 0.1 * self._chance()) if self.session.lasts_s else None
        while not await link.ended(due_s):
            if self._bans and (told_s := self._bans.left_s()):
                due_s = told_s  # nothing is asked inside a ban, and the old one still runs
                continue
            link.spoke.clear()
            try:
                successor = await self._open()
            except Unavailable as error:  # the old one still runs, so there is no haste
                self._note = f"planned reconnect: {error}"
                due_s = self._pace.longest_pause_s
                continue
            lives = await successor.first_word(self._pace.overlap_s)
            if lives and not (
                link.spoke.is_set() and not successor.spoke.is_set()
            ):  # where both are silent, it is quiet
                self._planned += 1
                if link.protocol.state is not State.OPEN:  # it went before the new one spoke
                    self._changed(False)
                    self._changed(True)
                await link.end()
                return successor
            self._note = "planned reconnect: the new connection says nothing"
            self._link, due_s = link, self._pace.longest_pause_s
            await successor.end()
        if self._broken:
            raise self._broken
        self._note = link.why_it_ended()
        self._link = None
        self._state = "waiting"
        self._changed(False)
        self._failures = 1 if time.monotonic() - began_s >= self._pace.healthy_s else self._failures + 1
        await self._pause()
        return None

    def opening(self) -> list[str]:
        """The handshake is done: what to say. Nothing that the exchange says was handled yet."""
        self._opened += 1
        self._opened_ms = self._now_ms()
        self._unreadable_in_a_row = 0
        if self._state != "open":  # else it is a planned successor
            self._state = "open"
            self._changed(True)
        return self.session.opening()

    def broken(self, link: "_Link", error: Exception) -> None:
        """One of ours failed: end the connection, and let ``run`` raise it."""
        self._broken = self._broken or error
        link.drop(f"we failed: {error!r}")

    def handle(self, link: "_Link", batch: list[str | bytes]) -> None:
        """What one read of the socket brought."""
        now_ms = self._now_ms()
        receive = self.session.receive
        events: list[Event] = []
        for message in batch:
            try:
                said = receive(message, now_ms)
            except Unavailable as error:
                link.drop(f"the exchange says: {error}")
            except Exception as error:  # noqa: BLE001 - a mapper's mistake costs its message, never the stream
                self._not_read(link, message, error)
            else:
                events += said
                self._unreadable_in_a_row = 0
        self._messages += len(batch)
        self._last_ms = now_ms
        if events:
            link.spoke.set()
            try:
                self._sink(events)
            except Exception as error:  # noqa: BLE001 - it ends the connection, and ``run`` raises it
                self.broken(link, error)
        self._answer(link)

    def _answer(self, link: "_Link") -> None:
        for text in self.session.to_send():
            link.say(text)

    def _not_read(self, link: "_Link", message: str | bytes, error: Exception) -> None:
        self._unreadable += 1
        self._unreadable_in_a_row += 1
        what = str(error) if isinstance(error, FlotillaError) else repr(error)
        self._example = f"{what[:200]} | {message[:120]!r}"
        if self._unreadable_in_a_row == self._pace.unreadable_in_a_row:
            link.drop(f"{self._unreadable_in_a_row} messages in a row cannot be read")


class _Link(ClientConnection):
    """One WebSocket. It hands whole messages over as they come, instead of queueing them for ``recv``."""

    def __init__(self, protocol: ClientProtocol, owner: Connection, **settings: Any) -> None:
        super().__init__(protocol, **settings)
        self._owner = owner
        self._session = owner.session
        self._pace = owner._pace  # noqa: SLF001 - the two are one thing
        self._batch: list[str | bytes] = []
        self._parts: list[bytes] = []
        self._parts_are_text = False
        self._last_s = self._pinged_s = self._kept_alive_s = time.monotonic()
        self._why = ""
        self._timer: asyncio.TimerHandle | None = None
        self.spoke = asyncio.Event()

    # What websockets calls

    def process_event(self, event: WireEvent) -> None:
        """Collect data; leave the rest to websockets."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if event.fin and event.opcode is Opcode.TEXT:
                self._batch.append(str(event.data, "utf-8", "replace"))
            elif event.fin and event.opcode is Opcode.BINARY:
                self._batch.append(bytes(event.data))
            else:
                self._add_part(event)
            return
        handshake = self.response is None
        super().process_event(event)
        if handshake and self.protocol.handshake_exc is None:
            try:
                self._say_all(self._owner.opening())
            except Exception as error:  # noqa: BLE001 - it ends the connection, and ``run`` raises it
                self._owner.broken(self, error)

    def data_received(self, data: bytes) -> None:
        """Handle all messages that one read brought."""
        super().data_received(data)
        if self._batch:
            self._last_s = time.monotonic()
            batch, self._batch = self._batch, []
            self._owner.handle(self, batch)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in."""
        super().connection_made(transport)
        self._owner.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._timer:
            self._timer.cancel()
        self._owner.gone(self)
        super().connection_lost(exc)

    def _add_part(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._parts_are_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts = []
            self._batch.append(whole.decode("utf-8", "replace") if self._parts_are_text else whole)

    # What its owner calls

    def say(self, text: str) -> None:
        """Send it without waiting, if anybody may still hear it."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_text(text.encode())
            self.send_data()

    def drop(self, why: str) -> None:
        """Hang up at once."""
        self._why = self._why or why
        self.transport.abort()

    async def end(self) -> None:
        """Hang up politely; what still comes meanwhile is handled."""
        with contextlib.suppress(OSError):
            await self.close()

    async def ended(self, within_s: float | None) -> bool:
        """Whether it is gone by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.wait_closed()
        return self.protocol.state is State.CLOSED

    async def first_word(self, within_s: float) -> bool:
        """Whether it brought something by then, or at least still lives."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.spoke.wait()
        return self.protocol.state is State.OPEN

    def why_it_ended(self) -> str:
        """In words."""
        if self._why:
            return self._why
        if self.close_code in (None, 1006):
            return "the connection was cut"
        return f"the exchange closed: {self.close_code} {self.close_reason or ''}".rstrip()

    def watch(self) -> None:
        """Look again and again whether it still lives; one timer for all that needs the time."""
        now_s = time.monotonic()
        alive = self._session.keep_alive
        if now_s - self._last_s >= self._session.silent_s:
            self.drop(f"nothing came for {self._session.silent_s:g} s")
            return
        if self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.drop("the exchange does not read what we send")
            return
        if alive and now_s - self._kept_alive_s >= alive.every_s:
            self._kept_alive_s = now_s
            self.say(alive.text)
        elif not alive and now_s - self._pinged_s >= PING_S and self.protocol.state is State.OPEN:
            self._pinged_s = now_s
            self.protocol.send_ping(b"")
            self.send_data()
        look_s = min(1.0, self._session.silent_s / 4, alive.every_s / 4 if alive else 1.0)
        self._timer = self.loop.call_later(look_s, self.watch)

    def _say_all(self, texts: list[str]) -> None:
        for number, text in enumerate(texts):
            if len(texts) <= self._pace.at_once:
                self.say(text)
            else:
                self.loop.call_later(number * self._pace.between_s, self.say, text)


@cache
def _tls() -> ssl.SSLContext:
    """One for all: reading the authorities takes time and memory."""
    return ssl.create_default_context()
