import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from app.errors import CorruptData, FlotillaError, InvalidInput, NotFound, RateLimited, Unavailable
from app.exchanges import rest as rest_module
from app.exchanges.exchange import RestCall
from app.exchanges.rest import Rest, client, load
from app.exchanges.throttle import Throttle
from app.settings import ROOT
from tests.app.exchanges.doors import PlayedBinance, PlayedRest, played_rest, server_time


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def at_once(_seconds: float) -> None:
    return


def play(url: str, folder: Path, scene: Callable[[Rest], Awaitable[Any]], **settings: Any) -> Any:
    """Run a scene with a REST door, and see that its thread is gone afterwards."""

    async def run() -> Any:
        exchange = PlayedBinance(url)
        throttle = Throttle(exchange.name, exchange.limits, folder, now_ms)
        rest = Rest(exchange, throttle, now_ms=now_ms, sleep=at_once, **settings)  # type: ignore[arg-type]
        try:
            return await scene(rest)
        finally:
            await rest.close()

    result = asyncio.run(run())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rest-")]
    return result


@pytest.fixture
def exchange():
    with played_rest() as played:
        yield played


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def test_a_call_reaches_the_exchange_and_is_read(exchange: PlayedRest, tmp_path: Path):
    exchange.by_path["/fapi/v1/openInterest"] = {"openInterest": "10.5", "time": 1_700_000_000_123, "x": 0.00001234}
    call = RestCall(
        "fapiPublicGetOpenInterest", ({"symbol": "BTCUSDT"},), "spot", 1, lambda answer, at_ms: [answer, at_ms]
    )

    answer, received_ms = play(exchange.url, tmp_path, lambda rest: rest.call(call))

    assert exchange.paths == ["/fapi/v1/openInterest?symbol=BTCUSDT"]
    assert answer == {"openInterest": "10.5", "time": 1_700_000_000_123, "x": 0.00001234}, "numbers are numbers"
    assert abs(received_ms - now_ms()) < 60_000


def test_the_exchange_s_own_count_is_believed(exchange: PlayedRest, tmp_path: Path):
    exchange.always = (200, {"X-MBX-USED-WEIGHT-1M": "5000"}, {"serverTime": 1})

    async def scene(rest: Rest) -> float:
        await rest.call(server_time())
        return rest.throttle.states()[0].used

    assert play(exchange.url, tmp_path, scene) == 5_000


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"code": -1121, "msg": "Invalid symbol."}, NotFound),
        (400, {"code": -1102, "msg": "A mandatory parameter was not sent."}, InvalidInput),
        (403, "<html>Forbidden</html>", RateLimited),
        (451, {"code": 0, "msg": "Service unavailable from a restricted location"}, Unavailable),
        (200, "<html>Please log in to this network</html>", CorruptData),
        (200, {"another": "thing"}, CorruptData),
        (200, "", CorruptData),
        (302, "", Unavailable),
    ],
)
def test_what_an_answer_means_for_the_caller(exchange: PlayedRest, tmp_path: Path, status, body, expected):
    exchange.always = (status, {"Location": "/elsewhere"} if status == 302 else {}, body)

    async def scene(rest: Rest) -> None:
        with pytest.raises(FlotillaError) as told:
            await rest.call(server_time())
        assert type(told.value) is expected, repr(told.value)

    play(exchange.url, tmp_path, scene)
    assert len(exchange.paths) == 1, "another attempt would not have helped"


@pytest.mark.parametrize("failure", [hang_up, (503, {}, "down"), (500, {}, "broken"), (504, {}, "late")])
def test_a_network_that_fails_is_tried_again(exchange: PlayedRest, tmp_path: Path, failure):
    exchange.plan = [failure, failure]

    assert play(exchange.url, tmp_path, lambda rest: rest.call(server_time())) == [1_700_000_000_000]
    assert len(exchange.paths) == 3


def test_each_attempt_is_told_with_its_outcome_and_its_time(exchange: PlayedRest, tmp_path: Path):
    told: list[tuple[str, float]] = []
    no_symbol = (400, {}, {"code": -1121, "msg": "Invalid symbol."})
    exchange.plan = [hang_up, (200, {}, {"serverTime": 1}), no_symbol, (429, {"Retry-After": "60"}, {})]

    async def scene(rest: Rest) -> None:
        await rest.call(server_time())
        for refusal in (NotFound, RateLimited):
            with pytest.raises(refusal):
                await rest.call(server_time())

    play(exchange.url, tmp_path, scene, answered=lambda outcome, took_s: told.append((outcome, took_s)))

    assert [outcome for outcome, _ in told] == ["failed", "ok", "ok", "limited"], "no such symbol is an answer"
    assert all(0 < took_s < 10 for _, took_s in told)


def test_after_three_attempts_the_exchange_is_away(exchange: PlayedRest, tmp_path: Path):
    exchange.plan = [hang_up] * 9

    async def scene(rest: Rest) -> None:
        with pytest.raises(Unavailable):
            await rest.call(server_time())

    play(exchange.url, tmp_path, scene)
    assert len(exchange.paths) == 3


def test_nobody_listening_is_an_exchange_that_is_away(tmp_path: Path):
    with played_rest() as gone:
        url = gone.url

    async def scene(rest: Rest) -> None:
        with pytest.raises(Unavailable, match="NetworkError"):
            await rest.call(server_time())

    play(url, tmp_path, scene)


def test_a_silent_exchange_is_given_up_after_the_timeout(exchange: PlayedRest, tmp_path: Path):
    released = threading.Event()
    exchange.plan = [lambda _handler: released.wait(20)] * 2  # type: ignore[list-item,return-value]

    async def scene(rest: Rest) -> None:
        with pytest.raises(Unavailable, match="RequestTimeout"):
            await rest.call(server_time())

    play(exchange.url, tmp_path, scene, timeout_s=0.1, attempts=2)
    released.set()
    assert len(exchange.paths) == 2


def test_an_answer_that_drips_is_given_up(exchange: PlayedRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rest_module, "LONGEST_ANSWER_S", 0.1)
    stopped, drops = threading.Event(), []

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not stopped.wait(0.01):
            try:
                handler.wfile.write(b" " * 20)
                drops.append(20)
            except OSError:
                return

    exchange.plan = [drip]

    async def scene(rest: Rest) -> None:
        with pytest.raises(Unavailable, match="RequestTimeout"):
            await rest.call(server_time())

    play(exchange.url, tmp_path, scene, attempts=1)
    stopped.set()
    assert sum(drops) < 20_000, "it was given up long before its first large part was whole"


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        ((429, {"Retry-After": "30"}, {"code": -1003, "msg": "Too many requests."}), 30),
        ((418, {"Retry-After": "30"}, {"code": -1003, "msg": "banned"}), 30),
        ((503, {"Retry-After": "30"}, "down"), 30),
        ((429, {}, "no word of how long"), 60),
        ((400, {}, {"code": -1003, "msg": "Too many requests; only the body says so."}), 60),
    ],
)
def test_after_a_refusal_nothing_is_sent_any_more(exchange: PlayedRest, tmp_path: Path, answer, wait_s):
    exchange.plan = [answer]

    async def scene(rest: Rest) -> None:
        told = await asyncio.gather(*(rest.call(server_time()) for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in told] == [RateLimited] * 5
        assert all(wait_s <= one.retry_after_s <= wait_s + 1 for one in told)  # type: ignore[union-attr]

    play(exchange.url, tmp_path, scene)
    assert len(exchange.paths) == 1
    assert json.loads((tmp_path / "binance.json").read_text())["refusals"] == 1


def test_a_method_that_asks_twice_does_not_ask_again_inside_a_ban(
    exchange: PlayedRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def prepare(_self: PlayedBinance, made: Any) -> None:
        def twice() -> Any:
            with contextlib.suppress(Exception):  # as some of ccxt's own methods do
                made.publicGetTime()
            return made.publicGetTime()

        made.twice = twice

    monkeypatch.setattr(PlayedBinance, "prepare", prepare, raising=False)
    exchange.always = (429, {"Retry-After": "30"}, "too many")

    async def scene(rest: Rest) -> None:
        with pytest.raises(RateLimited):
            await rest.call(RestCall("twice", (), "spot", 1, lambda answer, _at_ms: [answer]))

    play(exchange.url, tmp_path, scene)
    assert len(exchange.paths) == 1


def test_a_method_that_ccxt_does_not_have_is_a_mistake_of_the_caller(exchange: PlayedRest, tmp_path: Path):
    async def scene(rest: Rest) -> None:
        with pytest.raises(InvalidInput, match="no method 'publicGetNothing'"):
            await rest.call(RestCall("publicGetNothing", (), "spot", 1, lambda _answer, _at_ms: []))

    play(exchange.url, tmp_path, scene)


def test_a_cancelled_call_leaves_the_door_usable(exchange: PlayedRest, tmp_path: Path):
    released = threading.Event()
    exchange.plan = [lambda _handler: released.wait(20)]  # type: ignore[list-item,return-value]

    async def scene(rest: Rest) -> list[Any]:
        first = asyncio.ensure_future(rest.call(server_time()))
        while not exchange.paths:
            await asyncio.sleep(0.01)
        first.cancel()
        released.set()
        return await rest.call(server_time())

    assert play(exchange.url, tmp_path, scene) == [1_700_000_000_000]


def test_closing_gives_up_what_is_on_its_way(exchange: PlayedRest, tmp_path: Path):
    released = threading.Event()
    exchange.plan = [lambda _handler: released.wait(20)]  # type: ignore[list-item,return-value]

    async def scene(rest: Rest) -> None:
        calls = [asyncio.ensure_future(rest.call(server_time())) for _ in range(3)]
        while not exchange.paths:
            await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.1, released.set)
        await rest.close()
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in told] == [Unavailable] * 3
        with pytest.raises(Unavailable):
            await rest.call(server_time())

    play(exchange.url, tmp_path, scene)
    assert len(exchange.paths) == 1


def test_proxies_of_the_environment_are_not_used_unless_asked_for(
    exchange: PlayedRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert play(exchange.url, tmp_path, lambda rest: rest.call(server_time())) == [1_700_000_000_000]
    with pytest.raises(Unavailable):
        play(exchange.url, tmp_path, lambda rest: rest.call(server_time()), proxies=True, attempts=1)


def test_addresses_and_hostnames_are_replaced_one_by_one():
    htx = client("htx", {"hostnames": {"contract": "127.0.0.1:1"}, "contract": "http://{hostname}"}, None)

    assert htx.urls["hostnames"]["contract"] == "127.0.0.1:1"
    assert htx.urls["hostnames"]["spot"] == "api.huobi.pro"
    assert htx.urls["api"]["contract"] == "http://{hostname}"
    assert htx.urls["api"]["spot"] == "https://{hostname}"


LOOK = """
import sys
import psutil
from app.exchanges.rest import client
for name in sys.argv[1:]:
    client(name, {}, None)
loaded = sorted(name for name in sys.modules if name.startswith("ccxt."))
print("\\n".join(loaded))
assert "ccxt" not in sys.modules
print(psutil.Process().memory_info().rss // 2**20, file=sys.stderr)
"""


def loaded(*names: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOOK, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_only_the_exchange_that_is_needed_is_loaded():
    modules = loaded("binance", "okx")

    assert {name.split(".")[1] for name in modules} == {"abstract", "base", "binance", "okx"}
    assert not [name for name in modules if "async_support" in name or name.startswith(("ccxt.pro", "ccxt.static"))]
    assert {name for name in modules if name.startswith("ccxt.abstract.")} == {
        "ccxt.abstract.binance",
        "ccxt.abstract.okx",
    }


def test_the_real_ccxt_can_still_be_imported_beside_it():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from app.exchanges.rest import load; a = load('kraken'); import ccxt; assert ccxt.kraken is a",
        ],
        cwd=ROOT,
        check=True,
    )

    assert done.returncode == 0


def test_ccxt_is_the_version_whose_insides_we_lean_on():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert "ccxt==4.5.90" in lock, "Look at `load` and `_Session` of app/exchanges/rest.py, then change this test."
    assert load("binance").__name__ == "binance"
