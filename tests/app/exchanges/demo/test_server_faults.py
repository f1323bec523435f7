"""Each fault does what it says, no more, and says afterwards what it did."""

import gzip
import json
import socket as sockets
import time
from collections import deque
from itertools import pairwise
from typing import Any
from urllib.error import URLError

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

from app.exchanges.demo.faults import FaultOrder, Faults
from tests.app.exchanges.demo.served import Served

TRADES = "/binance/futures/ws/btcusdt@aggTrade"
DEPTH = "/binance/futures/ws/btcusdt@depth@100ms"
TICKS = "/binance/futures/stream?streams=btcusdt@markPrice@1s/btcusdt@bookTicker"


def ids(served: Served, count: int, path: str = TRADES) -> list[int]:
    with served.listen(path) as socket:
        return [json.loads(socket.recv(timeout=20))["a"] for _ in range(count)]


@pytest.fixture
def busy(broken: Served) -> Any:
    """With so many trades that nobody has to wait for them."""
    broken.ask("/demo/load", method="POST", body={"trade_rate": 20})
    yield broken
    broken.ask("/demo/load", method="POST", body={"trade_rate": 1})


def done(served: Served, fault: dict[str, Any]) -> dict[str, int]:
    said = served.get("/demo/faults")
    return next(report["done"] for report in said["living"] + said["past"] if report["id"] == fault["id"])


def test_a_cut_resets_the_connections_of_its_venue_alone(broken: Served):
    with broken.listen(DEPTH) as cut, broken.listen("/okx/ws/v5/public") as spared:
        cut.recv(timeout=10)
        fault = broken.fault("cut", venue="binance")
        with pytest.raises(ConnectionClosedError):
            deque(cut, maxlen=0)
        spared.send("ping")

        assert spared.recv(timeout=10) == "pong"
    assert done(broken, fault) == {"cut": 1}
    assert broken.ask("/binance/futures/fapi/v1/ping")[0] == 200


def test_while_a_cut_lasts_nothing_answers(broken: Served):
    broken.fault("cut", venue="binance", for_s=60)

    with pytest.raises((ConnectionError, URLError)):
        broken.ask("/binance/futures/fapi/v1/ping")
    with pytest.raises((OSError, InvalidHandshake)):
        broken.listen(DEPTH)
    assert broken.ask("/okx/api/v5/public/time")[0] == 200


def test_a_half_open_connection_says_nothing_and_answers_no_ping(broken: Served):
    with broken.listen(DEPTH, close_timeout=0.1) as socket:
        socket.recv(timeout=10)
        broken.fault("half_open", venue="binance", for_s=60)
        pong = socket.ping()
        while not drained(socket):
            pass

        assert not pong.wait(0.3)
    assert socket.protocol.close_rcvd is None
    with broken.listen(DEPTH, close_timeout=0.1) as silent:
        assert drained(silent)


def test_a_request_to_a_half_open_venue_ends_with_the_fault(broken: Served):
    broken.fault("half_open", venue="binance", for_s=0.3)

    with pytest.raises((ConnectionError, URLError)):
        broken.ask("/binance/futures/fapi/v1/ping")
    assert broken.ask("/binance/futures/fapi/v1/ping")[0] == 200


def test_what_was_held_of_a_stream_goes_with_it():
    faults = Faults(lambda: 0, lambda: 0)
    faults.ask(FaultOrder("reorder", count=2))
    assert faults.bent("binance", "BTC/USDT", "trades", "stream", [b"1"]) == []

    faults.forget("stream")
    assert faults.bent("binance", "BTC/USDT", "trades", "stream", [b"2"]) == []
    assert faults.bent("binance", "BTC/USDT", "trades", "stream", [b"3"]) == [b"3", b"2"]


def drained(socket: Any) -> bool:
    try:
        socket.recv(timeout=0.3)
    except TimeoutError:
        return True
    return False


def test_a_gap_drops_so_many_messages_of_its_channel(busy: Served):
    with busy.listen(TRADES) as socket:
        first = json.loads(socket.recv(timeout=20))["a"]
        fault = busy.fault("gap", venue="binance", symbol="BTCUSDT", channel="trades", count=3)
        seen = [first]
        while seen[-1] < first + 60:
            seen.append(json.loads(socket.recv(timeout=20))["a"])

    assert set(range(first, seen[-1] + 1)) - set(seen) == set(range(min(missing(seen)), min(missing(seen)) + 3))
    assert done(busy, fault) == {"dropped": 3}


def missing(seen: list[int]) -> set[int]:
    return set(range(seen[0], max(seen) + 1)) - set(seen)


def test_duplicates_and_swaps_lose_nothing(busy: Served):
    busy.fault("duplicate", venue="binance", channel="trades", count=5)
    doubled = ids(busy, 50)
    swap = busy.fault("reorder", venue="binance", channel="trades", count=2)
    swapped = ids(busy, 50)

    assert len(doubled) - len(set(doubled)) == 5
    assert doubled == sorted(doubled)
    assert missing(swapped) == set()
    assert sum(1 for one, other in pairwise(swapped) if other < one) == 2
    assert done(busy, swap) == {"swapped": 2}


@pytest.mark.parametrize("kind", ["json", "types", "noise"])
def test_garbage_comes_between_messages_and_replaces_none(busy: Served, kind: str):
    with busy.listen(TRADES) as socket:
        socket.recv(timeout=20)
        busy.fault("garbage", venue="binance", channel="trades", count=1, garbage=kind)
        seen, odd = [], []
        while not odd or len(seen) < 30:
            message = socket.recv(timeout=20)
            try:
                number = json.loads(message)["a"]
                (seen if isinstance(number, int) else odd).append(number)
            except (ValueError, UnicodeDecodeError):
                odd.append(message)

    assert missing(seen) == set()
    assert isinstance(odd[0], {"json": str, "types": dict, "noise": bytes}[kind])


def test_garbage_of_htx_is_gzip_around_nonsense_or_no_gzip(broken: Served):
    with broken.listen("/htx/futures/linear-swap-ws") as socket:
        socket.send(json.dumps({"sub": "market.BTC-USDT.bbo", "id": "1"}))
        broken.fault("garbage", venue="htx", channel="top", for_s=20, garbage="json")
        broken_text = None
        while broken_text is None:
            text = gzip.decompress(socket.recv(timeout=10))
            try:
                json.loads(text)
            except ValueError:
                broken_text = text

    assert broken_text.startswith(b'{"ch":"market.BTC-USDT.bbo"')


def test_slow_delays_answers_and_messages(broken: Served):
    broken.fault("slow", venue="okx", delay_ms=400)
    began = time.monotonic()
    broken.get("/okx/api/v5/public/time")

    assert time.monotonic() - began >= 0.4  # a lower bound is no race
    with broken.listen("/okx/ws/v5/public") as socket:
        socket.send(json.dumps({"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT-SWAP"}]}))
        said = [json.loads(socket.recv(timeout=10)) for _ in range(4)]
    sequence = [(message["data"][0]["prevSeqId"], message["data"][0]["seqId"]) for message in said[1:]]

    assert [previous for previous, _ in sequence[1:]] == [number for _, number in sequence[:-1]]


def test_a_ban_is_answered_with_when_to_come_back_and_counts_who_does_not_wait(broken: Served):
    before = broken.get("/demo/faults")["requests_inside_ban"]
    broken.fault("418", venue="binance", for_s=60, retry_after_s=30)
    status, said, headers = broken.ask("/binance/futures/fapi/v1/time")
    broken.ask("/binance/futures/fapi/v1/time")

    assert (status, said["code"], headers["retry-after"]) == (418, -1003, "30")
    assert broken.get("/demo/faults")["requests_inside_ban"] == before + 1
    assert broken.ask("/okx/api/v5/public/time")[0] == 200
    broken.end_faults()
    assert broken.ask("/binance/futures/fapi/v1/time")[0] == 200


def test_okx_and_htx_refuse_in_their_own_words(broken: Served):
    broken.fault("429", for_s=60)

    assert broken.ask("/okx/api/v5/public/time")[:2] == (429, {"code": "50011", "data": [], "msg": "Too Many Requests"})
    assert broken.ask("/htx/spot/v1/common/timestamp")[1]["err-code"] == "too-many-request"


def test_binance_counts_weights_and_bans_who_goes_on(broken: Served):
    heavy = "/binance/spot/api/v3/depth?symbol=BTCUSDT&limit=5000"
    used = [int(broken.ask(heavy)[2]["x-mbx-used-weight-1m"]) for _ in range(3)]
    refused = []
    while not refused or refused[-1][0] != 418:  # 24 fill a minute, should one begin in between
        status, said, headers = broken.ask(heavy)
        if status != 200:
            refused.append((status, said["code"], int(headers["retry-after"])))

    assert 250 in [later - earlier for earlier, later in pairwise(used)]
    assert refused[0][:2] == (429, -1003)
    assert refused[0][2] <= 60
    assert refused[-1][1] == -1003


def test_a_skewed_clock_is_wrong_in_answers_and_events(broken: Served):
    broken.fault("clock_skew", venue="binance", skew_ms=3_600_000)
    said = broken.get("/binance/spot/api/v3/time")["serverTime"]
    with broken.listen(DEPTH) as socket:
        event = json.loads(socket.recv(timeout=10))

    assert said - broken.now_ms() > 3_500_000
    assert event["E"] - broken.now_ms() > 3_500_000


def test_stale_ticks_keep_coming_with_old_times_and_prices(broken: Served):
    fault = broken.fault("stale", venue="binance", symbol="BTC/USDT:USDT", for_s=30)
    with broken.listen(TICKS) as socket:
        said = [json.loads(socket.recv(timeout=10)) for _ in range(16)]
    marks = [message["data"] for message in said if "markPrice" in message["stream"]]
    tops = [message["data"] for message in said if "bookTicker" in message["stream"]]

    assert len(marks) >= 1
    assert len({(top["b"], top["a"], top["T"]) for top in tops}) == 1
    assert all(mark["E"] <= fault["market_ms"] for mark in marks)
    with broken.listen(TICKS.replace("btcusdt", "ethusdt")) as socket:
        assert json.loads(socket.recv(timeout=10))["data"]["E"] > fault["market_ms"]


def test_handshakes_can_be_refused(broken: Served):
    broken.fault("handshake_503", venue="htx", for_s=60)

    with pytest.raises(InvalidStatus) as refused:
        broken.listen("/htx/spot/ws")
    assert refused.value.response.status_code == 503
    assert broken.ask("/htx/spot/v1/common/timestamp")[0] == 200


def test_every_fault_is_told_with_its_times(broken: Served):
    fault = broken.fault("slow", venue="okx", delay_ms=1)
    broken.ask(f"/demo/faults?id={fault['id']}", method="DELETE")
    past = next(report for report in broken.get("/demo/faults")["past"] if report["id"] == fault["id"])

    assert past["order"] == {"fault": "slow", "venue": "okx", "delay_ms": 1}
    assert past["from_ms"] <= past["ended_ms"] <= past["until_ms"]


@pytest.mark.parametrize(
    "order",
    [
        {"fault": "earthquake"},
        {"fault": "cut", "venue": "kraken"},
        {"fault": "gap", "count": 0},
        {"fault": "slow", "delay_ms": "long"},
        {"fault": "gap", "symbol": "???"},
        {"fault": "429", "symbol": "BTCUSDT"},
        {"fault": "cut", "why": "because"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_what_is_allowed(broken: Served, order: dict[str, Any]):
    status, said, _ = broken.ask("/demo/faults", method="POST", body=order)

    assert status == 400
    assert said["error"]["cure"]
    assert broken.get("/demo/faults")["living"] == []


def test_the_control_answers_no_web_page(demo: Served):
    with sockets.create_connection(("127.0.0.1", demo.port)) as connection:
        connection.sendall(b"GET /demo/status HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\nConnection: close\r\n\r\n")
        said = connection.recv(4096)

    assert said.startswith(b"HTTP/1.1 403")
