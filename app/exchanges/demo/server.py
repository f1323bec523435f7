"""The demo exchange on its port: one HTTP server for three venues, their streams, and the control route.

It listens on this machine alone. It does the network; what is said and when is decided by the doors, the talks and the feeds.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import WSMessage, WSMsgType, web

from app.exchanges.demo import frames
from app.exchanges.demo.answers import Answer, Body, Door
from app.exchanges.demo.binance_rest import BinanceRest
from app.exchanges.demo.binance_stream import BinanceStreams, BinanceTalk
from app.exchanges.demo.control import Control
from app.exchanges.demo.faults import Faults
from app.exchanges.demo.htx_rest import HtxRest
from app.exchanges.demo.htx_stream import HtxNotices, HtxStreams, HtxTalk
from app.exchanges.demo.hub import Client, Hub, reset
from app.exchanges.demo.market import Market
from app.exchanges.demo.okx_rest import OkxRest
from app.exchanges.demo.okx_stream import OkxStreams, OkxTalk
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.talk import Say, Talk
from app.exchanges.demo.values import Venue

log = logging.getLogger(__name__)
HOST = "127.0.0.1"
SIMULATED = {"X-Flotilla-Simulated": "true"}
_LARGEST_MESSAGE = 1 << 20
_BINANCE_PLACES = {
    "/binance/futures": "futures",
    "/binance/futures/market": "futures/market",
    "/binance/futures/public": "futures/public",
    "/binance/spot": "spot",
}


@dataclass(frozen=True, slots=True)
class _Address:
    """One address for streams: whose it is, and who talks there, given the rest of the path and the query of the request."""

    venue: Venue
    talk: Callable[[web.Request], Talk]


class DemoServer:
    """All of it. ``market_ms`` is the market's clock, ``real_ms`` ours."""

    def __init__(
        self,
        market: Market,
        market_ms: Callable[[], int],
        real_ms: Callable[[], int],
        speed: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.faults = Faults(real_ms, market_ms, market.seed)
        self.scene = Scene(market, market_ms, self.faults)
        self.hub = Hub(self.scene)
        futures = BinanceRest(self.scene, real_ms, perpetual=True)
        spot = BinanceRest(self.scene, real_ms, perpetual=False)
        okx = OkxRest(self.scene, real_ms)
        htx_spot = HtxRest(self.scene, real_ms, perpetual=False)
        htx_swap = HtxRest(self.scene, real_ms, perpetual=True)
        self._doors: dict[str, Door] = {
            "/binance/futures": futures,
            "/binance/spot": spot,
            "/okx": okx,
            "/htx/spot": htx_spot,
            "/htx/futures": htx_swap,
        }
        self._addresses = {
            **self._binance_addresses(futures, spot),
            **self._okx_addresses(okx),
            **self._htx_addresses(htx_spot, htx_swap),
        }
        self._control = Control(self.scene, self.hub, self._doors, speed)
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        """Listen, and say on which port (0: a free one). Raises OSError when it is taken."""
        app = web.Application(client_max_size=_LARGEST_MESSAGE)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        await site.start()
        self._keep(asyncio.create_task(self.hub.run()))
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all that is open."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not _is_here(request.remote):
            return _response(Answer(403, b'{"error":{"message":"The demo exchange answers this machine alone."}}'))
        path = request.path
        if path.startswith("/demo/"):
            return await self._handle_control(request)
        address = self._addresses.get(path) or self._addresses.get(path.rpartition("/")[0] + "/*")
        if address is not None and "websocket" in request.headers.get("Upgrade", "").lower():
            return await self._handle_stream(request, address)
        for prefix, door in self._doors.items():
            if path.startswith(prefix + "/"):
                return await self._handle_rest(request, door, path.removeprefix(prefix))
        return _response(Answer(404, b'{"error":{"message":"There is nothing here."}}'))

    async def _handle_control(self, request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:  # a page in somebody's browser has no business here
            return _response(Answer(403, b'{"error":{"message":"The control answers no web pages."}}'))
        body = await request.read()
        answer = self._control.answer(request.method, request.path, request.query, body)
        if request.method != "GET":
            log.info(
                "control",
                extra={"path": request.path, "method": request.method, "order": body[:500].decode("utf-8", "replace")},
            )
        return _response(answer)

    async def _handle_rest(self, request: web.Request, door: Door, path: str) -> web.StreamResponse:
        venue = door.venue
        if self.faults.living("cut", venue) is not None:
            return _reset_request(request)
        if self.faults.living("half_open", venue) is not None:
            while self.faults.living("half_open", venue) is not None:  # noqa: ASYNC110 - it may end by its time alone
                await asyncio.sleep(0.1)  # the client gives up, or the fault ends
            return _reset_request(request)
        delay_s = self.faults.delay_s(venue)
        if delay_s:
            await asyncio.sleep(delay_s)
        if request.method not in ("GET", "HEAD"):
            return _response(Answer(405, b'{"code":-1,"msg":"Method not allowed"}'))
        answer = await _completed(door.answer(path, request.query))
        fault = (
            self.faults.living("garbage", venue) if answer.status == 200 and not self._aimed("garbage", venue) else None
        )
        if fault is not None:
            fault.count("garbage_answers")
            answer = Answer(200, _half(answer.body), answer.headers)
        return _response(answer)

    def _aimed(self, kind: str, venue: Venue) -> bool:
        """Whether a fault on messages is meant for streams alone: all are that name a channel or a number of messages."""
        fault = self.faults.living("garbage", venue) if kind == "garbage" else None
        return fault is not None and (fault.order.channel is not None or fault.left is not None)

    async def _handle_stream(self, request: web.Request, address: _Address) -> web.StreamResponse:
        if self.faults.living("cut", address.venue) is not None:
            return _reset_request(request)
        fault = self.faults.living("handshake_503", address.venue)
        if fault is not None:
            fault.count("refused")
            return _response(Answer(503, b'{"error":"Service Unavailable"}', {"Retry-After": "1"}))
        talk = address.talk(request)
        # no compression: our frames are made once for all clients; nothing automatic: a half-open connection answers nothing
        socket = web.WebSocketResponse(compress=False, autoping=False, autoclose=False, max_msg_size=_LARGEST_MESSAGE)
        socket.headers.update(SIMULATED)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        client = Client(transport, talk)
        beats = asyncio.create_task(self._beat(client, socket))
        self._keep(beats)
        self.hub.join(client)
        try:
            await self._listen(client, socket)
        finally:
            beats.cancel()
            self.hub.part(client)
        return socket

    async def _listen(self, client: Client, socket: web.WebSocketResponse) -> None:
        while True:
            message = await socket.receive()
            if client.silent and message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING):
                await client.gone()  # half open: not even a close is answered
                return
            if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            if not client.silent and not self._heard(client, message):
                await socket.close()
                return

    def _heard(self, client: Client, message: WSMessage) -> bool:
        """Do what a message asks for. False: the connection is to be closed."""
        talk = client.talk
        match message.type:
            case WSMsgType.TEXT:
                return self.hub.do(client, talk.receive(message.data))
            case WSMsgType.BINARY:
                return self.hub.do(client, talk.receive(message.data.decode("utf-8", "replace")))
            case WSMsgType.PING:
                return self.hub.do(client, [Say(frames.pong(message.data))])
            case WSMsgType.PONG:
                talk.pong()
        return message.type is not WSMsgType.CLOSE

    async def _beat(self, client: Client, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(client.talk.beat_every_s)
            if not client.silent and not self.hub.do(client, client.talk.beat()):
                with contextlib.suppress(ConnectionError):
                    await socket.close()
                return

    def _binance_addresses(self, futures: BinanceRest, spot: BinanceRest) -> dict[str, _Address]:
        addresses = {}
        for prefix, place in _BINANCE_PLACES.items():
            perpetual, route = place != "spot", place.removeprefix("futures").removeprefix("spot")
            streams = BinanceStreams(
                self.scene, (futures if perpetual else spot).names, perpetual=perpetual, route=route
            )
            for path, wraps in ((f"{prefix}/stream", True), (f"{prefix}/ws", False), (f"{prefix}/ws/*", False)):
                addresses[path] = _Address("binance", _binance_talk(streams, wraps=wraps))
        return addresses

    def _okx_addresses(self, okx: OkxRest) -> dict[str, _Address]:
        numbers = itertools.count(1)
        addresses = {}
        for name in ("public", "business"):
            streams = OkxStreams(self.scene, okx.names, business=name == "business")
            addresses[f"/okx/ws/v5/{name}"] = _Address("okx", _okx_talk(streams, numbers))
        return addresses

    def _htx_addresses(self, spot: HtxRest, swap: HtxRest) -> dict[str, _Address]:
        def now() -> int:
            return self.scene.said_ms("htx", self.scene.now_ms("htx"))

        plain = HtxStreams(self.scene, spot.names, "spot")
        feed = HtxStreams(self.scene, spot.names, "spot_feed", self.hub.feed)
        swaps = HtxStreams(self.scene, swap.names, "swap")
        return {
            "/htx/spot/ws": _Address("htx", lambda _request: HtxTalk(plain, now)),
            "/htx/spot/feed": _Address("htx", lambda _request: HtxTalk(feed, now)),
            "/htx/futures/linear-swap-ws": _Address("htx", lambda _request: HtxTalk(swaps, now)),
            "/htx/futures/linear-swap-notification": _Address(
                "htx", lambda _request: HtxNotices(self.scene, swap.names, now)
            ),
        }


def _binance_talk(streams: BinanceStreams, *, wraps: bool) -> Callable[[web.Request], Talk]:
    def talk(request: web.Request) -> Talk:
        named = request.query.get("streams", "") if wraps else request.path.partition("/ws/")[2]
        return BinanceTalk(streams, [name for name in named.split("/") if name], wraps=wraps)

    return talk


def _okx_talk(streams: OkxStreams, numbers: "itertools.count[int]") -> Callable[[web.Request], Talk]:
    return lambda _request: OkxTalk(streams, next(numbers))


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": "application/json;charset=UTF-8", **answer.headers, **SIMULATED}
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    return web.Response(body=body, status=answer.status, headers=headers)


def _half(body: Body) -> bytes:
    whole = body if isinstance(body, bytes) else b"".join(body)
    return whole[: max(1, len(whole) // 2)]


async def _completed(answer: Answer) -> Answer:
    """The answer with all its parts, made without holding up the streams."""
    if isinstance(answer.body, bytes):
        return answer
    parts = []
    for part in answer.body:
        parts.append(part)
        await asyncio.sleep(0)
    return Answer(answer.status, b"".join(parts), answer.headers)


def _reset_request(request: web.Request) -> web.Response:
    if request.transport is not None:
        reset(request.transport)
    return web.Response(status=503)


def _is_here(remote: str | None) -> bool:
    try:
        return remote is not None and ip_address(remote).is_loopback
    except ValueError:
        return False
