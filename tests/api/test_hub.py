"""The push stream's hub over a real Valkey: what is told, to whom, and what becomes of those who are slow or were away."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from api import hub as hub_module
from api.hub import TOPICS, Hub, Interest
from app.cache.pubsub import Listener
from app.errors import Unavailable
from app.host.metrics import Metrics
from tests.builders import Valkey, wait_for

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
EVERYTHING = Interest(frozenset(TOPICS))


class Told:
    """A client that reads in a thread of its own."""

    def __init__(self, hub: Hub, interest: Interest = EVERYTHING, resume: str | None = None) -> None:
        self.text = b""
        self.cut = threading.Event()
        self._reading = threading.Event()
        self._reading.set()
        self.thread = threading.Thread(target=self._read, args=(hub, interest, resume), daemon=True)
        self.thread.start()
        wait_for(lambda: self.events, within_s=10)

    def _read(self, hub: Hub, interest: Interest, resume: str | None) -> None:
        for piece in hub.stream(interest, resume, self.cut.set):
            self.text += piece
            self._reading.wait()

    def sleep(self) -> None:
        self._reading.clear()

    def wake(self) -> None:
        self._reading.set()

    @property
    def events(self) -> list[tuple[str, Any]]:
        found = []
        for block in self.text.split(b"\n\n"):
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if b"event" in fields:
                found.append((fields[b"event"].decode(), json.loads(fields[b"data"])))
        return found

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def last_id(self) -> str:
        return [line[4:].decode() for line in self.text.split(b"\n") if line.startswith(b"id: ")][-1]


Make = Callable[..., Hub]


@pytest.fixture
def make(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a hub that runs; it ends with the test."""
    monkeypatch.setattr(hub_module, "_LISTEN_S", 0.05)  # so it looks often whether it shall end
    made: list[tuple[Hub, threading.Thread]] = []

    def start(url: str = valkey_url, **more: Any) -> Hub:
        hub = Hub(lambda: Listener(url), metrics=Metrics(), simulated=True, started_ms=7, **more)
        made.append((hub, hub.start()))
        return hub

    yield start
    for hub, thread in made:
        hub.end()
        thread.join(timeout=10)


@pytest.fixture
def tell(valkey_url: str) -> Iterator[Callable[..., None]]:
    """Publish as the feed does."""
    with redis.Redis.from_url(valkey_url) as client:

        def publish(channel: str = "ticker:BTC/USDT%3AUSDT", **said: object) -> None:
            client.publish(f"market_data:{channel}", json.dumps({"exchange": "demo-binance", **said}))

        yield publish


def live(told: Told) -> Told:
    wait_for(lambda: "live" in told.names or told.events[0][1]["state"] == "live", within_s=10)
    return told


def test_hello_comes_first_and_says_what_may_be_expected(make: Make):
    told = Told(make(), Interest(frozenset({"ticker"}), frozenset({BTC}), "demo-okx"))

    name, said = told.events[0]
    assert name == "hello"
    assert said["simulated"] is True
    assert (said["topics"], said["symbols"], said["exchange"]) == (["ticker"], [BTC], "demo-okx")
    assert said["state"] in {"connecting", "live"}
    assert told.text.startswith(b"retry: 3000\n")


def test_each_kind_of_news_is_an_event_with_an_id_and_its_data(make: Make, tell):
    told = live(Told(make()))

    tell(price=1)
    tell("kline:BTC/USDT%3AUSDT:1m", close=2)
    tell("depth:BTC/USDT%3AUSDT", bid=3)
    tell("collector:demo-binance", state="running")
    tell("judgment:BTC/USDT%3AUSDT:V3", signal="BUY")
    tell("trade:BTC/USDT%3AUSDT:V3", what="opened")

    wait_for(lambda: "trade" in told.names, within_s=10)
    assert [name for name in told.names if name in TOPICS] == list(TOPICS)
    assert ("kline", {"exchange": "demo-binance", "close": 2}) in told.events
    assert told.last_id == "7.1-6"


def test_a_client_hears_what_it_asked_for_and_collectors_are_for_everybody(make: Make, tell):
    hub = make()
    btc = live(Told(hub, Interest(frozenset(TOPICS), frozenset({BTC}))))
    okx = live(Told(hub, Interest(frozenset({"ticker"}), frozenset(), "demo-okx")))

    tell("ticker:ETH/USDT%3AUSDT", n=1)
    tell("ticker:BTC/USDT%3AUSDT", n=2)
    tell("ticker:ETH/USDT%3AUSDT", n=3, exchange="demo-okx")
    tell("collector:demo-binance", n=4)

    wait_for(lambda: "collector" in btc.names and "ticker" in okx.names, within_s=10)
    assert [said["n"] for name, said in btc.events if name in TOPICS] == [2, 4]
    assert [said["n"] for name, said in okx.events if name in TOPICS] == [3]


def test_rubbish_on_a_channel_is_counted_and_ends_nothing(make: Make, tell, valkey_url: str):
    hub = make()
    told = live(Told(hub))
    with redis.Redis.from_url(valkey_url) as client:
        for rubbish in (b"{", b"\xff\xfe", b"7", b'{"exchange": 7}'):
            client.publish("market_data:ticker:X", rubbish)
        client.publish("market_data:weather:X", b"{}")
        client.publish("market_data:ticker", b"{}")
        client.publish("market_data:%FF:X", b"{}")

    tell(n=1)

    wait_for(lambda: "ticker" in told.names, within_s=10)
    assert told.names.count("ticker") == 1


def test_who_comes_back_after_a_short_break_is_told_what_it_missed_and_only_that(make: Make, tell):
    hub = make()
    stays = live(Told(hub))
    tell(n=1)
    wait_for(lambda: "ticker" in stays.names, within_s=10)
    seen = stays.last_id
    tell(n=2)
    tell("ticker:ETH/USDT%3AUSDT", n=3)
    tell(n=4)
    wait_for(lambda: stays.names.count("ticker") == 4, within_s=10)

    back = Told(hub, Interest(frozenset({"ticker"}), frozenset({BTC})), resume=seen)

    wait_for(lambda: back.names.count("ticker") == 2, within_s=10)
    assert [said["n"] for name, said in back.events if name == "ticker"] == [2, 4]
    assert "resync" not in back.names


@pytest.mark.parametrize("resume", ["6.1-1", "7.0-1", "rubbish", "7.1-999", "7.1-", "7.1--1", "7.1-" + "9" * 40, "½"])
def test_who_comes_back_from_where_nobody_remembers_is_told_to_read_again(make: Make, tell, resume: str):
    hub = make()
    stays = live(Told(hub))
    tell(n=1)
    wait_for(lambda: "ticker" in stays.names, within_s=10)

    assert Told(hub, resume=resume).names[:2] == ["hello", "resync"]


def test_who_missed_nothing_is_told_nothing(make: Make, tell):
    hub = make()
    stays = live(Told(hub))
    tell(n=1)
    wait_for(lambda: "ticker" in stays.names, within_s=10)

    assert Told(hub, resume=stays.last_id).names == ["hello"]


def test_a_memory_that_overflowed_says_so(make: Make, tell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_module, "REMEMBERED", 3)
    hub = make()
    stays = live(Told(hub))
    tell(n=0)
    wait_for(lambda: "ticker" in stays.names, within_s=10)
    seen = stays.last_id
    for number in range(1, 5):
        tell(n=number)
    wait_for(lambda: stays.names.count("ticker") == 5, within_s=10)

    assert Told(hub, resume=seen).names == ["hello", "resync"]


def test_a_client_that_does_not_keep_up_is_cut_off_and_holds_up_nobody(
    make: Make, tell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub_module, "MOST_WAITING", 2_000)
    hub = make()
    slow, quick = live(Told(hub)), live(Told(hub))
    slow.sleep()
    tell(n=0)

    for number in range(1, 50):
        tell(n=number, padding="x" * 200)
        wait_for(lambda number=number: quick.names.count("ticker") > number, within_s=10)

    assert slow.cut.is_set()
    assert not quick.cut.is_set()
    assert hub.clients == 1
    slow.wake()
    slow.thread.join(timeout=10)
    assert not slow.thread.is_alive()


def test_redis_that_goes_and_comes_back_is_told(make: Make, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_module, "_TRY_AGAIN_S", 0.05)
    hub = make(own_valkey.url)
    told = live(Told(hub))

    own_valkey.kill()
    wait_for(lambda: "degraded" in told.names, within_s=10)
    assert Told(hub).events[0][1]["state"] == "degraded"
    own_valkey.start()
    wait_for(lambda: told.names[-1] == "live", within_s=10)

    with redis.Redis.from_url(own_valkey.url) as client:
        client.publish("market_data:ticker:X", b'{"exchange": "x"}')
    wait_for(lambda: "ticker" in told.names, within_s=10)
    assert told.names[-4:] == ["degraded", "resync", "live", "ticker"]


def test_nobody_listens_while_nobody_wants_to_hear(make: Make, valkey_url: str):
    hub = make()
    with redis.Redis.from_url(valkey_url) as client:
        assert client.pubsub_numpat() == 0
        told = live(Told(hub))
        wait_for(lambda: client.pubsub_numpat() == 1, within_s=10)

        stream = hub.stream(EVERYTHING, None, lambda: None)
        next(stream)
        assert hub.clients == 2
        stream.close()
        assert hub.clients == 1
        del told


def test_the_end_says_goodbye_and_takes_nobody_more(make: Make):
    hub = make()
    told = live(Told(hub))

    hub.end()

    told.thread.join(timeout=10)
    assert not told.thread.is_alive()
    assert told.names[-1] == "bye"
    assert list(hub.stream(EVERYTHING, None, lambda: None)) == []
    with pytest.raises(Unavailable):
        hub.room()


def test_there_is_room_for_so_many_and_no_more(make: Make):
    hub = make(limit=1)
    hub.room()
    Told(hub)

    with pytest.raises(Unavailable):
        hub.room()


def test_streams_never_take_all_connections(make: Make):
    hub = make()
    hub.leave_room(1)

    with pytest.raises(Unavailable):
        hub.room()


def test_a_quiet_stream_says_that_it_is_still_there(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_module, "KEEP_ALIVE_S", 0.05)
    told = live(Told(make()))

    wait_for(lambda: b": still here\n\n" in told.text, within_s=10)
