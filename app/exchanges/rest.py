"""The REST calls of one exchange, through its ccxt class, in one thread, under one budget.

ccxt is synchronous here (its asynchronous twin costs 50 MB more) and only the class that is needed is loaded: ``import ccxt``
loads more than a hundred.
"""

import asyncio
import contextlib
import importlib
import importlib.machinery
import importlib.util
import queue
import random
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import requests

from app.errors import CorruptData, FlotillaError, InvalidInput, NotFound, RateLimited, Unavailable
from app.exchanges.connection import pause_s
from app.exchanges.exchange import Exchange, RestCall
from app.exchanges.throttle import Throttle, Turn

TIMEOUT_S = 10.0
LONGEST_ANSWER_S = 30.0  # from its first to its last byte: one that drips would hold the only thread
LARGEST_ANSWER_BYTES = 64 * 2**20
ATTEMPTS = 3
_CLOSED = "The REST calls of this exchange are closed."
_loading = threading.Lock()
Outcome = Literal["ok", "limited", "failed"]


class Rest:
    """Calls one exchange. Everything but the sending itself happens in the thread of the event loop."""

    def __init__(
        self,
        exchange: Exchange,
        throttle: Throttle,
        *,
        now_ms: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS,
        proxies: bool = False,
        answered: Callable[[Outcome, float], None] = lambda _outcome, _seconds: None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``proxies`` obeys the proxy settings of the environment. ``answered`` is told how each attempt ended, and after how many
        seconds.
        """
        self.throttle, self._answered = throttle, answered
        self._attempts, self._chance, self._sleep = attempts, chance, sleep
        self._door = _Door(exchange, throttle, now_ms=now_ms, timeout_s=timeout_s, proxies=proxies)
        self._open: set[asyncio.Future[tuple[Any, int]]] = set()
        self._closed = False

    async def call(self, call: RestCall, *, urgent: bool = False) -> list[Any]:
        """What ``call.read`` makes of the answer. An urgent one (the book after a gap) goes before the others.

        Raises RateLimited when the exchange wants to hear nothing from us for a while, Unavailable when it does not answer after
        some attempts, NotFound for a symbol that it does not have, CorruptData for an answer that makes no sense.
        """
        attempt = 1
        while True:
            try:
                answer, received_ms = await self._send(call, urgent=urgent)
                break
            except _NetworkFailed as error:
                if attempt >= self._attempts:
                    raise Unavailable(str(error)) from error.__cause__
            await self._sleep(pause_s(attempt, self._chance()))
            attempt += 1
        try:
            return call.read(answer, received_ms)
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # msgspec's errors are ValueErrors
            raise CorruptData(f"The answer to {call.method} cannot be understood: {error!r}") from error

    async def close(self) -> None:
        """End the thread. A call that is on its way is given up, and whoever waits is told."""
        self._closed = True
        self.throttle.close()
        for answer in tuple(self._open):
            if not answer.done():
                answer.set_exception(Unavailable(_CLOSED))
        self._door.close()
        with contextlib.suppress(TimeoutError):  # it is a daemon: it never holds the process back for longer
            async with asyncio.timeout(1.0):
                await self._door.ended()

    async def _send(self, call: RestCall, *, urgent: bool) -> tuple[Any, int]:
        if self._closed:
            raise Unavailable(_CLOSED)
        turn = await self.throttle.turn(call.bucket, call.weight, urgent=urgent)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Any, int]] = loop.create_future()

        def finish(result: tuple[Any, int] | Exception, took_s: float) -> None:
            self._answered(_outcome(result), took_s)
            _finish(turn, answer, result)

        def done(result: tuple[Any, int] | Exception, took_s: float) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
                loop.call_soon_threadsafe(finish, result, took_s)

        self._open.add(answer)
        answer.add_done_callback(self._open.discard)
        self._door.put(call, done)
        return await answer


def _finish(turn: Turn, answer: "asyncio.Future[tuple[Any, int]]", result: tuple[Any, int] | Exception) -> None:
    turn.end()
    if answer.done():  # whoever asked was cancelled
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _outcome(result: tuple[Any, int] | Exception) -> Outcome:
    """That there is no such symbol is an answer."""
    if isinstance(result, RateLimited):
        return "limited"
    return "failed" if isinstance(result, Exception) and not isinstance(result, NotFound) else "ok"


class _NetworkFailed(Exception):
    """The network failed: another attempt may do better."""


_Done = Callable[[tuple[Any, int] | Exception, float], None]


class _Door:
    """The thread that sends. It lives from the first call to ``close``."""

    def __init__(
        self, exchange: Exchange, throttle: Throttle, *, now_ms: Callable[[], int], timeout_s: float, proxies: bool
    ) -> None:
        self._exchange, self._throttle, self._now_ms, self._timeout_s = exchange, throttle, now_ms, timeout_s
        self._session = _Session(self._before, self._after, proxies=proxies)
        self._client: Any = None
        self._bucket = ""
        self._status: int | None = None
        self._received_ms = 0
        self._calls: queue.SimpleQueue[tuple[RestCall, _Done] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()

    def put(self, call: RestCall, done: _Done) -> None:
        if not self._thread:
            self._thread = threading.Thread(
                target=self._work,
                args=(asyncio.get_running_loop(),),
                name=f"rest-{self._exchange.name}",
                daemon=True,
            )
            self._thread.start()
        self._calls.put((call, done))

    def close(self) -> None:
        self._calls.put(None)
        self._session.closed = True
        self._session.close()

    async def ended(self) -> None:
        if self._thread:
            await self._ended.wait()
            self._thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while asked := self._calls.get():
            call, done = asked
            began_s = time.monotonic()
            result = self._result(call)
            done(result, time.monotonic() - began_s)
        self._session.close()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
            loop.call_soon_threadsafe(self._ended.set)

    def _result(self, call: RestCall) -> tuple[Any, int] | Exception:
        self._bucket = call.bucket
        try:
            if self._client is None:
                self._client = client(self._exchange.ccxt_id, self._exchange.ccxt_urls, self._session, self._timeout_s)
                if prepare := getattr(self._exchange, "prepare", None):
                    prepare(self._client)
            method = getattr(self._client, call.method, None)
            if method is None:
                return InvalidInput(f"{self._exchange.name} has no method {call.method!r}.")
            self._received_ms = self._now_ms()  # for a method that asks nothing
            return method(*call.arguments), self._received_ms
        except FlotillaError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a foreign library raises belongs to whoever called it
            return self._meaning(call, error)

    def _before(self) -> None:
        if self._session.closed:
            raise Unavailable(_CLOSED)
        self._throttle.check()
        self._status = None

    def _after(self, response: requests.Response, body: str) -> None:
        self._received_ms = self._now_ms()
        self._status = response.status_code
        self._throttle.heard(self._bucket, response.status_code, response.headers, body)

    def _was_refused(self) -> bool:
        """ccxt calls a 403 a failure of the network; asking again would only anger the firewall that said it."""
        return self._status is not None and 400 <= self._status < 500 and self._status != 408

    def _meaning(self, call: RestCall, error: Exception) -> Exception:
        """Our error for ccxt's; the class names are its documented tree."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        said = f"{self._exchange.name}, {call.method}: {type(error).__name__}: {str(error)[:300]}"
        if kinds & {"DDoSProtection", "RateLimitExceeded"}:
            if not self._throttle.bans.left_s():  # it was said in the body alone
                self._throttle.refused(said)
            meaning: Exception = RateLimited(said, retry_after_s=self._throttle.bans.left_s())
        elif self._throttle.bans.left_s():
            meaning = RateLimited(said, retry_after_s=self._throttle.bans.left_s())
        elif "BadSymbol" in kinds:
            meaning = NotFound(said)
        elif "BadResponse" in kinds:
            meaning = CorruptData(said)
        elif "NetworkError" in kinds and "OnMaintenance" not in kinds and not self._was_refused():
            meaning = _NetworkFailed(said)
        elif kinds & {"BadRequest", "ArgumentsRequired", "NotSupported"}:
            meaning = InvalidInput(said)
        elif "BaseError" in kinds or isinstance(error, OSError):
            meaning = Unavailable(said)
        else:
            meaning = CorruptData(said)  # its parser stumbled over the answer
        meaning.__cause__ = error
        return meaning


class _Session(requests.Session):
    """The one way out: asks before each request, and listens to each answer, also those that ccxt makes an error of."""

    closed = False

    def __init__(
        self, before: Callable[[], None], after: Callable[[requests.Response, str], None], *, proxies: bool
    ) -> None:
        super().__init__()
        self.trust_env = proxies
        self.max_redirects = 0  # an exchange never redirects; who does is a network that wants a login
        self._before, self._after = before, after

    def request(self, *arguments: Any, **settings: Any) -> requests.Response:
        """One request and its answer, whole."""
        self._before()
        response = super().request(*arguments, **{**settings, "stream": True})
        response.raw = _Bounded(response.raw)
        try:
            body = response.text if response.content and response.status_code >= 400 else ""
        except requests.RequestException:  # a refusal counts, even if its end never came
            self._after(response, "")
            raise
        self._after(response, body)
        return response


class _Bounded:
    """A body that may neither drip for ever nor be endless."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def stream(self, _size: int, **settings: Any) -> Iterator[bytes]:
        until_s = time.monotonic() + LONGEST_ANSWER_S
        size = 0
        while part := self._raw.read1(65_536, **settings):  # what is there, instead of waiting until so much is there
            size += len(part)
            if time.monotonic() > until_s or size > LARGEST_ANSWER_BYTES:
                self._raw.close()
                raise requests.ReadTimeout("The answer is too slow or too large.")
            yield part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def client(
    ccxt_id: str, urls: Mapping[str, Any], session: requests.Session | None, timeout_s: float = TIMEOUT_S
) -> Any:
    """A ccxt object whose addresses are replaced and that keeps no pace of its own.

    ``urls`` goes over its ``urls["api"]``; its keys ``hostname`` and ``hostnames`` fill the templates in them.
    """
    settings: dict[str, Any] = {
        "enableRateLimit": False,
        "timeout": round(timeout_s * 1_000),
        "enableLastHttpResponse": False,
        "enableLastJsonResponse": False,
        "enableLastResponseHeaders": False,
    }
    if session:
        settings["session"] = session
    made = load(ccxt_id)(settings)
    for key, url in urls.items():
        if key == "hostname":
            made.hostname = url
        elif key == "hostnames":
            made.urls["hostnames"] = _over(made.urls.get("hostnames", {}), url)
        elif isinstance(made.urls["api"], str):
            made.urls["api"] = url
        else:
            made.urls["api"] = _over(made.urls["api"], {key: url})
    return made


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def load(ccxt_id: str) -> Any:
    """The class of one exchange, without loading all the others.

    ccxt's own ``__init__`` imports every exchange, so a bare package of that name stands in its place while the module is imported.
    It goes afterwards: whoever then says ``import ccxt`` gets the real one.
    """
    with _loading:
        own = "ccxt" in sys.modules
        if not own:
            spec = importlib.util.find_spec("ccxt")
            if spec is None or spec.submodule_search_locations is None:
                raise Unavailable("ccxt is not installed.", cure="Run: make setup")
            bare = types.ModuleType("ccxt")
            bare.__path__ = list(spec.submodule_search_locations)
            bare.__spec__ = importlib.machinery.ModuleSpec("ccxt", None, is_package=True)
            sys.modules["ccxt"] = bare
        try:
            return getattr(importlib.import_module(f"ccxt.{ccxt_id}"), ccxt_id)
        finally:
            if not own:
                del sys.modules["ccxt"]
