import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from app.domain.market.values import Event
from app.errors import Misconfigured
from app.exchanges.connection import Connection, Pace, pause_s
from app.exchanges.exchange import KeepAlive
from app.exchanges.throttle import Bans
from tests.app.exchanges.doors import PlayedSession

HURRIED = Pace(
    open_s=2, close_s=0.2, first_pause_s=0.01, longest_pause_s=0.05, healthy_s=0.5, overlap_s=1, between_s=0.01
)
Behaviour = Callable[[ServerConnection, int], Awaitable[None]]
"""What the server does with a connection, and its number, from 1."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Stage:
    """A connection to a played server, and everything that came out of it."""

    def __init__(self, url: str, **settings: Any) -> None:
        own = {name: settings.pop(name) for name in tuple(settings) if name in PlayedSession.__dataclass_fields__}
        self.session = PlayedSession(url, **own)
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.changes: list[bool] = []
        self.heard: list[str | bytes] = []
        self.connection = Connection(
            self.session, self._take, now_ms=now_ms, changed=self.changes.append, **{"pace": HURRIED, **settings}
        )

    def _take(self, events: list[Event]) -> None:
        self.events += events
        self.batches.append(len(events))

    @property
    def prices(self) -> list[float]:
        return [event.bid for event in self.events]  # type: ignore[union-attr]

    @property
    def state(self) -> Any:
        return self.connection.state()

    async def until(self, seen: Callable[[], object], within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not seen():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def stage(behaviour: Behaviour, *, request: Any = None, **settings: Any) -> AsyncIterator[Stage]:
    """Play a server with this behaviour, and run a connection to it."""
    number = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal number
        number += 1
        await behaviour(connection, number)

    async with serve(handler, "127.0.0.1", 0, compression=None, process_request=request, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        play = Stage(url, **settings)
        task = asyncio.ensure_future(play.connection.run())
        try:
            yield play
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert play.state.state == "stopped"


def run(scene: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(scene())  # type: ignore[arg-type]


async def stay(connection: ServerConnection) -> None:
    with contextlib.suppress(Exception):
        await connection.wait_closed()


def cut(connection: ServerConnection) -> None:
    """As when a cable is pulled and the network says so."""
    connection.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    connection.transport.abort()


def test_messages_become_events_in_their_order():
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        for price in range(1_000):
            await connection.send(str(price))
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: len(play.events) == 1_000)
            assert play.prices == list(range(1_000))
            assert play.state.messages == 1_000
            assert play.state.state == "open"
            assert play.changes == [True]
            assert len(play.batches) < 1_000, "several messages of one read come together"

    run(scene)


def test_binary_and_fragmented_messages_arrive_whole():
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        await connection.send(b"1")
        await connection.send(["1", "2", ".5"])
        await connection.send([b"1", b"3"])
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: len(play.events) == 3)
            assert play.prices == [1, 12.5, 13]

    run(scene)


def test_what_the_session_opens_with_is_sent_before_anything_is_read_and_what_it_answers_goes_back():
    heard = []

    async def serve_some(connection: ServerConnection, _number: int) -> None:
        await connection.send("ping?")
        async for message in connection:
            heard.append(message)
            await connection.send("7")

    async def scene() -> None:
        async with stage(serve_some, subscribe=["one", "two"]) as play:
            await play.until(lambda: len(heard) == 3)
            assert heard == ["one", "two", "pong!"]
            play.session.ask_snapshot("BTC/USDT")
            play.connection.say()
            await play.until(lambda: heard[3:] == ["book BTC/USDT"])

    run(scene)


def test_many_opening_messages_are_spread():
    heard = []

    async def serve_some(connection: ServerConnection, _number: int) -> None:
        async for message in connection:
            heard.append((message, asyncio.get_running_loop().time()))  # noqa: PERF401 - read while it grows

    async def scene() -> None:
        texts = [str(number) for number in range(6)]
        async with stage(serve_some, subscribe=texts) as play:
            await play.until(lambda: len(heard) == 6)
            assert [text for text, _ in heard] == texts
            assert heard[-1][1] - heard[0][1] >= 4 * HURRIED.between_s

    run(scene)


def test_the_keep_alive_text_is_said_again_and_again():
    heard = []

    async def serve_some(connection: ServerConnection, _number: int) -> None:
        async for message in connection:
            heard.append(message)  # noqa: PERF401 - read while it grows

    async def scene() -> None:
        async with stage(serve_some, keep_alive=KeepAlive(0.02, "ping")) as play:
            await play.until(lambda: heard[:3] == ["ping"] * 3)

    run(scene)


def test_a_cut_connection_comes_back_and_says_that_something_may_be_missing():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        await connection.send(str(number))
        if number < 3:
            cut(connection)
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: 3.0 in play.prices)
            assert play.state.reconnects == 2
            assert play.changes == [True, False, True, False, True]
            assert play.state.note == "the connection was cut"
            assert play.session.openings == 3

    run(scene)


def test_a_close_says_why():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        if number == 1:
            await connection.close(1013, "too many")
        await connection.send("1")
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: play.events)
            assert play.state.note == "the exchange closed: 1013 too many"

    run(scene)


def test_a_silent_connection_is_given_up():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        await connection.send(str(number))
        while number > 1:
            await asyncio.sleep(0.01)
            await connection.send(str(number))
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some, silent_s=0.15) as play:
            await play.until(lambda: 2.0 in play.prices)
            assert play.state.note == "nothing came for 0.15 s"

    run(scene)


def test_a_half_open_connection_is_given_up_without_waiting_for_goodbye():
    stuck = []
    released = asyncio.Event()

    async def serve_some(connection: ServerConnection, number: int) -> None:
        if number == 1:  # reads nothing, answers nothing, and does not hang up either
            connection.transport.pause_reading()
            stuck.append(connection)
            await released.wait()
            return
        await connection.send("2")
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some, silent_s=0.1) as play:
            await play.until(lambda: play.events)
            assert play.state.note == "nothing came for 0.1 s"
            released.set()
            for connection in stuck:
                connection.transport.abort()

    run(scene)


def test_garbage_is_counted_with_an_example_and_ends_nothing():
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        for message in ("1", "garbage " * 100, "bug", b"\xff\xfe", "2"):
            await connection.send(message)
        await connection.send(b"\xc3(", text=True)  # no UTF-8
        await connection.send("3")
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: 3.0 in play.prices)
            assert play.prices == [1, 2, 3]
            assert play.state.unreadable == 4
            assert play.state.unreadable_example.startswith("This is no number. | ")
            assert len(play.state.unreadable_example) < 400
            assert play.state.reconnects == 0

    run(scene)


def test_nothing_but_garbage_is_a_reason_to_reconnect():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        while number == 1:
            await connection.send("garbage")
            await asyncio.sleep(0)
        await connection.send("2")
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: play.events)
            assert play.state.reconnects == 1
            assert play.state.note == "50 messages in a row cannot be read"

    run(scene)


def test_a_subscription_that_is_refused_is_tried_again():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        await connection.send("refused" if number == 1 else "2")
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: play.events)
            assert play.state.note == "the exchange says: subscription refused"

    run(scene)


def refuse(times: int, status: HTTPStatus, headers: dict[str, str]) -> tuple[Any, list[float]]:
    """A server that refuses so many handshakes, and when it was asked."""
    asked: list[float] = []

    def request(connection: ServerConnection, _request: Request) -> Response | None:
        asked.append(time.monotonic())
        if len(asked) > times:
            return None
        response = connection.respond(status, "no")
        for name, value in headers.items():
            response.headers[name] = value
        return response

    return request, asked


async def serve_one(connection: ServerConnection, _number: int) -> None:
    await connection.send("1")
    await stay(connection)


def test_a_refused_handshake_is_tried_again():
    async def scene() -> None:
        request, asked = refuse(3, HTTPStatus.SERVICE_UNAVAILABLE, {})
        async with stage(serve_one, request=request) as play:
            await play.until(lambda: play.events)
            assert len(asked) == 4
            assert play.changes == [True]
            assert play.state.note == "the handshake was refused with status 503"

    run(scene)


def test_each_attempt_to_connect_is_told_with_whether_it_succeeded():
    async def scene() -> None:
        tried: list[bool] = []
        request, _ = refuse(2, HTTPStatus.SERVICE_UNAVAILABLE, {})
        async with stage(serve_one, request=request, tried=tried.append) as play:
            await play.until(lambda: play.events)
            assert tried == [False, False, True]

    run(scene)


def test_a_handshake_refused_with_429_is_not_tried_again_before_its_time():
    async def scene() -> None:
        request, asked = refuse(1, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "1"})
        async with stage(serve_one, request=request) as play:
            await play.until(lambda: play.events)
            assert asked[1] - asked[0] >= 1.0

    run(scene)


def test_a_refused_handshake_is_remembered_over_a_restart(tmp_path: Path):
    async def scene() -> None:
        request, asked = refuse(1, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "3600"})
        for _ in range(2):
            bans = Bans(tmp_path / "stream.json", now_ms)
            async with stage(serve_one, request=request, bans=bans) as play:
                await play.until(lambda play=play: play.state.state == "waiting")
                assert "429" in play.state.note
        assert len(asked) == 1

    run(scene)


def test_nobody_listening_is_no_end():
    async def scene() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        play = Stage(f"ws://127.0.0.1:{port}")
        task = asyncio.ensure_future(play.connection.run())
        await play.until(lambda: "cannot connect" in play.state.note)
        async with serve(lambda connection: serve_one(connection, 1), "127.0.0.1", port):
            await play.until(lambda: play.events)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    run(scene)


def test_an_address_that_is_none_is_for_a_person_to_mend():
    async def scene() -> None:
        with pytest.raises(Misconfigured):
            await Stage("http://127.0.0.1").connection.run()

    run(scene)


def test_a_sink_that_fails_ends_the_run_with_its_own_error():
    async def scene() -> None:
        async with serve(lambda connection: serve_one(connection, 1), "127.0.0.1", 0) as server:
            session = PlayedSession(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")

            def sink(_events: list[Event]) -> None:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await Connection(session, sink, now_ms=now_ms, pace=HURRIED).run()

    run(scene)


def test_a_planned_reconnect_loses_nothing():
    """Every connection says every price from its beginning on; what both say comes twice, nothing comes never."""
    price = 0
    listening: set[ServerConnection] = set()

    async def serve_some(connection: ServerConnection, _number: int) -> None:
        listening.add(connection)
        try:
            await connection.wait_closed()
        finally:
            listening.discard(connection)

    async def scene() -> None:
        nonlocal price
        async with stage(serve_some, lasts_s=0.1) as play:
            await play.until(lambda: listening)
            while play.state.planned < 5:
                price += 1
                for connection in tuple(listening):
                    with contextlib.suppress(Exception):
                        await connection.send(str(price))
                await asyncio.sleep(0.001)
            last = price
            await play.until(lambda: last in play.prices)
            first = int(play.prices[0])
            assert sorted(set(play.prices)) == list(range(first, last + 1))
            assert play.changes == [True], "nothing was missed, so no book must be built again"

    run(scene)


def test_a_successor_that_cannot_connect_does_not_cost_the_old_one():
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        with contextlib.suppress(Exception):
            while True:
                await connection.send("1")
                await asyncio.sleep(0.005)

    async def scene() -> None:
        request, asked = refuse(0, HTTPStatus.SERVICE_UNAVAILABLE, {})

        def only_the_first(connection: ServerConnection, its: Request) -> Response | None:
            request(connection, its)
            return None if len(asked) == 1 else connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no")

        async with stage(serve_some, request=only_the_first, lasts_s=0.05) as play:
            await play.until(lambda: len(asked) > 3)
            assert play.state.state == "open"
            assert play.changes == [True]
            assert "planned reconnect" in play.state.note

    run(scene)


def test_a_mute_successor_does_not_win_while_the_old_one_talks():
    async def serve_some(connection: ServerConnection, number: int) -> None:
        with contextlib.suppress(Exception):
            while number == 1:
                await connection.send("1")
                await asyncio.sleep(0.005)
            await connection.wait_closed()

    async def scene() -> None:
        async with stage(serve_some, lasts_s=0.05, pace=replace(HURRIED, overlap_s=0.1)) as play:
            await play.until(lambda: "says nothing" in play.state.note)
            heard = len(play.prices)
            await play.until(lambda: len(play.prices) > heard)
            assert (play.state.planned, play.state.state, play.changes) == (0, "open", [True])

    run(scene)


def test_no_successor_is_tried_inside_a_ban(tmp_path: Path):
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        with contextlib.suppress(Exception):
            while True:
                await connection.send("1")
                await asyncio.sleep(0.005)

    async def scene() -> None:
        request, asked = refuse(0, HTTPStatus.TOO_MANY_REQUESTS, {})

        def only_the_first(connection: ServerConnection, its: Request) -> Response | None:
            request(connection, its)
            if len(asked) == 1:
                return None
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "no")
            response.headers["Retry-After"] = "3600"
            return response

        bans = Bans(tmp_path / "stream.json", now_ms)
        async with stage(serve_some, request=only_the_first, lasts_s=0.05, bans=bans) as play:
            await play.until(lambda: len(asked) == 2)
            heard = len(play.prices)
            await play.until(lambda: len(play.prices) > heard + 50)
            assert (len(asked), play.state.state) == (2, "open")

    run(scene)


def test_what_was_sent_before_the_goodbye_is_still_handled():
    async def serve_some(connection: ServerConnection, _number: int) -> None:
        for price in range(500):
            await connection.send(str(price))
        await connection.close()

    async def scene() -> None:
        async with stage(serve_some) as play:
            await play.until(lambda: play.state.reconnects)
            assert play.prices[:500] == list(range(500))

    run(scene)


def test_pauses_grow_to_a_ceiling_and_never_begin_before_they_were_told():
    assert [pause_s(failures, 1.0) for failures in (1, 2, 3, 4, 7, 500)] == [1, 2, 4, 8, 60, 60]
    assert pause_s(5, 0.0) == 0.1
    assert pause_s(5, 0.0, told_s=30) == 30.1


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1_000))
def test_a_pause_is_never_negative_nor_longer_than_its_ceiling(failures, chance, told_s):
    assert told_s < pause_s(failures, chance, told_s=told_s) <= told_s + 60


def test_the_back_off_goes_on_growing_until_a_connection_proved_healthy():
    failures = []

    async def serve_some(connection: ServerConnection, number: int) -> None:
        await connection.send(str(number))
        if number == 4:
            await asyncio.sleep(HURRIED.healthy_s + 0.1)
        if number < 6:
            cut(connection)
        await stay(connection)

    async def scene() -> None:
        async with stage(serve_some, chance=lambda: failures.append(play.connection._failures) or 0.0) as play:
            await play.until(lambda: 6.0 in play.prices)
            assert failures == [1, 2, 3, 1, 2]

    run(scene)
